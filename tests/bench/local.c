/* Two guests of one node; one thread plays both, spinning on GENERATOR_CPU. */
#include <config.h>

#include <stdio.h>

#include "couple.h"
#include "quiet.h"
#include "yardstick.h"

#define BATCH	32 /* frames a guest sends before it says so */
#define WARM_MS 50

static const struct kind {
	enum netctl_port port;
	const char *name;
} kinds[] = {
	{ NETCTL_VHOST_USER, "vhost-user" },
	{ NETCTL_STREAM, "stream" },
};

static uint64_t flow_for(struct couple *c, struct load *load, struct sink *sink,
			 unsigned int ms)
{
	int64_t until = now_ns() + ms * 1000000ll;
	uint64_t before = sink->frames;

	while (now_ns() < until) {
		guest_send(c->guests[0], 0, BATCH, load_fill, load);
		guest_recv(c->guests[1], 2 * BATCH, sink_take, sink);
	}
	return sink->frames - before;
}

/* Frames/s; 0: this device does not take such frames. */
static double flow(const struct bench *b, enum netctl_port kind, size_t len,
		   double *cpu_ns_frame)
{
	struct guest_conf conf = guest_conf_for(kind, len);
	struct load load = { .from = 0, .to = 1, .len = len };
	struct sink sink = { 0 };
	struct couple c;
	int64_t start, cpu;
	uint64_t n = 0;

	pin(GENERATOR_CPU);
	couple_start(&c, b, &conf, NULL);
	if (len != TSO_BYTES || (couple_has(&c, VIRTIO_NET_F_HOST_TSO4) &&
				 couple_has(&c, VIRTIO_NET_F_GUEST_TSO4))) {
		flow_for(&c, &load, &sink, WARM_MS);
		start = now_ns();
		cpu = couple_cpu_ns(&c);
		n = flow_for(&c, &load, &sink, b->ms);
		cpu = couple_cpu_ns(&c) - cpu;
		start = now_ns() - start;
		if (!n)
			die("no frame arrived");
		*cpu_ns_frame = (double)cpu / (double)n;
	}
	couple_end(&c);
	return n ? (double)n * 1e9 / (double)start : 0;
}

static void local_frames(const struct bench *b, size_t len, const char *size)
{
	double copy = 0, back = 0, rate[2] = { 0 }, cpu = 0;
	char name[64], group[64];

	snprintf(group, sizeof(group), "same node, frames of %s", size);
	for (struct quiet q = { 0 }; quiet_again(&q, b);)
		copy = yardstick_copy(len, b->ms, false);
	for (struct quiet q = { 0 }; quiet_again(&q, b);)
		back = yardstick_copy(len, b->ms, true);
	report_add(b->report, group, "one copy", "Mframe/s", copy / 1e6);
	report_add(b->report, group, "one copy, read back", "Mframe/s",
		   back / 1e6);
	for (int i = 0; i < 2; i++) {
		if (len == TSO_BYTES && kinds[i].port == NETCTL_STREAM)
			continue; /* has no offloads */
		for (struct quiet q = { 0 }; quiet_again(&q, b);)
			rate[i] = flow(b, kinds[i].port, len, &cpu);
		if (rate[i] == 0) {
			report_note(b->report, "%s: the device offers no TSO",
				    kinds[i].name);
			continue;
		}
		report_add(b->report, group, kinds[i].name, "Mframe/s",
			   rate[i] / 1e6);
		snprintf(name, sizeof(name), "%s, payload", kinds[i].name);
		report_add(b->report, group, name, "Gbit/s",
			   rate[i] * 8e-9 * (double)len);
		snprintf(name, sizeof(name), "%s, vmstep-net's CPU",
			 kinds[i].name);
		report_add(b->report, group, name, "ns/frame", cpu);
	}
	if (rate[0] == 0)
		return;
	report_add(b->report, group, "vhost-user : one copy", "ratio",
		   rate[0] / copy);
	report_add(b->report, group, "vhost-user : one copy, read back",
		   "ratio", rate[0] / back);
	if (rate[1] > 0)
		report_add(b->report, group, "vhost-user : stream", "ratio",
			   rate[0] / rate[1]);
}

void bench_local(const struct bench *b)
{
	local_frames(b, 64, "64 bytes");
	local_frames(b, 1500, "1500 bytes");
	local_frames(b, TSO_BYTES, "64 KiB, TSO");
}

/* -- round trips ---------------------------------------------------------- */

static double add_latency(const struct bench *b, const char *group,
			  const char *name, struct latency *l)
{
	char p99[80];

	latency_sort(l);
	report_add(b->report, group, name, "us", latency_us(l, 0.5));
	snprintf(p99, sizeof(p99), "%s, p99", name);
	report_add(b->report, group, p99, "us", latency_us(l, 0.99));
	return latency_us(l, 0.5);
}

static double trips(const struct bench *b, const char *group, const char *name,
		    enum netctl_port kind, bool polling, unsigned int rest_us)
{
	struct guest_conf conf = guest_conf_for(kind, 64);
	struct latency *l = calloc(1, sizeof(*l));
	struct couple c;
	double us;

	for (struct quiet q = { 0 }; quiet_again(&q, b);) {
		l->n = 0;
		pin(GENERATOR_CPU);
		couple_start(&c, b, &conf, NULL);
		couple_trips(&c, polling, rest_us, b->ms, l);
		couple_end(&c);
	}
	us = add_latency(b, group, name, l);
	free(l);
	return us;
}

static double wakeups(const struct bench *b, const char *group,
		      const char *name, bool polling, unsigned int rest_us)
{
	struct latency *l = calloc(1, sizeof(*l));
	double us;

	for (struct quiet q = { 0 }; quiet_again(&q, b);) {
		l->n = 0;
		yardstick_wakeups(2, polling, rest_us, b->ms, l);
	}
	us = add_latency(b, group, name, l);
	free(l);
	return us;
}

void bench_rtt(const struct bench *b)
{
	const struct {
		const char *group, *yardstick;
		bool polling;
		unsigned int rest_us;
	} cases[] = {
		{ "same node, round trip of 64 bytes, guests sleep",
		  "four wake-ups", false, 0 },
		{ "same node, the same, every ms: all are asleep",
		  "four wake-ups", false, 1000 },
		{ "same node, the same, guests polling",
		  "two wake-ups, two seen by polling", true, 0 },
		{ "same node, the same, guests polling, every 200 us",
		  "two wake-ups, two seen by polling", true, 200 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double yard = wakeups(b, cases[i].group, cases[i].yardstick,
				      cases[i].polling, cases[i].rest_us);
		double us = trips(b, cases[i].group, "vhost-user",
				  NETCTL_VHOST_USER, cases[i].polling,
				  cases[i].rest_us);

		trips(b, cases[i].group, "stream", NETCTL_STREAM,
		      cases[i].polling, cases[i].rest_us);
		report_add(b->report, cases[i].group, "vhost-user : wake-ups",
			   "ratio", us / yard);
	}
}
