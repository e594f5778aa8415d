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
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "console.h"

struct fixture {
	struct loop *loop;
	struct loop_timer *tick;
	struct console *c;
	int guest; /* writes what the console reads */
};

static void on_tick(void *arg)
{
	loop_stop(arg, 0);
}

/* Let the loop run once. */
static void spin(struct fixture *f)
{
	loop_timer_set(f->tick, 1);
	assert_int_equal(loop_run(f->loop), 0);
}

static void start(struct fixture *f, int copy_fd)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
			 0);
	f->guest = sv[1];
	assert_int_equal(console_new(f->loop, sv[0], copy_fd, &f->c, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->guest = -1;
	return loop_new(&f->loop, NULL) < 0 ||
			       loop_timer_add(f->loop, -1, on_tick, f->loop,
					      &f->tick) < 0
		       ? -1
		       : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->guest >= 0)
		close(f->guest);
	console_free(f->c);
	loop_timer_free(f->tick);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->guest, text, strlen(text)), strlen(text));
}

static void assert_tail(struct fixture *f, unsigned int lines, const char *want)
{
	_cleanup_free_ char *tail = console_tail(f->c, lines);

	if (!want) {
		assert_null(tail);
		return;
	}
	assert_non_null(tail);
	assert_string_equal(tail, want);
}

static void test_bad_fd(void **state)
{
	struct fixture *f = *state;
	struct console *c = NULL;
	struct errmsg err;
	int fd = dup(0);

	close(fd);
	assert_true(console_new(f->loop, fd, -1, &c, &err) < 0);
	assert_null(c);
	assert_non_null(strstr(err.text, "console"));
	console_free(NULL);
}

static void test_nothing(void **state)
{
	struct fixture *f = *state;

	start(f, -1);
	console_drain(f->c);
	assert_tail(f, 5, NULL);
	say(f, "\n\r\n\033[0m\n");
	console_drain(f->c);
	assert_tail(f, 5, NULL);
}

static void test_lines(void **state)
{
	struct fixture *f = *state;

	start(f, -1);
	say(f, "one\ntwo\nthree\n\n");
	spin(f);
	assert_tail(f, 1, "three");
	assert_tail(f, 2, "two\nthree");
	assert_tail(f, 9, "one\ntwo\nthree");
	say(f, "four");
	spin(f);
	assert_tail(f, 1, "four"); /* though its line has not ended */
}

static void test_clean(void **state)
{
	struct fixture *f = *state;

	start(f, -1);
	say(f, "\033[2J\033[1;31mred\033[0m\r\n\x01 a\tb\x7f \a\xc3\xa4\033");
	console_drain(f->c);
	assert_tail(f, 9, "red\n a\tb \xc3\xa4");
	say(f, "cok\n");
	console_drain(f->c);
	assert_tail(f, 1, " a\tb \xc3\xa4ok");	/* ESC c: reset */
	say(f, "\x9b[\xc2\x9b(\xc3\x9b\x84\n"); /* C1, and 9b in a letter */
	console_drain(f->c);
	assert_tail(f, 1, "[(\xc3\x9b");
}

static void test_ring(void **state)
{
	struct fixture *f = *state;
	char line[32], last[32] = "";

	start(f, -1);
	for (int i = 0; i < 9000; i++) {
		snprintf(line, sizeof(line), "line %d\n", i);
		say(f, line);
		if (i % 100 == 0)
			console_drain(f->c);
	}
	console_drain(f->c);
	snprintf(last, sizeof(last), "line 8998\nline 8999");
	assert_tail(f, 2, last);
	{
		_cleanup_free_ char *all = console_tail(f->c, 100000);

		assert_in_range(strlen(all), CONSOLE_KEEP - 100, CONSOLE_KEEP);
	}
}

static void test_copy(void **state)
{
	struct fixture *f = *state;
	int copy = memfd_create("copy", MFD_CLOEXEC);
	char buf[64] = "";

	start(f, dup(copy));
	say(f, "\033[1mas it is\033[0m\r\n");
	spin(f);
	assert_int_equal(pread(copy, buf, sizeof(buf) - 1, 0), 18);
	assert_string_equal(buf, "\033[1mas it is\033[0m\r\n");
	close(copy);
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;

	start(f, open("/dev/full", O_WRONLY | O_CLOEXEC));
	say(f, "words\n");
	spin(f);
	say(f, "more\n");
	spin(f);
	assert_tail(f, 2, "words\nmore");
}

/* What the reader got up to now, at @buf + *len. */
static void read_copy(int fd, char *buf, size_t size, size_t *len)
{
	ssize_t n;

	while ((n = recv(fd, buf + *len, size - *len, MSG_DONTWAIT)) > 0)
		*len += (size_t)n;
}

static void test_slow_reader(void **state)
{
	struct fixture *f = *state;
	static char got[4 << 20];
	static char block[4097];
	size_t len = 0, said = 0, missing = 0;
	int sv[2];
	char *note;

	memset(block, 'x', sizeof(block) - 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
			 0);
	start(f, sv[0]);
	for (; said < 2 << 20; said += 4096) {
		say(f, block);
		console_drain(f->c); /* comes back though nobody reads */
	}
	for (int idle = 0; idle < 3; idle++) {
		size_t before = len;

		read_copy(sv[1], got, sizeof(got) - 1, &len);
		spin(f);
		idle = len > before ? -1 : idle;
	}
	note = strstr(got, "\r\n[vmstep: ");
	assert_non_null(note);
	assert_int_equal(sscanf(note, "\r\n[vmstep: %zu bytes of", &missing),
			 1);
	assert_true(missing >= (1 << 20) / 2);
	assert_int_equal(len - (strcspn(note + 2, "\n") + 3) + missing, said);
	len = 0;
	say(f, "it keeps up again");
	spin(f);
	read_copy(sv[1], got, sizeof(got), &len);
	assert_memory_equal(got, "it keeps up again", len);
	assert_int_equal(len, 17);
	close(sv[1]);
}

static void test_flags_are_put_back(void **state)
{
	struct fixture *f = *state;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	start(f, dup(p[1]));
	assert_true(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	console_free(f->c);
	f->c = NULL;
	assert_false(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	close(p[0]);
	close(p[1]);
}

static void test_reader_is_gone(void **state)
{
	struct fixture *f = *state;
	int p[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	start(f, p[1]);
	close(p[0]);
	say(f, "words\n");
	spin(f);
	say(f, "more\n");
	spin(f);
	assert_tail(f, 2, "words\nmore");
}

static void test_end(void **state)
{
	struct fixture *f = *state;

	start(f, -1);
	say(f, "last words");
	close(TAKE_FD(f->guest));
	spin(f);
	spin(f); /* the end is seen once, not for ever */
	console_drain(f->c);
	assert_tail(f, 1, "last words");
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

/* -- who attaches ---------------------------------------------------------- */

/* Two ends that do not block; ours is the first. */
static void make_pair(int sv[2])
{
	assert_int_equal(socketpair(AF_UNIX,
				    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
				    0, sv),
			 0);
}

static void assert_reads(int fd, const char *want)
{
	char got[256];
	ssize_t n = read(fd, got, sizeof(got));

	assert_int_equal(n, strlen(want));
	assert_memory_equal(got, want, strlen(want));
}

static void test_readers(void **state)
{
	struct fixture *f = *state;
	int a[2], b[2];

	start(f, -1);
	say(f, "before ");
	spin(f);
	make_pair(a);
	make_pair(b);
	assert_int_equal(console_attach(f->c, a[1], -1, true), 0);
	assert_int_equal(console_attach(f->c, b[1], -1, false), 0);
	say(f, "after");
	spin(f);
	assert_reads(a[0], "before after");
	assert_reads(b[0], "after");
	close(a[0]); /* one leaves, the other stays */
	spin(f);
	say(f, "more");
	spin(f);
	assert_reads(b[0], "more");
	close(f->guest);
	f->guest = -1;
	spin(f);
	assert_reads(b[0], ""); /* its end */
	make_pair(a);
	assert_int_equal(console_attach(f->c, a[1], -1, true), 0);
	assert_reads(a[0], "before aftermore"); /* also after that */
	assert_reads(a[0], "");
	close(a[0]);
	close(b[0]);
}

static void test_one_types(void **state)
{
	struct fixture *f = *state;
	int a[2], b[2], in[2], other[2];

	start(f, -1);
	make_pair(a);
	make_pair(b);
	make_pair(in);
	make_pair(other);
	assert_int_equal(console_attach(f->c, a[1], in[1], true), 0);
	assert_int_equal(console_attach(f->c, b[1], other[1], true), -EBUSY);
	assert_reads(b[0], ""); /* both are closed */
	assert_reads(other[0], "");
	close(b[0]);
	close(other[0]);
	assert_int_equal(write(in[0], "typed", 5), 5);
	spin(f);
	assert_reads(f->guest, "typed");
	close(in[0]); /* now another one may */
	spin(f);
	make_pair(b);
	make_pair(other);
	assert_int_equal(console_attach(f->c, b[1], other[1], true), 0);
	assert_int_equal(write(other[0], "too", 3), 3);
	spin(f);
	assert_reads(f->guest, "too");
	say(f, "to both");
	spin(f);
	assert_reads(a[0], "to both");
	assert_reads(b[0], "to both");
	close(a[0]);
	close(b[0]);
	close(other[0]);
}

/* Who types faster than the guest reads waits; all of it arrives. */
static void test_slow_guest(void **state)
{
	static char much[1 << 20], got[1 << 16];
	struct fixture *f = *state;
	size_t sent = 0, taken = 0;
	int a[2], in[2];
	ssize_t n;

	start(f, -1);
	fcntl(f->guest, F_SETFL, O_NONBLOCK);
	make_pair(a);
	make_pair(in);
	assert_int_equal(console_attach(f->c, a[1], in[1], true), 0);
	for (int i = 0; i < 1000; i++) {
		n = write(in[0], much, sizeof(much));
		if (n > 0)
			sent += (size_t)n;
		spin(f);
		if (n < 0)
			break;
	}
	assert_int_equal(n, -1); /* it waits */
	close(in[0]);
	for (int i = 0; i < 1000 && taken < sent; i++) {
		while ((n = read(f->guest, got, sizeof(got))) > 0)
			taken += (size_t)n;
		spin(f);
	}
	assert_int_equal(taken, sent);
	close(a[0]);
}

static void test_slow_attached(void **state)
{
	static char line[4096], got[1 << 16];
	struct fixture *f = *state;
	bool told = false;
	int a[2];
	ssize_t n;

	memset(line, 'x', sizeof(line));
	start(f, -1);
	make_pair(a);
	assert_int_equal(console_attach(f->c, a[1], -1, true), 0);
	for (int i = 0; i < 300; i++) { /* the guest is not held up */
		assert_int_equal(write(f->guest, line, sizeof(line)),
				 sizeof(line));
		spin(f);
	}
	for (int i = 0; i < 20; i++) {
		while ((n = read(a[0], got, sizeof(got))) > 0)
			told |= memmem(got, (size_t)n, "are missing here",
				       16) != NULL;
		spin(f);
	}
	assert_true(told);
	close(a[0]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a descriptor that is none is refused", test_bad_fd),
		TEST("nothing said, nothing shown", test_nothing),
		TEST("the last lines, empty ones at the end left out",
		     test_lines),
		TEST("without escapes and control bytes", test_clean),
		TEST("of a long run the end is kept", test_ring),
		TEST("the copy has every byte", test_copy),
		TEST("a full disk ends nothing", test_full_disk),
		TEST("a reader that is slow is not waited for, and told so",
		     test_slow_reader),
		TEST("one that is gone ends nothing", test_reader_is_gone),
		TEST("the copy's flags are put back", test_flags_are_put_back),
		TEST("what was said before the end is there after it",
		     test_end),
		TEST("any number may read, from the beginning or from now on",
		     test_readers),
		TEST("one may type", test_one_types),
		TEST("who types faster than the guest reads waits",
		     test_slow_guest),
		TEST("who attaches and does not read loses, and is told",
		     test_slow_attached),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
