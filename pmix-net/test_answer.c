#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "answer.h"
#include "test_frame.h"

#define NET	0x0a000000u
#define IP(r)	(NET + 1 + (r))
#define ME	3u
#define SERVICE 0x0afffffeu

static const struct answer_conf conf = { { NET, 8 }, 10, 9000, { "vm%t", "" } };
static uint8_t reply[ANSWER_REPLY_MAX];
static size_t reply_len;

/* In memory of its own size, so that a sanitizer sees each byte too far. */
static enum answer ask(const uint8_t *frame, size_t len)
{
	uint8_t *copy = malloc(len);
	enum answer a;

	assert_non_null(copy);
	memcpy(copy, frame, len);
	reply_len = 0;
	a = answer_frame(&conf, ME, copy, len, reply, &reply_len);
	free(copy);
	return a;
}

static enum answer ask_arp(uint8_t op, uint32_t sender, uint32_t target)
{
	uint8_t f[64];

	return ask(f, test_arp(f, ME, op, sender, target));
}

static void assert_mac(const uint8_t *mac, uint32_t rank)
{
	uint8_t want[ADDR_MAC_LEN];

	addr_mac(rank, want);
	assert_memory_equal(mac, want, ADDR_MAC_LEN);
}

static void who_has_another_rank_is_answered(void **state)
{
	static const uint8_t target[] = { 10, 0, 0, 6 };
	static const uint8_t sender[] = { 10, 0, 0, 4 };

	assert_int_equal(ask_arp(1, IP(ME), IP(5)), ANSWER_REPLY);
	assert_int_equal(reply_len, 60);
	assert_mac(reply, ME);
	assert_mac(reply + 6, 5);
	assert_int_equal(reply[21], 2); /* a reply */
	assert_mac(reply + 22, 5);
	assert_memory_equal(reply + 28, target, 4);
	assert_mac(reply + 32, ME);
	assert_memory_equal(reply + 38, sender, 4);
}

static void a_probe_for_anothers_address_is_a_conflict(void **state)
{
	assert_int_equal(ask_arp(1, 0, IP(0)), ANSWER_REPLY);
	assert_mac(reply + 22, 0);
}

static void what_concerns_only_the_sender_is_swallowed(void **state)
{
	assert_int_equal(ask_arp(1, 0, IP(ME)), ANSWER_SWALLOW);
	assert_int_equal(ask_arp(1, IP(ME), IP(ME)), ANSWER_SWALLOW);
}

static void addresses_that_no_rank_has_are_not_ours(void **state)
{
	assert_int_equal(ask_arp(1, IP(ME), IP(10)), ANSWER_NOT_OURS);
	assert_int_equal(ask_arp(1, IP(ME), NET), ANSWER_NOT_OURS);
	assert_int_equal(ask_arp(1, IP(ME), 0xc0000201), ANSWER_NOT_OURS);
	assert_int_equal(ask_arp(1, 0xc0000202, 0x0affffff), ANSWER_NOT_OURS);
}

static void arp_with_anothers_address_is_spoofed(void **state)
{
	assert_int_equal(ask_arp(1, IP(4), IP(5)), ANSWER_SPOOFED);
	assert_int_equal(ask_arp(2, IP(4), IP(5)), ANSWER_SPOOFED);
	assert_int_equal(ask_arp(2, IP(ME), IP(5)), ANSWER_NOT_OURS);
}

static void a_request_to_one_machine_travels(void **state)
{
	uint8_t f[64];
	size_t len = test_arp(f, ME, 1, IP(ME), IP(5));

	addr_mac(5, f);
	assert_int_equal(ask(f, len), ANSWER_NOT_OURS);
}

static void assert_service_reply(const uint8_t *frame, size_t len)
{
	assert_int_equal(ask(frame, len), ANSWER_REPLY);
	assert_mac(reply, ME);
	assert_memory_equal(reply + 6, addr_service_mac, ADDR_MAC_LEN);
	assert_memory_equal(reply + 22, addr_service_mac, ADDR_MAC_LEN);
	assert_memory_equal(reply + 28, "\x0a\xff\xff\xfe", 4);
}

static void the_service_answers_also_when_asked_alone(void **state)
{
	uint8_t f[64];
	size_t len = test_arp(f, ME, 1, IP(ME), SERVICE);

	assert_service_reply(f, len);
	memcpy(f, addr_service_mac, ADDR_MAC_LEN);
	assert_service_reply(f, len);
	len = test_arp(f, ME, 1, 0, SERVICE); /* a probe */
	assert_service_reply(f, len);
	len = test_arp(f, ME, 1, IP(ME), SERVICE);
	addr_mac(5, f); /* does another one have it? */
	assert_int_equal(ask(f, len), ANSWER_NOT_OURS);
}

static void nobody_else_is_the_service(void **state)
{
	uint8_t f[64];
	size_t len = test_frame(f, 5, ME, 60);

	assert_int_equal(ask_arp(1, SERVICE, IP(5)), ANSWER_SPOOFED);
	assert_int_equal(ask_arp(2, SERVICE, IP(5)), ANSWER_SPOOFED);
	assert_int_equal(ask_arp(1, SERVICE, SERVICE), ANSWER_SPOOFED);
	assert_int_equal(ask(f, len), ANSWER_NOT_OURS);
	memcpy(f + 6, addr_service_mac, ADDR_MAC_LEN);
	assert_int_equal(ask(f, len), ANSWER_SPOOFED);
}

static void what_is_for_the_service_never_travels(void **state)
{
	static const uint16_t types[] = { 0x0800, 0x0806, 0x86dd, 0x8100,
					  TEST_TYPE };
	uint8_t src[ADDR_MAC_LEN], f[64] = { 0 };

	addr_mac(ME, src);
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		test_eth(f, addr_service_mac, src, types[i]);
		for (size_t len = 14; len <= 60; len++)
			assert_int_equal(ask(f, len), ANSWER_SWALLOW);
	}
	test_arp(f, ME, 2, IP(ME), SERVICE); /* a reply */
	memcpy(f, addr_service_mac, ADDR_MAC_LEN);
	assert_int_equal(ask(f, 42), ANSWER_SWALLOW);
}

static void arp_that_is_cut_or_odd_is_not_ours(void **state)
{
	uint8_t f[64], odd[64];
	size_t len = test_arp(f, ME, 1, IP(ME), IP(5));

	for (size_t n = 14; n < len; n++)
		assert_int_equal(ask(f, n), ANSWER_NOT_OURS);
	for (size_t i = 14; i < 20; i++) { /* types and lengths */
		memcpy(odd, f, len);
		odd[i] ^= 0x40;
		assert_int_equal(ask(odd, len), ANSWER_NOT_OURS);
	}
}

/* -- IPv6 ----------------------------------------------------------------- */

/* A neighbour solicitation for rank @target's address. */
static size_t make_ns(uint8_t *f, uint32_t target, bool probe)
{
	static const uint8_t group[] = { 0x33, 0x33, 0xff, 0, 0, 5 };
	uint8_t src[ADDR_MAC_LEN], *ip, *icmp;

	addr_mac(ME, src);
	ip = f + test_eth(f, group, src, 0x86dd);
	memset(ip, 0, 64);
	ip[0] = 0x60;
	ip[5] = 24;
	ip[6] = 58;
	ip[7] = 255;
	if (!probe) {
		ip[8] = 0xfe;
		ip[23] = 1;
	}
	icmp = ip + 40;
	icmp[0] = 135;
	memcpy(icmp + 8, "\xfe\x80\0\0\0\0\0\0\x50\x54\0\xff\xfe", 13);
	icmp[21] = (uint8_t)(target >> 16);
	icmp[22] = (uint8_t)(target >> 8);
	icmp[23] = (uint8_t)target;
	return 14 + 64;
}

/* Adding up pseudo header and message gives ones where the sum is right. */
static bool checksum_is_right(const uint8_t *ip)
{
	size_t len = (size_t)(ip[4] << 8 | ip[5]);
	uint32_t sum = 58 + (uint32_t)len;

	for (size_t i = 8; i < 40 + len; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static void a_neighbour_is_advertised(void **state)
{
	uint8_t f[128];
	size_t len = make_ns(f, 5, false);

	assert_int_equal(ask(f, len), ANSWER_REPLY);
	assert_int_equal(reply_len, 14 + 72);
	assert_mac(reply, ME);
	assert_mac(reply + 6, 5);
	assert_int_equal(reply[14 + 40], 136);
	assert_int_equal(reply[14 + 44], 0x60); /* solicited, override */
	assert_mac(reply + 14 + 66, 5);
	assert_true(checksum_is_right(reply + 14));
}

static void a_doubled_address_is_defended(void **state)
{
	uint8_t f[128];
	size_t len = make_ns(f, 5, true);

	assert_int_equal(ask(f, len), ANSWER_REPLY);
	assert_int_equal(reply[0], 0x33);
	assert_int_equal(reply[14 + 24], 0xff); /* to all nodes */
	assert_int_equal(reply[14 + 44], 0x20);
	assert_true(checksum_is_right(reply + 14));
	len = make_ns(f, ME, true);
	assert_int_equal(ask(f, len), ANSWER_SWALLOW);
}

static void foreign_or_cut_solicitations_are_not_ours(void **state)
{
	uint8_t f[128];
	size_t len = make_ns(f, 10, false);

	assert_int_equal(ask(f, len), ANSWER_NOT_OURS);
	len = make_ns(f, 5, false);
	f[14 + 7] = 254; /* came through a router */
	assert_int_equal(ask(f, len), ANSWER_NOT_OURS);
	len = make_ns(f, 5, false);
	for (size_t n = 14; n < len; n++)
		assert_int_equal(ask(f, n), ANSWER_NOT_OURS);
}

static enum answer ask_icmp6(uint8_t type, bool hop_by_hop)
{
	uint8_t f[128] = { 0x33, 0x33 };
	size_t at = 14 + 40;

	f[12] = 0x86;
	f[13] = 0xdd;
	f[14] = 0x60;
	f[20] = hop_by_hop ? 0 : 58;
	if (hop_by_hop) {
		f[at] = 58;
		at += 8;
	}
	f[at] = type;
	return ask(f, at + 8);
}

static void boot_time_icmp6_is_swallowed(void **state)
{
	assert_int_equal(ask_icmp6(133, false), ANSWER_SWALLOW);
	assert_int_equal(ask_icmp6(143, true), ANSWER_SWALLOW);
	assert_int_equal(ask_icmp6(131, true), ANSWER_SWALLOW);
	assert_int_equal(ask_icmp6(130, true), ANSWER_NOT_OURS);
	assert_int_equal(ask_icmp6(128, false), ANSWER_NOT_OURS);
}

static enum answer ask_ip4(uint8_t protocol, uint8_t first, uint16_t port,
			   uint8_t dst)
{
	uint8_t f[64] = { dst };

	f[12] = 8;
	f[14] = 0x45;
	f[23] = protocol;
	f[34] = first;
	f[36] = (uint8_t)(port >> 8);
	f[37] = (uint8_t)port;
	return ask(f, 42);
}

static void igmp_and_names_by_multicast_are_swallowed(void **state)
{
	assert_int_equal(ask_ip4(2, 0x22, 0, 1), ANSWER_SWALLOW);
	assert_int_equal(ask_ip4(2, 0x11, 0, 1), ANSWER_NOT_OURS);
	assert_int_equal(ask_ip4(17, 0, 5353, 1), ANSWER_SWALLOW);
	assert_int_equal(ask_ip4(17, 0, 5355, 1), ANSWER_SWALLOW);
	assert_int_equal(ask_ip4(17, 0, 5353, 0), ANSWER_NOT_OURS);
	assert_int_equal(ask_ip4(17, 0, 53, 1), ANSWER_NOT_OURS);
}

static void what_is_for_the_next_bridge_is_swallowed(void **state)
{
	uint8_t f[64] = { 0x01, 0x80, 0xc2, 0, 0, 0x0e };

	assert_int_equal(ask(f, 60), ANSWER_SWALLOW);
	f[5] = 0x10;
	assert_int_equal(ask(f, 60), ANSWER_NOT_OURS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_another_rank_is_answered),
		cmocka_unit_test(a_probe_for_anothers_address_is_a_conflict),
		cmocka_unit_test(what_concerns_only_the_sender_is_swallowed),
		cmocka_unit_test(addresses_that_no_rank_has_are_not_ours),
		cmocka_unit_test(arp_with_anothers_address_is_spoofed),
		cmocka_unit_test(a_request_to_one_machine_travels),
		cmocka_unit_test(the_service_answers_also_when_asked_alone),
		cmocka_unit_test(nobody_else_is_the_service),
		cmocka_unit_test(what_is_for_the_service_never_travels),
		cmocka_unit_test(arp_that_is_cut_or_odd_is_not_ours),
		cmocka_unit_test(a_neighbour_is_advertised),
		cmocka_unit_test(a_doubled_address_is_defended),
		cmocka_unit_test(foreign_or_cut_solicitations_are_not_ours),
		cmocka_unit_test(boot_time_icmp6_is_swallowed),
		cmocka_unit_test(igmp_and_names_by_multicast_are_swallowed),
		cmocka_unit_test(what_is_for_the_next_bridge_is_swallowed),
	};

	return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
