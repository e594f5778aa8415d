#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "seal.h"

#define HEADER sizeof(struct wire_header)
#define LEN    5000u

static const struct auth a = {
	{ 1, 2, 3 }, .node = 0, .nnodes = 2, "n0", WIRE_SEALED
};
static const struct auth b = {
	{ 1, 2, 3 }, .node = 1, .nnodes = 2, "n1", WIRE_SEALED
};
static struct wire_hello hello_a, hello_b;
static struct seal *dialler, *acceptor;
static uint8_t message[HEADER + LEN + WIRE_TAG], copy[sizeof(message)];
static uint8_t got[LEN];
static struct errmsg err;

static void shake_hands(void)
{
	assert_int_equal(auth_hello(&a, &hello_a, &err), 0);
	assert_int_equal(auth_hello(&b, &hello_b, &err), 0);
}

static int setup(void **state)
{
	shake_hands();
	assert_int_equal(seal_new(&a, true, &hello_a, &hello_b, &dialler, &err),
			 0);
	assert_int_equal(
		seal_new(&b, false, &hello_a, &hello_b, &acceptor, &err), 0);
	return 0;
}

static int teardown(void **state)
{
	seal_free(dialler);
	seal_free(acceptor);
	return 0;
}

static void write_message_of(uint32_t len, uint8_t fill)
{
	wire_put32(message, WIRE_FRAMES);
	wire_put32(message + 4, len);
	memset(message + HEADER, fill, len);
}

static void seal_it(struct seal *s, uint32_t len, uint8_t fill)
{
	write_message_of(len, fill);
	assert_int_equal(seal_close(s, message, HEADER + len), 0);
}

static int open_it(struct seal *s, uint32_t len)
{
	return seal_open(s, message, message + HEADER, len, got);
}

static void what_was_sealed_is_opened(void **state)
{
	static const uint32_t lens[] = { 0, 1, 16, 17, 1500, LEN };

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint32_t len = lens[i];

		seal_it(dialler, len, 0x5a);
		assert_int_equal(open_it(acceptor, len), 0);
		for (uint32_t n = 0; n < len; n++)
			assert_int_equal(got[n], 0x5a);
		seal_it(acceptor, len, 0xa5); /* and in place */
		assert_int_equal(seal_open(dialler, message, message + HEADER,
					   len, message + HEADER),
				 0);
		for (uint32_t n = 0; n < len; n++)
			assert_int_equal(message[HEADER + n], 0xa5);
	}
}

/* Nothing of the payload shows, and the same twice does not look the same. */
static void what_travels_is_not_what_was_sent(void **state)
{
	static const uint8_t plain[16] = { [0 ... 15] = 7 };

	seal_it(dialler, LEN, 7);
	memcpy(copy, message, sizeof(copy));
	for (size_t i = 0; i + sizeof(plain) <= LEN; i++)
		assert_memory_not_equal(copy + HEADER + i, plain,
					sizeof(plain));
	seal_it(dialler, LEN, 7);
	assert_memory_not_equal(copy + HEADER, message + HEADER, 64);
	seal_it(acceptor, LEN, 7); /* nor the other way */
	assert_memory_not_equal(copy + HEADER, message + HEADER, 64);
}

static void any_bit_that_changed_is_seen(void **state)
{
	static const size_t bytes[] = { 0,
					3,
					7,
					HEADER,
					5,
					1000,
					HEADER + 299,
					HEADER + 300,
					HEADER + 300 + WIRE_TAG - 1 };

	for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		teardown(NULL);
		setup(NULL);
		seal_it(dialler, 300, 1);
		message[bytes[i] % (HEADER + 300 + WIRE_TAG)] ^= 0x10;
		assert_int_equal(open_it(acceptor, 300), -EBADMSG);
	}
}

static void a_message_cannot_be_repeated_nor_left_out(void **state)
{
	seal_it(dialler, 100, 1);
	assert_int_equal(open_it(acceptor, 100), 0);
	assert_int_equal(open_it(acceptor, 100), -EBADMSG);
	teardown(NULL);
	setup(NULL);
	seal_it(dialler, 100, 1);
	seal_it(dialler, 100, 1);
	assert_int_equal(open_it(acceptor, 100), -EBADMSG);
}

static void a_message_cannot_be_sent_back(void **state)
{
	seal_it(dialler, 100, 1);
	assert_int_equal(open_it(dialler, 100), -EBADMSG);
}

/* Nor with a hello that was said before: both nonces count. */
static void no_two_connections_have_the_same_keys(void **state)
{
	struct wire_hello first_a = hello_a;
	struct seal *other;

	seal_it(dialler, 100, 1);
	memcpy(copy, message, sizeof(copy));
	shake_hands();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(seal_new(&a, true, i ? &first_a : &hello_a,
					  &hello_b, &other, &err),
				 0);
		seal_it(other, 100, 1);
		assert_memory_not_equal(copy + HEADER, message + HEADER, 64);
		seal_free(other);
	}
}

static void another_key_opens_nothing(void **state)
{
	struct auth thief = b;

	thief.key[0] ^= 1;
	seal_free(acceptor);
	assert_int_equal(
		seal_new(&thief, false, &hello_a, &hello_b, &acceptor, &err),
		0);
	seal_it(dialler, 100, 1);
	assert_int_equal(open_it(acceptor, 100), -EBADMSG);
}

static void both_ends_change_keys_at_the_same_message(void **state)
{
	for (uint32_t n = 0; n < SEAL_EPOCH + 3; n++) {
		seal_it(dialler, 1, (uint8_t)n);
		assert_int_equal(open_it(acceptor, 1), 0);
		assert_int_equal(got[0], (uint8_t)n);
	}
	seal_it(acceptor, 1, 9); /* the other way is where it was */
	assert_int_equal(open_it(dialler, 1), 0);
}

/* As Python's cryptography and hmac modules compute it, by seal.h's words. */
static void it_is_plain_aes_128_gcm_and_hkdf(void **state)
{
	static const uint8_t first[32 + WIRE_TAG] = {
		0xfc, 0x8a, 0x33, 0x1a, 0x16, 0xe9, 0x9a, 0x7c, 0x08, 0x5e,
		0xa6, 0x97, 0x24, 0xa2, 0xbf, 0xc8, 0xbe, 0xb9, 0x62, 0x87,
		0xe1, 0xf9, 0x2a, 0x23, 0xca, 0xf7, 0x67, 0xd7, 0xa3, 0xac,
		0x28, 0x0a, 0x09, 0x31, 0xab, 0x3f, 0x8b, 0x55, 0x12, 0x5c,
		0x54, 0x13, 0xfb, 0xab, 0x4c, 0x6f, 0x8b, 0xc1,
	};
	/* the acceptor's, two after the first key was used up */
	static const uint8_t late[32 + WIRE_TAG] = {
		0x1f, 0x17, 0x8a, 0xc1, 0xb7, 0xc2, 0xb5, 0xe2, 0x60, 0x09,
		0xdf, 0xab, 0xcc, 0x02, 0xd2, 0xbc, 0xfe, 0xed, 0x32, 0x4e,
		0x2b, 0x6b, 0xca, 0x3c, 0x8f, 0x94, 0x14, 0x21, 0x55, 0x65,
		0x40, 0xc0, 0xc4, 0xdd, 0x23, 0x4f, 0x0b, 0x9f, 0x10, 0xe7,
		0x0d, 0xcf, 0x0e, 0x3c, 0xea, 0xf9, 0x9e, 0x85,
	};
	const struct wire_hello ha = { .node = 0 }, hb = { .node = htobe32(1) };
	struct seal *us, *them;

	assert_int_equal(seal_new(&a, true, &ha, &hb, &us, &err), 0);
	assert_int_equal(seal_new(&b, false, &ha, &hb, &them, &err), 0);
	write_message_of(32, 0);
	for (uint8_t i = 0; i < 32; i++)
		message[HEADER + i] = i;
	memcpy(copy, message, HEADER + 32);
	assert_int_equal(seal_close(us, message, HEADER + 32), 0);
	assert_memory_equal(message + HEADER, first, sizeof(first));
	for (uint32_t n = 0; n < SEAL_EPOCH + 2; n++) {
		memcpy(message, copy, HEADER + 32);
		assert_int_equal(seal_close(them, message, HEADER + 32), 0);
	}
	assert_memory_equal(message + HEADER, late, sizeof(late));
	seal_free(us);
	seal_free(them);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_was_sealed_is_opened),
		TEST(what_travels_is_not_what_was_sent),
		TEST(any_bit_that_changed_is_seen),
		TEST(a_message_cannot_be_repeated_nor_left_out),
		TEST(a_message_cannot_be_sent_back),
		TEST(no_two_connections_have_the_same_keys),
		TEST(another_key_opens_nothing),
		TEST(it_is_plain_aes_128_gcm_and_hkdf),
		TEST(both_ends_change_keys_at_the_same_message),
	};

	return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
