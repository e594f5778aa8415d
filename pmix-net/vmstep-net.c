/* vmstep-net - the Ethernet forwarder: one a node and job step
 *
 * Started by the node's first vmstep-helper, which hands it a listening socket
 * for the helpers (lib/netctl.h). Runs as the user, in one thread or more
 * (workers.h), with stdio at /dev/null; ends when the last helper has left.
 * doc/net.md describes what it says to helpers and to other nodes.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "confine.h"
#include "ctl.h"
#include "log.h"
#include "loop.h"
#include "node.h"
#include "options.h"

/* --help and --version, to a person. */
static int introduce(const struct options *o)
{
	if (o->help)
		fputs("vmstep-net carries the frames of a step's VMs. vmstep-helper starts it\n"
		      "(srun --vm-image=...), with the options that vmstep-net(8) has.\n"
		      "\n"
		      "  --help     print this\n"
		      "  --version  print the version\n",
		      stdout);
	else
		printf("vmstep-net %s\n", PACKAGE_VERSION);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The lowest of @fds from @from on; INT_MAX: none. */
static int next_fd(const int *fds, size_t n, int from)
{
	int next = INT_MAX;

	for (size_t i = 0; i < n; i++)
		if (fds[i] >= from && fds[i] < next)
			next = fds[i];
	return next;
}

/* Nothing is held that this process was not given on purpose. */
static int keep_only(const int *fds, size_t n, struct errmsg *err)
{
	int from = 3, next;

	do {
		next = next_fd(fds, n, from);
		if (next > from && close_range((unsigned int)from,
					       (unsigned int)next - 1, 0) < 0)
			return errmsg_set(err, -errno,
					  "close inherited descriptors");
		if (next < INT_MAX && fcntl(next, F_SETFD, FD_CLOEXEC) < 0)
			return errmsg_set(err, -errno,
					  "inherited descriptor %d", next);
		from = next < INT_MAX ? next + 1 : INT_MAX;
	} while (next < INT_MAX);
	return 0;
}

/* Others of the same user may not look into the key or the frames. */
static int drop_privileges(struct errmsg *err)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return errmsg_set(err, -errno, "PR_SET_DUMPABLE");
	if (syscall(SYS_capset, &header, none) < 0)
		return errmsg_set(err, -errno, "capset");
	return 0;
}

/* A socket for each link of a large step. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("the limit of open files stays where it is: %m");
}

/* -1 where none is wanted. */
static int open_log(const struct options *o, int *ret, struct errmsg *err)
{
	char tag[128];

	*ret = o->log_fd;
	if (o->log) {
		*ret = open(o->log,
			    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
				    O_NOFOLLOW,
			    0600);
		if (*ret < 0)
			return errmsg_set(err, -errno, "%s", o->log);
	}
	snprintf(tag, sizeof(tag), "net@%s", o->node);
	log_setup(tag, STDERR_FILENO, LOG_LEVEL_WARN);
	log_to_file(*ret, o->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	return 0;
}

static void on_usr1(const struct signalfd_siginfo *si, void *arg)
{
	node_log_counters(arg);
}

/* The step's signals are for its tasks: the network stays as long as they. And
 * a log may be a pipe that nobody reads any more. */
static void ignore_signals(void)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE };

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

/* Nobody reads our stderr, and the helpers have someone to tell. */
static void turn_away(int ctl_fd, struct errmsg *err)
{
	errmsg_prefix(err, 0, "vmstep-net cannot start");
	ctl_turn_away(ctl_fd, err->text);
}

int main(int argc, char **argv)
{
	struct options o;
	struct loop *loop = NULL;
	struct node *node = NULL;
	struct errmsg err = { "" };
	int log_fd = -1, r;

	r = options_parse(&o, argc, argv, &err);
	if (r == 0 && (o.help || o.version)) {
		options_done(&o);
		return introduce(&o);
	}
	ignore_signals();
	if (r == 0)
		r = keep_only((const int[]){ o.ctl_fd, o.lock_fd, o.link_fd,
					     o.log_fd },
			      4, &err);
	if (r == 0)
		r = open_log(&o, &log_fd, &err);
	if (r == 0)
		r = drop_privileges(&err);
	if (r == 0)
		r = confine(&o, &err);
	if (r == 0) {
		raise_descriptors();
		r = loop_new(&loop, &err);
	}
	if (r == 0)
		r = node_new(&o, loop, &node, &err);
	if (r == 0)
		r = loop_signal(loop, SIGUSR1, on_usr1, node, &err);
	if (r == 0) {
		r = loop_run(loop);
		errmsg_set(&err, r, "event loop");
		node_log_counters(node);
	}
	if (r < 0)
		log_err("%s", err.text);
	if (!node && o.ctl_fd >= 0)
		turn_away(o.ctl_fd, &err);

	node_free(node);
	loop_free(loop);
	options_done(&o);
	if (log_fd >= 0)
		close(log_fd);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
