/* Frames that nobody takes, as fast as they are accepted: does memory grow? */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "bench.h"
#include "crowd.h"
#include "frames.h"
#include "proc.h"

#define NODES	 2
#define PER_NODE 2
#define BATCH	 32
#define LEN	 1500
#define SETTLED	 0.5  /* of the time: queues fill, and buffers are kept */
#define FLAT_KIB 64.0 /* more than this is growth */

enum ranks { SENDER, STOPPED_HERE, STOPPED_THERE, TAKER };

enum kind { HERE, THERE, UNKNOWN, BROADCAST, RANDOM, KINDS };

static const char *const names[KINDS] = {
	[HERE] = "to a guest that has stopped",
	[THERE] = "to one of another node that has stopped",
	[UNKNOWN] = "to an address that nobody has",
	[BROADCAST] = "broadcasts",
	[RANDOM] = "with senders by chance, to a guest that takes them",
};

struct flood {
	enum kind kind;
	struct load load;
	uint64_t random;
};

static size_t fill(uint8_t *at, size_t max, unsigned int pair,
		   struct virtio_net_hdr_v1 *hdr, void *arg)
{
	static const uint8_t nobody[] = { 0x02, 0, 0, 0, 0, 1 };
	struct flood *f = arg;
	size_t len = load_fill(at, max, pair, hdr, &f->load);

	if (f->kind == UNKNOWN)
		memcpy(at, nobody, sizeof(nobody));
	else if (f->kind == BROADCAST)
		memset(at, 0xff, ADDR_MAC_LEN);
	if (f->kind != RANDOM)
		return len;
	f->random = f->random * 6364136223846793005u + 1442695040888963407u;
	memcpy(at + ADDR_MAC_LEN, &f->random, ADDR_MAC_LEN);
	at[ADDR_MAC_LEN] = 0x02; /* unicast, of nobody's making */
	return len;
}

static double memory_kib(const struct crowd *c, const char *name)
{
	double sum = 0;

	for (uint32_t n = 0; n < NODES; n++)
		sum += proc_status(nodes_pid(c->nodes, n), name);
	return sum;
}

/* For a second; frames. */
static uint64_t pour(struct crowd *c, struct flood *f, struct sink *sink)
{
	int64_t until = now_ns() + 1000000000ll;
	uint64_t before = f->load.sent;

	while (now_ns() < until) {
		guest_send(c->guests[SENDER], 0, BATCH, fill, f);
		guest_recv(c->guests[TAKER], 2 * BATCH, sink_take, sink);
	}
	return f->load.sent - before;
}

static bool flood(const struct bench *b, struct crowd *c, enum kind kind)
{
	struct flood f = { .kind = kind,
			   .load = { .from = SENDER, .len = LEN },
			   .random = 1 };
	unsigned int settled = (unsigned int)(SETTLED * b->flood_s) + 1;
	double own, from = 0, most = 0;
	struct sink sink = { 0 };
	char group[REPORT_NAME_MAX];
	uint64_t n;

	f.load.to = kind == HERE    ? STOPPED_HERE
		    : kind == THERE ? STOPPED_THERE
				    : TAKER;
	snprintf(group, sizeof(group), "a flood %s", names[kind]);
	for (unsigned int s = 1; s <= b->flood_s; s++) {
		n = pour(c, &f, &sink);
		own = memory_kib(c, "RssAnon:");
		fprintf(stderr,
			"%s, %u s: %" PRIu64
			" frames, RSS %.0f KiB, of which its own %.0f KiB\n",
			group, s, n, memory_kib(c, "VmRSS:"), own);
		report_add(b->report, group, "frames that were taken",
			   "Mframe/s", (double)n / 1e6);
		report_add(b->report, group, "memory of two vmstep-net", "KiB",
			   own);
		if (s <= settled)
			from = own > from ? own : from;
		most = own > most ? own : most;
	}
	report_add(b->report, group, "growth in the second half", "KiB",
		   most - from);
	if (most - from > FLAT_KIB)
		report_note(b->report, "%s: memory grew by %.0f KiB", group,
			    most - from);
	return most - from <= FLAT_KIB;
}

bool bench_flood(const struct bench *b)
{
	const struct crowd_conf conf = { b->program, NODES, PER_NODE, 0,
					 NETCTL_VHOST_USER };
	bool ok = true;
	struct crowd c;

	for (int kind = 0; kind < KINDS; kind++) {
		crowd_start(&c, &conf);
		nodes_table(c.nodes);
		ok &= flood(b, &c, (enum kind)kind);
		crowd_end(&c);
	}
	return ok;
}
