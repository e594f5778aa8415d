#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "netstats.h"

static struct netstats s;

static int set_up(void **state)
{
	struct netstats_node node = { .nnodes = 2, .nranks = 4 };
	const struct netstats_port port = { .rank = 3, .counts = { 17 } };

	netstats_name_set(&node.name, "n1");
	netstats_add(&s, NETSTATS_NODE, &node);
	netstats_add(&s, NETSTATS_PORT, &port);
	return 0;
}

static int tear_down(void **state)
{
	netstats_done(&s);
	return 0;
}

static struct netstats_reader reader(size_t n)
{
	return (struct netstats_reader){ s.words, n, 0 };
}

static void what_was_written_is_read(void **state)
{
	struct netstats_reader r = reader(s.n);
	const struct netstats_node *node;
	const struct netstats_port *port;
	char name[NETSTATS_NAME];
	const void *rec;

	assert_int_equal(netstats_next(&r, &rec), NETSTATS_NODE);
	node = rec;
	netstats_name_get(&node->name, name);
	assert_string_equal(name, "n1");
	assert_int_equal(node->nranks, 4);
	assert_int_equal(netstats_peek(&r), NETSTATS_PORT);
	assert_int_equal(netstats_next(&r, &rec), NETSTATS_PORT);
	port = rec;
	assert_int_equal(port->rank, 3);
	assert_int_equal(port->counts[0], 17);
	assert_int_equal(netstats_next(&r, &rec), 0);
	assert_int_equal(netstats_next(&r, &rec), 0);
}

static void what_is_cut_is_none_of_ours(void **state)
{
	const void *rec;

	for (size_t n = 0; n < s.n; n++) {
		struct netstats_reader r = reader(n);
		int type;

		while ((type = netstats_next(&r, &rec)) > 0)
			assert_true(r.at <= n);
		if (n == 0 || n == 1 + sizeof(struct netstats_node) / 8)
			assert_int_equal(type, 0);
		else
			assert_int_equal(type, -EPROTO);
	}
}

static void other_types_are_none_of_ours(void **state)
{
	struct netstats_reader r = reader(s.n);
	const uint64_t was = s.words[0];
	const void *rec;

	for (uint64_t type = 0; type < 300; type++) {
		s.words[0] = (was & ~(uint64_t)UINT32_MAX) | type;
		if (type == 0 || type >= NETSTATS_TYPES)
			assert_int_equal(netstats_next(&r, &rec), -EPROTO);
	}
	s.words[0] = (uint32_t)was;
	assert_int_equal(netstats_next(&r, &rec), -EPROTO);
}

static void a_name_outlives_the_way_over_a_link(void **state)
{
	struct netstats_name name;
	char text[NETSTATS_NAME], longest[NETSTATS_NAME + 8];

	netstats_name_set(&name, "node07");
	netstats_swap(name.words, 8);
	netstats_swap(name.words, 8);
	netstats_name_get(&name, text);
	assert_string_equal(text, "node07");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	netstats_name_set(&name, longest);
	netstats_name_get(&name, text);
	assert_int_equal(strlen(text), NETSTATS_NAME - 1);
	memset(&name, 'y', sizeof(name)); /* a peer's: no NUL */
	netstats_name_get(&name, text);
	assert_int_equal(strlen(text), NETSTATS_NAME - 1);
}

static void a_memfd_is_read_whole_or_not_at_all(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	size_t len = s.n * 8, n;
	uint64_t *words;

	assert_int_equal(netstats_read(fd, &words, &n), -EPROTO);
	assert_int_equal(write(fd, s.words, len), len);
	assert_int_equal(netstats_read(fd, &words, &n), 0);
	assert_int_equal(n, s.n);
	assert_memory_equal(words, s.words, len);
	free(words);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(netstats_read(fd, &words, &n), -EPROTO);
	assert_int_equal(ftruncate(fd, NETSTATS_BYTES_MAX + 8), 0);
	assert_int_equal(netstats_read(fd, &words, &n), -EPROTO);
	close(fd);
	assert_true(netstats_read(fd, &words, &n) < 0);
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		test(what_was_written_is_read),
		test(what_is_cut_is_none_of_ours),
		test(other_types_are_none_of_ours),
		test(a_name_outlives_the_way_over_a_link),
		test(a_memfd_is_read_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
