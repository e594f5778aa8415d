/* test_tcp_socket.c - addresses as text, and the sockets behind them */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tcp_socket.h"

static struct errmsg err;

static struct sockaddr_storage loopback(int family)
{
	struct sockaddr_storage sa = { .ss_family = (sa_family_t)family };

	if (family == AF_INET)
		((struct sockaddr_in *)&sa)->sin_addr.s_addr =
			htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&sa)->sin6_addr = in6addr_loopback;
	return sa;
}

/* Has the machine IPv6? */
static int listen_any(int family, char text[TCP_ADDRESS_MAX])
{
	const struct sockaddr_storage sa = loopback(family);

	return tcp_listen(&sa, (struct port_range){ 0, 0 }, text, &err);
}

static uint16_t port_of(const char *text)
{
	return (uint16_t)strtoul(strrchr(text, ':') + 1, NULL, 10);
}

static void meet(int family, const char *begins)
{
	char text[TCP_ADDRESS_MAX], again[TCP_ADDRESS_MAX], peer[128];
	int fd = listen_any(family, text), from;
	struct pollfd p = { .events = POLLOUT };

	if (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT)
		skip(); /* there is no IPv6 */
	assert_true(fd >= 0);
	assert_int_equal(strncmp(text, begins, strlen(begins)), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(tcp_adopt(fd, again, &err), 0);
	assert_string_equal(again, text);
	from = tcp_connect(text, &err);
	assert_true(from >= 0);
	p.fd = from;
	assert_int_equal(poll(&p, 1, 10000), 1);
	tcp_set_options(from);
	tcp_peer_text(from, again);
	snprintf(peer, sizeof(peer), "%s port %u",
		 family == AF_INET ? "127.0.0.1" : "::1", port_of(text));
	assert_string_equal(again, peer);
	close(from);
	close(fd);
}

static void who_listens_can_be_reached_over_ipv4(void **state)
{
	meet(AF_INET, "127.0.0.1:");
}

static void who_listens_can_be_reached_over_ipv6(void **state)
{
	meet(AF_INET6, "[::1]:");
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"127.0.0.1",
		"localhost:1",
		"127.0.0.1:x",
		"127.0.0.1:65536",
		"127.0.0.1:-1",
		"[]:1",
		"[::1:1",
		"::1]:1",
		"256.0.0.1:1",
		"[127.0.0.1:]:1",
		"127.0.0.1: 1",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int r = tcp_connect(bad[i], &err);

		if (r != -EINVAL || !strstr(err.text, "is not ADDRESS:PORT"))
			fail_msg("'%s': %d, '%s'", bad[i], r, err.text);
	}
}

static void the_first_free_port_is_taken(void **state)
{
	const struct sockaddr_storage sa = loopback(AF_INET);
	char text[TCP_ADDRESS_MAX], other[TCP_ADDRESS_MAX];
	int fd = listen_any(AF_INET, text), r;
	struct port_range ports = { port_of(text), port_of(text) };

	assert_true(fd >= 0);
	r = tcp_listen(&sa, ports, other, &err);
	assert_int_equal(r, -EADDRINUSE);
	assert_non_null(strstr(err.text, "widen net_port_range"));
	if (ports.last < UINT16_MAX - 100) {
		ports.last += 100;
		r = tcp_listen(&sa, ports, other, &err);
		assert_true(r >= 0);
		assert_true(port_of(other) > ports.first &&
			    port_of(other) <= ports.last);
		close(r);
	}
	close(fd);
}

static void an_address_of_others_is_refused(void **state)
{
	struct sockaddr_storage sa = loopback(AF_INET);
	char text[TCP_ADDRESS_MAX];

	/* 192.0.2.0/24 is for documentation, RFC 5737 */
	((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(0xc0000201);
	assert_int_equal(
		tcp_listen(&sa, (struct port_range){ 0, 0 }, text, &err),
		-EADDRNOTAVAIL);
	assert_non_null(strstr(err.text, "cannot listen"));
}

static void what_does_not_listen_is_not_adopted(void **state)
{
	char text[TCP_ADDRESS_MAX];
	const int fds[] = {
		-1,
		open("/dev/null", O_RDONLY | O_CLOEXEC),
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
		socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		assert_int_equal(tcp_adopt(fds[i], text, &err), -EINVAL);
		assert_non_null(strstr(err.text, "not a listening TCP socket"));
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static void a_peer_that_is_gone_has_words(void **state)
{
	char text[TCP_ADDRESS_MAX];

	tcp_peer_text(-1, text);
	assert_string_equal(text, "a peer that is gone");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_listens_can_be_reached_over_ipv4),
		cmocka_unit_test(who_listens_can_be_reached_over_ipv6),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(the_first_free_port_is_taken),
		cmocka_unit_test(an_address_of_others_is_refused),
		cmocka_unit_test(what_does_not_listen_is_not_adopted),
		cmocka_unit_test(a_peer_that_is_gone_has_words),
	};

	return cmocka_run_group_tests_name("tcp_socket", tests, NULL, NULL);
}
