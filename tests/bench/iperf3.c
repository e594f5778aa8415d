/* iperf3 over the same link, where it is installed: the machine's own figure.
 */
#include <config.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "netns.h"
#include "quiet.h"

#define WAIT_MS 5000
#define PORT	"5201"
#define LISTENS ":1451 " /* that port, in /proc/net/tcp */

static bool listens(pid_t pid)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/net/tcp6", (int)pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, LISTENS);
	if (f)
		fclose(f);
	return found;
}

/* Its client's report: what follows "sum_received". */
static double received_bits(FILE *f)
{
	static const char key[] = "\"bits_per_second\":";
	char line[512];
	bool found = false;
	const char *at;

	while (fgets(line, sizeof(line), f)) {
		found |= strstr(line, "\"sum_received\"") != NULL;
		at = strstr(line, key);
		if (found && at)
			return strtod(at + sizeof(key) - 1, NULL);
	}
	return 0;
}

#define ARG(text) ((char[]){ text })

static double run(const int netns[2])
{
	char address[32];
	char *server[] = { ARG("iperf3"), ARG("-s"), ARG("-1"),
			   ARG("-p"),	  ARG(PORT), NULL };
	char *client[] = { ARG("iperf3"), ARG("-c"), address,
			   ARG("-p"),	  ARG(PORT), ARG("-t1"),
			   ARG("-l64K"),  ARG("-J"), NULL };
	int null = check(open("/dev/null", O_WRONLY | O_CLOEXEC), "/dev/null");
	int64_t until = now_ns() + WAIT_MS * 1000000ll;
	pid_t pids[2];
	double bits;
	int out[2];
	FILE *f;

	snprintf(address, sizeof(address), "%s", netns_address[1]);
	check(pipe2(out, O_CLOEXEC), "pipe");
	pids[1] = netns_run(netns[1], 1, null, server);
	while (!listens(pids[1]) && now_ns() < until)
		poll(NULL, 0, 5);
	pids[0] = netns_run(netns[0], 0, out[1], client);
	close(out[1]);
	close(null);
	f = fdopen(out[0], "r");
	bits = f ? received_bits(f) : 0;
	if (f)
		fclose(f);
	for (int i = 0; i < 2; i++)
		waitpid(pids[i], NULL, 0);
	return bits;
}

void bench_iperf3(const struct bench *b, const int netns[2])
{
	double bits = 0;

	if (access("/usr/bin/iperf3", X_OK) < 0) {
		report_note(b->report, "iperf3 is not installed");
		return;
	}
	for (struct quiet q = { 0 }; quiet_again(&q, b);)
		bits = run(netns);
	if (bits > 0)
		report_add(b->report, "two nodes", "iperf3 -l64K", "Gbit/s",
			   bits / 1e9);
	else
		report_note(b->report, "iperf3 did not work");
}
