/* Two nodes, each a network namespace, joined by a veth pair; the sending guest
 * and its vmstep-net on CPU 0, the receiving ones on CPU 1. */
#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "couple.h"
#include "netns.h"
#include "quiet.h"
#include "yardstick.h"

#define BATCH	64
#define WARM_MS 200
#define WAIT_MS 20

struct run {
	struct couple c;
	struct load load;
	struct sink sink;
	bool stop;
};

static bool stopped(struct run *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_RELAXED);
}

static uint64_t received(struct run *r)
{
	return __atomic_load_n(&r->sink.frames, __ATOMIC_RELAXED);
}

static void *sender(void *arg)
{
	struct run *r = arg;

	pin(0);
	while (!stopped(r))
		if (!guest_send(r->c.guests[0], 0, BATCH, load_fill, &r->load))
			guest_wait(r->c.guests[0], GUEST_ROOM, WAIT_MS);
	return NULL;
}

static void *receiver(void *arg)
{
	struct run *r = arg;

	pin(1);
	while (!stopped(r))
		if (!guest_recv(r->c.guests[1], BATCH, sink_take, &r->sink))
			guest_wait(r->c.guests[1], GUEST_FRAME, WAIT_MS);
	return NULL;
}

struct figures {
	double frames_per_s, cpu_s_per_gb;
};

static void measure(struct run *r, const int netns[2], unsigned int ms,
		    struct figures *ret)
{
	uint64_t n, bytes;
	int64_t start, cpu;

	usleep(WARM_MS * 1000);
	bytes = netns_received(netns[1]);
	start = now_ns();
	cpu = couple_cpu_ns(&r->c);
	n = received(r);
	usleep(ms * 1000);
	n = received(r) - n;
	cpu = couple_cpu_ns(&r->c) - cpu;
	start = now_ns() - start;
	bytes = netns_received(netns[1]) - bytes;
	if (!n)
		die("no frame arrived at the other node");
	/* what is on its way when we look is no more than the queues take */
	if (bytes + 16 * 1024 * 1024 < n * r->load.len)
		die("frames came by another way than the veth pair");
	ret->frames_per_s = (double)n * 1e9 / (double)start;
	ret->cpu_s_per_gb = (double)cpu / ((double)n * (double)r->load.len);
}

/* What the frames go through. */
static const struct way {
	const char *name;
	enum netctl_port port;
	const char *links; /* an option of vmstep-net's; NULL: tcp, plain */
} ways[] = {
	{ "vhost-user", NETCTL_VHOST_USER, NULL },
	{ "encrypted", NETCTL_VHOST_USER, "--encrypt" },
#ifdef HAVE_UCX
	{ "ucx", NETCTL_VHOST_USER, "--kind=ucx" },
#endif
	{ "stream", NETCTL_STREAM, NULL },
};

static bool flow(const struct bench *base, const int netns[2],
		 const struct way *w, size_t len, struct figures *ret)
{
	struct guest_conf conf = guest_conf_for(w->port, len);
	struct bench with = *base;
	const struct bench *b = &with;
	struct run *r = calloc(1, sizeof(*r));
	pthread_t threads[2];
	bool can;

	with.links = w->links;
	r->load = (struct load){ .from = 0, .to = 1, .len = len };
	couple_start(&r->c, b, &conf, netns);
	can = len != TSO_BYTES || (couple_has(&r->c, VIRTIO_NET_F_HOST_TSO4) &&
				   couple_has(&r->c, VIRTIO_NET_F_GUEST_TSO4));
	if (can) {
		check(-pthread_create(&threads[0], NULL, sender, r), "thread");
		check(-pthread_create(&threads[1], NULL, receiver, r),
		      "thread");
		measure(r, netns, b->ms, ret);
		__atomic_store_n(&r->stop, true, __ATOMIC_RELAXED);
		pthread_join(threads[0], NULL);
		pthread_join(threads[1], NULL);
	}
	couple_end(&r->c);
	free(r);
	return can;
}

static void against_tcp(const struct bench *b, const char *group,
			const struct way *w, size_t len,
			const struct figures *f,
			const struct yardstick_tcp *tcp)
{
	char name[64];

	snprintf(name, sizeof(name), "%s : TCP, Gbit/s", w->name);
	report_add(b->report, group, name, "ratio",
		   f->frames_per_s * (double)len * 8 / tcp->bits_per_s);
	snprintf(name, sizeof(name), "%s : TCP, CPU s/GB", w->name);
	report_add(b->report, group, name, "ratio",
		   f->cpu_s_per_gb / tcp->cpu_s_per_gb);
}

static void link_frames(const struct bench *b, const int netns[2], size_t len,
			const char *group)
{
	struct yardstick_tcp tcp = { 0 };
	struct figures f, plain = { 0 };
	bool can = false;
	char name[64];

	for (struct quiet q = { 0 }; quiet_again(&q, b);)
		yardstick_tcp(netns, netns_address[1], len <= 2048 ? len : 1500,
			      b->ms, &tcp);
	report_add(b->report, group, "TCP, batches of 64 KiB", "Gbit/s",
		   tcp.bits_per_s / 1e9);
	report_add(b->report, group, "TCP, batches of 64 KiB", "CPU s/GB",
		   tcp.cpu_s_per_gb);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct way *w = &ways[i];

		if (len == TSO_BYTES && w->port == NETCTL_STREAM)
			continue;
		if (i > 0 && b->variant && !strstr(w->name, b->variant))
			continue;
		for (struct quiet q = { 0 }; quiet_again(&q, b);)
			can = flow(b, netns, w, len, &f);
		if (!can) {
			report_note(b->report, "%s: the device offers no TSO",
				    w->name);
			continue;
		}
		report_add(b->report, group, w->name, "Mframe/s",
			   f.frames_per_s / 1e6);
		report_add(b->report, group, w->name, "Gbit/s",
			   f.frames_per_s * (double)len * 8e-9);
		report_add(b->report, group, w->name, "CPU s/GB",
			   f.cpu_s_per_gb);
		if (!w->links) {
			against_tcp(b, group, w, len, &f, &tcp);
			if (w->port == NETCTL_VHOST_USER)
				plain = f;
			continue;
		}
		snprintf(name, sizeof(name), "%s : plain, Gbit/s", w->name);
		report_add(b->report, group, name, "ratio",
			   f.frames_per_s / plain.frames_per_s);
		snprintf(name, sizeof(name), "%s : plain, CPU s/GB", w->name);
		report_add(b->report, group, name, "ratio",
			   f.cpu_s_per_gb / plain.cpu_s_per_gb);
	}
}

/* -- round trips ---------------------------------------------------------- */

enum { TRIP_TCP, TRIP_WAKE, TRIP_PLAIN, TRIP_UCX, TRIPS };

static void trips_over(const struct bench *base, const int netns[2],
		       const char *links, struct latency *l)
{
	struct guest_conf conf = guest_conf_for(NETCTL_VHOST_USER, 64);
	struct bench b = *base;
	struct couple c;

	b.links = links;
	pin(GENERATOR_CPU);
	couple_start(&c, &b, &conf, netns);
	couple_trips(&c, false, 0, b.ms, l);
	couple_end(&c);
}

static void measure_trips(const struct bench *b, const int netns[2],
			  struct latency *l)
{
	for (int i = 0; i < TRIPS; i++)
		l[i].n = 0;
	yardstick_tcp_trip(netns, netns_address[1], b->ms, &l[TRIP_TCP]);
	yardstick_wakeups(2, false, 0, b->ms, &l[TRIP_WAKE]);
	trips_over(b, netns, NULL, &l[TRIP_PLAIN]);
#ifdef HAVE_UCX
	trips_over(b, netns, "--kind=ucx", &l[TRIP_UCX]);
#endif
}

static void link_trips(const struct bench *b, const int netns[2])
{
	static const char group[] = "two nodes, round trip of 64 bytes";
	struct latency *l = calloc(TRIPS, sizeof(*l));
	double tcp, least, us;

	for (struct quiet q = { 0 }; quiet_again(&q, b);)
		measure_trips(b, netns, l);
	for (int i = 0; i < TRIPS; i++)
		latency_sort(&l[i]);
	tcp = latency_us(&l[TRIP_TCP], 0.5);
	least = tcp + latency_us(&l[TRIP_WAKE], 0.5);
	us = latency_us(&l[TRIP_PLAIN], 0.5);
	report_add(b->report, group, "TCP, both ends asleep", "us", tcp);
	report_add(b->report, group, "the same and four wake-ups", "us", least);
	report_add(b->report, group, "vhost-user, guests sleep", "us", us);
	report_add(b->report, group, "vhost-user, guests sleep, p99", "us",
		   latency_us(&l[TRIP_PLAIN], 0.99));
	report_add(b->report, group, "vhost-user : TCP and wake-ups", "ratio",
		   us / least);
	if (l[TRIP_UCX].n) {
		report_add(b->report, group, "ucx, guests sleep", "us",
			   latency_us(&l[TRIP_UCX], 0.5));
		report_add(b->report, group, "ucx : vhost-user", "ratio",
			   latency_us(&l[TRIP_UCX], 0.5) / us);
	}
	free(l);
}

void bench_link(const struct bench *b)
{
	int netns[2];

	if (!netns_make(netns)) {
		report_note(b->report, "two nodes: needs root");
		return;
	}
	bench_iperf3(b, netns);
	link_frames(b, netns, 64, "two nodes, frames of 64 bytes");
	link_frames(b, netns, 1500, "two nodes, frames of 1500 bytes");
	link_frames(b, netns, TSO_BYTES, "two nodes, frames of 64 KiB, TSO");
	link_trips(b, netns);
	close(netns[0]);
	close(netns[1]);
}
