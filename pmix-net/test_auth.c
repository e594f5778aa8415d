#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "auth.h"

static const struct auth a = { { 1, 2, 3 }, .node = 0, .nnodes = 4, "n0" };
static const struct auth b = { { 1, 2, 3 }, .node = 1, .nnodes = 4, "n1" };
static const struct auth thief = { { 1, 2, 4 }, .node = 0, .nnodes = 4, "n0" };
static struct errmsg err;

static void hello_of(const struct auth *who, struct wire_hello *ret)
{
	assert_int_equal(auth_hello(who, ret, &err), 0);
}

static void prove(const struct auth *who, enum auth_role role,
		  const struct wire_hello *dialler,
		  const struct wire_hello *acceptor, uint8_t ret[WIRE_PROOF])
{
	assert_int_equal(auth_proof(who, role, dialler, acceptor, ret, &err),
			 0);
}

static void odd_hellos_are_refused(void **state)
{
	static const size_t fields[] = {
		offsetof(struct wire_hello, magic),
		offsetof(struct wire_hello, version),
		offsetof(struct wire_hello, node),
		offsetof(struct wire_hello, nnodes),
	};
	struct wire_hello h;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		hello_of(&a, &h);
		((uint8_t *)&h)[fields[i]] ^= 0x80;
		assert_int_equal(auth_check_hello(&b, &h, AUTH_ANY, &err),
				 -EPROTO);
	}
	hello_of(&a, &h);
	h.payload_max = htobe32(WIRE_PAYLOAD_MAX - 1);
	assert_int_equal(auth_check_hello(&b, &h, AUTH_ANY, &err), -EPROTO);
}

static void who_has_other_links_is_refused_by_name(void **state)
{
	struct auth sealed = a;
	struct wire_hello h;

	sealed.flags = WIRE_SEALED;
	hello_of(&a, &h);
	sealed.node = 1;
	assert_int_equal(auth_check_hello(&sealed, &h, AUTH_ANY, &err),
			 -EPROTO);
	assert_non_null(strstr(err.text, "does not encrypt its links"));
	sealed.node = 0;
	hello_of(&sealed, &h);
	assert_int_equal(auth_check_hello(&b, &h, AUTH_ANY, &err), -EPROTO);
	assert_non_null(strstr(err.text, "encrypts its links"));
	h.flags = htobe32(0x40000000);
	assert_int_equal(auth_check_hello(&b, &h, AUTH_ANY, &err), -EPROTO);
}

static void only_the_expected_node_will_do(void **state)
{
	struct wire_hello h;

	hello_of(&a, &h);
	assert_int_equal(auth_check_hello(&b, &h, AUTH_ANY, &err), 0);
	assert_int_equal(auth_check_hello(&b, &h, 0, &err), 0);
	assert_int_equal(auth_check_hello(&b, &h, 2, &err), -EPROTO);
	assert_int_equal(auth_check_hello(&a, &h, AUTH_ANY, &err), -EPROTO);
}

static void both_ends_compute_the_same_proof(void **state)
{
	uint8_t mine[WIRE_PROOF], theirs[WIRE_PROOF];
	struct wire_hello ha, hb;

	hello_of(&a, &ha);
	hello_of(&b, &hb);
	prove(&a, AUTH_DIALLER, &ha, &hb, mine);
	prove(&b, AUTH_DIALLER, &ha, &hb, theirs);
	assert_true(auth_same(mine, theirs));
}

static void a_proof_is_good_for_nothing_else(void **state)
{
	uint8_t right[WIRE_PROOF], other[WIRE_PROOF];
	struct wire_hello ha, hb, again;

	hello_of(&a, &ha);
	hello_of(&b, &hb);
	prove(&a, AUTH_DIALLER, &ha, &hb, right);
	prove(&a, AUTH_ACCEPTOR, &ha, &hb, other); /* sent back */
	assert_false(auth_same(right, other));
	prove(&a, AUTH_DIALLER, &hb, &ha, other); /* the other way */
	assert_false(auth_same(right, other));
	hello_of(&b, &again); /* another connection */
	prove(&a, AUTH_DIALLER, &ha, &again, other);
	assert_false(auth_same(right, other));
	prove(&thief, AUTH_DIALLER, &ha, &hb, other);
	assert_false(auth_same(right, other));
}

static void every_bit_of_both_hellos_counts(void **state)
{
	uint8_t right[WIRE_PROOF], other[WIRE_PROOF];
	struct wire_hello ha, hb, h;

	hello_of(&a, &ha);
	hello_of(&b, &hb);
	prove(&a, AUTH_DIALLER, &ha, &hb, right);
	for (size_t i = 0; i < sizeof(h) * 8; i++) {
		h = ha;
		((uint8_t *)&h)[i / 8] ^= (uint8_t)(1 << i % 8);
		prove(&a, AUTH_DIALLER, &h, &hb, other);
		assert_false(auth_same(right, other));
		h = hb;
		((uint8_t *)&h)[i / 8] ^= (uint8_t)(1 << i % 8);
		prove(&a, AUTH_DIALLER, &ha, &h, other);
		assert_false(auth_same(right, other));
	}
}

/* As Python's hmac module computes it over the bytes that doc/net.md shows. */
static void the_proof_is_plain_hmac_sha256(void **state)
{
	static const uint8_t want[WIRE_PROOF] = {
		0xa5, 0xdf, 0x5a, 0xa2, 0x27, 0x33, 0xf8, 0x74,
		0xee, 0xa5, 0xe6, 0xe8, 0xd2, 0x8d, 0x36, 0x53,
		0x25, 0x66, 0x4e, 0x96, 0xd4, 0xca, 0x06, 0x84,
		0x75, 0x5f, 0x0d, 0x6e, 0x35, 0xf9, 0xb2, 0x6a,
	};
	uint8_t proof[WIRE_PROOF];
	struct wire_hello ha = { .node = 0 }, hb = { .node = htobe32(1) };

	prove(&a, AUTH_DIALLER, &ha, &hb, proof);
	assert_memory_equal(proof, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(odd_hellos_are_refused),
		cmocka_unit_test(who_has_other_links_is_refused_by_name),
		cmocka_unit_test(only_the_expected_node_will_do),
		cmocka_unit_test(both_ends_compute_the_same_proof),
		cmocka_unit_test(a_proof_is_good_for_nothing_else),
		cmocka_unit_test(every_bit_of_both_hellos_counts),
		cmocka_unit_test(the_proof_is_plain_hmac_sha256),
	};

	return cmocka_run_group_tests_name("auth", tests, NULL, NULL);
}
