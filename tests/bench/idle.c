/* What ports cost that carry nothing. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guests.h"

#define PORTS	  8
#define SETTLE_MS 100

/* Its own and the guests', without the program's file, which others may run;
 * -1: we may not look. */
static double pss_kib(pid_t pid)
{
	char path[64], line[128];
	double kib = 0;
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "Pss_Anon:", 9) == 0 ||
		    strncmp(line, "Pss_Shmem:", 10) == 0) {
			kib += strtod(strchr(line, ':') + 1, NULL);
			found++;
		}
	if (f)
		fclose(f);
	return found == 2 ? kib : -1;
}

static void idle(const struct bench *b, enum netctl_port kind, const char *name)
{
	const struct nodes_conf nc = {
		.program = b->program,
		.log = b->log,
		.nnodes = 1,
		.per_node = PORTS + 1,
		.cpu = (const int[]){ WORKER_CPU },
	};
	struct guest_conf conf = guest_conf_for(kind, 1500);
	struct nodes *s = nodes_start(&nc);
	struct guest *guests[PORTS + 1];
	double before = -1;
	int64_t cpu;
	pid_t pid = nodes_pid(s, 0);

	/* the first one pays for what all share */
	for (conf.rank = 0; conf.rank <= PORTS; conf.rank++) {
		if (conf.rank == 1) {
			usleep(SETTLE_MS * 1000);
			before = pss_kib(pid);
		}
		guests[conf.rank] = guest_new(&conf, s);
	}
	usleep(SETTLE_MS * 1000);
	cpu = process_cpu_ns(pid);
	sleep(b->idle_s);
	cpu = process_cpu_ns(pid) - cpu;
	report_add(b->report, "9 idle ports: vmstep-net's CPU", name, "us/s",
		   (double)cpu / 1e3 / b->idle_s);
	if (before >= 0)
		report_add(b->report, "memory (PSS) of one more idle port",
			   name, "KiB", (pss_kib(pid) - before) / PORTS);
	else
		report_note(b->report, "memory of a port: needs root");
	for (int i = 0; i <= PORTS; i++)
		guest_free(guests[i]);
	nodes_end(s);
}

void bench_idle(const struct bench *b)
{
	idle(b, NETCTL_VHOST_USER, "vhost-user");
	idle(b, NETCTL_STREAM, "stream");
}
