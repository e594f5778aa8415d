/* vmstep - the user's command for running steps in virtual machines
 *
 * Runs on login and compute nodes as the user. On a node of the step it asks
 * the step's sockets (vmstep-api(7)); from elsewhere srun --overlap runs it on
 * those nodes, so that Slurm decides who may.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "cleanup.h"
#include "command.h"
#include "log.h"

/* For shells: see contrib/completion. */
static int print_words(int argc, char **argv)
{
	command_words(stdout, argc > 2 ? argv[2] : NULL);
	return EXIT_DONE;
}

static int say_done(void)
{
	if (fflush(stdout) == 0)
		return EXIT_DONE;
	log_err("standard output: %m");
	return EXIT_FAILED;
}

static int run(struct invocation *inv)
{
	_cleanup_free_ char *ranks = NULL;
	int status = call_group(inv, &ranks);

	if (ranks)
		inv->ranks = ranks;
	return status == EXIT_DONE ? inv->command->run(inv) : status;
}

int main(int argc, char **argv)
{
	struct invocation inv;
	struct errmsg err;

	log_setup("", 2, LOG_LEVEL_WARN);
	if (argc > 1 && strcmp(argv[1], "--words") == 0)
		return print_words(argc, argv);
	if (command_parse(argc, (const char *const *)argv, &inv, &err) < 0) {
		log_err("%s", err.text);
		return EXIT_USAGE;
	}
	if (inv.version) {
		printf("vmstep %s\n", PACKAGE_VERSION);
		return say_done();
	}
	if (inv.help) {
		command_help(stdout, inv.command);
		return say_done();
	}
	return run(&inv);
}
