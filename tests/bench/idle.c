/* What ports cost that carry nothing. */
#include <config.h>

#include <stdio.h>
#include <unistd.h>

#include "couple.h"
#include "proc.h"

#define PORTS	  8
#define SETTLE_MS 100

/* CPU ms. */
static double idle(const struct bench *b, enum netctl_port kind,
		   const char *name)
{
	const struct nodes_conf nc = {
		.program = b->program,
		.log = b->log,
		.nnodes = 1,
		.per_node = PORTS,
		.cpu = (const int[]){ WORKER_CPU },
	};
	struct guest_conf conf = guest_conf_for(kind, 1500);
	struct nodes *s = nodes_start(&nc);
	struct guest *guests[PORTS];
	double before = -1;
	char group[REPORT_NAME_MAX];
	int64_t cpu;
	pid_t pid = nodes_pid(s, 0);

	/* the first one pays for what all share */
	for (conf.rank = 0; conf.rank < PORTS; conf.rank++) {
		if (conf.rank == 1) {
			usleep(SETTLE_MS * 1000);
			before = proc_pss_kib(pid);
		}
		guests[conf.rank] = guest_new(&conf, s);
	}
	usleep(SETTLE_MS * 1000);
	cpu = process_cpu_ns(pid);
	sleep(b->idle_s);
	cpu = process_cpu_ns(pid) - cpu;
	snprintf(group, sizeof(group), "%d idle ports, %u s: vmstep-net's CPU",
		 PORTS, b->idle_s);
	report_add(b->report, group, name, "ms", (double)cpu / 1e6);
	if (before >= 0)
		report_add(b->report, "memory (PSS) of one more idle port",
			   name, "KiB",
			   (proc_pss_kib(pid) - before) / (PORTS - 1));
	else
		report_note(b->report, "memory of a port: needs root");
	for (int i = 0; i < PORTS; i++)
		guest_free(guests[i]);
	nodes_end(s);
	return (double)cpu / 1e6;
}

double bench_idle(const struct bench *b)
{
	idle(b, NETCTL_STREAM, "stream");
	return idle(b, NETCTL_VHOST_USER, "vhost-user");
}
