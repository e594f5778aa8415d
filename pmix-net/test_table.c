#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "table.h"

static struct errmsg err;

static int parse(const char *text, uint32_t nnodes, uint32_t nranks,
		 struct table **ret)
{
	return table_parse(text, strlen(text), nnodes, nranks, ret, &err);
}

static void assert_bad(const char *text, uint32_t nnodes, uint32_t nranks)
{
	struct table *t = NULL;

	assert_int_equal(parse(text, nnodes, nranks, &t), -EINVAL);
	assert_null(t);
	assert_true(strlen(err.text) > 0);
}

static void tables_that_do_not_add_up_are_refused(void **state)
{
	assert_bad("", 1, 1);
	assert_bad("a:1 0\n", 2, 1);	      /* a node short */
	assert_bad("a:1 0\nb:2 1\n", 1, 2);   /* one too many */
	assert_bad("a:1 0\nb:2 0\n", 2, 1);   /* twice */
	assert_bad("a:1 0\nb:2 2\n", 2, 3);   /* none has 1 */
	assert_bad("a:1 0\nb:2 1-2\n", 2, 2); /* 2 is too many */
	assert_bad("a:1 0\nb:2 1-\n", 2, 2);  /* open end */
	assert_bad("a:1\nb:2 1\n", 2, 2);     /* no ranks */
	assert_bad("a:1 \nb:2 0-1\n", 2, 2);  /* no ranks */
	assert_bad(" 0\nb:2 1\n", 2, 2);      /* no address */
	assert_bad("a:1 0 \nb:2 1\n", 2, 2);  /* not a set */
	assert_bad("a:1 0\n\nb:2 1\n", 3, 2); /* an empty line */
}

static void a_text_with_a_hole_is_refused(void **state)
{
	static const char text[] = "a:1 0\0b:2 1\n";
	struct table *t = NULL;

	assert_int_equal(table_parse(text, sizeof(text) - 1, 2, 2, &t, &err),
			 -EINVAL);
}

static void every_rank_is_found_on_its_node(void **state)
{
	static const uint32_t nodes[] = { 0, 1, 2, 0, 0, 2, 2, 2, 2, 2 };
	struct rankset own = { 0 };
	struct table *t = NULL;

	assert_int_equal(parse("n0:1 0,3-4\nn1:2 1\n[::1]:3 2,5-9", 3, 10, &t),
			 0);
	assert_int_equal(table_nnodes(t), 3);
	for (uint32_t r = 0; r < 10; r++)
		assert_int_equal(table_node(t, r), nodes[r]);
	assert_int_equal(table_node(t, 10), TABLE_NONE);
	assert_string_equal(table_address(t, 2), "[::1]:3");
	assert_int_equal(rankset_parse(&own, "0,3-4", 5, NULL), 0);
	assert_true(table_is(t, 0, &own));
	assert_false(table_is(t, 1, &own));
	assert_int_equal(rankset_add(&own, 7, 7), 0);
	assert_false(table_is(t, 0, &own));
	rankset_done(&own);
	table_free(t);
}

static void ten_thousand_nodes_are_read_from_a_file(void **state)
{
	int fd = memfd_create("table", MFD_CLOEXEC);
	FILE *f = fdopen(dup(fd), "w");
	struct table *t = NULL;

	for (int i = 0; i < 10000; i++)
		fprintf(f, "192.0.2.1:%d %d,%d\n", i, i, i + 10000);
	fclose(f);
	assert_int_equal(table_read(fd, 10000, 20000, &t, &err), 0);
	for (uint32_t r = 0; r < 20000; r++)
		assert_int_equal(table_node(t, r), r % 10000);
	table_free(t);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(table_read(fd, 1, 1, &t, &err), -EINVAL);
	assert_int_equal(table_read(-1, 1, 1, &t, &err), -EINVAL);
	close(fd);
}

static void a_node_has_its_ranks(void **state)
{
	const char text[] = "n0:1 0,3-4\nn1:1 1-2,5\n";
	_cleanup_free_ char *ranks = NULL;
	struct rankset set = { 0 };
	struct table *t = NULL;

	assert_int_equal(table_parse(text, strlen(text), 2, 6, &t, NULL), 0);
	assert_int_equal(table_ranks(t, 1, &set), 0);
	ranks = rankset_text(&set);
	assert_string_equal(ranks, "1-2,5");
	rankset_done(&set);
	table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_that_do_not_add_up_are_refused),
		cmocka_unit_test(a_text_with_a_hole_is_refused),
		cmocka_unit_test(every_rank_is_found_on_its_node),
		cmocka_unit_test(a_node_has_its_ranks),
		cmocka_unit_test(ten_thousand_nodes_are_read_from_a_file),
	};

	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
