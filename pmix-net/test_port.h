/* test_port.h - two ports of one node; the test is QEMU on both sides
 *
 * Include cmocka.h, with what that wants, before it.
 */
#ifndef VMSTEP_TEST_PORT_H
#define VMSTEP_TEST_PORT_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "port.h"
#include "test_clock.h"

static struct {
	struct loop *loop;
	struct test_clock clock;
	struct round *round;
	struct buf_pool pool;
	struct flow *flow;
	struct fwd *fwd;
	struct spin spin;
	struct rankset local;
	struct port *ports[2];
	int qemu[2], net[2]; /* the ends; net's are the ports' own */
	char ended[2][192];
	struct counters counts[2]; /* of those that ended */
} t;

/* All that is possible now. */
static inline void settle(void)
{
	for (int i = 0; i < 3; i++)
		test_clock_turn(&t.clock);
}

static inline void wait_ms(int64_t ms)
{
	test_clock_pass(&t.clock, ms);
}

static inline void on_ended(struct port *p, const char *why, void *arg)
{
	uint32_t i = p->rank;

	snprintf(t.ended[i], sizeof(t.ended[i]), "%s", why);
	t.counts[i] = p->counts;
	port_free(p);
	t.ports[i] = NULL;
}

typedef int (*port_new_fn)(const struct port_env *env, uint32_t rank, int fd,
			   struct port **ret, struct errmsg *err);

static inline int set_up_ports(int type, port_new_fn new)
{
	struct fwd_conf conf = { { 0x0a000000, 8 }, 65521, 2, &t.local };
	struct port_env env = { .ended = on_ended, .mtu = 9000 };

	memset(&t, 0, sizeof(t));
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	test_clock_start(&t.clock, t.loop);
	assert_int_equal(round_new(t.loop, &t.round, NULL), 0);
	assert_int_equal(flow_new(t.loop, t.round, &t.flow, NULL), 0);
	rankset_add(&t.local, 0, 1);
	conf.flow = t.flow;
	assert_int_equal(fwd_new(&conf, &t.fwd, NULL), 0);
	env.loop = t.loop;
	env.round = t.round;
	env.pool = &t.pool;
	env.flow = t.flow;
	env.fwd = t.fwd;
	env.spin = &t.spin;
	for (uint32_t i = 0; i < 2; i++) {
		int sv[2];

		assert_int_equal(socketpair(AF_UNIX, type, 0, sv), 0);
		t.qemu[i] = sv[0];
		t.net[i] = sv[1];
		assert_int_equal(new (&env, i, sv[1], &t.ports[i], NULL), 0);
	}
	return 0;
}

static inline int tear_down(void **state)
{
	for (int i = 0; i < 2; i++) {
		port_free(t.ports[i]);
		close(t.qemu[i]);
	}
	fwd_free(t.fwd);
	flow_free(t.flow);
	round_free(t.round);
	loop_free(t.loop);
	rankset_done(&t.local);
	buf_pool_done(&t.pool);
	return 0;
}

/* -- a port that is refused ------------------------------------------------ */

static inline void on_asked(uint32_t rank, const uint8_t *query, size_t len,
			    void *arg)
{
	++*(unsigned int *)arg;
}

static inline void on_neighbours(void (*fn)(uint32_t node, void *fn_arg),
				 void *fn_arg, void *arg)
{
}

static inline void on_nothing(uint32_t events, void *arg)
{
}

/* The guest of a port is asked for its groups as soon as there is a port: that
 * waits in a buffer. */
static inline void test_unwatched_port(int type, port_new_fn new)
{
	unsigned int asked = 0;
	struct mcast_env conf = { .service = 0x0afffffe,
				  .send = on_asked,
				  .neighbours = on_neighbours,
				  .arg = &asked };
	struct port_env env = { .ended = on_ended };
	struct fwd_conf fwd = { { 0x0a000000, 8 }, 1500, 2, &t.local };
	struct port *p = NULL;
	struct loop_io *io;
	int sv[2];

	assert_int_equal(loop_new(&conf.loop, NULL), 0);
	assert_int_equal(round_new(conf.loop, &env.round, NULL), 0);
	assert_int_equal(flow_new(conf.loop, env.round, &env.flow, NULL), 0);
	assert_int_equal(mcast_new(&conf, &fwd.mcast, NULL), 0);
	fwd.flow = env.flow;
	assert_int_equal(fwd_new(&fwd, &env.fwd, NULL), 0);
	env.loop = conf.loop;
	assert_int_equal(socketpair(AF_UNIX, type, 0, sv), 0);
	assert_int_equal(
		loop_io_add(env.loop, sv[1], EPOLLIN, on_nothing, NULL, &io),
		0);
	assert_int_equal(new (&env, 0, sv[1], &p, NULL), -EEXIST);
	assert_null(p);
	assert_int_equal(close(sv[1]), -1); /* it was taken */
	assert_int_equal(asked, 0);
	loop_io_free(io);
	close(sv[0]);
	fwd_free(env.fwd);
	mcast_free(fwd.mcast);
	flow_free(env.flow);
	round_free(env.round);
	loop_free(env.loop);
}

#endif
