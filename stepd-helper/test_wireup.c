#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "wireup.h"

static void any_key_is_a_key(void **state)
{
	char record[WIREUP_KEY_RECORD] = "=";
	uint8_t key[NETCTL_KEY_LEN];

	for (int first = 0; first < 256; first++) {
		memset(record + 1, first, NETCTL_KEY_LEN);
		assert_int_equal(wireup_key(record, sizeof(record), key, NULL),
				 0);
		assert_memory_equal(key, record + 1, sizeof(key));
	}
}

static void a_reason_is_a_reason(void **state)
{
	uint8_t key[NETCTL_KEY_LEN];
	struct errmsg err;

	assert_int_equal(wireup_key("!no disk", 8, key, &err), -ECONNABORTED);
	assert_string_equal(err.text, "no disk");
}

static void anything_else_is_refused(void **state)
{
	const char record[WIREUP_KEY_RECORD + 1] = "?";
	uint8_t key[NETCTL_KEY_LEN];

	assert_int_equal(wireup_key("", 0, key, NULL), -EPROTO);
	assert_int_equal(wireup_key("=", 1, key, NULL), -EPROTO);
	assert_int_equal(wireup_key(record, sizeof(record) - 1, key, NULL),
			 -EPROTO);
	assert_int_equal(wireup_key(record, sizeof(record), key, NULL),
			 -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_key_is_a_key),
		cmocka_unit_test(a_reason_is_a_reason),
		cmocka_unit_test(anything_else_is_refused),
	};

	return cmocka_run_group_tests_name("wireup", tests, NULL, NULL);
}
