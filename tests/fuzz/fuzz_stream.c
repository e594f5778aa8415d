/* fuzz_stream.c - what a QEMU, or who took its place, writes to its port
 *
 * Input: how many bytes are written at a time (1 byte, 0: all), then those
 * bytes. Two ports of one node; what the second guest gets must be frames.
 */
#include <config.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_wire.h"
#include "port_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct loop_timer *stop;
static struct buf_pool pool;

static void on_stop(void *arg)
{
	loop_stop(loop, 0);
}

static void settle(void)
{
	for (int i = 0; i < 3; i++) {
		loop_timer_set(stop, 0);
		loop_run(loop);
	}
}

static void on_ended(struct port *p, const char *why, void *arg)
{
	((struct port **)arg)[p->rank] = NULL;
	port_free(p);
}

static void must(int r)
{
	if (r < 0)
		abort();
}

/* Whatever comes out has a length and as many bytes. */
static void check_output(int fd)
{
	static uint8_t got[1 << 20];
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
	size_t at = 0, len = n > 0 ? (size_t)n : 0;

	while (at < len) {
		int frame = port_stream_next(got + at, len - at);

		if (frame <= 0)
			abort();
		at += 4 + (size_t)frame;
	}
}

static void write_in_pieces(int fd, const uint8_t *data, size_t size)
{
	size_t piece = data[0] ? data[0] : size;

	for (size_t at = 1; at < size; at += piece) {
		size_t n = size - at < piece ? size - at : piece;

		if (send(fd, data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		settle();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rankset local = { 0 };
	struct fwd_conf conf = { { 0x0a000000, 8 }, 9000, 2, &local };
	struct port *ports[2] = { NULL };
	struct port_env env = { .ended = on_ended, .arg = ports };
	int qemu[2];

	if (size < 2 || size > 65536)
		return 0;
	if (!loop) {
		loop_clock_stop(); /* it waits for nobody */
		must(loop_new(&loop, NULL));
		must(loop_timer_add(loop, -1, on_stop, NULL, &stop));
	}
	env.loop = loop;
	env.pool = &pool;
	must(rankset_add(&local, 0, 1));
	must(round_new(loop, &env.round, NULL));
	must(flow_new(loop, env.round, &env.flow, NULL));
	conf.flow = env.flow;
	must(fwd_new(&conf, &env.fwd, NULL));
	for (uint32_t i = 0; i < 2; i++) {
		int sv[2];

		must(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
		qemu[i] = sv[0];
		must(port_stream_new(&env, i, sv[1], &ports[i], NULL));
	}

	write_in_pieces(qemu[0], data, size);
	check_output(qemu[0]);
	check_output(qemu[1]);

	for (int i = 0; i < 2; i++) {
		port_free(ports[i]);
		close(qemu[i]);
	}
	fwd_free(env.fwd);
	flow_free(env.flow);
	round_free(env.round);
	rankset_done(&local);
	if (pool.n_lent)
		abort();
	return 0;
}
