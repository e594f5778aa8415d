/* Several workers at once: two real vmstep-net processes with up to WORKERS
 * each, ports of every kind on both, frames in all directions, and ports that
 * come and go meanwhile, or break the rules, or stop taking frames. The test is
 * all guests. Under TSan a race ends a process
 * with a status of its own, which step_end() does not take for an end.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "link_wire.h"
#include "loop.h"
#include "test_driver.h"
#include "test_frame.h"
#include "test_helper.h"
#include "test_sanitized.h"
#include "test_step.h"

#define WORKERS	  4
#define RANKS	  8    /* half of them on each node */
#define FRAMES	  1500 /* of each flow, and phase */
#define WINDOW	  12   /* of a flow that must not lose any: rings hold all */
#define TURN	  8    /* frames of a flow in one go */
#define CRY	  32   /* frames taken, for each broadcast sent */
#define CHURN	  40   /* turns of all, between two changes of a port */
#define ENDS	  20   /* steps that do nothing */
#define FRAME_MAX 1514
#define PATIENCE  60000 /* ms without any progress */

struct guest {
	uint32_t rank;
	enum netctl_port kind;
	struct driver *driver; /* of vhost-user; else fd */
	int fd;
	uint8_t out[4 + FRAME_MAX], in[64 * 1024]; /* of a stream */
	size_t out_at, out_len, in_len;
	bool churned;			    /* its port comes and goes */
	bool hostile;			    /* and ends for what it does */
	bool gone;			    /* it has, or is about to */
	bool paused;			    /* it takes nothing */
	uint64_t sent[RANKS], got[RANKS];   /* to; from: the next number */
	uint64_t lost[RANKS], cries, heard; /* from; broadcasts */
	uint64_t taken;			    /* not of these */
};

static struct step s;
static struct guest guests[RANKS];

/* -- ports ----------------------------------------------------------------- */

static const enum netctl_port kinds[RANKS] = {
	NETCTL_VHOST_USER, NETCTL_STREAM,     NETCTL_VHOST_USER, NETCTL_DGRAM,
	NETCTL_VHOST_USER, NETCTL_VHOST_USER, NETCTL_STREAM,	 NETCTL_DGRAM,
};

/* Returns vmstep-net's end. */
static int make_port(struct guest *g)
{
	int type = g->kind == NETCTL_DGRAM ? SOCK_DGRAM : SOCK_STREAM;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv), 0);
	g->fd = sv[0];
	g->out_at = g->out_len = g->in_len = 0;
	return sv[1];
}

static void start_port(struct guest *g)
{
	const struct driver_conf conf = { .features = DRIVER_USUAL,
					  .unsealed = true };

	if (g->kind != NETCTL_VHOST_USER)
		return;
	assert_int_equal(driver_new(g->fd, &conf, &g->driver, NULL), 0);
	assert_int_equal(driver_start(g->driver, NULL), 0);
}

static void close_port(struct guest *g)
{
	if (g->driver)
		driver_free(g->driver);
	else
		close(g->fd);
	g->driver = NULL;
}

/* QEMU goes, and its helper brings a new port: before vmstep-net has seen the
 * end of the old one, or after. */
static void change_port(struct guest *g, bool before)
{
	const struct netctl port = helper_port(g->kind);
	struct guest old = *g;
	int fd;

	if (!before)
		close_port(&old);
	g->driver = NULL;
	fd = make_port(g);
	step_send(s.ranks[g->rank].ctl, &port, fd);
	close(fd);
	if (before)
		close_port(&old);
	start_port(g);
}

/* -- what no guest may do ---------------------------------------------------
 */

/* To all descriptors of a ring: which is next, the driver knows. */
static void spoil(struct vring *r, const struct vring_desc *bits)
{
	for (unsigned int i = 0; i < r->num; i++) {
		r->desc[i].addr |= bits->addr;
		r->desc[i].len |= bits->len;
		r->desc[i].flags |= bits->flags;
		r->desc[i].next = (uint16_t)(bits->next ? bits->next : i);
	}
}

#define SPOIL(name, ...)                                       \
	static void name(struct driver *d, struct vring *r)    \
	{                                                      \
		spoil(r, &(struct vring_desc){ __VA_ARGS__ }); \
	}

SPOIL(an_address_that_is_nowhere, .addr = 1ull << 62)
SPOIL(a_length_that_wraps, .len = UINT32_MAX)
SPOIL(a_chain_that_is_a_loop, .flags = VRING_DESC_F_NEXT)
SPOIL(a_chain_that_leaves_the_ring, .flags = VRING_DESC_F_NEXT, .next = 0x7fff)
SPOIL(a_table_of_no_length_that_fits, .len = 1, .flags = VRING_DESC_F_INDIRECT)
SPOIL(a_buffer_for_the_other_way, .flags = VRING_DESC_F_WRITE)

static void a_head_that_is_none(struct driver *d, struct vring *r)
{
	for (unsigned int i = 0; i < r->num; i++)
		r->avail->ring[i] = 0xffff;
}

static void an_index_that_jumps(struct driver *d, struct vring *r)
{
	r->avail->idx = (uint16_t)(r->avail->idx + r->num + 1);
}

static void a_message_that_is_none(struct driver *d, struct vring *r)
{
	static const uint8_t bytes[64] = { 0xff, 0xff, 0xff, 0xff };

	assert_int_equal(fe_send(driver_fe(d), bytes, sizeof(bytes), NULL, 0),
			 0);
}

#if !UNDER_TSAN /* which takes no fault in an atomic access: it stands still \
		 */
static void memory_that_goes_away(struct driver *d, struct vring *r)
{
	assert_int_equal(ftruncate(driver_memory_fd(d), 0), 0);
}
#endif

static const struct crime {
	void (*commit)(struct driver *d, struct vring *r);
	bool after; /* the frame was made known */
} crimes[] = {
	{ an_address_that_is_nowhere },
	{ a_length_that_wraps },
	{ a_chain_that_is_a_loop },
	{ a_chain_that_leaves_the_ring },
	{ a_table_of_no_length_that_fits },
	{ a_buffer_for_the_other_way },
	{ a_head_that_is_none },
	{ an_index_that_jumps, true },
	{ a_message_that_is_none, true },
#if !UNDER_TSAN
	{ memory_that_goes_away, true },
#endif
};

/* -- frames ---------------------------------------------------------------- */

/* Number @n of those from @from to @to, RANKS for all; returns its length. */
static size_t fill(uint8_t *frame, uint32_t from, uint32_t to, uint64_t n)
{
	size_t len = 60 + (n * 97 + from * 31) % (FRAME_MAX - 60);

	test_frame(frame, to, from, len);
	if (to == RANKS)
		memcpy(frame, test_broadcast, ADDR_MAC_LEN);
	memcpy(frame + 14, &n, sizeof(n));
	memset(frame + 22, (int)(n + from), len - 22);
	return len;
}

static void check(struct guest *g, const uint8_t *frame, size_t len)
{
	static uint8_t want[FRAME_MAX];
	bool cry = frame[0] & 1;
	uint32_t from = frame[11];
	uint64_t n;

	if (len < 60 || frame[12] != TEST_TYPE >> 8)
		return; /* a question of vmstep-net's own */
	assert_true(from < RANKS);
	if (guests[from].hostile)
		return; /* zeroes, where memory went away */
	memcpy(&n, frame + 14, sizeof(n));
	assert_int_equal(len, fill(want, from, cry ? RANKS : g->rank, n));
	assert_memory_equal(frame, want, len);
	if (cry) {
		g->heard++;
		return;
	}
	if (n < g->got[from]) /* none twice, none out of order */
		fail_msg("number %" PRIu64 " from %u to %u after %" PRIu64, n,
			 from, g->rank, g->got[from] - 1);
	g->lost[from] += n - g->got[from];
	g->got[from] = n + 1;
	g->taken++;
}

static bool stream_flush(struct guest *g)
{
	while (g->out_at < g->out_len) {
		ssize_t n =
			send(g->fd, g->out + g->out_at, g->out_len - g->out_at,
			     MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		g->out_at += (size_t)n;
	}
	return true;
}

/* Whether it had room for the frame. */
static bool put(struct guest *g, uint32_t to, uint64_t n)
{
	uint8_t frame[FRAME_MAX];
	size_t len;

	switch (g->kind) {
	case NETCTL_VHOST_USER:
		len = fill(frame, g->rank, to, n);
		return driver_send(g->driver, 0, NULL, frame, len, 1) == 0;
	case NETCTL_DGRAM:
		len = fill(frame, g->rank, to, n);
		return send(g->fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
	case NETCTL_STREAM:
		if (!stream_flush(g))
			return false;
		len = fill(g->out + 4, g->rank, to, n);
		wire_put32(g->out, (uint32_t)len);
		g->out_at = 0;
		g->out_len = 4 + len;
		stream_flush(g);
	}
	return true;
}

static void take_driver(struct guest *g)
{
	static struct driver_frame f;
	uint8_t frame[FRAME_MAX];
	bool some = false;

	while (driver_recv(g->driver, 0, &f) > 0) {
		check(g, frame, driver_frame_copy(&f, frame, sizeof(frame)));
		driver_refill(g->driver, 0, &f);
		some = true;
	}
	if (some)
		driver_publish(g->driver, DRIVER_RX(0));
}

static void take_stream(struct guest *g)
{
	size_t at = 0, len;
	ssize_t n;

	n = recv(g->fd, g->in + g->in_len, sizeof(g->in) - g->in_len,
		 MSG_DONTWAIT);
	g->in_len += n > 0 ? (size_t)n : 0;
	while (g->in_len - at >= 4 &&
	       g->in_len - at - 4 >= (len = wire_get32(g->in + at))) {
		check(g, g->in + at + 4, len);
		at += 4 + len;
	}
	memmove(g->in, g->in + at, g->in_len - at);
	g->in_len -= at;
}

static void take(struct guest *g)
{
	uint8_t frame[FRAME_MAX];
	ssize_t n;

	if (g->paused || g->gone)
		return;
	if (g->kind == NETCTL_VHOST_USER)
		take_driver(g);
	else if (g->kind == NETCTL_STREAM)
		take_stream(g);
	else
		while ((n = recv(g->fd, frame, sizeof(frame), MSG_DONTWAIT)) >
		       0)
			check(g, frame, (size_t)n);
}

/* -- traffic --------------------------------------------------------------- */

/* To two of its own node and two of the other. */
static bool is_flow(uint32_t from, uint32_t to)
{
	uint32_t d = (to + RANKS - from) % RANKS;

	return d == 1 || d == 2 || d == 5 || d == 7;
}

static bool is_steady(uint32_t rank)
{
	const struct guest *g = &guests[rank];

	return !g->churned && !g->hostile && !g->paused;
}

static bool is_stable(uint32_t from, uint32_t to)
{
	return is_flow(from, to) && is_steady(from) && is_steady(to);
}

static void send_some(struct guest *g, bool windowed)
{
	for (uint32_t to = 0; to < RANKS && !g->gone; to++) {
		uint64_t got = guests[to].got[g->rank];

		if (!is_flow(g->rank, to))
			continue;
		for (int i = 0; i < TURN; i++) {
			if (windowed && is_stable(g->rank, to) &&
			    g->sent[to] - got >= WINDOW)
				break;
			if (!put(g, to, g->sent[to]))
				return;
			g->sent[to]++;
		}
	}
	/* copies of these never wait: only as many as leave room for others */
	if (!g->gone && g->cries < g->taken / CRY && put(g, RANKS, g->cries))
		g->cries++;
}

/* Frames that have come in all stable flows together, up to @each of one;
 * *all: that many in every one. */
static uint64_t progress(uint64_t each, bool *all)
{
	uint64_t sum = 0;

	*all = true;
	for (uint32_t from = 0; from < RANKS; from++)
		for (uint32_t to = 0; to < RANKS; to++) {
			uint64_t got = guests[to].got[from];

			if (!is_stable(from, to))
				continue;
			*all = *all && got >= each;
			sum += got < each ? got : each;
		}
	return sum;
}

static void tell_and_fail(uint64_t each)
{
	char command[256];

	for (uint32_t n = 0; n < s.nnodes; n++) {
		kill(s.nodes[n].pid, SIGUSR1);
		step_wait_log(&s, n, "vmstep-net: ");
		snprintf(command, sizeof(command),
			 "grep -E 'port of|link to|vmstep-net:' %s >&2",
			 s.nodes[n].log);
		if (system(command) != 0)
			print_error("no counters in %s\n", s.nodes[n].log);
	}
	for (uint32_t from = 0; from < RANKS; from++)
		for (uint32_t to = 0; to < RANKS; to++)
			if (is_stable(from, to) && guests[to].got[from] < each)
				print_error("%u to %u: %lu of %lu\n", from, to,
					    guests[to].got[from],
					    guests[from].sent[to]);
	fail_msg("frames stopped coming");
}

static void turn_all(bool windowed)
{
	for (uint32_t r = 0; r < RANKS; r++) {
		send_some(&guests[r], windowed);
		take(&guests[r]);
	}
}

static bool has_hung_up(const struct guest *g)
{
	struct pollfd p = { g->fd, POLLRDHUP, 0 };

	return poll(&p, 1, 0) == 1;
}

/* With a frame on its way, to be looked at. The others go on until it has
 * lost its port. */
static void commit(struct guest *g, unsigned int crime)
{
	struct vring *r = driver_ring(g->driver, DRIVER_TX(0));
	int64_t until = loop_now_ms() + PATIENCE;
	uint8_t *at = NULL;

	while (driver_room(g->driver, 0, &at) == 0)
		turn_all(true);
	memset(at, 0xff, 60);
	driver_post(g->driver, 0, NULL, 60, 1);
	if (!crimes[crime].after)
		crimes[crime].commit(g->driver, r);
	driver_publish(g->driver, DRIVER_TX(0));
	if (crimes[crime].after)
		crimes[crime].commit(g->driver, r);
	driver_kick(g->driver, DRIVER_TX(0));
	g->gone = true;
	while (!has_hung_up(g)) {
		turn_all(true);
		if (loop_now_ms() > until)
			fail_msg("crime %u of vm[%u] goes unnoticed", crime,
				 g->rank);
	}
	g->gone = false;
}

static void change_ports(unsigned int change)
{
	for (uint32_t r = 0; r < RANKS; r++) {
		struct guest *g = &guests[r];

		if (g->hostile)
			commit(g, change % ARRAY_SIZE(crimes));
		if (g->hostile || g->churned)
			change_port(g, !g->hostile && change % 2);
	}
}

/* Until every stable flow has got as far as @each. */
static void run(uint64_t each, bool windowed)
{
	int64_t until = loop_now_ms() + PATIENCE;
	uint64_t done = 0, now;
	bool all = false;

	for (unsigned int turn = 0; !all; turn++) {
		turn_all(windowed);
		if (turn % CHURN == 0)
			change_ports(turn / CHURN);
		now = progress(each, &all);
		if (now > done)
			until = loop_now_ms() + PATIENCE;
		else if (loop_now_ms() > until)
			tell_and_fail(each);
		done = now;
	}
}

static void expect_no_loss(void)
{
	for (uint32_t from = 0; from < RANKS; from++)
		for (uint32_t to = 0; to < RANKS; to++)
			if (is_stable(from, to))
				assert_int_equal(guests[to].lost[from], 0);
}

static void begin_with(unsigned int workers)
{
	char option[32];

	snprintf(option, sizeof(option), "--workers=%u", workers);
	memset(guests, 0, sizeof(guests));
	step_start(&s, 2, RANKS / 2, option);
	for (uint32_t r = 0; r < RANKS; r++) {
		guests[r].rank = r;
		guests[r].kind = kinds[r];
		step_hello_with(&s, r, kinds[r], make_port(&guests[r]));
		close(s.ranks[r].port); /* it shall see the end */
		s.ranks[r].port = -1;
		start_port(&guests[r]);
	}
	step_table(&s);
	step_hear_table(&s);
}

static void begin(void)
{
	begin_with(WORKERS);
}

static void end(void)
{
	for (uint32_t r = 0; r < RANKS; r++)
		close_port(&guests[r]);
	step_end(&s);
}

static void nothing_is_lost_between_workers(void **state)
{
	begin();
	assert_true(step_status(&s, 0, "Threads:") >= WORKERS);
	run(FRAMES, true);
	expect_no_loss();
	for (uint32_t r = 0; r < RANKS; r++)
		assert_true(guests[r].heard > 0);
	end();
}

/* One of each node, so that frames for it come from workers and from links. */
static void ports_come_and_go_under_load(void **state)
{
	begin();
	guests[2].churned = guests[7].churned = true;
	run(FRAMES, true);
	expect_no_loss();
	end();
}

/* One of each node breaks the rules, and one of each takes nothing: what the
 * others send each other all comes. */
static void with_bad_ones(unsigned int workers)
{
	begin_with(workers);
	guests[2].hostile = guests[5].hostile = true;
	guests[1].paused = guests[4].paused = true;
	run(FRAMES, true);
	for (unsigned int i = 0; i < ARRAY_SIZE(crimes); i++)
		change_ports(i);
	run(2 * FRAMES, true);
	expect_no_loss();
	end();
}

static void bad_guests_cost_others_nothing(void **state)
{
	for (unsigned int workers = 1; workers <= WORKERS; workers++)
		with_bad_ones(workers);
}

static void a_flood_keeps_its_order(void **state)
{
	begin();
	guests[3].churned = guests[5].churned = true;
	run(FRAMES, false);
	end();
}

/* Before its workers have done anything. */
static void who_ends_at_once_ends(void **state)
{
	char option[32];

	snprintf(option, sizeof(option), "--workers=%d", WORKERS);
	for (int i = 0; i < ENDS; i++) {
		step_start(&s, 1, 1, option);
		step_meet(&s);
		step_end(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_ends_at_once_ends),
		cmocka_unit_test(nothing_is_lost_between_workers),
		cmocka_unit_test(ports_come_and_go_under_load),
		cmocka_unit_test(bad_guests_cost_others_nothing),
		cmocka_unit_test(a_flood_keeps_its_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
