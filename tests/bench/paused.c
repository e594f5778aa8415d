/* One guest of four stops taking frames: what do the others still get? */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "couple.h"

#define RECEIVERS 4
#define PAUSED	  3
#define BATCH	  32
#define WARM_MS	  100
#define TURN_MS	  250
#define TURNS	  5    /* a round; more would not be waited for (flow.h) */
#define ONSET_MS  500  /* after a stop, in which the wait for it is over */
#define WINDOW_MS 5000 /* in which a stop is to cost little, wait and all */

static const struct kind {
	unsigned int senders; /* 1: to all four in turn; 4: to one each */
	size_t len;
	unsigned int nnodes; /* 2: over a link */
	const char *options, *name;
} kinds[] = {
	{ 1, 64, 1, NULL, "" },
	{ 1, 1500, 1, NULL, "" },
	{ RECEIVERS, 64, 1, NULL, "" },
	{ RECEIVERS, 1500, 1, NULL, "" },
	{ 1, 1500, 1, "--workers=3", ", 3 workers" },
	{ RECEIVERS, 1500, 1, "--workers=3", ", 3 workers" },
	{ 1, 64, 2, NULL, ", over a link" },
	{ 1, 1500, 2, NULL, ", over a link" },
	{ RECEIVERS, 1500, 2, NULL, ", over a link" },
	{ RECEIVERS, 1500, 2, "--workers=3", ", over a link, 3 workers" },
};

struct ring {
	struct nodes *nodes;
	const struct kind *kind;
	unsigned int sending; /* guests that could */
	char group[REPORT_NAME_MAX];
	struct guest *from[RECEIVERS], *to[RECEIVERS];
	struct load load[RECEIVERS]; /* by receiver */
	struct sink sink[RECEIVERS];
	unsigned int turn;
};

static void start(struct ring *r, const struct bench *b, const struct kind *k)
{
	const int cpus[] = { WORKER_CPU, WORKER_CPU };
	unsigned int sending = k->nnodes > 1 ? RECEIVERS : k->senders;
	const struct nodes_conf nc = {
		.program = b->program,
		.log = b->log,
		.options = k->options,
		.nnodes = k->nnodes,
		.per_node = (sending + RECEIVERS) / k->nnodes,
		.cpu = cpus,
	};
	struct guest_conf conf = guest_conf_for(NETCTL_VHOST_USER, k->len);

	*r = (struct ring){ nodes_start(&nc), k, sending };
	snprintf(r->group, sizeof(r->group), "%s, %zu bytes%s; one pauses",
		 k->senders > 1 ? "four guests send to one each"
				: "one guest sends to four in turn",
		 k->len, k->name);
	for (unsigned int i = 0; i < sending; i++, conf.rank++)
		r->from[i] = guest_new(&conf, r->nodes);
	for (unsigned int i = 0; i < RECEIVERS; i++, conf.rank++) {
		r->to[i] = guest_new(&conf, r->nodes);
		r->load[i] = (struct load){ .from = k->senders > 1 ? i : 0,
					    .to = conf.rank,
					    .len = k->len };
	}
	if (k->nnodes > 1)
		nodes_table(r->nodes);
}

static void end(struct ring *r)
{
	for (unsigned int i = 0; i < r->sending; i++)
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
	if (r->kind->senders == 1) {
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

/* What disturbs the machine for longer than a turn disturbs both sides. */
static void turn(const struct bench *b, struct ring *r)
{
	const char *group = r->group;
	double all, onset, rest, with;

	run(r, false, WARM_MS);
	all = run(r, false, TURN_MS);
	onset = run(r, true, ONSET_MS);
	rest = run(r, true, TURN_MS);
	run(r, false, WARM_MS);
	all = (all + run(r, false, TURN_MS)) / 2;
	with = (onset * ONSET_MS + rest * (WINDOW_MS - ONSET_MS)) / WINDOW_MS;
	report_add(b->report, group, "three guests, all four taking",
		   "Mframe/s", all / 1e6);
	report_add(b->report, group, "the same, the fourth paused", "Mframe/s",
		   rest / 1e6);
	report_add(b->report, group, "paused : taking", "ratio", rest / all);
	report_add(b->report, group, "... with the wait, in 5 s", "ratio",
		   with / all);
}

static void round_of(const struct bench *b, struct ring *r)
{
	for (unsigned int i = 0; i < TURNS; i++)
		turn(b, r);
}

void bench_paused(const struct bench *b)
{
	struct ring r[ARRAY_SIZE(kinds)];
	bool wanted[ARRAY_SIZE(kinds)];

	pin(GENERATOR_CPU);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		wanted[i] = !b->variant || strstr(kinds[i].name, b->variant);
		if (wanted[i])
			start(&r[i], b, &kinds[i]);
	}
	for (unsigned int n = 0; n < b->rounds; n++)
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (wanted[i])
				round_of(b, &r[i]);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (wanted[i])
			end(&r[i]);
}
