#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "forward.h"
#include "hosts.h"
#include "usernet.h"

struct fixture {
	struct task t;
	struct spec s;
	struct strings args;

	/* QEMU, by hand */
	struct loop *loop;
	struct loop_timer *tick;
	struct qmp *q;
	int qemu;
	struct forward *f;
	int ready, done;
	char error[400];
};

static void on_tick(void *arg)
{
	loop_stop(arg, 0);
}

static void spin(struct fixture *f)
{
	for (int i = 0; i < 3; i++) {
		loop_timer_set(f->tick, 1);
		assert_int_equal(loop_run(f->loop), 0);
	}
}

static void on_ready(void *arg)
{
	((struct fixture *)arg)->ready++;
}

static void on_event(const char *name, json_t *data, void *arg)
{
}

static void on_gone(const char *why, void *arg)
{
}

static void on_done(const char *error, void *arg)
{
	struct fixture *f = arg;

	f->done++;
	snprintf(f->error, sizeof(f->error), "%s", error ? error : "");
}

static const struct qmp_ops ops = { on_ready, on_event, on_gone };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int sv[2];

	f->t.rank = 0x10203;
	f->t.node = "n1";
	f->t.publish_first = 1024;
	f->t.publish_last = UINT16_MAX;
	f->s.cidr = (struct addr_net){ 0x0a000000, 8 };
	*state = f;
	if (loop_new(&f->loop, NULL) < 0 ||
	    loop_timer_add(f->loop, -1, on_tick, f->loop, &f->tick) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -1;
	f->qemu = sv[1];
	return qmp_new(f->loop, sv[0], &ops, f, &f->q, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qmp_free(f->q);
	forward_free(f->f);
	close(f->qemu);
	loop_timer_free(f->tick);
	loop_free(f->loop);
	strings_done(&f->args);
	free(f);
	return 0;
}

/* -- the card -------------------------------------------------------------- */

static const char *args_of(struct fixture *f)
{
	struct args a = { .list = &f->args };

	strings_done(&f->args);
	usernet_args(&a, &f->t, &f->s);
	assert_int_equal(a.error, 0);
	if (!f->args.n)
		return "";
	assert_int_equal(f->args.n, 4);
	assert_string_equal(f->args.v[0], "-netdev");
	assert_string_equal(f->args.v[2], "-device");
	assert_string_equal(
		f->args.v[3],
		"virtio-net-pci,netdev=out0,mac=52:54:01:01:02:03,romfile=");
	return f->args.v[1];
}

static void test_card(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(args_of(f), "");
	f->s.outbound = true;
	assert_string_equal(
		args_of(f),
		"user,id=out0,ipv6=off,net=192.168.127.0/24,host=192.168.127.2,dns=192.168.127.3,dhcpstart=192.168.127.15,restrict=off");
	f->s.outbound = false;
	f->s.tftp = (char *)(uintptr_t) "/srv/a,b";
	assert_non_null(strstr(args_of(f), ",restrict=on,tftp=/srv/a,,b"));
	f->s.tftp = NULL;
	f->s.n_ports = 1;
	assert_non_null(strstr(args_of(f), ",restrict=on"));
}

/* The step's network may be any. */
static void test_apart(void **state)
{
	static const struct {
		struct addr_net net;
		const char *host;
	} rows[] = {
		{ { 0x0a000000, 8 }, "192.168.127.2" },
		{ { 0xc0a80000, 16 }, "172.31.127.2" },
		{ { 0xc0a87f80, 25 }, "172.31.127.2" },
		{ { 0xc0a87e00, 24 }, "192.168.127.2" },
		{ { 0x80000000, 1 }, "10.127.127.2" },
	};
	struct fixture *f = *state;
	struct usernet u;

	f->s.outbound = true;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		f->s.cidr = rows[i].net;
		assert_true(usernet_of(&f->t, &f->s, &u));
		assert_string_equal(u.host, rows[i].host);
	}
	f->s.net = NET_NONE;
	assert_true(usernet_of(&f->t, &f->s, &u));
	assert_string_equal(u.host, "192.168.127.2");
}

static void test_names(void **state)
{
	struct fixture *f = *state;
	char *text = NULL;

	assert_int_equal(hosts_usernet(&f->t, &f->s, &text), 0);
	assert_null(text);
	f->s.outbound = true;
	assert_int_equal(hosts_usernet(&f->t, &f->s, &text), 0);
	assert_string_equal(text, "192.168.127.2\tvmhost\n");
	assert_int_equal(hosts_usernet(&f->t, &f->s, &text), 0);
	assert_string_equal(text,
			    "192.168.127.2\tvmhost\n192.168.127.2\tvmhost\n");
	free(text);
}

/* -- ports ----------------------------------------------------------------- */

static const char *hear(struct fixture *f)
{
	static char text[2048];
	ssize_t n;

	spin(f);
	n = recv(f->qemu, text, sizeof(text) - 1, MSG_DONTWAIT);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->qemu, text, strlen(text)), strlen(text));
	spin(f);
}

#define TAKEN                                                   \
	"{\"return\": \"could not set up host forwarding rule " \
	"'tcp:127.0.0.1:1-:22'\\r\\n\"}\r\n"
#define DONE "{\"return\": \"\"}\r\n"

static void begin(struct fixture *f)
{
	say(f, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n");
	hear(f);
	say(f, "{\"return\": {}}\r\n");
	assert_int_equal(f->ready, 1);
	assert_int_equal(forward_start(f->q, &f->t, &f->s, on_done, f, &f->f),
			 0);
}

static void give(struct fixture *f, const char *text)
{
	assert_int_equal(publish_parse(text, f->s.ports, &f->s.n_ports, NULL),
			 0);
}

static void test_named(void **state)
{
	struct fixture *f = *state;
	const struct publish *p;
	size_t n;

	give(f, "22=8022,53=8053/udp");
	begin(f);
	assert_non_null(
		strstr(hear(f), "hostfwd_add out0 tcp:127.0.0.1:8022-:22"));
	forward_ports(f->f, &n);
	assert_int_equal(n, 0);
	say(f, DONE);
	assert_non_null(
		strstr(hear(f), "hostfwd_add out0 udp:127.0.0.1:8053-:53"));
	assert_int_equal(f->done, 0);
	say(f, DONE);
	assert_int_equal(f->done, 1);
	assert_string_equal(f->error, "");
	p = forward_ports(f->f, &n);
	assert_int_equal(n, 2);
	assert_int_equal(p[1].host, 8053);
}

static void test_taken(void **state)
{
	struct fixture *f = *state;

	give(f, "22=8022");
	begin(f);
	hear(f);
	say(f, TAKEN);
	assert_int_equal(f->done, 1);
	assert_non_null(strstr(
		f->error,
		"--vm-publish=22: port 8022 of 127.0.0.1 on n1 cannot be had"));
	assert_string_equal(hear(f), "");
}

static unsigned int asked_port(struct fixture *f)
{
	const char *at = strstr(hear(f), "127.0.0.1:");
	unsigned int port = 0;

	if (!at || sscanf(at, "127.0.0.1:%u-:22", &port) != 1)
		fail_msg("nothing was asked");
	return port;
}

static void test_any(void **state)
{
	struct fixture *f = *state;
	const struct publish *p;
	unsigned int port;
	size_t n;

	give(f, "22");
	begin(f);
	assert_true(asked_port(f) >= 1024);
	say(f, TAKEN); /* in this very moment: another one */
	port = asked_port(f);
	assert_true(port >= 1024);
	say(f, DONE);
	p = forward_ports(f->f, &n);
	assert_int_equal(n, 1);
	assert_int_equal(p[0].host, port);
}

/* All of the site's are tried, each once. */
static void test_range(void **state)
{
	struct fixture *f = *state;
	bool seen[3] = { false };

	f->t.publish_first = 40000;
	f->t.publish_last = 40002;
	give(f, "22");
	begin(f);
	for (int i = 0; i < 3; i++) {
		unsigned int port = asked_port(f);

		assert_in_range(port, 40000, 40002);
		assert_false(seen[port - 40000]);
		seen[port - 40000] = true;
		say(f, TAKEN);
	}
	assert_int_equal(f->done, 1);
	assert_non_null(strstr(
		f->error,
		"--vm-publish=22: no port of 40000-40002 is free on n1"));
	assert_null(strchr(f->error, '\r'));
}

#define TEST(name, fn)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("a second card where something needs it", test_card),
		TEST("its network is apart from the step's", test_apart),
		TEST("the node has a name", test_names),
		TEST("named ports are opened one after the other", test_named),
		TEST("one that is taken is told of", test_taken),
		TEST("a free port is looked for again", test_any),
		TEST("the site's range is tried out", test_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
