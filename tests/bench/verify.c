/* Frames with a number and a checksum, both ways at once, by several kinds of
 * guest: none may be lost, change places within its flow, or be altered. */
#include <config.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "couple.h"
#include "netns.h"

#define BATCH	 32
#define WAIT_MS	 2
#define IDLE_MS	 3000 /* what has not come by then is lost */
#define STALL_MS 100
#define TRIES	 3
#define LEN_MIN	 60
#define LEN_MAX	 (NETNS_MTU + 14)
#define JUMBO	 (9000 + 14)

static const struct variant {
	const char *name;
	enum netctl_port kind;
	bool link;		   /* between two nodes */
	struct driver_conf driver; /* its tx_bytes: the longest frame */
} variants[] = {
	{ "vhost-user, jumbo frames",
	  NETCTL_VHOST_USER,
	  false,
	  { .features = DRIVER_USUAL, .tx_bytes = JUMBO } },
	{ "vhost-user, chains of 3 and buffers of 256 bytes",
	  NETCTL_VHOST_USER,
	  false,
	  { .features = DRIVER_USUAL, .pieces = 3, .rx_bytes = 256 } },
	{ "vhost-user, indirect, 2 pairs, memory in regions",
	  NETCTL_VHOST_USER,
	  false,
	  { .features = DRIVER_USUAL,
	    .pieces = 2,
	    .indirect = true,
	    .pairs = 2,
	    .regions = true } },
	{ "vhost-user, no features, a ring of 16, ADD_MEM_REG",
	  NETCTL_VHOST_USER,
	  false,
	  { .num = 16, .mem_slots = true, .regions = true, .no_ack = true } },
	{ "vhost-user, chains to receive in, without EVENT_IDX",
	  NETCTL_VHOST_USER,
	  false,
	  { .features = DRIVER_BIT(VIRTIO_NET_F_MRG_RXBUF), .rx_pieces = 4 } },
	{ "stream", NETCTL_STREAM, false, { 0 } },
	{ "two nodes, vhost-user, jumbo frames",
	  NETCTL_VHOST_USER,
	  true,
	  { .features = DRIVER_USUAL, .tx_bytes = JUMBO } },
	{ "two nodes, vhost-user, 2 pairs",
	  NETCTL_VHOST_USER,
	  true,
	  { .features = DRIVER_USUAL, .pairs = 2 } },
	{ "two nodes, stream", NETCTL_STREAM, true, { 0 } },
};

/* One guest: it sends to the other, and takes what that sends. */
struct player {
	struct guest *guest;
	int cpu;
	unsigned int flows;
	uint64_t limit; /* frames of a flow */
	struct checked *out, *in;
	int64_t gap_ns; /* so long it did not run at all, at most */
	pthread_t thread;
};

static bool has_all(const struct player *p)
{
	for (unsigned int i = 0; i < p->flows; i++)
		if (p->in->received[i] < p->limit)
			return false;
	return p->in->lost == 0;
}

static unsigned int send_some(struct player *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < p->flows; i++) {
		uint64_t left = p->limit - p->out->sent[i];

		n += guest_send(p->guest, i,
				left < BATCH ? (unsigned int)left : BATCH,
				checked_fill, p->out);
	}
	return n;
}

static bool has_sent(const struct player *p)
{
	for (unsigned int i = 0; i < p->flows; i++)
		if (p->out->sent[i] < p->limit)
			return false;
	return guest_flush(p->guest);
}

/* Until all is sent and received, or nothing happens any more. */
static void *play(void *arg)
{
	struct player *p = arg;
	int64_t worked = now_ns(), now = worked, before;

	pin(p->cpu);
	while ((!has_sent(p) || !has_all(p)) &&
	       now - worked < IDLE_MS * 1000000ll) {
		unsigned int n = send_some(p);

		n += guest_recv(p->guest, BATCH, checked_take, p->in);
		if (!n)
			guest_wait(p->guest, GUEST_FRAME, WAIT_MS);
		before = now;
		now = now_ns();
		if (n)
			worked = now;
		if (now - before > p->gap_ns)
			p->gap_ns = now - before;
	}
	return NULL;
}

/* -- what came of it ------------------------------------------------------ */

struct verdict {
	uint64_t received, lost, reordered, altered;
	int gap_ms;
};

static struct verdict judge(const struct player players[2])
{
	struct verdict v = { 0 };

	for (int i = 0; i < 2; i++) {
		const struct checked *c = players[i].in;
		int gap_ms = (int)(players[i].gap_ns / 1000000);

		for (unsigned int f = 0; f < players[i].flows; f++) {
			v.received += c->received[f];
			v.lost += players[i].limit - c->received[f];
		}
		v.received -= c->lost;
		v.lost += c->lost;
		v.reordered += c->reordered;
		v.altered += c->altered;
		if (gap_ms > v.gap_ms)
			v.gap_ms = gap_ms;
	}
	return v;
}

/* A guest that does not run for so long may lose frames: doc/net.md. Where the
 * machine did that, nothing was shown. */
static bool shows_nothing(const struct verdict *v)
{
	return v->lost && !v->reordered && !v->altered && v->gap_ms >= STALL_MS;
}

static struct verdict once(const struct bench *b, const struct variant *v,
			   const int netns[2])
{
	const struct guest_conf conf = { .kind = v->kind, .driver = v->driver };
	struct checked ways[2];
	struct player players[2];
	struct couple c;

	couple_start(&c, b, &conf, v->link ? netns : NULL);
	for (uint32_t i = 0; i < 2; i++) {
		ways[i] = (struct checked){
			.from = i,
			.to = !i,
			.min = LEN_MIN,
			.max = v->driver.tx_bytes ? v->driver.tx_bytes
						  : LEN_MAX,
			.random = 0x1234567 + i,
		};
		players[i] = (struct player){
			.guest = c.guests[i],
			.cpu = (int)i,
			.flows = v->driver.pairs ? v->driver.pairs : 1,
			.limit = b->frames,
			.out = &ways[i],
			.in = &ways[!i],
		};
	}
	for (int i = 0; i < 2; i++)
		check(-pthread_create(&players[i].thread, NULL, play,
				      &players[i]),
		      "thread");
	for (int i = 0; i < 2; i++)
		pthread_join(players[i].thread, NULL);
	couple_end(&c);
	return judge(players);
}

static bool verify(const struct bench *b, const struct variant *v,
		   const int netns[2])
{
	struct verdict r = { 0 };
	uint64_t bad;

	for (int i = 0; i < TRIES && (i == 0 || shows_nothing(&r)); i++)
		r = once(b, v, netns);
	bad = r.lost + r.reordered + r.altered;
	report_add(b->report, "verify: lost, reordered or altered", v->name,
		   "frames", (double)bad);
	report_add(b->report, "verify: arrived", v->name, "Mframes",
		   (double)r.received / 1e6);
	if (bad)
		report_note(b->report,
			    "verify: %s: %" PRIu64 " lost, %" PRIu64
			    " reordered, %" PRIu64
			    " altered; a guest stood still for %d ms",
			    v->name, r.lost, r.reordered, r.altered, r.gap_ms);
	return !bad;
}

static bool wanted(const struct bench *b, const struct variant *v)
{
	return !b->variant || strstr(v->name, b->variant);
}

bool bench_verify(const struct bench *b)
{
	bool ok = true, linked;
	int netns[2];

	linked = netns_make(netns);
	if (!linked)
		report_note(b->report, "verify of two nodes: needs root");
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		if ((linked || !variants[i].link) && wanted(b, &variants[i]))
			ok &= verify(b, &variants[i], netns);
	for (int i = 0; i < 2 && linked; i++)
		close(netns[i]);
	return ok;
}
