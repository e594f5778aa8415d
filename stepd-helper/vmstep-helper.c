/* vmstep-helper.c - becomes the task: runs one VM and is its command's proxy
 *
 * Started by slurmstepd in place of the user's command (spank/stepd.c), with a
 * description of the VM on an inherited descriptor and the user's arguments as
 * its own. Its exit status is the command's; see vm.h for the others.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "outfile.h"
#include "spec.h"
#include "task.h"
#include "vm.h"

#define DESCRIPTORS 1024 /* as most sites have it */

static const char usage[] =
	"vmstep-helper is started by Slurm for the tasks of a step that asks\n"
	"for VMs (srun --vm-image=...), not by hand.\n"
	"\n"
	"  --help     print this\n"
	"  --version  print the version\n";

/* --help and --version, asked by a person: there is no description then. */
static bool asked_by_hand(int argc, char **argv)
{
	if (getenv(DESC_FD_ENV) || argc != 2)
		return false;
	if (strcmp(argv[1], "--help") == 0)
		fputs(usage, stdout);
	else if (strcmp(argv[1], "--version") == 0)
		printf("vmstep-helper %s\n", PACKAGE_VERSION);
	else
		return false;
	return true;
}

/* Descriptors 0 to 2 must be there, or a socket of ours would become one. */
static void fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd >= 0)
		close(fd);
}

/* slurmstepd lets some of its own descriptors through; nobody below us needs
 * them, and one is a listening socket. */
static void close_inherited(void)
{
	close_range(STDERR_FILENO + 1, ~0U, 0);
}

/* A guest that escaped into QEMU runs as the same user: it shall not look into
 * us by ptrace or /proc. */
static void harden(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}

/* Slurm takes the limit of srun's shell along. QEMU and PMIx need more than
 * some shells allow, and libraries end the process where they get none; the
 * guest has limits of its own. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
	    limit.rlim_cur >= DESCRIPTORS)
		return;
	limit.rlim_cur =
		limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("the limit of open files stays where it is: %m");
}

static void name_ourselves(const struct task *t)
{
	char tag[128];

	snprintf(tag, sizeof(tag), "vm[%u]@%s", t->rank,
		 t->node ? t->node : "?");
	log_setup(tag, STDERR_FILENO, LOG_LEVEL_INFO);
}

static int open_log(const struct task *t, struct spec *s, struct errmsg *err)
{
	char tag[128];
	int fd;

	snprintf(tag, sizeof(tag), "vm[%u]@%s", t->rank, t->node);
	log_setup(tag, STDERR_FILENO,
		  s->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (!s->log)
		return 0;
	fd = outfile_open("--vm-log", s->log, O_APPEND, err);
	if (fd < 0)
		return fd;
	s->log_fd = fd;
	log_to_file(fd, (enum log_level)s->log_level);
	return 0;
}

/* For all ranks it would be the same lines again. */
static void warn_of_idle_values(const struct task *t)
{
	for (int id = 0; id < OPT_COUNT && t->rank == 0; id++)
		for (size_t i = 0; i < t->options.opt[id].n; i++)
			if (option_is_idle(&t->options, (enum option_id)id, i,
					   t->ranks))
				log_warn(
					"--vm-%s=%s: no such task in this step of %u, ignoring",
					option_defs[id].name,
					t->options.opt[id].v[i], t->ranks);
}

/* The user's argument list: ours, but for what comes before its second. */
static const char **user_argv(const struct task *t, int argc, char **argv)
{
	const char **list = calloc((size_t)argc + 2, sizeof(*list));
	size_t n = 0;

	if (!list)
		return NULL;
	list[n++] = t->argv0;
	for (int i = 0; i < argc; i++)
		if ((uint32_t)i >= t->argv_from)
			list[n++] = argv[i];
	return list;
}

int main(int argc, char **argv)
{
	int status = EXIT_VM_FAILED;
	const char **command = NULL;
	struct spec spec = { 0 };
	struct errmsg err;
	struct task task;
	int r;

	fill_stdio();
	if (asked_by_hand(argc, argv))
		return 0;
	harden();
	r = task_load(&task, &err);
	close_inherited();
	name_ourselves(&task);
	raise_descriptors();
	if (r == 0)
		r = spec_resolve(&task, &spec, &err);
	if (r == 0)
		r = open_log(&task, &spec, &err);
	if (r == 0)
		command = user_argv(&task, argc, argv);
	if (r < 0 || !command) {
		log_err("%s", r < 0 ? err.text : strerror(ENOMEM));
		vm_tell_failed(&task, NULL, r < 0 ? err.text : "no memory");
	} else {
		warn_of_idle_values(&task);
		status = vm_main(&task, &spec, command);
	}
	free(command);
	spec_done(&spec);
	task_done(&task);
	return status;
}
