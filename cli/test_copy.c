#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "command.h"
#include "copyhead.h"
#include "copylocal.h"
#include "copyprogress.h"
#include "log.h"
#include "place.h"

/* -- places ---------------------------------------------------------------- */

static void test_places(void **state)
{
	static const struct {
		const char *text, *path;
		uint64_t ranks; /* 0: it is a path here */
		int result;
	} cases[] = {
		{ "3:/path", "/path", 1, 0 }, { "0-3:/path", "/path", 4, 0 },
		{ "0,2:rel", "rel", 2, 0 },   { "3:a:b", "a:b", 1, 0 },
		{ "/path", "/path", 0, 0 },   { "x:y", "x:y", 0, 0 },
		{ "./3:x", "./3:x", 0, 0 },   { ":3:x", "3:x", 0, 0 },
		{ "-", "-", 0, 0 },	      { "", NULL, 0, -EINVAL },
		{ "3:", NULL, 0, -EINVAL },   { "3-1:/x", NULL, 0, -EINVAL },
	};
	struct errmsg err;
	struct place p;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(place_parse(cases[i].text, &p, &err),
				 cases[i].result);
		if (cases[i].result)
			continue;
		assert_string_equal(p.path, cases[i].path);
		assert_int_equal(p.guest, cases[i].ranks != 0);
		assert_int_equal(rankset_count(&p.ranks), cases[i].ranks);
		place_done(&p);
	}
}

static void test_expand(void **state)
{
	bool has;
	char *s = place_expand("a%t/b%%t%x%", 12, &has);

	assert_string_equal(s, "a12/b%t%x%");
	assert_true(has);
	free(s);
	s = place_expand("a%%t", 12, &has);
	assert_false(has);
	free(s);
}

static void test_sizes(void **state)
{
	char text[16];

	copyprogress_size(1023, text);
	assert_string_equal(text, "1023 B");
	copyprogress_size(1536, text);
	assert_string_equal(text, "1.5 KiB");
	copyprogress_size(UINT64_MAX, text);
	assert_string_equal(text, "16777216.0 TiB");
}

/* -- what is said before the data ------------------------------------------ */

static int parse(const char *text)
{
	struct errmsg err = { "" };
	struct copyhead h;
	int r = copyhead_parse(text, strlen(text), &h, &err);

	if (r == 0)
		copyhead_done(&h);
	else
		assert_true(err.text[0]);
	return r;
}

static void test_head(void **state)
{
	struct copyhead h = { true, strdup("\xff x"), 0750, 7, -1 }, got;
	struct errmsg err;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(copyhead_write(fds[1], &h), 0);
	assert_int_equal(write(fds[1], "data", 4), 4);
	assert_int_equal(copyhead_read(fds[0], &got, &err), 0);
	assert_true(got.dir);
	assert_string_equal(got.name, "\xff x");
	assert_int_equal(got.mode, 0750);
	assert_int_equal(got.mtime_ns, 7);
	assert_int_equal(got.size, -1);
	copyhead_done(&got);
	copyhead_done(&h);
	close(fds[1]);
	assert_int_equal(lseek(fds[0], 0, SEEK_CUR), -1);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(read(fds[0], &got, 4), 4); /* the data is left */
	assert_int_equal(copyhead_read(fds[0], &got, &err), -ENODATA);
	close(fds[0]);
	assert_int_equal(parse("{\"error\":\"no\"}"), -EREMOTE);
	assert_int_equal(parse("{\"type\":\"file\",\"name\":\"a\"}"), 0);
	assert_int_equal(parse("{\"type\":\"file\",\"name\":\"a/b\"}"),
			 -EPROTO);
	assert_int_equal(parse("{\"type\":\"file\",\"name\":\"..\"}"), -EPROTO);
	assert_int_equal(parse("{\"type\":\"link\",\"name\":\"a\"}"), -EPROTO);
	assert_int_equal(parse("{\"name\":\"a\"}"), -EPROTO);
	assert_int_equal(parse("{\"type\":\"dir\"}"), -EPROTO);
	assert_int_equal(parse("[]"), -EPROTO);
	assert_int_equal(parse("\xff"), -EPROTO);
}

static void check_place(const char *name, const char *path, bool is_dir,
			const char *place)
{
	struct copyhead h = { .name = copyhead_name(name) };
	char *s = copyhead_place(&h, path, is_dir);

	assert_string_equal(s, place);
	free(s);
	copyhead_done(&h);
}

static void test_where_it_goes(void **state)
{
	check_place("a/b", "/x", false, "/x");
	check_place("a/b", "/x", true, "/x/b");
	check_place("a/b//", "/x/", false, "/x/b");
	check_place("b", "/x/", true, "/x/b");
	check_place("", "/x/", true, "/x/stdin");
}

/* -- both ends of a copy, here --------------------------------------------- */

struct fixture {
	char dir[64];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	strcpy(f->dir, "/tmp/vmstep-copy-XXXXXX");
	return !mkdtemp(f->dir) || chdir(f->dir) < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(chdir("/") + system(command), 0);
	free(f);
	return 0;
}

static void shell(const char *script)
{
	assert_int_equal(system(script), 0);
}

/* Bytes after which the stream breaks off; -1: it does not. */
static int copy(const char *from, const char *to, ssize_t cut)
{
	int fds[2], sent[2], status;
	char buf[65536];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(sent), 0);
	assert_int_equal(pipe(fds), 0);
	if (fork() == 0) {
		close(sent[0]);
		close(fds[0]);
		close(fds[1]);
		_exit(copylocal_send(from, sent[1]));
	}
	close(sent[1]);
	pid = fork();
	if (pid == 0) {
		close(fds[1]);
		close(sent[0]);
		_exit(copylocal_receive(fds[0], to));
	}
	close(fds[0]);
	while ((n = read(sent[0], buf, sizeof(buf))) > 0 && cut) {
		if (cut > 0 && n > cut)
			n = cut;
		if (write(fds[1], buf, (size_t)n) != n)
			break;
		cut -= cut > 0 ? n : 0;
	}
	close(sent[0]);
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	while (wait(NULL) > 0)
		; /* the sender, too */
	return WEXITSTATUS(status);
}

static void test_local(void **state)
{
	shell("head -c 1000000 /dev/urandom >a; chmod 751 a; touch -d @7 a; mkdir d e; ln -s a l");
	assert_int_equal(copy("a", "b", -1), EXIT_DONE);
	shell("cmp a b && [ \"$(stat -c '%a %Y' b)\" = '751 7' ]");
	assert_int_equal(copy("a", "d", -1), EXIT_DONE);
	shell("cmp a d/a");
	assert_int_equal(copy("d", "e", -1), EXIT_DONE);
	shell("cmp a e/d/a");
	assert_int_equal(copy("d", "f", -1), EXIT_DONE);
	shell("cmp a f/a && [ \"$(stat -c %a f)\" = \"$(stat -c %a d)\" ]");
	shell("rm b; ln -s c b; echo old >c");
	assert_int_equal(copy("a", "b", -1), EXIT_DONE);
	shell("[ -L b ] && cmp a c");
	assert_int_equal(copy("a", "/dev/null", -1), EXIT_DONE);
	shell("[ -c /dev/null ]");
}

static void test_local_fails(void **state)
{
	shell("head -c 1000000 /dev/urandom >a; mkdir d x x/d; echo f >x/d/f; echo old >b");
	log_setup("", open("/dev/null", O_WRONLY), LOG_LEVEL_WARN);
	assert_int_equal(copy("none", "b", -1), EXIT_FAILED);
	assert_int_equal(copy("a", "none/b", -1), EXIT_FAILED);
	assert_int_equal(copy("a", "b/", -1), EXIT_FAILED);
	shell("mkdir y; mkdir y/a");
	assert_int_equal(copy("a", "y", -1), EXIT_FAILED);
	for (ssize_t cut = 1; cut < 1000000; cut = cut * 5 + 1) {
		assert_int_equal(copy("a", "b", cut), EXIT_FAILED);
		assert_int_equal(copy("a", "new", cut), EXIT_FAILED);
	}
	for (ssize_t cut = 1; cut < 2000; cut += 100) {
		assert_int_equal(copy("x", "z", cut), EXIT_FAILED);
		shell("find z -name '.vmstep*' 2>/dev/null | grep . && exit 1; rm -rf z");
	}
	shell("[ \"$(cat b)\" = old ] && [ ! -e new ] && [ -z \"$(ls -A | grep vmstep)\" ]");
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("what is a guest's path", test_places),
		TEST("%t is the rank", test_expand),
		TEST("sizes for people", test_sizes),
		TEST("what is said before the data", test_head),
		TEST("where it goes", test_where_it_goes),
		TEST("from here to here", test_local),
		TEST("what breaks off leaves what was there", test_local_fails),
	};

	return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
