#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "answer.h"
#include "dhcp.h"
#include "inet.h"

#define NET	0x0a000000u
#define ME	3u
#define OWN	(NET + 1 + ME)
#define SERVICE 0x0afffffeu
#define ALL	0xffffffffu

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

static const struct answer_conf conf = {
	{ NET, 8 }, 10, 9000, { "vm%t", "example.org" }
};

static uint8_t ask[600], reply[DHCP_MAX];
static size_t ask_len, reply_len;
static uint32_t to;

/* -- questions ------------------------------------------------------------ */

static void begin(uint8_t type)
{
	static const uint8_t magic[] = { 0x63, 0x82, 0x53, 0x63, 53, 1 };

	memset(ask, 0, sizeof(ask));
	ask[0] = 1; /* from a client, */
	ask[1] = 1; /* by Ethernet, */
	ask[2] = 6; /* with such an address */
	memcpy(ask + 4, "\x12\x34\x56\x78", 4);
	addr_mac(ME, ask + 28);
	memcpy(ask + 236, magic, sizeof(magic));
	ask[242] = type;
	ask_len = 243;
}

static void option(uint8_t code, const void *value, uint8_t len)
{
	ask[ask_len] = code;
	ask[ask_len + 1] = len;
	memcpy(ask + ask_len + 2, value, len);
	ask_len += 2 + len;
}

static void option32(uint8_t code, uint32_t v)
{
	uint8_t value[4];

	header_put32(value, v);
	option(code, value, 4);
}

/* The type of the reply, 0: none. In memory of its own size, so that a
 * sanitizer sees each byte too far. */
static int answer_with(const struct answer_conf *c)
{
	uint8_t *copy = malloc(ask_len);

	assert_non_null(copy);
	memcpy(copy, ask, ask_len);
	memset(reply, 0x5a, sizeof(reply));
	reply_len = dhcp_answer(c, ME, copy, ask_len, reply, &to);
	free(copy);
	if (!reply_len)
		return 0;
	assert_in_range(reply_len, 300, DHCP_MAX);
	assert_int_equal(reply[0], 2);
	assert_memory_equal(reply + 4, ask + 4, 4);
	assert_memory_equal(reply + 28, ask + 28, 16);
	assert_int_equal(reply[240], 53);
	return reply[242];
}

static int answer(void)
{
	ask[ask_len++] = 255;
	return answer_with(&conf);
}

/* The value of an option of the reply; NULL: it has none. */
static const uint8_t *get(uint8_t code, uint8_t len)
{
	for (size_t at = 240; reply[at] != 255;
	     at += 2 + (size_t)reply[at + 1]) {
		assert_true(at + 2 < reply_len);
		if (reply[at] == code) {
			assert_int_equal(reply[at + 1], len);
			return reply + at + 2;
		}
	}
	return NULL;
}

static void assert_option32(uint8_t code, uint32_t want)
{
	const uint8_t *value = get(code, 4);

	assert_non_null(value);
	assert_int_equal(header_get32(value), want);
}

/* -- what gets no answer -------------------------------------------------- */

static void what_is_cut_or_odd_gets_no_answer(void **state)
{
	/* op, type, length of address, relay, magic, type of message */
	static const size_t odd[] = { 0, 1, 2, 24, 27, 236, 239, 242 };

	begin(DISCOVER);
	for (ask_len = 0; ask_len < 243; ask_len++)
		assert_int_equal(answer_with(&conf), 0);
	assert_int_equal(answer_with(&conf), OFFER);
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		begin(DISCOVER);
		ask[odd[i]] ^= 0x80;
		assert_int_equal(answer(), 0);
	}
}

static void options_that_go_too_far_get_no_answer(void **state)
{
	begin(DISCOVER);
	option(61, "abcd", 4);
	ask[ask_len - 5] = 5;
	assert_int_equal(answer_with(&conf), 0);
	ask_len--;
	assert_int_equal(answer_with(&conf), 0);
	begin(DISCOVER);
	ask[ask_len++] = 50; /* no length */
	assert_int_equal(answer_with(&conf), 0);
}

static void who_is_behind_a_guest_gets_no_answer(void **state)
{
	begin(DISCOVER);
	addr_mac(4, ask + 28);
	assert_int_equal(answer(), 0);
	begin(DISCOVER);
	ask[28] = 2;
	assert_int_equal(answer(), 0);
}

static void nothing_to_say_is_not_said(void **state)
{
	static const uint8_t types[] = { 0,   OFFER,   DECLINE, ACK,
					 NAK, RELEASE, 9,	255 };

	for (size_t i = 0; i < sizeof(types); i++) {
		begin(types[i]);
		option32(50, OWN);
		option32(54, SERVICE);
		assert_int_equal(answer(), 0);
	}
	begin(REQUEST); /* for what? */
	option32(54, SERVICE);
	assert_int_equal(answer(), 0);
}

static void another_servers_offer_is_not_our_business(void **state)
{
	begin(REQUEST);
	option32(50, OWN);
	option32(54, NET + 9);
	assert_int_equal(answer(), 0);
}

/* -- what gets one -------------------------------------------------------- */

static void assert_network(void)
{
	assert_option32(54, SERVICE);
	assert_option32(1, 0xff000000);
	assert_option32(6, SERVICE);
	assert_memory_equal(get(26, 2), "\x23\x28", 2);
	assert_memory_equal(get(12, 3), "vm3", 3);
	assert_memory_equal(get(15, 11), "example.org", 11);
	assert_null(get(3, 4)); /* there is no router */
}

static void a_guest_is_offered_its_ranks_address(void **state)
{
	begin(DISCOVER);
	option32(50, NET + 77); /* it would like another */
	option(55, "\1\3\6\x0c\x0f", 5);
	assert_int_equal(answer(), OFFER);
	assert_int_equal(to, OWN);
	assert_int_equal(header_get32(reply + 16), OWN);
	assert_int_equal(header_get32(reply + 12), 0);
	assert_int_equal(header_get32(reply + 20), 0);
	assert_option32(51, 86400);
	assert_option32(58, 43200);
	assert_option32(59, 75600);
	assert_network();
}

static void what_was_offered_is_given(void **state)
{
	begin(REQUEST);
	option32(50, OWN);
	option32(54, SERVICE);
	assert_int_equal(answer(), ACK);
	assert_int_equal(to, OWN);
	assert_int_equal(header_get32(reply + 16), OWN);
	assert_option32(51, 86400);
	assert_network();
	begin(REQUEST); /* after a restart: no server is named */
	option32(50, OWN);
	assert_int_equal(answer(), ACK);
}

static void who_does_not_hear_unicast_gets_broadcast(void **state)
{
	begin(DISCOVER);
	ask[10] = 0x80;
	assert_int_equal(answer(), OFFER);
	assert_int_equal(to, ALL);
	assert_int_equal(reply[10], 0x80);
}

static void an_address_is_renewed_where_it_is(void **state)
{
	begin(REQUEST);
	header_put32(ask + 12, OWN);
	ask[10] = 0x80;
	assert_int_equal(answer(), ACK);
	assert_int_equal(to, OWN);
	assert_int_equal(header_get32(reply + 12), OWN);
	assert_int_equal(header_get32(reply + 16), OWN);
	assert_option32(51, 86400);
}

static void assert_nak(void)
{
	assert_int_equal(answer(), NAK);
	assert_int_equal(to, ALL);
	assert_int_equal(header_get32(reply + 12), 0);
	assert_int_equal(header_get32(reply + 16), 0);
	assert_option32(54, SERVICE);
	assert_null(get(51, 4));
	assert_null(get(1, 4));
	assert_null(get(12, 3));
}

static void other_addresses_are_refused(void **state)
{
	begin(REQUEST);
	option32(50, OWN + 1);
	option32(54, SERVICE);
	assert_nak();
	begin(REQUEST);
	option32(50, 0xc0a80002);
	assert_nak();
	begin(REQUEST);
	header_put32(ask + 12, OWN + 1);
	assert_nak();
}

static void who_only_asks_gets_no_lease(void **state)
{
	begin(INFORM);
	header_put32(ask + 12, NET + 99);
	assert_int_equal(answer(), ACK);
	assert_int_equal(to, NET + 99);
	assert_int_equal(header_get32(reply + 12), NET + 99);
	assert_int_equal(header_get32(reply + 16), 0);
	assert_null(get(51, 4));
	assert_null(get(58, 4));
	assert_network();
	begin(INFORM);
	assert_int_equal(answer(), ACK);
	assert_int_equal(to, ALL);
}

static void a_clients_number_comes_back(void **state)
{
	begin(DISCOVER);
	ask[ask_len++] = 0; /* padding */
	option(61, "\xff\1\2\3", 4);
	assert_int_equal(answer(), OFFER);
	assert_memory_equal(get(61, 4), "\xff\1\2\3", 4);
}

static void what_does_not_fit_is_left_out(void **state)
{
	struct answer_conf c = conf;
	char pattern[254], domain[254];
	uint8_t id[255];

	memset(pattern, 'a', sizeof(pattern));
	pattern[253] = '\0';
	memset(id, 7, sizeof(id));
	domain[0] = '\0';
	c.names = (struct names){ pattern, domain };
	begin(DISCOVER);
	option(61, id, sizeof(id));
	assert_int_equal(answer_with(&c), OFFER);
	assert_memory_equal(get(61, 255), id, 255);
	assert_null(get(12, 0));
	for (size_t len = 1; len < sizeof(domain); len++) { /* to the byte */
		memset(domain, 'd', len);
		domain[len] = '\0';
		assert_int_equal(answer_with(&c), OFFER);
		assert_int_equal(get(15, (uint8_t)len) != NULL, len <= 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_cut_or_odd_gets_no_answer),
		cmocka_unit_test(options_that_go_too_far_get_no_answer),
		cmocka_unit_test(who_is_behind_a_guest_gets_no_answer),
		cmocka_unit_test(nothing_to_say_is_not_said),
		cmocka_unit_test(another_servers_offer_is_not_our_business),
		cmocka_unit_test(a_guest_is_offered_its_ranks_address),
		cmocka_unit_test(what_was_offered_is_given),
		cmocka_unit_test(who_does_not_hear_unicast_gets_broadcast),
		cmocka_unit_test(an_address_is_renewed_where_it_is),
		cmocka_unit_test(other_addresses_are_refused),
		cmocka_unit_test(who_only_asks_gets_no_lease),
		cmocka_unit_test(a_clients_number_comes_back),
		cmocka_unit_test(what_does_not_fit_is_left_out),
	};

	return cmocka_run_group_tests_name("dhcp", tests, NULL, NULL);
}
