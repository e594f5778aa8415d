/* vmstep-agent - the host's hand in a guest
 *
 * Waits at a virtio port for vmstep-helper and does what it asks: sets the
 * network up, runs commands, copies files, ends the guest (doc/agent-port.md).
 * Static, one thread, one event loop.
 *
 * Called vmop it is that, for programs of the guest (vmop.c).
 *
 * Starts early: nothing is needed but a kernel, /dev and /proc.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "cleanup.h"
#include "fam.h"
#include "job.h"
#include "kernel.h"
#include "log.h"
#include "netconf.h"
#include "opsock.h"
#include "port.h"
#include "power.h"
#include "proc.h"
#include "session.h"
#include "vmop.h"

struct options {
	const char *port; /* NULL: find it */
	const char *log;  /* NULL: stderr */
	const char *ops;  /* NULL: OPSOCK_PATH; of another port: none */
	char *kernels;	  /* NULL: KERNEL_ADDED and KERNEL_SHIPPED */
	bool daemon;
};

static const char usage[] =
	"usage: vmstep-agent [--port=PATH] [--daemon] [--log=FILE|kmsg]\n"
	"\n"
	"Runs in a virtual machine of vmstep and does what the host asks.\n"
	"\n"
	"  --port=PATH  a device, or a unix socket to connect to\n"
	"               (the virtio port " PORT_NAME ")\n"
	"  --daemon     go into the background once started\n"
	"  --ops=PATH   where programs of the guest ask the host, as vmop does\n"
	"               (" OPSOCK_PATH "; with --port none)\n"
	"  --kernels=ADDED:SHIPPED\n"
	"               the directories of kernels, those that are made while it\n"
	"               runs and those of the image\n"
	"               (" KERNEL_ADDED ":" KERNEL_SHIPPED ")\n"
	"  --log=FILE   append messages to FILE; kmsg: the kernel's log\n"
	"               (stderr; with --daemon kmsg)\n"
	"  --version    print the version\n"
	"  --help       print this text\n"
	"\n"
	"A second agent for the same port says so and exits with status 0.\n";

static void parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "daemon", no_argument, NULL, 'd' },
		{ "log", required_argument, NULL, 'l' },
		{ "ops", required_argument, NULL, 'o' },
		{ "kernels", required_argument, NULL, 'k' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "p:dl:o:k:Vh", longs, NULL)) != -1)
		switch (c) {
		case 'p':
			o->port = optarg;
			break;
		case 'd':
			o->daemon = true;
			break;
		case 'l':
			o->log = optarg;
			break;
		case 'o':
			o->ops = optarg;
			break;
		case 'k':
			o->kernels = optarg;
			break;
		case 'V':
			puts("vmstep-agent " PACKAGE_VERSION);
			exit(0);
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	if (optind < argc) {
		fprintf(stderr,
			"vmstep-agent: %s: takes no arguments; see --help\n",
			argv[optind]);
		exit(2);
	}
}

/* Whoever started us may have left us more than the three; our children are
 * not to have them. */
static void close_inherited(void)
{
	long max = sysconf(_SC_OPEN_MAX);

	for (int fd = 3; fd < 4096 && fd < max; fd++)
		close(fd);
}

static void claim_port(const struct options *o)
{
	int r = port_claim(o->port);

	if (r == -EADDRINUSE) {
		log_info("another agent serves this port already");
		exit(0);
	}
	if (r < 0) /* no unix sockets in this kernel: nothing is lost by it */
		log_warn("cannot tell whether another agent runs: %s",
			 strerror(-r));
}

static void set_kernels(const struct options *o)
{
	char *shipped = o->kernels;
	const char *added = strsep(&shipped, ":");

	if (!added)
		return;
	if (!shipped || *added != '/' || *shipped != '/') {
		log_err("--kernels=%s: two directories, each from /, and a colon between them",
			added);
		exit(2);
	}
	kernel_set_dirs(added, shipped);
}

static void go_into_background(const struct options *o)
{
	int null, r = 0;
	pid_t pid;

	if (!o->daemon)
		return;
	pid = fork();
	if (pid > 0)
		_exit(0);
	null = pid < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || setsid() < 0 || chdir("/") < 0)
		r = -errno;
	for (int fd = 0; r == 0 && fd < 3; fd++)
		if (dup2(null, fd) < 0)
			r = -errno;
	if (r < 0) {
		log_err("cannot go into the background: %s", strerror(-r));
		exit(1);
	}
}

static void open_log(const struct options *o)
{
	const char *path = o->log ? o->log : o->daemon ? "kmsg" : NULL;
	int fd;

	if (!path)
		return;
	if (strcmp(path, "kmsg") == 0)
		fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	else
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
			  0644);
	if (fd >= 0)
		log_setup("agent", fd, LOG_LEVEL_INFO);
	else /* it runs without a log rather than not at all */
		log_warn("%s: %s, messages go to stderr", path,
			 strerror(errno));
}

/* What comes here unasked must not stop the agent: pipes that break, a terminal
 * that closes, memory that runs out. */
static void protect(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (fd < 0)
		return;
	if (write(fd, "-900", 4) < 0)
		log_debug("oom_score_adj: %s", strerror(errno));
	close(fd);
}

static void on_terminate(const struct signalfd_siginfo *si, void *arg)
{
	struct agent *a = arg;

	log_info("signal %u, ending; processes go on", si->ssi_signo);
	loop_stop(a->loop, 0);
}

/* An agent without it does what the host asks all the same. */
static void open_opsock(const struct options *o, struct agent *a)
{
	const char *path = o->ops ? o->ops : o->port ? NULL : OPSOCK_PATH;
	struct errmsg err;

	if (path && opsock_new(a, path, &a->opsock, &err) < 0)
		log_warn("vmop does not work here: %s", err.text);
}

/* Of a guest, not where a test has it at a port of its own. */
static void link_fam(const struct options *o)
{
	int r = o->port ? 0 : fam_link(FAM_DEVICES, FAM_PATH);

	if (r < 0)
		log_warn(FAM_PATH ": %s", strerror(-r));
}

static int serve(const struct options *o, struct errmsg *err)
{
	struct session *session = NULL;
	struct agent a = { 0 };
	int r;

	r = loop_new(&a.loop, err);
	if (r == 0)
		r = loop_signal(a.loop, SIGTERM, on_terminate, &a, err);
	if (r == 0)
		r = loop_signal(a.loop, SIGINT, on_terminate, &a, err);
	if (r == 0 && !(a.procs = procs_new(&a)))
		r = errmsg_set(err, -ENOMEM, "process table");
	if (r == 0 && !(a.jobs = jobs_new(&a)))
		r = errmsg_set(err, -ENOMEM, "table of jobs");
	if (r == 0)
		r = session_new(&a, o->port, &session, err);
	if (r == 0)
		open_opsock(o, &a);
	if (r == 0)
		r = loop_run(a.loop);

	opsock_free(a.opsock);
	netconf_free(&a);
	power_free(&a);
	procs_free(a.procs);
	jobs_free(a.jobs);
	session_free(session);
	loop_free(a.loop);
	return r;
}

/* By the name that it is called by. */
static bool is_vmop(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	return strcmp(slash ? slash + 1 : argv0, "vmop") == 0;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct errmsg err = { "event loop" };

	if (is_vmop(argv[0]))
		return vmop_main(argc, argv);
	parse_options(argc, argv, &o);
	log_setup("agent", STDERR_FILENO, LOG_LEVEL_INFO);
	close_inherited();
	set_kernels(&o);
	claim_port(&o);
	open_log(&o);
	go_into_background(&o);
	protect();
	link_fam(&o);

	if (serve(&o, &err) < 0) {
		log_err("%s", err.text);
		return 1;
	}
	return 0;
}
