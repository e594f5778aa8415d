/* What segment.c makes of a packet is what Linux makes of it: sent through a
 * packet socket, with the same virtio_net_hdr, to a tap that can do nothing
 * itself, and read from there. In a network namespace of its own. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "segment.h"
#include "test_gso.h"

#define WAIT_MS 60000

struct fixture {
	int tap, sock; /* -1: it cannot be done here; why: */
	const char *why;
};

static uint8_t frame[SEGMENT_MAX], got[SEGMENT_MAX], ours[SEGMENT_MAX];

static int open_tap(struct ifreq *ifr)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "vmstep%%d");
	ifr->ifr_flags = IFF_TAP | IFF_NO_PI;
	if (fd >= 0 && ioctl(fd, TUNSETIFF, ifr) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* All segments of a frame wait in its queue. Only root may lengthen it, not
 * who is root in a user namespace. */
static int lengthen_queue(struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	assert_true(fd >= 0);
	ifr->ifr_qlen = 2 * OFFLOAD_SEGMENTS_MAX;
	r = ioctl(fd, SIOCSIFTXQLEN, ifr);
	close(fd);
	return r;
}

static int open_packet(struct ifreq *ifr)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;
	struct sockaddr_ll to = { .sll_family = AF_PACKET };

	if (fd < 0)
		return -1;
	ifr->ifr_mtu = 65521;
	assert_int_equal(ioctl(fd, SIOCSIFMTU, ifr), 0);
	ifr->ifr_flags = IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, ifr), 0);
	assert_int_equal(ioctl(fd, SIOCGIFINDEX, ifr), 0);
	to.sll_ifindex = ifr->ifr_ifindex;
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(
		setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)),
		0);
	return fd;
}

static int setup(void **state)
{
	static struct fixture f = { -1, -1, NULL };
	struct ifreq ifr = { 0 };

	*state = &f;
	if (unshare(CLONE_NEWNET) < 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		f.why = "no network namespace of one's own";
	else if ((f.tap = open_tap(&ifr)) < 0)
		f.why = "no tap: /dev/net/tun";
	else if (lengthen_queue(&ifr) < 0)
		f.why = "the tap's queue is too short, and not ours to lengthen";
	else if ((f.sock = open_packet(&ifr)) < 0)
		f.why = "no packet socket";
	return 0;
}

static int done(void **state)
{
	struct fixture *f = *state;

	if (f->tap >= 0)
		close(f->tap);
	if (f->sock >= 0)
		close(f->sock);
	return 0;
}

/* 0, or -errno: this kernel does not know this kind. */
static int send_packet(const struct fixture *f, const struct packet *p)
{
	const struct offload *o = &p->offload;
	struct virtio_net_hdr hdr = {
		.flags = o->flags,
		.gso_type = o->gso,
		.hdr_len = o->hdr_len,
		.gso_size = o->gso_size,
		.csum_start = o->csum_start,
		.csum_offset = o->csum_offset,
	};
	struct iovec io[] = { { &hdr, sizeof(hdr) }, { frame, p->len } };
	struct msghdr msg = { .msg_iov = io, .msg_iovlen = 2 };

	return sendmsg(f->sock, &msg, 0) < 0 ? -errno : 0;
}

/* The next frame of ours: the kernel greets its neighbours, too. */
static size_t read_frame(const struct fixture *f)
{
	struct pollfd pfd = { .fd = f->tap, .events = POLLIN };
	ssize_t n;

	for (;;) {
		n = read(f->tap, got, sizeof(got));
		if (n >= 12 && memcmp(got, frame, 12) == 0)
			return (size_t)n;
		if (n < 0)
			assert_int_equal(errno, EAGAIN);
		assert_int_equal(n > 0 ? 1 : poll(&pfd, 1, WAIT_MS), 1);
	}
}

static void compare(const struct fixture *f, const struct test_gso *g,
		    struct packet *p)
{
	struct segment s;
	size_t len, n;
	int r;

	assert_int_equal(offload_check(p), 0);
	r = send_packet(f, p);
	if (r < 0) {
		print_message("# %s: not by this kernel: %s\n", g->name,
			      strerror(-r));
		return;
	}
	segment_init(&s, p);
	while ((len = segment_next(&s, ours))) {
		n = read_frame(f);
		if (n != len || memcmp(ours, got, len) != 0)
			fail_msg("%s: not as Linux does it", g->name);
	}
}

static void as_linux_does_it(void **state)
{
	const struct fixture *f = *state;
	struct packet p;

	if (f->why) {
		print_message("# %s\n", f->why);
		skip();
	}
	for (size_t i = 0; i < TEST_GSOS; i++) {
		const struct test_gso *g = &test_gsos[i];

		p = test_gso_packet(g, frame);
		compare(f, g, &p);
		p = test_gso_packet(g, frame);
		p.offload.gso = VIRTIO_NET_HDR_GSO_NONE;
		compare(f, g, &p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_linux_does_it),
	};

	return cmocka_run_group_tests_name("segment_kernel", tests, setup,
					   done);
}
