#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fwd.h"
#include "learn.h"
#include "test_clock.h"
#include "test_frame.h"
#include "test_gso.h"

/* Node 1 of 3, with ranks 2 and 3 of six, two a node. */

#define SELF  1u
#define NODES 3

struct end { /* a port or the link to a node */
	struct inlet in;
	struct outlet out;
	struct counters counts;
	bool full;
	size_t full_at; /* frames; 0: never */
	size_t got, resumed, flushed;
	uint32_t sum; /* of their lengths */
	bool relayed; /* the last one */
	uint32_t origin;
	uint8_t last[128];
};

static struct {
	struct loop *loop;
	struct round *round;
	struct flow *flow;
	struct fwd *fwd;
	struct table *table;
	struct rankset local;
	struct end ports[2], nodes[NODES];
	bool gone;
	struct test_clock clock;
} t;

static uint8_t frame[10000];

static int end_send(struct outlet *out, const struct packet *p)
{
	struct end *e = (struct end *)((char *)out - offsetof(struct end, out));

	if (e->full || (e->full_at && e->got >= e->full_at))
		return -EAGAIN;
	e->got++;
	e->sum += (uint32_t)p->len;
	e->relayed = p->relayed;
	e->origin = p->origin;
	packet_read(p, 0, e->last,
		    p->len < sizeof(e->last) ? p->len : sizeof(e->last));
	return 0;
}

static void end_flush(struct outlet *out)
{
	struct end *e = (struct end *)((char *)out - offsetof(struct end, out));

	e->flushed++;
}

static void end_resume(struct inlet *in)
{
	struct end *e = (struct end *)((char *)in - offsetof(struct end, in));

	e->resumed++;
}

static void end_init(struct end *e)
{
	*e = (struct end){ 0 };
	e->in = (struct inlet){ end_resume, &e->counts, t.flow };
	e->out = (struct outlet){ end_send, &e->counts, FLOW_PORT_MS };
	e->out.flush = end_flush;
}

static struct outlet *node_outlet(uint32_t node, unsigned int worker, void *arg)
{
	return t.gone ? NULL : &t.nodes[node].out;
}

/* In the large step nodes 0, 1 and 2 are in a row. */
static void spread(uint32_t from, void (*fn)(uint32_t node, void *fn_arg),
		   void *fn_arg, void *arg)
{
	for (uint32_t n = 0; n < NODES; n += 2)
		if (n != from)
			fn(n, fn_arg);
}

static uint32_t toward(uint32_t node, void *arg)
{
	return node > SELF ? 2 : 0;
}

static void run(int64_t ms)
{
	test_clock_pass(&t.clock, ms);
}

static int set_up(void **state)
{
	static const char nodes[] = "a:1 0-1\nb:2 2-3\nc:3 4-5\n";
	struct fwd_conf conf = { { 0x0a000000, 8 }, 1500, 6, &t.local };

	memset(&t, 0, sizeof(t));
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	test_clock_start(&t.clock, t.loop);
	assert_int_equal(round_new(t.loop, &t.round, NULL), 0);
	assert_int_equal(flow_new(t.loop, t.round, &t.flow, NULL), 0);
	rankset_add(&t.local, 2, 3);
	conf.flow = t.flow;
	assert_int_equal(fwd_new(&conf, &t.fwd, NULL), 0);
	for (uint32_t i = 0; i < 2; i++) {
		end_init(&t.ports[i]);
		assert_int_equal(fwd_add_port(t.fwd, 2 + i, &t.ports[i].out),
				 0);
	}
	for (int i = 0; i < NODES; i++)
		end_init(&t.nodes[i]);
	assert_int_equal(
		table_parse(nodes, strlen(nodes), 3, 6, &t.table, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	fwd_free(t.fwd);
	flow_free(t.flow);
	round_free(t.round);
	loop_free(t.loop);
	table_free(t.table);
	rankset_done(&t.local);
	return 0;
}

static void join(void)
{
	const struct fwd_tree tree = { spread, toward, NULL };

	fwd_set_table(t.fwd, t.table, SELF, node_outlet, NULL, &tree);
}

static int from_port(uint32_t rank, size_t len)
{
	const struct packet p = packet_flat(frame, len);

	return fwd_from_port(t.fwd, rank, &t.ports[rank - 2].in, &p);
}

static int from_node(uint32_t node, size_t len)
{
	const struct packet p = packet_flat(frame, len);

	return fwd_from_node(t.fwd, node, &t.nodes[node].in, &p);
}

static void assert_dropped(uint32_t rank, enum counter why)
{
	const struct end *e = &t.ports[rank - 2];

	assert_int_equal(e->counts.n[why], 1);
	assert_int_equal(e->counts.n[COUNT_IN_FRAMES], 0);
	assert_int_equal(t.ports[0].got + t.ports[1].got, 0);
	assert_int_equal(t.nodes[0].got + t.nodes[2].got, 0);
}

/* -- what goes nowhere ---------------------------------------------------- */

static void short_and_long_frames_are_dropped(void **state)
{
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 13)), 0);
	assert_dropped(2, COUNT_RUNT);
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 1519)), 0);
	assert_dropped(2, COUNT_OVERSIZE);
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 1518)), 0);
	assert_int_equal(t.ports[1].got, 1);
}

static void a_sender_that_claims_anothers_address_is_dropped(void **state)
{
	join();
	assert_int_equal(from_port(2, test_frame(frame, 3, 4, 60)), 0);
	assert_dropped(2, COUNT_SPOOFED);
	test_frame(frame, 3, 2, 60);
	frame[6] |= 1; /* a group as sender */
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[0].counts.n[COUNT_SPOOFED], 2);
	assert_int_equal(from_node(0, test_frame(frame, 3, 4, 60)), 0);
	assert_int_equal(t.nodes[0].counts.n[COUNT_SPOOFED], 1);
	assert_int_equal(t.ports[1].got, 0);
}

static void frames_to_oneself_are_dropped(void **state)
{
	assert_int_equal(from_port(2, test_frame(frame, 2, 2, 60)), 0);
	assert_dropped(2, COUNT_SELF);
}

static void frames_to_nobody_are_dropped(void **state)
{
	assert_int_equal(from_port(2, test_frame(frame, 6, 2, 60)), 0);
	assert_dropped(2, COUNT_UNKNOWN);
}

static void other_nodes_need_the_table(void **state)
{
	assert_int_equal(from_port(2, test_frame(frame, 4, 2, 60)), 0);
	assert_dropped(2, COUNT_NO_TABLE);
}

static void a_task_without_a_port_gets_nothing(void **state)
{
	fwd_remove_port(t.fwd, 3);
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), 0);
	assert_dropped(2, COUNT_NO_PORT);
	fwd_remove_port(t.fwd, 3);
}

static void a_node_that_has_left_gets_nothing(void **state)
{
	join();
	t.gone = true;
	assert_int_equal(from_port(2, test_frame(frame, 4, 2, 60)), 0);
	assert_dropped(2, COUNT_NODE_GONE);
}

/* -- what goes somewhere -------------------------------------------------- */

static void a_second_port_of_a_rank_is_refused(void **state)
{
	assert_int_equal(fwd_add_port(t.fwd, 2, &t.ports[0].out), -EEXIST);
}

static void a_rank_is_found_here_or_on_its_node(void **state)
{
	join();
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), 0);
	assert_int_equal(t.ports[1].got, 1);
	assert_memory_equal(t.ports[1].last, frame, 60);
	assert_int_equal(from_port(2, test_frame(frame, 0, 2, 60)), 0);
	assert_int_equal(from_port(2, test_frame(frame, 4, 2, 60)), 0);
	assert_int_equal(from_port(2, test_frame(frame, 5, 2, 60)), 0);
	assert_int_equal(t.nodes[0].got, 1);
	assert_int_equal(t.nodes[2].got, 2);
	assert_int_equal(t.ports[0].counts.n[COUNT_IN_FRAMES], 4);
	assert_int_equal(t.ports[0].counts.n[COUNT_IN_BYTES], 240);
	assert_int_equal(t.nodes[2].counts.n[COUNT_OUT_FRAMES], 2);
}

static void a_broadcast_goes_once_to_each_port_and_node(void **state)
{
	join();
	test_frame(frame, 0, 2, 60);
	memcpy(frame, test_broadcast, 6);
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[0].got, 0);
	assert_int_equal(t.ports[1].got, 1);
	assert_int_equal(t.nodes[0].got, 1);
	assert_int_equal(t.nodes[1].got, 0);
	assert_int_equal(t.nodes[2].got, 1);
}

static void a_broadcast_from_a_node_stays_here(void **state)
{
	join();
	test_frame(frame, 0, 4, 60);
	memcpy(frame, test_broadcast, 6);
	assert_int_equal(from_node(2, 60), 0);
	assert_int_equal(t.ports[0].got, 1);
	assert_int_equal(t.ports[1].got, 1);
	assert_int_equal(t.nodes[0].got, 0);
	assert_int_equal(t.nodes[2].got, 0);
}

/* -- a large step ---------------------------------------------------------- */

static void join_large(void)
{
	char nodes[20 * 16] = "";

	for (int i = 0; i < 20; i++)
		snprintf(nodes + strlen(nodes), 16, "a:1 %d-%d\n", 2 * i,
			 2 * i + 1);
	table_free(t.table);
	assert_int_equal(
		table_parse(nodes, strlen(nodes), 20, 40, &t.table, NULL), 0);
	join();
}

static struct packet passed_on(uint32_t origin)
{
	static const uint8_t foreign[] = { 2, 0, 0, 0, 0, 9 };
	struct packet p = packet_flat(frame, test_frame(frame, 0, 4, 60));

	memcpy(frame, test_broadcast, 6);
	memcpy(frame + 6, foreign, 6);
	p.relayed = true;
	p.origin = origin;
	return p;
}

static void a_broadcast_goes_along_the_tree(void **state)
{
	join_large();
	test_frame(frame, 0, 2, 60);
	memcpy(frame, test_broadcast, 6);
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.nodes[0].got, 1);
	assert_int_equal(t.nodes[2].got, 1);
	assert_false(t.nodes[2].relayed);
}

static void a_neighbours_broadcast_is_passed_on(void **state)
{
	join_large();
	test_frame(frame, 0, 4, 60);
	memcpy(frame, test_broadcast, 6);
	assert_int_equal(from_node(2, 60), 0);
	assert_int_equal(t.ports[0].got, 1);
	assert_int_equal(t.nodes[0].got, 1);
	assert_true(t.nodes[0].relayed);
	assert_int_equal(t.nodes[0].origin, 2);
	assert_int_equal(t.nodes[2].got, 0);
}

static void one_from_afar_keeps_its_origin(void **state)
{
	const struct packet p = passed_on(19);
	uint8_t mac[ADDR_MAC_LEN];

	join_large();
	assert_int_equal(fwd_from_node(t.fwd, 2, &t.nodes[2].in, &p), 0);
	assert_int_equal(t.ports[1].got, 1);
	assert_int_equal(t.nodes[0].origin, 19);
	memcpy(mac, frame + 6, sizeof(mac)); /* and is where it was learnt */
	test_frame(frame, 0, 2, 60);
	memcpy(frame, mac, sizeof(mac));
	t.gone = true; /* node 19 is asked for, and there is none here */
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[0].counts.n[COUNT_NODE_GONE], 1);
}

static void who_cannot_have_passed_it_on_is_not_believed(void **state)
{
	struct packet p = passed_on(19);
	uint64_t *spoofed = &t.nodes[0].counts.n[COUNT_SPOOFED];

	join_large();
	assert_int_equal(fwd_from_node(t.fwd, 0, &t.nodes[0].in, &p), 0);
	assert_int_equal(*spoofed, 1); /* 19 is on the other side */
	p.origin = 20;
	assert_int_equal(fwd_from_node(t.fwd, 0, &t.nodes[0].in, &p), 0);
	assert_int_equal(*spoofed, 2); /* no such node */
	p.origin = 0;
	addr_mac(2, frame);
	assert_int_equal(fwd_from_node(t.fwd, 0, &t.nodes[0].in, &p), 0);
	assert_int_equal(*spoofed, 3); /* for one receiver */
	assert_int_equal(t.ports[0].got + t.ports[1].got, 0);
}

static void a_frame_from_a_node_never_travels_on(void **state)
{
	join();
	assert_int_equal(from_node(2, test_frame(frame, 0, 4, 60)), 0);
	assert_int_equal(t.nodes[2].counts.n[COUNT_NO_PORT], 1);
	assert_int_equal(t.nodes[0].got, 0);
}

static void arp_is_answered_at_the_port(void **state)
{
	join();
	assert_int_equal(
		from_port(2, test_arp(frame, 2, 1, 0x0a000003, 0x0a000006)), 0);
	assert_int_equal(t.ports[0].got, 1);
	assert_int_equal(t.ports[0].last[21], 2);
	assert_int_equal(t.ports[0].counts.n[COUNT_ANSWERED], 1);
	assert_int_equal(t.ports[1].got + t.nodes[0].got + t.nodes[2].got, 0);
}

static void a_foreign_address_is_learnt(void **state)
{
	static const uint8_t nested[] = { 0x02, 0, 0, 0, 0, 9 };
	static const uint8_t far[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

	join();
	test_frame(frame, 3, 2, 60);
	memcpy(frame + 6, nested, 6);
	assert_int_equal(from_port(2, 60), 0);
	test_frame(frame, 3, 0, 60);
	memcpy(frame + 6, far, 6);
	assert_int_equal(from_node(0, 60), 0);

	test_frame(frame, 0, 3, 60);
	memcpy(frame, nested, 6);
	assert_int_equal(from_port(3, 60), 0);
	assert_int_equal(t.ports[0].got, 1);
	memcpy(frame, far, 6);
	assert_int_equal(from_port(3, 60), 0);
	assert_int_equal(t.nodes[0].got, 1);
	test_frame(frame, 0, 4, 60);
	memcpy(frame, nested, 6);
	assert_int_equal(from_node(2, 60), 0);
	assert_int_equal(t.ports[0].got, 2);
}

#define MANY 200

static void what_a_round_sent_leaves_at_its_end(void **state)
{
	static struct end many[MANY];
	const struct packet p = packet_flat(frame, 60);

	for (int i = 0; i < 3; i++)
		assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), 0);
	assert_int_equal(t.ports[1].flushed, 0);
	run(0);
	assert_int_equal(t.ports[1].flushed, 1);
	assert_int_equal(t.ports[0].flushed, 0);
	from_port(2, 60);
	fwd_remove_port(t.fwd, 3); /* its memory may go before the round ends */
	run(0);
	assert_int_equal(t.ports[1].flushed, 1);
	/* more receivers than there is room to remember: none is left out */
	for (int i = 0; i < MANY; i++) {
		end_init(&many[i]);
		flow_copy(&t.ports[0].in, &many[i].out, &p);
	}
	run(0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(many[i].flushed, 1);
}

/* -- waiting -------------------------------------------------------------- */

static void a_frame_waits_for_room(void **state)
{
	t.ports[1].full = true;
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), -EAGAIN);
	assert_int_equal(t.ports[0].counts.n[COUNT_WAITED], 1);
	assert_int_equal(t.ports[0].counts.n[COUNT_IN_FRAMES], 0);
	t.ports[1].full = false;
	flow_drained(t.flow, &t.ports[1].out);
	assert_int_equal(t.ports[0].resumed, 0); /* not from in here */
	run(0);
	assert_int_equal(t.ports[0].resumed, 1);
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[1].got, 1);
}

static void a_slow_receiver_is_waited_for_once(void **state)
{
	t.ports[1].full = true;
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), -EAGAIN);
	run(FLOW_PORT_MS - 1);
	assert_int_equal(t.ports[0].resumed, 0);
	run(1);
	assert_int_equal(t.ports[0].resumed, 1);
	for (int i = 0; i < 5; i++)
		assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[1].counts.n[COUNT_FULL], 5);
	t.ports[1].full = false; /* some room, but not drained */
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[1].got, 1);
	flow_drained(t.flow, &t.ports[1].out);
	t.ports[1].full = true;
	assert_int_equal(from_port(2, 60), -EAGAIN);
}

static void one_that_is_slow_again_and_again_is_not_waited_for(void **state)
{
	struct outlet *out = &t.ports[1].out;

	t.ports[1].full = true;
	test_frame(frame, 3, 2, 60);
	for (int i = 0; i < FLOW_BURST; i++) {
		assert_int_equal(from_port(2, 60), -EAGAIN);
		run(out->wait_ms);
		flow_drained(t.flow, out);
	}
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[1].counts.n[COUNT_FULL], 1);
	run((FLOW_LOSSY - FLOW_BURST + 1) * out->wait_ms - 1);
	assert_int_equal(from_port(2, 60), 0);
	run(1); /* with these waits themselves, one of them is paid for */
	assert_int_equal(from_port(2, 60), -EAGAIN);
}

/* 4 segments of 1000 bytes and one of 500, for rank 3 */
static const struct test_gso long_packet = { .payload = 4500,
					     .gso_size = 1000 };

static struct packet make_long_packet(void)
{
	struct packet p = test_gso_packet(&long_packet, frame);

	addr_mac(3, frame);
	addr_mac(2, frame + 6);
	assert_int_equal(offload_check(&p), 0);
	return p;
}

static void what_a_receiver_takes_it_gets_in_one_piece(void **state)
{
	const struct packet p = make_long_packet();

	t.ports[1].out.takes = OFFLOAD_CSUM | OFFLOAD_TSO4;
	assert_int_equal(fwd_from_port(t.fwd, 2, &t.ports[0].in, &p), 0);
	assert_int_equal(t.ports[1].got, 1);
	assert_int_equal(t.ports[1].sum, 54 + 4500);
}

static void others_get_segments(void **state)
{
	const struct packet p = make_long_packet();

	t.ports[1].out.takes = OFFLOAD_CSUM;
	assert_int_equal(fwd_from_port(t.fwd, 2, &t.ports[0].in, &p), 0);
	assert_int_equal(t.ports[1].got, 5);
	assert_int_equal(t.ports[1].sum, 5 * 54 + 4500);
	assert_int_equal(t.ports[1].counts.n[COUNT_OUT_FRAMES], 5);
}

static void segments_that_wait_are_not_sent_twice(void **state)
{
	const struct packet p = make_long_packet();
	struct inlet *in = &t.ports[0].in;

	t.ports[1].full_at = 2;
	assert_int_equal(fwd_from_port(t.fwd, 2, in, &p), -EAGAIN);
	assert_int_equal(t.ports[1].got, 2);
	t.ports[1].full_at = 0;
	flow_drained(t.flow, &t.ports[1].out);
	run(0);
	assert_int_equal(fwd_from_port(t.fwd, 2, in, &p), 0);
	assert_int_equal(t.ports[1].got, 5);
	assert_int_equal(fwd_from_port(t.fwd, 2, in, &p), 0); /* another */
	assert_int_equal(t.ports[1].got, 10);
}

static void segments_beyond_the_mtu_are_dropped(void **state)
{
	struct packet p = make_long_packet();

	p.offload.gso_size = 1465;
	assert_int_equal(fwd_from_port(t.fwd, 2, &t.ports[0].in, &p), 0);
	assert_dropped(2, COUNT_OVERSIZE);
}

static void a_broadcast_does_not_wait(void **state)
{
	join();
	t.nodes[0].full = true;
	test_frame(frame, 0, 2, 60);
	memcpy(frame, test_broadcast, 6);
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.nodes[0].counts.n[COUNT_FULL], 1);
	assert_int_equal(t.nodes[2].got, 1);
}

static void who_waits_again_before_it_is_resumed_waits(void **state)
{
	t.ports[0].full = t.ports[1].full = true;
	assert_int_equal(from_port(3, test_frame(frame, 2, 3, 60)), -EAGAIN);
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), -EAGAIN);
	flow_drained(t.flow, &t.ports[1].out);
	assert_int_equal(from_port(2, 60), -EAGAIN); /* full again by now */
	run(0);
	assert_int_equal(t.ports[0].resumed, 0);
	assert_int_equal(t.ports[1].resumed, 0);
	flow_drained(t.flow, &t.ports[0].out);
	flow_drained(t.flow, &t.ports[1].out);
	run(0);
	assert_int_equal(t.ports[0].resumed, 1);
	assert_int_equal(t.ports[1].resumed, 1);
}

static void who_waits_for_what_is_gone_is_resumed(void **state)
{
	t.ports[1].full = true;
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), -EAGAIN);
	fwd_remove_port(t.fwd, 3);
	run(0);
	assert_int_equal(t.ports[0].resumed, 1);
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[0].counts.n[COUNT_NO_PORT], 1);
}

static void who_is_gone_is_not_resumed(void **state)
{
	t.ports[1].full = true;
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), -EAGAIN);
	fwd_remove_port(t.fwd, 2);
	flow_forget_inlet(t.flow, &t.ports[0].in);
	flow_drained(t.flow, &t.ports[1].out);
	run(FLOW_PORT_MS);
	assert_int_equal(t.ports[0].resumed, 0);
}

/* -- the matrix ------------------------------------------------------------ */

static struct traffic row; /* of rank 2 */

static void assert_sent(uint32_t rank, uint64_t frames, uint64_t bytes)
{
	const struct netstats_sum *s = traffic_find(&row, rank);

	assert_int_equal(s->frames, frames);
	assert_int_equal(s->bytes, bytes);
}

static void a_frame_is_counted_where_it_leaves_its_source(void **state)
{
	join();
	t.ports[0].in.traffic = &row;
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), 0);
	assert_int_equal(from_port(2, test_frame(frame, 5, 2, 1000)), 0);
	assert_int_equal(from_port(2, test_frame(frame, 5, 2, 500)), 0);
	assert_int_equal(from_node(2, test_frame(frame, 2, 5, 100)), 0);
	assert_sent(3, 1, 60);
	assert_sent(5, 2, 1500);
	assert_sent(2, 0, 0);
	traffic_done(&row);
}

static void a_broadcast_is_counted_once(void **state)
{
	join();
	t.ports[0].in.traffic = &row;
	test_frame(frame, 3, 2, 60);
	memset(frame, 0xff, 6);
	assert_int_equal(from_port(2, 60), 0);
	assert_int_equal(t.ports[1].got + t.nodes[0].got + t.nodes[2].got, 3);
	assert_int_equal(row.to_all.frames, 1);
	assert_int_equal(row.to_all.bytes, 60);
	assert_int_equal(row.n, 0);
	traffic_done(&row);
}

static void what_is_dropped_at_its_source_is_not_counted(void **state)
{
	t.ports[0].in.traffic = &row;
	from_port(2, test_frame(frame, 5, 2, 60)); /* no table yet */
	join();
	t.gone = true;
	from_port(2, test_frame(frame, 5, 2, 60));
	from_port(2, test_frame(frame, 2, 2, 60));
	from_port(2, test_frame(frame, 3, 4, 60));
	fwd_remove_port(t.fwd, 3);
	from_port(2, test_frame(frame, 3, 2, 60));
	assert_int_equal(row.n, 0);
	assert_int_equal(row.others.frames, 0);
}

static void a_frame_that_waits_is_counted_when_it_goes(void **state)
{
	t.ports[0].in.traffic = &row;
	t.ports[1].full = true;
	assert_int_equal(from_port(2, test_frame(frame, 3, 2, 60)), -EAGAIN);
	assert_int_equal(row.n, 0);
	t.ports[1].full = false;
	flow_drained(t.flow, &t.ports[1].out);
	run(0);
	assert_int_equal(from_port(2, 60), 0);
	assert_sent(3, 1, 60);
	traffic_done(&row);
}

/* -- learning ------------------------------------------------------------- */

static void learnt_addresses_move_and_age(void **state)
{
	static const uint8_t mac[] = { 2, 0, 0, 0, 0, 1 };
	const struct learn_owner here = { false, 1 }, there = { true, 1 };
	struct learn *l = learn_new();
	struct learn_owner got;

	assert_false(learn_find(l, mac, 0, &got));
	learn_saw(l, mac, here, 0);
	assert_true(learn_find(l, mac, 1, &got));
	assert_false(got.is_node);
	learn_saw(l, mac, there, 2);
	assert_true(learn_find(l, mac, LEARN_AGE_MS, &got));
	assert_true(got.is_node);
	assert_false(learn_find(l, mac, LEARN_AGE_MS + 2, &got));
	learn_free(l);
}

static void one_owner_cannot_fill_the_table(void **state)
{
	const struct learn_owner bad = { false, 1 }, good = { false, 2 };
	uint8_t mac[6] = { 2, 0, 0, 0, 0, 0 };
	struct learn *l = learn_new();
	struct learn_owner got;
	size_t known = 0;

	for (unsigned int i = 0; i < 100000; i++) {
		memcpy(mac + 2, &i, 4);
		learn_saw(l, mac, bad, i / 1000);
	}
	for (unsigned int i = 0; i < 100000; i++) {
		memcpy(mac + 2, &i, 4);
		known += learn_find(l, mac, 100, &got);
	}
	assert_true(known > 200 && known <= LEARN_PER_OWNER);
	mac[1] = 1;
	learn_saw(l, mac, good, 100);
	assert_true(learn_find(l, mac, 100, &got));
	mac[1] = 2; /* and its own share comes back as they age */
	learn_saw(l, mac, bad, LEARN_AGE_MS + 2000);
	assert_true(learn_find(l, mac, LEARN_AGE_MS + 2000, &got));
	learn_free(l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(short_and_long_frames_are_dropped),
		TEST(a_sender_that_claims_anothers_address_is_dropped),
		TEST(frames_to_oneself_are_dropped),
		TEST(frames_to_nobody_are_dropped),
		TEST(other_nodes_need_the_table),
		TEST(a_task_without_a_port_gets_nothing),
		TEST(a_node_that_has_left_gets_nothing),
		TEST(a_second_port_of_a_rank_is_refused),
		TEST(a_rank_is_found_here_or_on_its_node),
		TEST(a_broadcast_goes_once_to_each_port_and_node),
		TEST(a_broadcast_from_a_node_stays_here),
		TEST(a_broadcast_goes_along_the_tree),
		TEST(a_neighbours_broadcast_is_passed_on),
		TEST(one_from_afar_keeps_its_origin),
		TEST(who_cannot_have_passed_it_on_is_not_believed),
		TEST(a_frame_from_a_node_never_travels_on),
		TEST(arp_is_answered_at_the_port),
		TEST(a_foreign_address_is_learnt),
		TEST(what_a_round_sent_leaves_at_its_end),
		TEST(a_frame_waits_for_room),
		TEST(a_slow_receiver_is_waited_for_once),
		TEST(one_that_is_slow_again_and_again_is_not_waited_for),
		TEST(what_a_receiver_takes_it_gets_in_one_piece),
		TEST(others_get_segments),
		TEST(segments_that_wait_are_not_sent_twice),
		TEST(segments_beyond_the_mtu_are_dropped),
		TEST(a_broadcast_does_not_wait),
		TEST(who_waits_again_before_it_is_resumed_waits),
		TEST(who_waits_for_what_is_gone_is_resumed),
		TEST(who_is_gone_is_not_resumed),
		TEST(a_frame_is_counted_where_it_leaves_its_source),
		TEST(a_broadcast_is_counted_once),
		TEST(what_is_dropped_at_its_source_is_not_counted),
		TEST(a_frame_that_waits_is_counted_when_it_goes),
		cmocka_unit_test(learnt_addresses_move_and_age),
		cmocka_unit_test(one_owner_cannot_fill_the_table),
	};

	return cmocka_run_group_tests_name("fwd", tests, NULL, NULL);
}
