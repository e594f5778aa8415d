/* test_memdir.c - what is where in fabric-attached memory, and words in it */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "memdir.h"
#include "memwire.h"
#include "memword.h"

#define MIB (1024 * 1024)
#define END (MIB / 4 * 3) /* of regions; then scratch */

static struct memdir *d;
static struct errmsg err;

static int setup(void **state)
{
	d = memdir_new(MIB, 3, 2);
	return d ? 0 : -1;
}

static int teardown(void **state)
{
	memdir_free(d);
	return 0;
}

static struct region *region(const char *name, uint64_t bytes)
{
	struct region *g = NULL;

	assert_int_equal(memdir_region_new(d, name, bytes, 0666, 1, &g, &err),
			 0);
	return g;
}

static struct item *item(struct region *g, const char *name, uint64_t bytes)
{
	struct item *i = NULL;

	assert_int_equal(memdir_item_new(d, g, name, bytes, MEMDIR_ALIGN, 0640,
					 1, &i, &err),
			 0);
	return i;
}

/* -- regions --------------------------------------------------------------- */

static void regions_begin_at_the_end(void **state)
{
	struct region *a = region("a", 1), *b = region("b", 8192), *c;

	assert_int_equal(a->bytes, 4096);
	assert_int_equal(a->at, END - 4096);
	assert_int_equal(b->at, END - 4096 - 8192);
	assert_int_equal(memdir_used(d), 4096 + 8192);
	assert_int_equal(memdir_home(a->id), 3);
	assert_ptr_equal(memdir_region(d, b->id), b);
	memdir_region_free(d, a);
	c = region("c", 4096); /* the gap that it left */
	assert_int_equal(c->at, END - 4096);
	assert_ptr_equal(memdir_next(d, NULL), b);
	assert_ptr_equal(memdir_next(d, b), c);
	assert_null(memdir_next(d, c));
}

static void numbers_never_come_again(void **state)
{
	struct region *a = region("a", 1);
	uint64_t id = a->id, item_id = item(a, "x", 8)->id;

	memdir_region_free(d, a);
	a = region("a", 1);
	assert_true(a->id != id);
	assert_null(memdir_region(d, id));
	assert_true(item(a, "x", 8)->id != item_id);
	assert_null(memdir_item(d, a, item_id));
}

static void a_region_that_cannot_be_is_refused(void **state)
{
	struct region *g;

	region("a", MIB / 4);
	assert_int_equal(memdir_region_new(d, "a", 1, 0, 0, &g, &err), -EEXIST);
	assert_int_equal(memdir_region_new(d, "b", MIB / 4 + 1, 0, 0, &g, &err),
			 -ENOSPC);
	assert_int_equal(memdir_region_new(d, "b", INT64_MAX, 0, 0, &g, &err),
			 -ENOSPC);
	region("b", MIB / 4);
	assert_int_equal(memdir_region_new(d, "c", 1, 0, 0, &g, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "has no 4K"));
}

/* Programs that use the window by themselves have a quarter of it, and scratch
 * another, whatever tasks ask for. */
static void not_all_of_the_window_is_regions(void **state)
{
	struct region *g;
	uint64_t at, bytes;

	assert_int_equal(memdir_region_new(d, "a", MIB / 2 + 1, 0, 1, &g, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.text, "tasks"));
	g = region("a", MIB / 2);
	assert_int_equal(g->at, MIB / 4);
	assert_int_equal(memdir_region_resize(d, g, MIB / 2 + 1, &err),
			 -ENOSPC);
	assert_int_equal(
		memdir_region_new(d, "b", MIB / 4, 0, MEMDIR_USER, &g, &err),
		0);
	assert_int_equal(g->at, 0);
	assert_int_equal(memdir_region_new(d, "c", 1, 0, MEMDIR_USER, &g, &err),
			 -ENOSPC);
	assert_int_equal(memdir_scratch(d, 7, &at, &bytes, &err), 0);
	assert_int_equal(at, END);
}

static void scratch_is_there_beside_all_regions(void **state)
{
	uint64_t at, bytes;
	struct region *g;
	char name[16];

	memdir_free(d);
	d = memdir_new(16 * MIB, 3, 2);
	assert_int_equal(memdir_scratch(d, 7, &at, &bytes, &err), 0);
	for (int i = 0; i < MEMDIR_REGIONS; i++) {
		snprintf(name, sizeof(name), "%d", i);
		region(name, 1);
	}
	assert_int_equal(memdir_region_new(d, "a", 1, 0, 1, &g, &err), -EDQUOT);
	assert_int_equal(memdir_scratch(d, 8, &at, &bytes, &err), 0);
}

static void a_region_grows_into_what_is_free_behind_it(void **state)
{
	struct region *a = region("a", 4096), *b = region("b", 4096);
	struct item *i;

	assert_int_equal(memdir_region_resize(d, b, 8192, &err), -ENOSPC);
	memdir_region_free(d, a);
	assert_int_equal(memdir_region_resize(d, b, 8192, &err), 0);
	assert_int_equal(memdir_used(d), 8192);
	item(b, "x", 4096);
	i = item(b, "y", 64);
	assert_int_equal(memdir_region_resize(d, b, 4096, &err), -EBUSY);
	memdir_item_free(d, i);
	assert_int_equal(memdir_region_resize(d, b, 4096, &err), 0);
}

static void scratch_is_the_same_each_time(void **state)
{
	uint64_t at, again, bytes;

	assert_int_equal(memdir_scratch(d, 7, &at, &bytes, &err), 0);
	assert_int_equal(bytes, MIB / 4 / 2);
	assert_int_equal(memdir_scratch(d, 7, &again, &bytes, &err), 0);
	assert_int_equal(at, again);
	assert_int_equal(memdir_scratch(d, 8, &again, &bytes, &err), 0);
	assert_int_not_equal(at, again);
	assert_null(memdir_next(d, NULL)); /* and no region of anyone's */
}

/* -- items ----------------------------------------------------------------- */

static void items_take_the_first_gap(void **state)
{
	struct region *g = region("g", 4096);
	struct item *a = item(g, "a", 100), *b = item(g, "", 100), *c;

	assert_int_equal(a->offset, 0);
	assert_int_equal(b->offset, 128);
	c = item(g, "", 100);
	memdir_item_free(d, b);
	assert_int_equal(item(g, "", 65)->offset, 128);
	assert_ptr_equal(memdir_item(d, g, c->id), c);
	assert_ptr_equal(memdir_item_named(g, "a"), a);
	assert_null(memdir_item_named(g, ""));
	assert_int_equal(memdir_item_new(d, g, "a", 1, 64, 0, 0, &a, &err),
			 -EEXIST);
	assert_int_equal(memdir_item_new(d, g, "z", 4096, 64, 0, 0, &a, &err),
			 -ENOSPC);
	assert_int_equal(memdir_item_new(d, g, "z", 1, 4096, 0, 0, &a, &err),
			 -ENOSPC);
}

static void a_mode_says_who_may(void **state)
{
	const struct mem_who owner = { 1, false }, other = { 2, false },
			     user = { 2, true };

	assert_true(mem_may(&owner, 0600, 1, 6));
	assert_false(mem_may(&other, 0660, 1, 4));
	assert_true(mem_may(&other, 0604, 1, 4));
	assert_false(mem_may(&other, 0604, 1, 6));
	assert_true(mem_may(&user, 0, 1, 6));
	assert_false(mem_may(&owner, 0066, 1, 4));
}

/* -- words ----------------------------------------------------------------- */

static uint64_t of_double(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static uint64_t of_float(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static void each_operation_does_what_it_says(void **state)
{
	static const struct {
		enum memword_op op;
		enum memword_type type;
		uint64_t was, value, cmp, is;
	} all[] = {
		{ MEMWORD_SET, MEMWORD_U64, 1, 2, 0, 2 },
		{ MEMWORD_FETCH, MEMWORD_U64, 1, 2, 0, 1 },
		{ MEMWORD_ADD, MEMWORD_U64, UINT64_MAX, 2, 0, 1 },
		{ MEMWORD_ADD, MEMWORD_U32, UINT32_MAX, 2, 0, 1 },
		{ MEMWORD_SUB, MEMWORD_I32, 1, 2, 0, UINT32_MAX },
		{ MEMWORD_MIN, MEMWORD_U32, UINT32_MAX, 1, 0, 1 },
		{ MEMWORD_MIN, MEMWORD_I32, UINT32_MAX, 1, 0, UINT32_MAX },
		{ MEMWORD_MAX, MEMWORD_I64, UINT64_MAX, 1, 0, 1 },
		{ MEMWORD_MAX, MEMWORD_U64, UINT64_MAX, 1, 0, UINT64_MAX },
		{ MEMWORD_AND, MEMWORD_U32, 7, 12, 0, 4 },
		{ MEMWORD_OR, MEMWORD_U64, 7, 8, 0, 15 },
		{ MEMWORD_XOR, MEMWORD_U64, 7, 2, 0, 5 },
		{ MEMWORD_SWAP, MEMWORD_I64, 7, 2, 0, 2 },
		{ MEMWORD_CAS, MEMWORD_U64, 7, 2, 7, 2 },
		{ MEMWORD_CAS, MEMWORD_U32, 7, 2, 6, 7 },
	};
	uint64_t word, rest = UINT64_MAX;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		word = all[i].was;
		assert_int_equal(memword_apply(&word, all[i].op, all[i].type,
					       all[i].value, all[i].cmp),
				 all[i].was);
		if (word != all[i].is)
			fail_msg("%s %s", memword_ops[all[i].op],
				 memword_types[all[i].type]);
	}
	memword_apply(&rest, MEMWORD_SET, MEMWORD_U32, 0, 0);
	assert_int_equal(rest, UINT64_MAX << 32); /* its half, no more */
}

static void floats_are_added_and_compared_as_such(void **state)
{
	uint64_t word = of_double(1.5), half = of_float(-1.5f);

	memword_apply(&word, MEMWORD_ADD, MEMWORD_F64, of_double(2.25), 0);
	assert_true(word == of_double(3.75));
	memword_apply(&word, MEMWORD_MIN, MEMWORD_F64, of_double(-1), 0);
	assert_true(word == of_double(-1));
	memword_apply(&half, MEMWORD_SUB, MEMWORD_F32, of_float(1), 0);
	assert_true(half == of_float(-2.5f));
	memword_apply(&half, MEMWORD_MAX, MEMWORD_F32, of_float(-9), 0);
	assert_true(half == of_float(-2.5f));
	assert_int_equal(memword_check(MEMWORD_XOR, MEMWORD_F64), -EINVAL);
	assert_int_equal(memword_check(MEMWORD_OPS, MEMWORD_U64), -EINVAL);
	assert_int_equal(memword_check(MEMWORD_ADD, MEMWORD_TYPES), -EINVAL);
}

static void *add_many(void *arg)
{
	for (int i = 0; i < 100000; i++)
		memword_apply(arg, MEMWORD_ADD, MEMWORD_U64, 1, 0);
	return NULL;
}

static void nothing_is_lost_between_two(void **state)
{
	uint64_t word = 0;
	pthread_t other;

	assert_int_equal(pthread_create(&other, NULL, add_many, &word), 0);
	add_many(&word);
	assert_int_equal(pthread_join(other, NULL), 0);
	assert_int_equal(word, 200000);
}

/* -- messages -------------------------------------------------------------- */

static int take(const struct memwire_request *q, size_t rest)
{
	struct memwire_request got;
	uint8_t *msg = calloc(1, MEMWIRE_MAX + 8);
	int r;

	assert_non_null(msg);
	memwire_put_request(msg, q);
	r = memwire_take_request((char *)msg, MEMWIRE_REQUEST + rest, &got,
				 &err);
	if (r == 0)
		assert_int_equal(got.tag, q->tag);
	free(msg);
	return r;
}

static void a_request_fits_its_numbers_or_is_none(void **state)
{
	struct memwire_request q = {
		.kind = MEMWIRE_PUT, .tag = 5, .elem = 10, .count = 2
	};
	struct memwire_request bad;
	char one = MEMWIRE_MAGIC;

	assert_int_equal(take(&q, 20), 0);
	assert_int_equal(take(&q, 19), -EPROTO);
	q.flags = MEMWIRE_INDEXED;
	assert_int_equal(take(&q, 36), 0);
	assert_int_equal(take(&q, 20), -EPROTO);
	q.kind = MEMWIRE_GET;
	assert_int_equal(take(&q, 16), 0);
	q = (struct memwire_request){ .kind = MEMWIRE_ATOMIC,
				      .elem = 32,
				      .count = MEMWIRE_COUNT };
	assert_int_equal(take(&q, MEMWIRE_DATA), 0);
	for (int i = 0; i < 6; i++) {
		bad = q;
		bad.kind = i == 0 ? 0 : i == 1 ? MEMWIRE_KINDS : bad.kind;
		bad.elem = i == 2 ? 31 : i == 3 ? 0 : bad.elem;
		bad.count = i == 4 ? MEMWIRE_COUNT + 1 : bad.count;
		bad.flags = i == 5 ? 128 : 0;
		assert_int_equal(take(&bad, MEMWIRE_DATA), -EPROTO);
	}
	q = (struct memwire_request){ .kind = MEMWIRE_GET,
				      .elem = UINT32_MAX,
				      .count = 8192 };
	assert_int_equal(take(&q, 0), -EPROTO);
	assert_int_equal(memwire_take_request(&one, 1, &bad, &err), -EPROTO);
}

static void an_element_beyond_all_is_nowhere(void **state)
{
	const struct memwire_request q = {
		.offset = 8, .stride = UINT64_MAX / 2, .elem = 4, .count = 4
	};

	assert_int_equal(memwire_at(&q, 0), 8);
	assert_true(memwire_at(&q, 3) == UINT64_MAX);
}

int main(void)
{
#define EACH(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(regions_begin_at_the_end),
		EACH(numbers_never_come_again),
		EACH(a_region_that_cannot_be_is_refused),
		EACH(a_region_grows_into_what_is_free_behind_it),
		EACH(not_all_of_the_window_is_regions),
		EACH(scratch_is_there_beside_all_regions),
		EACH(scratch_is_the_same_each_time),
		EACH(items_take_the_first_gap),
		EACH(a_mode_says_who_may),
		cmocka_unit_test(each_operation_does_what_it_says),
		cmocka_unit_test(floats_are_added_and_compared_as_such),
		cmocka_unit_test(nothing_is_lost_between_two),
		cmocka_unit_test(a_request_fits_its_numbers_or_is_none),
		cmocka_unit_test(an_element_beyond_all_is_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
