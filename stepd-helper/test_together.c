#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "hold.h"
#include "together.h"

struct fixture {
	struct task t;
	struct spec s;
	struct errmsg err;
	char dir[64];
	struct hold a, b;
};

static void touch(const char *name)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	fputs("x", f);
	fclose(f);
}

/* Tasks 0 and 1 are on this node, 2 and 3 on another. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0)
		return -1;
	f->t = (struct task){ .step = "12.0",
			      .user = "alice",
			      .node = "n1",
			      .job = 12,
			      .ranks = 4,
			      .local_tasks = 2,
			      .image_path = "/nonexistent",
			      .allow_images = "" };
	rankset_parse(&f->t.local_ranks, "0-1", 3, NULL);
	touch("a");
	touch("b");
	touch("a.0");
	touch("a.1");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	hold_done(&f->a);
	hold_done(&f->b);
	strings_done(&f->s.images);
	optset_done(&f->t.options);
	rankset_done(&f->t.local_ranks);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	free(f);
	return system(command);
}

static void give(struct fixture *f, const char *text)
{
	assert_int_equal(optset_add(&f->t.options, OPT_IMAGE, text, "x", NULL),
			 0);
}

static int check(struct fixture *f, uint32_t rank)
{
	struct strings raw = { 0 };

	f->t.rank = rank;
	f->err.text[0] = '\0';
	assert_int_equal(
		option_values(&f->t.options, OPT_IMAGE, rank, &raw, NULL), 0);
	strings_done(&f->s.images);
	for (size_t i = 0; i < raw.n; i++) {
		char *text = task_expand(&f->t, rank, raw.v[i], NULL);

		strings_add(&f->s.images, text, strlen(text));
		free(text);
	}
	strings_done(&raw);
	return together_check(&f->t, &f->s, &f->err);
}

static void refused(struct fixture *f, uint32_t rank, const char *words)
{
	assert_int_equal(check(f, rank), -EBUSY);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
}

static void test_two_write(void **state)
{
	struct fixture *f = *state;

	give(f, "a,ctl=w");
	refused(f, 0, "a, which task 0 writes to (ctl=w), is task 1's, too");
	refused(f, 1, "a, which task 1 writes to (ctl=w), is task 0's, too");
}

static void test_one_reads(void **state)
{
	struct fixture *f = *state;

	give(f, "0:a,ctl=w");
	give(f, "1:./.././/dev/null");
	give(f, "1:b");
	give(f, "1:../../proc/self/cwd/a");
	refused(f, 0, "which task 0 writes to");
	refused(f, 1, "which task 0 writes to");
	assert_int_equal(check(f, 2), 0); /* which has none of them */
}

static void test_removed(void **state)
{
	struct fixture *f = *state;

	give(f, "0:a,ctl=D");
	give(f, "1:a");
	refused(f, 1, "which task 0 removes (ctl=D), is task 1's");
}

static void test_twice(void **state)
{
	struct fixture *f = *state;

	give(f, "0:a,ctl=w");
	give(f, "0:a,ctl=p");
	give(f, "1-:b");
	refused(f, 0, "is named twice by it");
	assert_int_equal(check(f, 1), 0);
}

static void test_apart(void **state)
{
	struct fixture *f = *state;

	give(f, "0-1:a,ctl=wR");
	give(f, "2-:a.0,ctl=p"); /* on its own disk of that name */
	assert_int_equal(check(f, 0), 0);
	assert_int_equal(check(f, 1), 0);
}

static void test_by_words(void **state)
{
	struct fixture *f = *state;

	give(f, "a.%t,ctl=w");
	assert_int_equal(check(f, 0), 0);
	give(f, "a.%n,ctl=p"); /* all local tasks' node has the number 0 */
	refused(f, 1, "a.0, which task 0 writes to");
}

static void test_elided(void **state)
{
	struct fixture *f = *state;
	char search[80];

	/* one name with its suffix, one without, and ranks that begin alike */
	snprintf(search, sizeof(search), "%s/x", f->dir);
	f->t.image_path = search;
	assert_int_equal(mkdir("x", 0700), 0);
	touch("x/c.qcow2");
	touch("a.10");
	give(f, "0:c,ctl=w");
	give(f, "1:c.qcow2,ctl=p");
	refused(f, 0, "c.qcow2, which task 0 writes to");
	refused(f, 1, "c.qcow2, which task 0 writes to");
	optset_clear(&f->t.options, OPT_IMAGE);
	give(f, "0:a.1,ctl=w");
	give(f, "1:a.10,ctl=w");
	assert_int_equal(check(f, 0), 0);
	assert_int_equal(check(f, 1), 0);
}

static void test_many(void **state)
{
	struct fixture *f = *state;

	/* none of the others' files is asked for */
	f->t.ranks = 10000;
	give(f, "a,ctl=wR");
	assert_int_equal(check(f, 1), 0);
	give(f, "9999:./a.1");
	rankset_done(&f->t.local_ranks);
	rankset_parse(&f->t.local_ranks, "0-", 2, NULL);
	refused(f, 1, "a.1, which task 1 writes to (ctl=w), is task 9999's");
}

static void test_readers(void **state)
{
	struct fixture *f = *state;

	give(f, "a,ctl=p");
	give(f, "a");
	give(f, "file=a,ctl=w");
	for (uint32_t rank = 0; rank < 4; rank++)
		assert_int_equal(check(f, rank), 0);
}

/* -- held ------------------------------------------------------------------ */

static int hold(struct fixture *f, struct hold *h, const char *a, const char *b,
		bool write)
{
	struct strings files = { 0 };
	int r;

	strings_add(&files, a, strlen(a));
	if (b)
		strings_add(&files, b, strlen(b));
	r = hold_files(h, &files, write, &f->err);
	strings_done(&files);
	return r;
}

static void test_held(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(hold(f, &f->a, "a", "b", true), 0);
	assert_int_equal(hold(f, &f->b, "a", NULL, false), -EBUSY);
	assert_non_null(strstr(f->err.text, "a is written by another VM"));
	assert_int_equal(hold(f, &f->b, "a", NULL, true), -EBUSY);
	assert_non_null(strstr(f->err.text, "a is to be written (ctl=w)"));
	/* what is below is read only */
	assert_int_equal(hold(f, &f->b, "b", NULL, false), 0);
	hold_done(&f->b);
	assert_int_equal(hold(f, &f->b, "b", NULL, true), -EBUSY);
	hold_done(&f->a);
	assert_int_equal(hold(f, &f->b, "b", NULL, true), 0);
	assert_int_equal(hold(f, &f->a, "gone", NULL, true), -ENOENT);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("two tasks that write one disk are refused",
		     test_two_write),
		TEST("so are one that writes and one that reads",
		     test_one_reads),
		TEST("so is a disk that one of them removes", test_removed),
		TEST("so is one task that names it twice", test_twice),
		TEST("disks by rank, or of other nodes, are not", test_apart),
		TEST("words are replaced as for that task", test_by_words),
		TEST("suffixes that are left out are seen", test_elided),
		TEST("ten thousand tasks are looked at", test_many),
		TEST("many may read", test_readers),
		TEST("a file is held against others' writing", test_held),
	};

	return cmocka_run_group_tests_name("together", tests, NULL, NULL);
}
