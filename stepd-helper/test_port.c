#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "port.h"

struct fixture {
	char path[64];
	int dir;
	struct port *port;
	int qemu; /* its end */
	struct errmsg err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/vmstep-test-port.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	f->qemu = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	port_free(f->port);
	if (f->qemu >= 0)
		close(f->qemu);
	close(f->dir);
	assert_int_equal(rmdir(f->path), 0); /* nothing is left in it */
	free(f);
	return 0;
}

static void make(struct fixture *f, int net, enum netctl_port kind)
{
	assert_int_equal(port_new(net, f->dir, 7, &f->port, &f->err), 0);
	assert_int_equal(port_kind(f->port), kind);
	f->qemu = port_take_qemu(f->port);
	assert_true(f->qemu >= 0);
	assert_int_equal(port_take_qemu(f->port), -1);
}

static int connected(struct fixture *f)
{
	int fd = port_connect(f->port, &f->err);

	if (fd < 0)
		fail_msg("%s", f->err.text);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	return fd;
}

static int sock_type(int fd)
{
	int type = -1;
	socklen_t len = sizeof(type);

	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
	return type;
}

/* What is written to the one end comes out of the other. */
static void assert_joined(int a, int b)
{
	char c = 0;

	assert_int_equal(send(a, "x", 1, MSG_DONTWAIT), 1);
	assert_int_equal(recv(b, &c, 1, MSG_DONTWAIT), 1);
	assert_int_equal(c, 'x');
}

/* What QEMU does with the directory it was given. */
static int listen_as_qemu(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	snprintf(un.sun_path, sizeof(un.sun_path), PORT_SOCKET_PATH, f->qemu,
		 7u);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void test_not_there(void **state)
{
	struct fixture *f = *state;

	make(f, NET_VHOST_USER, NETCTL_VHOST_USER);
	assert_int_equal(port_connect(f->port, &f->err), -EAGAIN); /* yet */
	close(listen_as_qemu(f));
	assert_int_equal(port_connect(f->port, &f->err), -EAGAIN); /* more */
	assert_non_null(strstr(f->err.text, "does not listen at port-7.sock"));
}

static void test_stream(void **state)
{
	struct fixture *f = *state;
	int net;

	make(f, NET_STREAM, NETCTL_STREAM);
	net = connected(f);
	assert_int_equal(sock_type(net), SOCK_STREAM);
	assert_joined(f->qemu, net);
	assert_int_equal(port_connect(f->port, &f->err), -ENOTSUP);
	close(net); /* was the only one: QEMU sees it */
	assert_int_equal(send(f->qemu, "x", 1, MSG_NOSIGNAL), -1);
}

static void test_dgram(void **state)
{
	struct fixture *f = *state;
	int net;

	make(f, NET_DGRAM, NETCTL_DGRAM);
	net = connected(f);
	assert_int_equal(sock_type(net), SOCK_DGRAM);
	assert_joined(f->qemu, net);
	close(net);
	assert_int_equal(send(f->qemu, "x", 1, MSG_NOSIGNAL), 1); /* waits */
	net = connected(f);
	assert_int_equal(recv(net, (char[1]){ 0 }, 1, MSG_DONTWAIT), 1);
	assert_joined(net, f->qemu);
	close(net);
}

static void test_vhost_user(void **state)
{
	struct fixture *f = *state;
	int listening, net, qemu;

	make(f, NET_VHOST_USER, NETCTL_VHOST_USER);
	listening = listen_as_qemu(f);
	for (int i = 0; i < 3; i++) {
		net = connected(f); /* before QEMU looks */
		assert_int_equal(sock_type(net), SOCK_STREAM);
		qemu = accept(listening, NULL, NULL);
		assert_joined(net, qemu);
		assert_joined(qemu, net);
		close(net);
		close(qemu);
	}
	close(listening);
}

static void test_stale(void **state)
{
	struct fixture *f = *state;
	struct port *old = NULL;
	int listening;

	assert_int_equal(port_new(NET_VHOST_USER, f->dir, 7, &old, &f->err), 0);
	f->qemu = port_take_qemu(old);
	listening = listen_as_qemu(f); /* of a step of the same name */
	close(f->qemu);
	make(f, NET_VHOST_USER, NETCTL_VHOST_USER);
	assert_int_equal(port_connect(f->port, &f->err), -EAGAIN);
	close(listening);
	port_free(old);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("no connection while QEMU does not listen",
		     test_not_there),
		TEST("a stream has one connection and no second", test_stream),
		TEST("a datagram port can be given away again", test_dgram),
		TEST("a vhost-user port is connected anew each time",
		     test_vhost_user),
		TEST("a socket that was left there is not taken for QEMU's",
		     test_stale),
	};

	return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
