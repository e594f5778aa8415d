#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "checksum.h"

#define BYTES 65600

static uint8_t bytes[BYTES];

static uint16_t naive(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return (uint16_t)sum;
}

static void fill(uint32_t x)
{
	for (size_t i = 0; i < BYTES; i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
}

static void assert_sum(size_t at, size_t len)
{
	assert_int_equal(checksum_sum(bytes + at, len), naive(bytes + at, len));
}

static void the_example_of_rfc_1071(void **state)
{
	static const uint8_t example[] = { 0x00, 0x01, 0xf2, 0x03,
					   0xf4, 0xf5, 0xf6, 0xf7 };

	assert_int_equal(checksum_sum(example, 8), 0xddf2);
}

static void every_length_at_every_offset(void **state)
{
	fill(1);
	for (size_t at = 0; at < 17; at++)
		for (size_t len = 0; len < 200; len++)
			assert_sum(at, len);
}

static void long_ones(void **state)
{
	for (uint32_t i = 0; i < 50; i++) {
		fill(i);
		assert_sum(i % 9, 65535 + i);
	}
}

static void carries_are_not_lost(void **state)
{
	memset(bytes, 0xff, BYTES);
	assert_int_equal(checksum_sum(bytes, 0), 0);
	for (size_t len = 2; len < BYTES; len += 6 + len / 8 * 2)
		assert_int_equal(checksum_sum(bytes + 1, len), 0xffff);
	assert_int_equal(checksum_sum(bytes, 1), 0xff00);
	assert_int_equal(checksum_sum(bytes, 3), 0xff00);
	assert_int_equal(checksum_fold(UINT32_MAX), 0xffff);
	assert_int_equal(checksum_fold(0x1fffe), 0xffff);
	assert_int_equal(checksum_fold(0x1ffff), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_rfc_1071),
		cmocka_unit_test(every_length_at_every_offset),
		cmocka_unit_test(long_ones),
		cmocka_unit_test(carries_are_not_lost),
	};

	return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}
