#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
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
#include "fam.h"
#include "filelock.h"
#include "log.h"

#define MIB (1ull << 20)

struct fixture {
	char dir[64];  /* the step's */
	char file[64]; /* one of the user's, in memory */
	struct task t;
	struct spec s;
	struct errmsg err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_setup("test", STDERR_FILENO, LOG_LEVEL_ERR);
	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->file, sizeof(f->file), "/dev/shm/vmstep-test.%d", getpid());
	f->t = (struct task){
		.step = "12.0", .step_dir = f->dir, .ranks = 2, .local_tasks = 2
	};
	f->s = (struct spec){ .net = NET_VHOST_USER, .fam.bytes = MIB };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[256];

	snprintf(command, sizeof(command),
		 "rm -rf %s %s /dev/shm/vmstep.12.0.*", f->dir, f->file);
	free(f);
	return system(command);
}

static int open_fam(struct fixture *f)
{
	int fd = fam_open(&f->t, &f->s, &f->err);

	if (fd < 0)
		fail_msg("%s", f->err.text);
	return fd;
}

static void refused(struct fixture *f, int code, const char *words)
{
	assert_int_equal(fam_open(&f->t, &f->s, &f->err), code);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
}

static void link_of(const struct fixture *f, const char *name,
		    char to[PATH_MAX])
{
	char path[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	n = readlink(path, to, PATH_MAX - 1);
	assert_true(n > 0);
	to[n] = '\0';
}

static void tasks_of_a_node_have_one(void **state)
{
	struct fixture *f = *state;
	int a = open_fam(f), b, third;
	char object[PATH_MAX], made[PATH_MAX], text[4] = "";
	struct stat st;

	f->t.rank = 1;
	b = open_fam(f);
	assert_int_equal(pwrite(a, "one", 3, 0), 3);
	assert_int_equal(pread(b, text, 3, 0), 3);
	assert_string_equal(text, "one");
	link_of(f, FAM_LINK, object);
	link_of(f, "made.0.0", made); /* the sweep finds it */
	assert_string_equal(object, made);
	assert_int_equal(stat(object, &st), 0);
	assert_true((uint64_t)st.st_size == MIB);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(a);
	third = open(object, O_RDWR | O_CLOEXEC);
	assert_true(third >= 0);
	assert_int_equal(filelock(third, true), -EBUSY); /* not yet */
	close(b);
	assert_int_equal(filelock(third, true), 0);
	close(third);
}

/* All at once: each finds the same, and no other is left. */
static void many_ask_at_once(void **state)
{
	enum { TASKS = 8 };
	struct fixture *f = *state;
	int go[2], results[2], count = 0;
	char c;

	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(results), 0);
	f->t.ranks = f->t.local_tasks = TASKS;
	for (uint32_t i = 0; i < TASKS; i++) {
		if (fork() != 0)
			continue;
		close(go[1]);
		f->t.rank = i;
		if (read(go[0], &c, 1) != 0)
			_exit(1);
		if (fam_open(&f->t, &f->s, &f->err) < 0 ||
		    write(results[1], "x", 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(go[0]);
	close(go[1]);
	close(results[1]);
	for (int status; wait(&status) > 0;)
		assert_int_equal(status, 0);
	while (read(results[0], &c, 1) == 1)
		count++;
	close(results[0]);
	assert_int_equal(count, TASKS);
	assert_int_equal(
		system("test $(ls /dev/shm/vmstep.12.0.* | wc -l) = 1"), 0);
}

static void a_file_of_the_users(void **state)
{
	struct fixture *f = *state;
	char to[PATH_MAX];
	struct stat st;
	int fd;

	f->s.fam.file = f->file;
	fd = open_fam(f);
	link_of(f, FAM_LINK, to);
	assert_string_equal(to, f->file);
	assert_int_equal(pwrite(fd, "kept", 4, 0), 4);
	close(fd);
	fd = open_fam(f); /* as it was */
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks > 0);
	close(fd);
	f->s.fam.bytes = 2 * MIB;
	refused(f, -EINVAL, "is there and has 1M, not 2M");
	f->s.fam.bytes = 1ull << 60;
	assert_int_equal(unlink(f->file), 0);
	refused(f, -ENOSPC, "wants 1E, and its file system has");
}

/* Put there before, where all may. */
static void a_file_of_another_user(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	f->s.fam.file = f->file;
	close(open_fam(f));
	assert_int_equal(chown(f->file, 65534, 65534), 0);
	assert_int_equal(chmod(f->file, 0666), 0);
	f->s.fam.file = f->file;
	if (fam_open(&f->t, &f->s, &f->err) >= 0)
		fail_msg("it is taken");
}

static void what_is_no_place(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/nowhere/x", f->dir);
	f->s.fam.file = path;
	refused(f, -ENOENT, "--vm-fam: ");
	f->s.fam.file = (char *)"/dev/shm";
	refused(f, -EISDIR, "--vm-fam: /dev/shm");
	f->s.fam.file = (char *)"/proc/self/comm";
	refused(f, -EINVAL, "--vm-net=stream");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		TEST(tasks_of_a_node_have_one), TEST(many_ask_at_once),
		TEST(a_file_of_the_users),	TEST(a_file_of_another_user),
		TEST(what_is_no_place),
	};

	return cmocka_run_group_tests_name("fam", tests, NULL, NULL);
}
