/* One guest of four stops taking frames: what do the others still get? */
#include <config.h>

#include <stdio.h>

#include "guests.h"

#define RECEIVERS 4
#define PAUSED	  3
#define BATCH	  32
#define LEN	  64 /* what is dropped costs no copy: compare frames */
#define WARM_MS	  100
#define WINDOW_MS 5000 /* with the wait that a stop costs */
#define ONSET_MS  500  /* within which that is over */

struct ring {
	struct nodes *nodes;
	unsigned int senders; /* 1: to all four in turn; 4: to one each */
	struct guest *from[RECEIVERS], *to[RECEIVERS];
	struct load load[RECEIVERS]; /* by receiver */
	struct sink sink[RECEIVERS];
	unsigned int turn;
};

static void start(struct ring *r, const struct bench *b, unsigned int senders)
{
	const int cpu = WORKER_CPU;
	const struct nodes_conf nc = {
		.program = b->program,
		.log = b->log,
		.nnodes = 1,
		.per_node = senders + RECEIVERS,
		.cpu = &cpu,
	};
	struct guest_conf conf = guest_conf_for(NETCTL_VHOST_USER, LEN);

	*r = (struct ring){ .nodes = nodes_start(&nc), .senders = senders };
	for (unsigned int i = 0; i < senders; i++, conf.rank++)
		r->from[i] = guest_new(&conf, r->nodes);
	for (unsigned int i = 0; i < RECEIVERS; i++, conf.rank++) {
		r->to[i] = guest_new(&conf, r->nodes);
		r->load[i] = (struct load){ .from = senders > 1 ? i : 0,
					    .to = conf.rank,
					    .len = LEN };
	}
}

static void end(struct ring *r)
{
	for (unsigned int i = 0; i < r->senders; i++)
		guest_free(r->from[i]);
	for (unsigned int i = 0; i < RECEIVERS; i++)
		guest_free(r->to[i]);
	nodes_end(r->nodes);
}

static size_t fill_in_turn(uint8_t *at, size_t max, unsigned int pair,
			   struct virtio_net_hdr_v1 *hdr, void *arg)
{
	struct ring *r = arg;

	return load_fill(at, max, pair, hdr, &r->load[r->turn++ % RECEIVERS]);
}

static void send_all(struct ring *r)
{
	if (r->senders == 1) {
		guest_send(r->from[0], 0, BATCH, fill_in_turn, r);
		return;
	}
	for (unsigned int i = 0; i < RECEIVERS; i++)
		guest_send(r->from[i], 0, BATCH, load_fill, &r->load[i]);
}

/* Frames/s of the three that go on. */
static double run(struct ring *r, bool paused, unsigned int ms)
{
	int64_t start = now_ns(), until = start + ms * 1000000ll, now;
	uint64_t before = 0, after = 0;

	for (int i = 0; i < PAUSED; i++)
		before += r->sink[i].frames;
	while ((now = now_ns()) < until) {
		send_all(r);
		for (int i = 0; i < (paused ? PAUSED : RECEIVERS); i++)
			guest_recv(r->to[i], 2 * BATCH, sink_take, &r->sink[i]);
	}
	for (int i = 0; i < PAUSED; i++)
		after += r->sink[i].frames;
	return (double)(after - before) * 1e9 / (double)(now - start);
}

static void round_of(const struct bench *b, struct ring *r, const char *group)
{
	double all, onset, rest, with;

	run(r, false, WARM_MS);
	all = run(r, false, WINDOW_MS);
	onset = run(r, true, ONSET_MS);
	rest = run(r, true, WINDOW_MS - ONSET_MS);
	with = (onset * ONSET_MS + rest * (WINDOW_MS - ONSET_MS)) / WINDOW_MS;
	report_add(b->report, group, "three guests, all four taking",
		   "Mframe/s", all / 1e6);
	report_add(b->report, group, "the same, the fourth paused", "Mframe/s",
		   with / 1e6);
	report_add(b->report, group, "with : without", "ratio", with / all);
	report_add(b->report, group, "with : without, after 0.5 s", "ratio",
		   rest / all);
}

void bench_paused(const struct bench *b)
{
	static const char *const groups[] = {
		"one guest sends to four in turn; 5 s, one pauses",
		"four guests send to one each; 5 s, one pauses"
	};
	struct ring r[2];

	pin(GENERATOR_CPU);
	for (int i = 0; i < 2; i++)
		start(&r[i], b, i ? RECEIVERS : 1);
	for (unsigned int n = 0; n < b->rounds; n++)
		for (int i = 0; i < 2; i++)
			round_of(b, &r[i], groups[i]);
	for (int i = 0; i < 2; i++)
		end(&r[i]);
}
