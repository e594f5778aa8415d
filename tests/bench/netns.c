#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "netns.h"

const char *const netns_address[2] = { "192.0.2.1", "192.0.2.2" };

static int open_own(void)
{
	return check(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC),
		     "this network namespace");
}

static void enter(int netns)
{
	check(setns(netns, CLONE_NEWNET), "enter a network namespace");
}

pid_t netns_run(int netns, int cpu, int out, char *const argv[])
{
	pid_t pid = check(fork(), "fork");

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter(netns);
	if (cpu >= 0)
		pin(cpu);
	if (out >= 0)
		dup2(out, STDOUT_FILENO);
	execvp(argv[0], argv);
	die("%s: %s", argv[0], strerror(errno));
}

__attribute__((format(printf, 2, 3))) static void shell(int netns,
							const char *fmt, ...)
{
	char line[512];
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-ec" }, line, NULL };
	int status = 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	waitpid(netns_run(netns, -1, -1, argv), &status, 0);
	if (status)
		die("failed: %s", line);
}

bool netns_make(int ret[2])
{
	int own = open_own();

	for (int i = 0; i < 2; i++) {
		if (unshare(CLONE_NEWNET) < 0)
			return false;
		ret[i] = open_own();
	}
	enter(own);
	close(own);
	shell(ret[0],
	      "ip link add bench0 mtu %d type veth peer name bench1 mtu %d netns /proc/%d/fd/%d",
	      NETNS_MTU, NETNS_MTU, (int)getpid(), ret[1]);
	for (int i = 0; i < 2; i++)
		shell(ret[i],
		      "ip link set lo up; ip address add %s/24 dev bench%d; ip link set bench%d up",
		      netns_address[i], i, i);
	return true;
}

int netns_socket(int netns, int family, int type)
{
	int own = open_own(), fd;

	enter(netns);
	fd = check(socket(family, type | SOCK_CLOEXEC, 0), "socket");
	enter(own);
	close(own);
	return fd;
}

uint64_t netns_received(int netns)
{
	unsigned long long bytes = 0, n;
	int own = open_own();
	char line[512];
	FILE *f;

	enter(netns);
	f = fopen("/proc/thread-self/net/dev", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " bench%*d: %llu", &n) == 1)
			bytes += n;
	if (f)
		fclose(f);
	enter(own);
	close(own);
	return bytes;
}
