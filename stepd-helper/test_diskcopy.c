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
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "copyfile.h"
#include "disk.h"
#include "diskcopy.h"
#include "filelock.h"
#include "log.h"
#include "work.h"

#define MIB  (1 << 20)
#define SIZE (40 * MIB) /* of the image, most of it holes */

struct fixture {
	char dir[64];
	struct diskcopy c;
	struct errmsg err;
};

static void put(const char *name, const char *text, off_t at)
{
	_cleanup_close_ int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
}

static void get(const char *name, char *text, size_t n, off_t at)
{
	_cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, text, n, at), n);
	text[n] = '\0';
}

static void holds(const char *name, off_t at, const char *want)
{
	char text[16];

	get(name, text, strlen(want), at);
	assert_string_equal(text, want);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_setup("test", STDERR_FILENO, LOG_LEVEL_ERR);
	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0)
		return -1;
	put("image", "first", 0);
	put("image", "middle", 17 * MIB);
	assert_int_equal(truncate("image", SIZE), 0);
	f->c.kind = IMAGE_RAW;
	assert_true(asprintf(&f->c.from, "%s/image", f->dir) > 0);
	assert_true(asprintf(&f->c.to, "%s/copy", f->dir) > 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	diskcopy_done(&f->c);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	free(f);
	return system(command);
}

static int make(struct fixture *f)
{
	int fd = diskcopy_make(&f->c, "qemu-system-x86_64", &f->err);

	if (fd < 0)
		fail_msg("%s", f->err.text);
	return fd;
}

static void refused(struct fixture *f, int code, const char *words)
{
	assert_int_equal(diskcopy_make(&f->c, "qemu", &f->err), code);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
}

static ino_t inode(const char *name)
{
	struct stat st;

	assert_int_equal(stat(name, &st), 0);
	return st.st_ino;
}

/* -- bytes ----------------------------------------------------------------- */

static void test_bytes(void **state)
{
	_cleanup_close_ int from = open("image", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int to = open("to", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat a, b;

	assert_int_equal(copyfile(from, to, 0, NULL, NULL, NULL), 0);
	assert_int_equal(fstat(from, &a) | fstat(to, &b), 0);
	assert_int_equal(b.st_size, SIZE);
	assert_true(b.st_blocks <= a.st_blocks + 8);
	holds("to", 0, "first");
	holds("to", 17 * MIB, "middle");
}

static void on_progress(uint64_t done, uint64_t size, void *arg)
{
	uint64_t *last = arg;

	assert_int_equal(size, 3 * 16 * MIB + 5);
	assert_true(done > *last && done <= size);
	*last = done;
}

static void test_progress(void **state)
{
	_cleanup_close_ int from =
		open("full", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_close_ int to = open("to", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_free_ char *bytes = calloc(1, MIB);
	uint64_t last = 0;

	for (int i = 0; i < 48; i++)
		assert_int_equal(pwrite(from, bytes, MIB, (off_t)i * MIB), MIB);
	assert_int_equal(pwrite(from, "end..", 5, 48 * MIB), 5);
	assert_int_equal(copyfile(from, to, 0, on_progress, &last, NULL), 0);
	/* shared blocks are no progress, they are there at once */
	assert_true(last == 0 || last == 48 * MIB + 5);
	holds("to", 48 * MIB, "end..");
}

/* -- one copy -------------------------------------------------------------- */

static void test_made(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int fd = make(f), other = -1;
	_cleanup_free_ char *part = diskcopy_part(&f->c, NULL);

	assert_true(fd >= 0);
	holds("copy", 17 * MIB, "middle");
	assert_int_equal(access(part, F_OK), -1);
	/* many may read it */
	other = open("copy", O_RDWR | O_CLOEXEC);
	assert_int_equal(filelock(other, true), -EBUSY);
	assert_int_equal(filelock(other, false), 0);
}

static void test_used_again(void **state)
{
	struct fixture *f = *state;
	ino_t before;

	close(make(f));
	before = inode("copy");
	close(make(f));
	assert_int_equal(inode("copy"), before);
	/* of an image that has changed since, it is made anew */
	put("image", "FIRST", 0);
	close(make(f));
	holds("copy", 0, "FIRST");
}

static void test_left_behind(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int reader = -1;
	ino_t before;

	/* one that was to be removed and was not may not be whole on the disk;
	 * it is while someone reads it */
	f->c.removed = true;
	reader = make(f);
	before = inode("copy");
	close(make(f));
	assert_int_equal(inode("copy"), before);
	put("copy", "stale", 0);
	close(TAKE_FD(reader));
	close(make(f));
	holds("copy", 0, "first");
}

static void test_own(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int fd = -1, other = -1;

	f->c.own = true;
	fd = make(f);
	other = open("copy", O_RDWR | O_CLOEXEC);
	assert_int_equal(filelock(other, false), -EBUSY);
	put("copy", "guest", 0); /* its VM's */
	close(TAKE_FD(fd));
	fd = make(f);
	holds("copy", 0, "guest");
	refused(f, -EBUSY, "is the copy that another VM uses: add j or r");
	close(TAKE_FD(fd));
	f->c.removed = true;
	fd = make(f);
	holds("copy", 0, "first");
}

static void test_other_image(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int fd = make(f);

	/* two images by one name, and the first is in use */
	assert_true(fd >= 0);
	put("b", "other", 0);
	free(f->c.from);
	assert_true(asprintf(&f->c.from, "%s/b", f->dir) > 0);
	refused(f, -EBUSY, "is the copy that another VM uses");
	holds("copy", 0, "first");
}

static void test_not_ours(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(symlink("/etc/passwd", "copy"), 0);
	refused(f, -ELOOP, "copy: Too many levels of symbolic links");
	assert_int_equal(unlink("copy"), 0);
	assert_int_equal(mkfifo("copy", 0600), 0);
	refused(f, -EPERM, "no file of yours");
}

static void test_gone_on_with(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *part = diskcopy_part(&f->c, NULL);

	/* what a maker that died has left: its first bytes are believed */
	put(part, "other", 0);
	assert_int_equal(truncate(part, 4 * MIB + 100), 0);
	close(make(f));
	holds("copy", 0, "other");
	holds("copy", 17 * MIB, "middle");
	assert_int_equal(access(part, F_OK), -1);
}

static void test_removed(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int a = make(f), b = make(f);

	diskcopy_remove(&f->c, a);
	assert_int_equal(access("copy", F_OK), 0); /* the other has it */
	close(TAKE_FD(a));
	diskcopy_remove(&f->c, b);
	assert_int_equal(access("copy", F_OK), -1);
}

static void test_relative(void **state)
{
	struct fixture *f = *state;

	if (system("qemu-img create -q -f qcow2 -F raw -b image over") != 0)
		skip();
	assert_int_equal(mkdir("run", 0700), 0);
	free(f->c.from);
	free(f->c.to);
	assert_true(asprintf(&f->c.from, "%s/over", f->dir) > 0);
	assert_true(asprintf(&f->c.to, "%s/run/over", f->dir) > 0);
	f->c.kind = IMAGE_QCOW2;
	close(make(f));
	assert_int_equal(
		system("qemu-img convert -O raw run/over out && cmp out image"),
		0);
	close(make(f)); /* as it is, it is the image's */
}

/* -- processes ------------------------------------------------------------- */

static void test_waits(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *part = diskcopy_part(&f->c, NULL);
	int ready[2], status;
	pid_t maker, waiter;
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	maker = fork();
	if (maker == 0) { /* has begun, and is stuck */
		int fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		if (filelock(fd, true) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	waiter = fork();
	if (waiter == 0)
		_exit(diskcopy_make(&f->c, "qemu", &f->err) < 0 ? 1 : 0);
	assert_int_equal(waitpid(waiter, &status, WNOHANG), 0);
	assert_int_equal(access("copy", F_OK), -1);
	kill(maker, SIGKILL);
	assert_int_equal(waitpid(maker, NULL, 0), maker);
	assert_int_equal(waitpid(waiter, &status, 0), waiter);
	assert_int_equal(status, 0);
	holds("copy", 17 * MIB, "middle");
	close(ready[0]);
	close(ready[1]);
}

struct told {
	struct loop *loop;
	struct errmsg error;
	int fd[2];
};

static void on_copied(const char *error, const int *fds, void *arg)
{
	struct told *t = arg;

	if (error)
		errmsg_say(&t->error, 0, "%s", error);
	else
		memcpy(t->fd, fds, sizeof(t->fd));
	loop_stop(t->loop, error ? 1 : 0);
}

static int copy_one(size_t i, const void *what, struct errmsg *err)
{
	const struct diskcopy *list = what;

	return diskcopy_make(&list[i], "qemu", err);
}

static void test_work(void **state)
{
	struct fixture *f = *state;
	struct diskcopy list[2] = {
		f->c, { .from = f->c.from, .kind = IMAGE_RAW, .own = true }
	};
	struct told t = { 0 };
	struct work *w = NULL;
	_cleanup_close_ int fd = -1;

	assert_true(asprintf(&list[1].to, "%s/second", f->dir) > 0);
	assert_int_equal(loop_new(&t.loop, &f->err), 0);
	assert_int_equal(work_start(t.loop, copy_one, list, 2, on_copied, &t,
				    &w, &f->err),
			 0);
	assert_int_equal(loop_run(t.loop), 0);
	work_free(w);
	/* the descriptors that came hold the copies */
	fd = open("second", O_RDWR | O_CLOEXEC);
	assert_int_equal(filelock(fd, false), -EBUSY);
	close(t.fd[0]);
	close(t.fd[1]);
	assert_int_equal(filelock(fd, false), 0);
	assert_int_equal(unlink("image"), 0);
	assert_int_equal(work_start(t.loop, copy_one, list, 2, on_copied, &t,
				    &w, &f->err),
			 0);
	assert_int_equal(loop_run(t.loop), 1);
	assert_non_null(strstr(t.error.text, "image: No such file"));
	work_free(w);
	loop_free(t.loop);
	free(list[1].to);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

/* What overlays and empty disks are written to: nobody can be there first, or
 * open it. */
static void test_anonymous(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int fd = -1;
	struct stat st;

	assert_int_equal(mkdir("run", 0777), 0);
	fd = disk_anonymous("run", &f->err);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(rmdir("run"), 0); /* it is empty */
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a copy has the bytes and the holes", test_bytes),
		TEST("progress grows to the size", test_progress),
		TEST("a copy is whole when it has its name, and is held",
		     test_made),
		TEST("it is used again, unless the image has changed",
		     test_used_again),
		TEST("one that should be gone is made anew", test_left_behind),
		TEST("an own one is as its VM left it, and its alone",
		     test_own),
		TEST("a copy in use is not replaced by another image's",
		     test_other_image),
		TEST("links and other people's files are refused",
		     test_not_ours),
		TEST("what overlays are written to has no name",
		     test_anonymous),
		TEST("what a dead maker left is gone on with",
		     test_gone_on_with),
		TEST("the last one removes it", test_removed),
		TEST("a file below is named from the root", test_relative),
		TEST("others wait, and take over from a maker that dies",
		     test_waits),
		TEST("a process of its own makes them, and hands them over",
		     test_work),
	};

	return cmocka_run_group_tests_name("diskcopy", tests, NULL, NULL);
}
