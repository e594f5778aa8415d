/* gcm.h: all kinds of this machine come to the same */
#include <config.h>

#include "gcm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define LONG  (70 * 1024)
#define SHIFT 3 /* nothing has to be aligned */

static const struct gcm_kind *kinds[2];
static unsigned int n_kinds;

static uint8_t plain[SHIFT + LONG], sealed[2][SHIFT + LONG], opened[LONG];

static const uint8_t key[GCM_KEY] = { 0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65,
				      0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94,
				      0x67, 0x30, 0x83, 0x08 };
static const uint8_t nonce[GCM_NONCE] = { 0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce,
					  0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88 };

static int setup(void **state)
{
	uint32_t x = 1;

	kinds[n_kinds++] = &gcm_libcrypto;
	if (gcm_kind() != &gcm_libcrypto)
		kinds[n_kinds++] = gcm_kind();
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)((x = x * 1103515245 + 12345) >> 16);
	return 0;
}

static void seal(const struct gcm_kind *k, const struct gcm_text *t,
		 uint8_t *tag)
{
	struct gcm *g = k->create(true);

	assert_non_null(g);
	assert_int_equal(k->key(g, key), 0);
	assert_int_equal(k->encrypt(g, t, tag), 0);
	k->destroy(g);
}

static int open_it(const struct gcm_kind *k, const struct gcm_text *t,
		   const uint8_t *tag)
{
	struct gcm *g = k->create(false);
	int r;

	assert_non_null(g);
	assert_int_equal(k->key(g, key), 0);
	r = k->decrypt(g, t, tag);
	k->destroy(g);
	return r;
}

/* Test case 4 of "The Galois/Counter Mode of Operation (GCM)", McGrew and
 * Viega, which NIST took over. */
static void each_is_as_the_specification_has_it(void **state)
{
	static const uint8_t clear[] = { 0xfe, 0xed, 0xfa, 0xce, 0xde,
					 0xad, 0xbe, 0xef, 0xfe, 0xed,
					 0xfa, 0xce, 0xde, 0xad, 0xbe,
					 0xef, 0xab, 0xad, 0xda, 0xd2 };
	static const uint8_t text[] = {
		0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59,
		0x09, 0xc5, 0xaf, 0xf5, 0x26, 0x9a, 0x86, 0xa7, 0xa9, 0x53,
		0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31,
		0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95, 0x95, 0x68, 0x09, 0x53,
		0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25, 0xb1, 0x6a,
		0xed, 0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39
	};
	static const uint8_t want[] = {
		0x42, 0x83, 0x1e, 0xc2, 0x21, 0x77, 0x74, 0x24, 0x4b, 0x72,
		0x21, 0xb7, 0x84, 0xd0, 0xd4, 0x9c, 0xe3, 0xaa, 0x21, 0x2f,
		0x2c, 0x02, 0xa4, 0xe0, 0x35, 0xc1, 0x7e, 0x23, 0x29, 0xac,
		0xa1, 0x2e, 0x21, 0xd5, 0x14, 0xb2, 0x54, 0x66, 0x93, 0x1c,
		0x7d, 0x8f, 0x6a, 0x5a, 0xac, 0x84, 0xaa, 0x05, 0x1b, 0xa3,
		0x0b, 0x39, 0x6a, 0x0a, 0xac, 0x97, 0x3d, 0x58, 0xe0, 0x91
	};
	static const uint8_t want_tag[GCM_TAG] = { 0x5b, 0xc9, 0x4f, 0xbc,
						   0x32, 0x21, 0xa5, 0xdb,
						   0x94, 0xfa, 0xe9, 0x5a,
						   0xe7, 0x12, 0x1a, 0x47 };
	uint8_t tag[GCM_TAG];

	for (unsigned int i = 0; i < n_kinds; i++) {
		const struct gcm_text t = { nonce, clear,     sizeof(clear),
					    text,  sealed[i], sizeof(text) };

		seal(kinds[i], &t, tag);
		assert_memory_equal(sealed[i], want, sizeof(want));
		assert_memory_equal(tag, want_tag, sizeof(want_tag));
	}
}

static void what_one_seals_another_opens(void **state)
{
	size_t len = 0;

	for (; len <= LONG; len += len < 600 ? 1 : 1371) {
		const struct gcm_text out = {
			nonce, plain, 8, plain + SHIFT, sealed[0] + SHIFT, len
		};
		uint8_t tag[GCM_TAG];

		for (unsigned int from = 0; from < n_kinds; from++) {
			seal(kinds[from], &out, tag);
			for (unsigned int to = 0; to < n_kinds; to++) {
				const struct gcm_text in = {
					nonce,	plain, 8, sealed[0] + SHIFT,
					opened, len
				};

				assert_int_equal(open_it(kinds[to], &in, tag),
						 0);
				assert_memory_equal(opened, plain + SHIFT, len);
			}
		}
	}
}

static void in_place_it_is_the_same(void **state)
{
	for (unsigned int i = 0; i < n_kinds; i++) {
		const struct gcm_text out = { nonce, plain,	8,
					      plain, sealed[0], 1500 };
		const struct gcm_text here = { nonce,	  plain,     8,
					       sealed[1], sealed[1], 1500 };
		uint8_t tags[2][GCM_TAG];

		memcpy(sealed[1], plain, 1500);
		seal(kinds[i], &out, tags[0]);
		seal(kinds[i], &here, tags[1]);
		assert_memory_equal(sealed[0], sealed[1], 1500);
		assert_memory_equal(tags[0], tags[1], GCM_TAG);
		assert_int_equal(open_it(kinds[i], &here, tags[0]), 0);
		assert_memory_equal(sealed[1], plain, 1500);
	}
}

/* Of the text, of what is in the clear, and of the tag. */
static void any_bit_that_changed_is_seen(void **state)
{
	enum { LEN = 100, CLEAR = 8 };
	uint8_t all[CLEAR + LEN + GCM_TAG];
	const struct gcm_text t = { nonce,	 all,	      CLEAR,
				    all + CLEAR, all + CLEAR, LEN };
	struct gcm_text in = t;

	in.to = opened;
	for (unsigned int i = 0; i < n_kinds; i++) {
		memcpy(all, plain, CLEAR + LEN);
		seal(kinds[i], &t, all + CLEAR + LEN);
		for (size_t bit = 0; bit < 8 * sizeof(all); bit++) {
			all[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(
				open_it(kinds[i], &in, all + CLEAR + LEN),
				-EBADMSG);
			all[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_int_equal(open_it(kinds[i], &in, all + CLEAR + LEN), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_as_the_specification_has_it),
		cmocka_unit_test(what_one_seals_another_opens),
		cmocka_unit_test(in_place_it_is_the_same),
		cmocka_unit_test(any_bit_that_changed_is_seen),
	};

	return cmocka_run_group_tests_name("gcm", tests, setup, NULL);
}
