#include <config.h>

#include "display.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "elsewhere.h"
#include "log.h"
#include "splice.h"

enum { SOCKET, STDIO, HERE };
const struct cmd_option display_options[] = {
	[SOCKET] = { "--socket", "PATH",
		     "listen there for viewers, until interrupted" },
	[STDIO] = { "--stdio", NULL, "be a viewer's connection" },
	[HERE] = { "--here", NULL, "this node, for another vmstep" },
	{ 0 },
};

/* -- the display's node ---------------------------------------------------- */

static int to_socket(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	int r;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		log_err("%s: is too long for a socket", path);
		return EXIT_FAILED;
	}
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		log_err("%s: %s: was the step given --vm-display=vnc?", path,
			strerror(errno));
		return EXIT_FAILED;
	}
	signal(SIGPIPE, SIG_IGN);
	r = splice_run(fd);
	if (r == 0 || r == -EPIPE || r == -ECONNRESET)
		return EXIT_DONE;
	log_err("display: %s", strerror(-r));
	return EXIT_FAILED;
}

static int run_here(const struct call_where *w)
{
	_cleanup_free_ char *dir = NULL;
	char path[PATH_MAX];
	int status = call_here_dir(w, &dir);

	if (status != EXIT_DONE || !dir)
		return status;
	snprintf(path, sizeof(path), "%s/vnc.%" PRIu32, dir,
		 rankset_next(&w->ranks, 0));
	return to_socket(path);
}

/* -- the user's ------------------------------------------------------------ */

/* What call_one() says of it. */
struct display {
	char *step, *rank;	 /* owned */
	json_t *state;		 /* of the task; owned */
	const char *path, *node; /* in it */
};

static int find(const struct invocation *inv, struct display *ret)
{
	const struct call_conf conf = { inv, "task.state", NULL, CALL_S };
	int status =
		call_one(&conf, "display", &ret->state, &ret->rank, &ret->step);

	if (status != EXIT_DONE)
		return status;
	ret->path = json_string_value(json_object_get(ret->state, "display"));
	ret->node = json_string_value(json_object_get(ret->state, "node"));
	if (ret->path && ret->node)
		return EXIT_DONE;
	log_err("vm[%s] has no display: give the step --vm-display=vnc",
		ret->rank);
	return EXIT_FAILED;
}

/* Where the whole step is on this node, its sockets are. */
static bool is_local(const struct invocation *inv, const struct call_where *w)
{
	_cleanup_free_ char *dir = NULL;

	call_local_dir(inv, w, &dir);
	return dir;
}

static int run_stdio(const struct invocation *inv, const struct call_where *w,
		     const struct display *d)
{
	const char *const words[] = { "display", "--here", NULL };
	struct invocation one = *inv;
	struct elsewhere conf = { .inv = &one,
				  .where = w,
				  .words = words,
				  .nodes = d->node,
				  .how = "--input=all",
				  .unbuffered = true };

	one.ranks = d->rank;
	return is_local(inv, w) ? to_socket(d->path) : elsewhere_run(&conf);
}

static int print(const struct invocation *inv, const struct display *d)
{
	json_t *o;

	if (!inv->json) {
		printf("%s:%s\n", d->node, d->path);
		return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
	}
	o = json_pack("{s:s, s:s, s:s, s:s}", "step", d->step, "rank", d->rank,
		      "node", d->node, "path", d->path);
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(o);
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* -- a socket for viewers -------------------------------------------------- */

static int listen_at(const char *path, struct errmsg *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	mode_t mask;
	int r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return errmsg_say(err, -ENAMETOOLONG,
				  "--socket=%s: is too long for a socket",
				  path);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mask = umask(077); /* it is its user's alone from its first moment */
	r = fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno
								       : 0;
	umask(mask);
	if (r < 0 || listen(fd, 8) < 0)
		return errmsg_set(err, r < 0 ? r : -errno, "--socket=%s", path);
	return TAKE_FD(fd);
}

/* Another vmstep is this viewer's connection. */
static void serve(const struct invocation *inv, const struct display *d, int fd)
{
	char config[PATH_MAX + 16];
	const char *argv[12] = { "vmstep", "-j",      d->step,	"-r",
				 d->rank,  "display", "--stdio" };
	sigset_t none;

	snprintf(config, sizeof(config), "--config=%s",
		 inv->config ? inv->config : "");
	if (inv->config)
		argv[7] = config;
	if (fork() != 0)
		return;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	_exit(EXIT_FAILED);
}

static void accept_all(const struct invocation *inv, const struct display *d,
		       int listener, int signals)
{
	struct pollfd p[2] = { { .fd = listener, .events = POLLIN },
			       { .fd = signals, .events = POLLIN } };
	struct signalfd_siginfo si;

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents && read(signals, &si, sizeof(si)) > 0 &&
		    si.ssi_signo != SIGCHLD)
			return;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (p[0].revents) {
			_cleanup_close_ int fd =
				accept4(listener, NULL, NULL, SOCK_CLOEXEC);

			if (fd >= 0)
				serve(inv, d, fd);
		}
	}
}

static int run_socket(const struct invocation *inv, const struct display *d)
{
	const char *path = inv->options[SOCKET];
	_cleanup_close_ int listener = -1, signals = -1;
	struct errmsg err;
	sigset_t set;

	listener = listen_at(path, &err);
	if (listener < 0) {
		log_err("%s", err.text);
		return EXIT_FAILED;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	fprintf(stderr, "vmstep: vm[%s] is at %s; interrupt ends it\n", d->rank,
		path);
	if (signals >= 0)
		accept_all(inv, d, listener, signals);
	unlink(path);
	return EXIT_DONE;
}

/* -------------------------------------------------------------------------- */

int display_run(const struct invocation *inv)
{
	struct display d = { 0 };
	struct call_where w;
	int status = call_where(inv, &w);

	if (status == EXIT_DONE && inv->options[HERE]) {
		status = run_here(&w);
	} else if (status == EXIT_DONE) {
		status = find(inv, &d);
		if (status != EXIT_DONE)
			;
		else if (inv->options[STDIO])
			status = run_stdio(inv, &w, &d);
		else if (inv->options[SOCKET])
			status = run_socket(inv, &d);
		else
			status = print(inv, &d);
	}
	json_decref(d.state);
	free(d.rank);
	free(d.step);
	call_where_done(&w);
	return status;
}
