#include <config.h>

#include "connect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "conn.h"
#include "elsewhere.h"
#include "localsock.h"
#include "log.h"
#include "writeall.h"

#define PIECE 65536

enum { RAW, WHERE, WORLD, HERE };
const struct cmd_option connect_options[] = {
	[RAW] = { "--raw", "[NODE]",
		  "standard input and output are a task's socket" },
	[WHERE] = { "--where", NULL, "where the step's sockets are, as JSON" },
	[WORLD] = { "--world", "FILE", "networks of VMs, as PENVM has them" },
	[HERE] = { "--here", NULL, "this node, for another vmstep" },
	{ 0 },
};

/* -- standard input and output as a task's socket -------------------------- */

/* Until the end of @from, or nobody reads @to. */
static void pump(int from, int to)
{
	static char data[PIECE];
	ssize_t n;

	while ((n = read(from, data, sizeof(data))) != 0)
		if (n < 0 ? errno != EINTR : write_all(to, data, (size_t)n) < 0)
			break;
}

/* A process for each direction: neither waits for the other. What was asked is
 * answered, also when no more is asked. */
static int pump_socket(int fd)
{
	pid_t parent = getpid(), pid;

	signal(SIGPIPE, SIG_IGN);
	pid = fork();
	if (pid < 0) {
		log_err("fork: %m");
		return EXIT_FAILED;
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			pump(STDIN_FILENO, fd);
		shutdown(fd, SHUT_WR);
		_exit(0);
	}
	pump(fd, STDOUT_FILENO);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return EXIT_DONE;
}

static int pump_task(const char *path, uint32_t rank)
{
	_cleanup_close_ int dir =
		open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	char name[32];

	snprintf(name, sizeof(name), "task.%" PRIu32 ".sock", rank);
	if (dir < 0) {
		log_err("%s: %m", path);
		return EXIT_FAILED;
	}
	fd = localsock_connect(dir, name, SOCK_STREAM);
	if (fd < 0) {
		log_err("vm[%" PRIu32 "]: %s", rank,
			fd == -ENOENT || fd == -ECONNREFUSED
				? "the task has ended"
				: strerror(-fd));
		return EXIT_FAILED;
	}
	return pump_socket(fd);
}

/* -- which task, where ----------------------------------------------------- */

/* A task of this node that is meant; RANK_MAX + 1: none. */
static uint32_t task_of(const char *dir, const struct call_where *w)
{
	struct rankset here = { 0 };
	struct errmsg err;
	uint32_t rank = RANK_MAX + 1;

	if (conn_ranks(dir, &here, &err) < 0)
		log_err("%s", err.text);
	else
		for (rank = rankset_next(&here, 0);
		     rank <= RANK_MAX && !w->all &&
		     !rankset_has(&w->ranks, rank);)
			rank = rankset_next(&here, rank + 1);
	rankset_done(&here);
	return rank;
}

/* By srun, to the node of the one task that is meant, which has to be found
 * unless it is said. */
static int raw_elsewhere(const struct invocation *inv,
			 const struct call_where *w)
{
	static const char *const words[] = { "connect", "--here", NULL };
	struct invocation one = *inv;
	_cleanup_free_ char *nodes = NULL;
	struct elsewhere e = { .inv = &one,
			       .where = w,
			       .words = words,
			       .how = "--input=all",
			       .nodes = inv->options[RAW] };
	int status = EXIT_DONE;

	if (!one.ranks)
		one.ranks = "0";
	if (!*e.nodes) {
		status = elsewhere_find(&one, true, &nodes);
		e.nodes = nodes;
	}
	if (status == EXIT_DONE)
		status = elsewhere_run(&e);
	return status == EXIT_NOT_RUN ? EXIT_FAILED : status;
}

static int raw(const struct invocation *inv, const struct call_where *w)
{
	_cleanup_free_ char *dir = NULL;
	uint32_t rank = RANK_MAX + 1;
	int status;

	if (!w->all && rankset_count(&w->ranks) != 1) {
		log_err("--raw is for one task: say which with -r");
		return EXIT_USAGE;
	}
	status = call_here_dir(w, &dir);
	if (status != EXIT_DONE)
		return status;
	if (dir)
		rank = task_of(dir, w);
	if (rank <= RANK_MAX)
		return pump_task(dir, rank);
	if (!inv->options[HERE])
		return raw_elsewhere(inv, w);
	log_err("there is no such task on this node");
	return EXIT_FAILED;
}

/* {"step", "dir"}; null where nothing of it is on this node. */
static int where(const struct call_where *w)
{
	_cleanup_free_ char *dir = NULL;
	int status = call_here_dir(w, &dir);
	json_t *o;

	if (status != EXIT_DONE)
		return status;
	o = json_pack("{s:s?, s:s?}", "step",
		      dir	      ? strrchr(dir, '/') + 1
		      : *w->step.step ? w->step.step
				      : NULL,
		      "dir", dir);
	if (!o || json_dumpf(o, stdout, JSON_COMPACT) < 0 ||
	    putchar('\n') == EOF || fflush(stdout) != 0) {
		log_err("standard output: %m");
		status = EXIT_FAILED;
	}
	json_decref(o);
	return status;
}

/* -- Python ---------------------------------------------------------------- */

/* Our package comes first, whatever else there is. */
static int find_package(void)
{
	const char *others = getenv("PYTHONPATH");
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s%s", PYTHON_DIR, others ? ":" : "",
		     others ? others : "") < 0)
		return -ENOMEM;
	return setenv("PYTHONPATH", path, 1) < 0 ? -errno : 0;
}

static void add(const char **argv, size_t *n, const char *option,
		const char *value)
{
	if (!value)
		return;
	argv[(*n)++] = option;
	argv[(*n)++] = value;
}

static int python(const struct invocation *inv)
{
	char self[PATH_MAX] = "";
	const char **argv = calloc((size_t)inv->n_args + 20, sizeof(*argv));
	size_t n = 0;

	if (!argv || find_package() < 0 ||
	    readlink("/proc/self/exe", self, sizeof(self) - 1) < 0) {
		log_err("python3: %m");
		free(argv);
		return EXIT_FAILED;
	}
	argv[n++] = "python3";
	add(argv, &n, "-m", "vmstep.connect");
	add(argv, &n, "--vmstep", self);
	add(argv, &n, "--step", inv->job);
	add(argv, &n, "--ranks", inv->ranks);
	add(argv, &n, "--config", inv->config);
	add(argv, &n, "--world", inv->options[WORLD]);
	argv[n++] = "--";
	for (int i = 0; i < inv->n_args; i++)
		argv[n++] = inv->args[i];
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	log_err("python3: %s; vmstep connect needs Python 3.9 or later",
		strerror(errno));
	free(argv);
	return EXIT_FAILED;
}

int connect_run(const struct invocation *inv)
{
	struct call_where w;
	int status;

	if (!inv->options[RAW] && !inv->options[WHERE] && !inv->options[HERE])
		return python(inv);
	if (inv->n_args) {
		log_err("--raw and --where take no argument '%s'",
			inv->args[0]);
		return EXIT_USAGE;
	}
	status = call_where(inv, &w);
	if (status != EXIT_DONE)
		return status;
	status = inv->options[WHERE] ? where(&w) : raw(inv, &w);
	call_where_done(&w);
	return status;
}
