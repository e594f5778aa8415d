#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "addr.h"
#include "rankset.h"

static void test_bad_networks(void **state)
{
	static const char *const bad[] = {
		"",
		"/",
		"10.0.0.0",
		"10.0.0.0/",
		"/8",
		"10.0.0.0/0",
		"10.0.0.0/31",
		"10.0.0.0/32",
		"10.0.0.0/-8",
		"10.0.0.0/8x",
		"10.0.0.0/ 8",
		"10.0.0.0/+8",
		"10.0.0/8",
		"10.0.0.256/24",
		"fd00::/8",
		"ten/8",
		"255.255.255.255.255.255/8",
		"10.0.0.0/99999999999999999999",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct addr_net net = { 7, 7 };
		struct errmsg err;

		if (addr_net_parse(bad[i], &net, &err) != -EINVAL)
			fail_msg("'%s' is taken for a network", bad[i]);
		assert_int_equal(net.base, 7);
		assert_non_null(strstr(err.text, "is not an IPv4 network"));
	}
}

static void test_host_bits(void **state)
{
	struct addr_net net;
	struct errmsg err;

	assert_int_equal(addr_net_parse("10.0.0.1/8", &net, &err), -EINVAL);
	assert_non_null(strstr(err.text, "host bits"));
	assert_int_equal(addr_net_parse("192.168.1.4/29", &net, NULL), -EINVAL);
}

static void test_network(void **state)
{
	struct addr_net net;

	assert_int_equal(addr_net_parse("192.168.4.0/22", &net, NULL), 0);
	assert_int_equal(net.base, 0xc0a80400);
	assert_int_equal(net.prefix, 22);
	assert_int_equal(addr_net_parse("128.0.0.0/1", &net, NULL), 0);
	assert_int_equal(net.base, 0x80000000);
}

static void test_room(void **state)
{
	struct addr_net net = { 0x0a000000, 30 };

	assert_int_equal(addr_net_ranks(&net), 1);
	net.prefix = 24;
	assert_int_equal(addr_net_ranks(&net), 253);
	net.prefix = 8;
	assert_int_equal(addr_net_ranks(&net), RANK_MAX + 1);
	net.prefix = 1;
	assert_int_equal(addr_net_ranks(&net), RANK_MAX + 1);
}

static void test_ip(void **state)
{
	struct addr_net net = { 0x0a000000, 29 };
	char text[INET_ADDRSTRLEN];
	uint32_t rank = 7;

	assert_false(addr_ip_rank(&net, 0x0a000000, &rank)); /* the network */
	assert_false(addr_ip_rank(&net, 0x0a000006, &rank)); /* service */
	assert_false(addr_ip_rank(&net, 0x0a000007, &rank)); /* broadcast */
	assert_false(addr_ip_rank(&net, 0x09ffffff, &rank));
	assert_false(addr_ip_rank(&net, 0, &rank));
	assert_false(addr_ip_rank(&net, 0xffffffff, &rank));
	assert_int_equal(rank, 7);
	assert_true(addr_ip_rank(&net, 0x0a000002, &rank));
	assert_int_equal(rank, 1);
	assert_int_equal(addr_ip(&net, 1), 0x0a000002);
	addr_ip_text(addr_ip(&net, 1), text);
	assert_string_equal(text, "10.0.0.2");
	net = (struct addr_net){ 0x0a000000, 8 };
	assert_true(addr_ip_rank(&net, addr_ip(&net, RANK_MAX), &rank));
	assert_int_equal(rank, RANK_MAX);
	addr_ip_text(addr_ip(&net, RANK_MAX), text);
	assert_string_equal(text, "10.255.255.253");
}

static void test_ip6(void **state)
{
	static const uint8_t want[16] = { 0xfe, 0x80, [8] = 0x50, 0x54, 0x00,
					  0xff, 0xfe, 0x12,	  0x34, 0x56 };
	uint8_t ip[16];
	uint32_t rank = 7;

	addr_ip6(0x123456, ip);
	assert_memory_equal(ip, want, 16);
	for (int i = 0; i < 13; i++) {
		ip[i] ^= 1;
		assert_false(addr_ip6_rank(ip, &rank));
		ip[i] ^= 1;
	}
	assert_int_equal(rank, 7);
	assert_true(addr_ip6_rank(ip, &rank));
	assert_int_equal(rank, 0x123456);
}

static void test_service(void **state)
{
	struct addr_net net = { 0x0a000000, 8 };
	uint8_t mac[ADDR_MAC_LEN];
	uint32_t rank;

	assert_int_equal(addr_service_ip(&net), 0x0afffffe);
	assert_false(addr_ip_rank(&net, 0x0afffffe, &rank));
	net = (struct addr_net){ 0xc0a80404, 30 };
	assert_int_equal(addr_service_ip(&net), 0xc0a80406);
	net = (struct addr_net){ 0x80000000, 1 };
	assert_int_equal(addr_service_ip(&net), 0xfffffffe);
	addr_mac(RANK_MAX, mac);
	assert_memory_not_equal(mac, addr_service_mac, ADDR_MAC_LEN);
	assert_true(addr_mac_rank(addr_service_mac, &rank));
	assert_true(rank > RANK_MAX);
}

static void test_mac(void **state)
{
	static const uint8_t other[][ADDR_MAC_LEN] = {
		{ 0x52, 0x54, 0x01, 0, 0, 3 },
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 0x53, 0x54, 0x00, 0, 0, 3 },
	};
	uint8_t mac[ADDR_MAC_LEN];
	uint32_t rank = 7;
	char text[18];

	for (size_t i = 0; i < 3; i++)
		assert_false(addr_mac_rank(other[i], &rank));
	assert_int_equal(rank, 7);
	addr_mac(0x123456, mac);
	assert_memory_equal(mac, "\x52\x54\x00\x12\x34\x56", ADDR_MAC_LEN);
	assert_true(addr_mac_rank(mac, &rank));
	assert_int_equal(rank, 0x123456);
	addr_mac_text(3, text);
	assert_string_equal(text, "52:54:00:00:00:03");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "what is no network is refused", test_bad_networks, NULL,
		  NULL, NULL },
		{ "host bits in a network are refused", test_host_bits, NULL,
		  NULL, NULL },
		{ "networks", test_network, NULL, NULL, NULL },
		{ "how many ranks a network has room for", test_room, NULL,
		  NULL, NULL },
		{ "IPv4 addresses follow from ranks, and back", test_ip, NULL,
		  NULL, NULL },
		{ "so do IPv6 addresses, and others are not ours", test_ip6,
		  NULL, NULL, NULL },
		{ "one address is nobody's but the service's", test_service,
		  NULL, NULL, NULL },
		{ "so do MAC addresses; other cards' are not ours", test_mac,
		  NULL, NULL, NULL },
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
