#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "answer.h"
#include "inet.h"
#include "test_frame.h"

/* Frames at the service address, and around DHCP. What is in the messages is
 * for test_dhcp.c and test_dns.c. */

#define NET	0x0a000000u
#define IP(r)	(NET + 1 + (r))
#define ME	3u
#define SERVICE 0x0afffffeu
#define ALL	0xffffffffu

enum { ICMP = 1, TCP = 6, UDP = 17 };

static const struct answer_conf conf = {
	{ NET, 8 }, 10, 9000, { "vm%t", "example.org" }
};
static const uint8_t *const service = addr_service_mac;
static uint8_t own[ADDR_MAC_LEN], other[ADDR_MAC_LEN];
static uint8_t frame[2000], reply[ANSWER_REPLY_MAX];
static size_t frame_len, reply_len;

static int set_up(void **state)
{
	addr_mac(ME, own);
	addr_mac(5, other);
	memset(frame, 0, sizeof(frame));
	return 0;
}

/* In memory of its own size, so that a sanitizer sees each byte too far. */
static enum answer ask(void)
{
	uint8_t *copy = malloc(frame_len);
	enum answer a;

	assert_non_null(copy);
	memcpy(copy, frame, frame_len);
	reply_len = 0;
	a = answer_frame(&conf, ME, copy, frame_len, reply, &reply_len);
	free(copy);
	if (a == ANSWER_REPLY)
		assert_in_range(reply_len, 60, sizeof(reply));
	return a;
}

static void make_udp(const uint8_t *dst_mac, uint32_t src, uint32_t dst,
		     uint16_t src_port, uint16_t dst_port, size_t len)
{
	const struct inet_path path = { own, dst_mac, src, dst };

	frame_len = inet_put_udp(frame, &path, src_port, dst_port, len);
}

static void make_ping(size_t len)
{
	const struct inet_path path = { own, service, IP(ME), SERVICE };
	uint8_t *icmp = frame + INET_IP4_DATA;

	for (size_t i = 8; i < len; i++)
		icmp[i] = (uint8_t)i;
	memcpy(icmp, "\x08\0\0\0\x12\x34\0\1", 8);
	header_put16(icmp + 2, inet_checksum(inet_sum(0, icmp, len)));
	frame_len = inet_put_ip4(frame, &path, ICMP, len);
}

static void assert_headers(const uint8_t *dst_mac, uint32_t dst)
{
	assert_memory_equal(reply, dst_mac, ADDR_MAC_LEN);
	assert_memory_equal(reply + 6, service, ADDR_MAC_LEN);
	assert_int_equal(header_get32(reply + 26), SERVICE);
	assert_int_equal(header_get32(reply + 30), dst);
	assert_int_equal(inet_checksum(inet_sum(0, reply + 14, 20)), 0);
}

static void assert_udp(uint16_t src, uint16_t dst)
{
	const uint8_t *udp = reply + INET_IP4_DATA;
	size_t len = header_get16(udp + 4);
	uint32_t sum = inet_sum(UDP + (uint32_t)len, reply + 26, 8);

	assert_int_equal(header_get16(udp), src);
	assert_int_equal(header_get16(udp + 2), dst);
	assert_int_equal(header_get16(reply + 16), len + 20);
	assert_int_not_equal(header_get16(udp + 6), 0);
	assert_int_equal(inet_checksum(inet_sum(sum, udp, len)), 0);
}

/* -- ping ----------------------------------------------------------------- */

static void a_ping_is_answered(void **state)
{
	static const size_t lens[] = { 8, 9, 64, 1479, 1480 };

	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		make_ping(lens[i]);
		assert_int_equal(ask(), ANSWER_REPLY);
		assert_int_equal(reply_len, frame_len);
		assert_headers(own, IP(ME));
		assert_int_equal(reply[34], 0);
		assert_memory_equal(reply + 38, frame + 38, lens[i] - 4);
		assert_int_equal(
			inet_checksum(inet_sum(0, reply + 34, lens[i])), 0);
	}
}

static void other_pings_are_swallowed(void **state)
{
	make_ping(1481); /* too long */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_ping(64);
	frame[50] ^= 1; /* damaged */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_ping(64);
	frame[34] = 0; /* a reply */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_ping(64);
	frame[20] = 0x20; /* the first fragment */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_ping(64);
	frame[21] = 1; /* a later one */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_ping(64);
	frame[33] = 1; /* for somebody else */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_ping(64);
	for (frame_len--; frame_len >= 14; frame_len--)
		assert_int_equal(ask(), ANSWER_SWALLOW);
}

/* -- DHCP ----------------------------------------------------------------- */

static void make_dhcp(const uint8_t *dst_mac, uint32_t src, uint32_t dst,
		      uint8_t type)
{
	uint8_t *m = frame + INET_UDP_DATA;

	memset(m, 0, 300);
	memcpy(m, "\1\1\6", 3);
	memcpy(m + 28, own, ADDR_MAC_LEN);
	memcpy(m + 236, "\x63\x82\x53\x63\x35\1", 6);
	m[242] = type;
	m[243] = 255;
	make_udp(dst_mac, src, dst, 68, 67, 300);
}

static void a_broadcast_question_is_answered(void **state)
{
	make_dhcp(test_broadcast, 0, ALL, 1);
	header_put16(frame + 40, 0xdead); /* a checksum left to the card */
	assert_int_equal(ask(), ANSWER_REPLY);
	assert_headers(own, IP(ME));
	assert_udp(67, 68);
	assert_int_equal(reply[42], 2);
	frame[42 + 10] = 0x80; /* it hears what is sent to all */
	assert_int_equal(ask(), ANSWER_REPLY);
	assert_headers(test_broadcast, ALL);
	assert_udp(67, 68);
}

static void a_lease_is_renewed_at_the_service(void **state)
{
	make_dhcp(service, IP(ME), SERVICE, 3);
	header_put32(frame + 42 + 12, IP(ME));
	assert_int_equal(ask(), ANSWER_REPLY);
	assert_headers(own, IP(ME));
	assert_udp(67, 68);
	make_dhcp(other, IP(ME), IP(5), 3); /* but not elsewhere */
	assert_int_equal(ask(), ANSWER_NOT_OURS);
}

static void no_broadcast_question_travels(void **state)
{
	make_dhcp(test_broadcast, 0, ALL, 7);
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_dhcp(test_broadcast, 0, ALL, 1);
	frame[42 + 28 + 5]++; /* of one behind it */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_dhcp(test_broadcast, 0, ALL, 1);
	frame[20] = 0x20; /* the first fragment */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_dhcp(test_broadcast, 0, ALL, 1);
	frame[38] = 0xff; /* longer than it is */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_dhcp(test_broadcast, 0, ALL, 1);
	for (frame_len--; frame_len >= 42; frame_len--)
		assert_int_equal(ask(), ANSWER_SWALLOW);
	frame_len = sizeof(frame);
	assert_int_equal(ask(), ANSWER_REPLY); /* padding */
}

static void no_guest_is_a_server(void **state)
{
	make_udp(test_broadcast, IP(ME), ALL, 67, 68, 300);
	assert_int_equal(ask(), ANSWER_SPOOFED);
	make_udp(test_broadcast, IP(ME), ALL, 1000, 68, 300);
	assert_int_equal(ask(), ANSWER_SPOOFED);
	make_udp(test_broadcast, IP(ME), ALL, 67, 67, 300);
	assert_int_equal(ask(), ANSWER_SPOOFED);
	make_udp(other, IP(ME), IP(5), 67, 68, 300);
	assert_int_equal(ask(), ANSWER_SPOOFED);
	make_udp(other, IP(ME), IP(5), 68, 68, 300);
	assert_int_equal(ask(), ANSWER_SPOOFED);
	make_udp(other, IP(ME), IP(5), 67, 67, 300); /* a relay of theirs */
	assert_int_equal(ask(), ANSWER_NOT_OURS);
	make_udp(other, IP(ME), IP(5), 68, 69, 300);
	assert_int_equal(ask(), ANSWER_NOT_OURS);
}

/* -- names ---------------------------------------------------------------- */

static void make_dns(const uint8_t *dst_mac, uint32_t dst)
{
	static const uint8_t question[] = "\0\7\1\0\0\1\0\0\0\0\0\0"
					  "\3vm5\0\0\1\0\1";

	memcpy(frame + INET_UDP_DATA, question, sizeof(question) - 1);
	make_udp(dst_mac, IP(ME), dst, 40000, 53, sizeof(question) - 1);
}

static void names_are_told(void **state)
{
	make_dns(service, SERVICE);
	header_put16(frame + 40, 0); /* no checksum */
	assert_int_equal(ask(), ANSWER_REPLY);
	assert_headers(own, IP(ME));
	assert_udp(53, 40000);
	assert_int_equal(header_get32(reply + 42 + 21 + 12), IP(5));
	frame[11] = 77; /* a machine behind the guest */
	assert_int_equal(ask(), ANSWER_REPLY);
	assert_memory_equal(reply, frame + 6, ADDR_MAC_LEN);
}

static void other_questions_are_swallowed(void **state)
{
	make_dns(service, IP(5)); /* no router */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_dns(service, SERVICE);
	frame[23] = TCP;
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_dns(service, SERVICE);
	frame[37] = 54;
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_dns(service, SERVICE);
	frame[44] = 0x80; /* a reply */
	assert_int_equal(ask(), ANSWER_SWALLOW);
	make_dns(other, IP(5));
	assert_int_equal(ask(), ANSWER_NOT_OURS);
}

static void nobody_else_speaks_as_the_service(void **state)
{
	make_udp(other, SERVICE, IP(5), 53, 40000, 100);
	assert_int_equal(ask(), ANSWER_SPOOFED);
	make_udp(test_broadcast, SERVICE, ALL, 53, 40000, 100);
	assert_int_equal(ask(), ANSWER_SPOOFED);
	make_udp(service, SERVICE, SERVICE, 53, 53, 100);
	assert_int_equal(ask(), ANSWER_SPOOFED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_ping_is_answered, set_up),
		cmocka_unit_test_setup(other_pings_are_swallowed, set_up),
		cmocka_unit_test_setup(a_broadcast_question_is_answered,
				       set_up),
		cmocka_unit_test_setup(a_lease_is_renewed_at_the_service,
				       set_up),
		cmocka_unit_test_setup(no_broadcast_question_travels, set_up),
		cmocka_unit_test_setup(no_guest_is_a_server, set_up),
		cmocka_unit_test_setup(names_are_told, set_up),
		cmocka_unit_test_setup(other_questions_are_swallowed, set_up),
		cmocka_unit_test_setup(nobody_else_speaks_as_the_service,
				       set_up),
	};

	return cmocka_run_group_tests_name("answer_service", tests, NULL, NULL);
}
