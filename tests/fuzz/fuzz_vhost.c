/* fuzz_vhost.c - what a front end says, and what a guest leaves in its memory
 *
 * Input: 1 byte of options, 8 bytes of features (little endian), then
 * option bit 0 clear: messages, each of request (1), flags (1), number of
 * descriptors (1), size (2, little endian) and payload. Descriptors that come
 * along are sealed memfds, or eventfds for kicks and calls.
 * option bit 0 set: the guest's memory (zeroes behind it), with both rings of
 * a pair in it as struct layout says; all is brought up as QEMU does, and the
 * rings are kicked. Bit 1: enabled later, bit 2: the memory as two regions.
 *
 * The guest is rank 0 of a node; rank 1, behind a stream port, sends it frames,
 * and what it gets must be frames.
 */
#include <config.h>

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "link_wire.h"
#include "port_stream.h"
#include "port_vhost.h"
#include "vhost_wire.h"

#define GUEST 0x10000u
#define BYTES 0x10000u
#define RING  16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct loop_timer *stop;
static struct buf_pool pool;
static struct spin spin;

static void must(long r)
{
	if (r < 0)
		abort();
}

static void on_stop(void *arg)
{
	loop_stop(loop, 0);
}

static void settle(void)
{
	for (int i = 0; i < 4; i++) {
		loop_timer_set(stop, 0);
		loop_run(loop);
	}
}

static void on_ended(struct port *p, const char *why, void *arg)
{
	((struct port **)arg)[p->rank] = NULL;
	port_free(p);
}

/* -- the front end ----------------------------------------------------------
 */

static int make_memory(const uint8_t *data, size_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd);
	must(ftruncate(fd, BYTES));
	must(pwrite(fd, data, size < BYTES ? size : BYTES, 0));
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	return fd;
}

static void tell(int sock, uint32_t request, uint32_t flags,
		 const void *payload, size_t size, const int *fds, size_t n)
{
	char control[CMSG_SPACE(VHOST_FDS_MAX * sizeof(int))] = { 0 };
	struct vhost_header h = { request, flags, (uint32_t)size };
	struct iovec iov[] = { { &h, sizeof(h) },
			       { (void *)(uintptr_t)payload, size } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct cmsghdr *c;

	if (n) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	settle();
}

static void tell_u64(int sock, uint32_t request, uint64_t v, int fd)
{
	tell(sock, request, VHOST_VERSION, &v, sizeof(v), &fd, fd >= 0);
}

static void tell_state(int sock, uint32_t request, uint32_t index, uint32_t num)
{
	const struct vhost_state s = { index, num };

	tell(sock, request, VHOST_VERSION, &s, sizeof(s), NULL, 0);
}

static void messages(int sock, const uint8_t *data, size_t size)
{
	int mem = make_memory(data, size), event = eventfd(1, EFD_NONBLOCK);

	while (size >= 5) {
		size_t len = data[3] | (size_t)data[4] << 8;
		bool events = data[0] >= VHOST_SET_VRING_KICK &&
			      data[0] <= VHOST_SET_VRING_ERR;
		int fd = events ? event : mem;
		const int fds[] = { fd, fd, fd, fd, fd, fd, fd, fd };

		if (len > size - 5)
			len = size - 5;
		tell(sock, data[0], data[1], data + 5, len, fds, data[2] % 9);
		data += 5 + len;
		size -= 5 + len;
	}
	close(mem);
	close(event);
}

static void tell_memory(int sock, int fd, bool two)
{
	struct vhost_table t = { .n = two ? 2 : 1 };
	const int fds[] = { fd, fd };

	t.regions[0] = (struct vhost_region){ GUEST, BYTES, 0, 0 };
	if (two) {
		t.regions[0].size = BYTES / 2;
		t.regions[1] =
			(struct vhost_region){ GUEST + BYTES / 2 + 0x1000,
					       BYTES / 2, BYTES, BYTES / 2 };
	}
	tell(sock, VHOST_SET_MEM_TABLE, VHOST_VERSION, &t,
	     8 + t.n * sizeof(t.regions[0]), fds, t.n);
}

static void tell_ring(int sock, uint32_t index, int kick, int call)
{
	const uint64_t at = 0x2000u * index;
	const struct vhost_addr addr = { .index = index,
					 .desc = at,
					 .avail = at + 0x1000,
					 .used = at + 0x1800 };

	tell_state(sock, VHOST_SET_VRING_NUM, index, RING);
	tell_state(sock, VHOST_SET_VRING_BASE, index, 0);
	tell(sock, VHOST_SET_VRING_ADDR, VHOST_VERSION, &addr, sizeof(addr),
	     NULL, 0);
	tell_u64(sock, VHOST_SET_VRING_CALL, index, call);
	tell_u64(sock, VHOST_SET_VRING_KICK, index, kick);
	tell_state(sock, VHOST_SET_VRING_ENABLE, index, 1);
}

static void send_frame(int qemu, size_t len)
{
	static uint8_t frame[4 + 9000];

	wire_put32(frame, (uint32_t)len);
	addr_mac(0, frame + 4);
	addr_mac(1, frame + 10);
	must(send(qemu, frame, 4 + len, MSG_DONTWAIT));
	settle();
}

static void rings(int sock, int qemu, uint8_t options, uint64_t features,
		  const uint8_t *data, size_t size)
{
	int mem = make_memory(data, size), kick = eventfd(0, EFD_NONBLOCK);
	int call = eventfd(0, EFD_NONBLOCK);

	tell_u64(sock, VHOST_SET_FEATURES, features, -1);
	tell_memory(sock, mem, options & 4);
	tell_ring(sock, 0, kick, call);
	tell_ring(sock, 1, kick, call);
	must(eventfd_write(kick, 1));
	settle();
	send_frame(qemu, 60);
	send_frame(qemu, 9000);
	tell_state(sock, VHOST_GET_VRING_BASE, 0, 0);
	tell_state(sock, VHOST_GET_VRING_BASE, 1, 0);
	close(mem);
	close(kick);
	close(call);
}

/* -- the other guest ---------------------------------------------------------
 */

static void check_output(int fd)
{
	static uint8_t got[4 << 20];
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
	size_t at = 0, len = n > 0 ? (size_t)n : 0;

	while (at < len) {
		int frame = port_stream_next(got + at, len - at);

		if (frame < 0 || (frame > 0 && frame < WIRE_FRAME_MIN))
			abort();
		if (frame == 0) /* the rest did not fit the socket */
			break;
		at += 4 + (size_t)frame;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rankset local = { 0 };
	struct fwd_conf conf = { { 0x0a000000, 8 }, 9000, 2, &local };
	struct port *ports[2] = { NULL };
	struct port_env env = {
		.ended = on_ended, .arg = ports, .spin = &spin, .mtu = 9000
	};
	int front[2], back[2];
	uint64_t features;

	if (size < 10 || size > BYTES)
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
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, front));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, back));
	must(port_vhost_new(&env, 0, front[1], &ports[0], NULL));
	must(port_stream_new(&env, 1, back[1], &ports[1], NULL));

	memcpy(&features, data + 1, sizeof(features));
	if (data[0] & 1)
		rings(front[0], back[0], data[0], le64toh(features), data + 9,
		      size - 9);
	else
		messages(front[0], data + 9, size - 9);
	settle();
	check_output(back[0]);

	port_free(ports[0]);
	port_free(ports[1]);
	close(front[0]);
	close(back[0]);
	fwd_free(env.fwd);
	flow_free(env.flow);
	round_free(env.round);
	rankset_done(&local);
	if (pool.n_lent)
		abort();
	return 0;
}
