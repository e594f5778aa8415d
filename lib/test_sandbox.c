#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "sandbox.h"

#define CREATE_RULESET 444 /* the system call */

struct fixture {
	char dir[32], file[64], other[64], sub[64], closed[64];
	struct sandbox *s;
};

static void write_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/vmstep-test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/file", f->dir);
	snprintf(f->other, sizeof(f->other), "%s/other", f->dir);
	snprintf(f->sub, sizeof(f->sub), "%s/sub", f->dir);
	snprintf(f->closed, sizeof(f->closed), "%s/closed", f->dir);
	assert_int_equal(mkdir(f->sub, 0700), 0);
	assert_int_equal(mkdir(f->closed, 0700), 0);
	write_file(f->file);
	write_file(f->other);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char rm[64];

	sandbox_free(f->s);
	snprintf(rm, sizeof(rm), "rm -rf %s", f->dir);
	assert_int_equal(system(rm), 0);
	free(f);
	return 0;
}

static void need(int abi)
{
	if (sandbox_abi() >= abi)
		return;
	print_message("this kernel's Landlock is older than ABI %d\n", abi);
	skip();
}

static void deny(struct fixture *f, unsigned int what)
{
	assert_int_equal(sandbox_new(what, &f->s, NULL), 0);
}

static void allow(struct fixture *f, const char *path, unsigned int rights)
{
	assert_int_equal(sandbox_path(f->s, path, rights, NULL), 0);
}

/* What @fn returns in a process that has entered: 0 or an errno. */
static int inside(struct fixture *f, int (*fn)(struct fixture *))
{
	pid_t pid = fork();
	int wstatus;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(sandbox_enter(f->s) < 0 ? 255 : fn(f));
	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
	assert_true(WIFEXITED(wstatus));
	return WEXITSTATUS(wstatus);
}

static int opens(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC, 0600) < 0 ? errno : 0;
}

static int reads(struct fixture *f)
{
	return opens(f->file, O_RDONLY);
}
static int reads_other(struct fixture *f)
{
	return opens(f->other, O_RDONLY);
}
static int writes(struct fixture *f)
{
	return opens(f->file, O_WRONLY);
}
static int lists(struct fixture *f)
{
	return opens(f->dir, O_RDONLY);
}

static int cuts(struct fixture *f)
{
	return truncate(f->file, 1) < 0 ? errno : 0;
}

static int makes(struct fixture *f)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/new", f->sub);
	return opens(path, O_WRONLY | O_CREAT);
}

static int makes_outside(struct fixture *f)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/new", f->closed);
	return opens(path, O_WRONLY | O_CREAT);
}

static int moves_away(struct fixture *f)
{
	char from[80], to[80];

	snprintf(from, sizeof(from), "%s/new", f->sub);
	snprintf(to, sizeof(to), "%s/new", f->closed);
	return rename(from, to) < 0 ? errno : 0;
}

static int moves_within(struct fixture *f)
{
	char from[80], deep[80], to[80];

	snprintf(from, sizeof(from), "%s/new", f->sub);
	snprintf(deep, sizeof(deep), "%s/deep", f->sub);
	snprintf(to, sizeof(to), "%s/deep/new", f->sub);
	if (mkdir(deep, 0700) < 0)
		return errno;
	return rename(from, to) < 0 ? errno : 0;
}

static int removes(struct fixture *f)
{
	return unlink(f->other) < 0 ? errno : 0;
}

static int executes(struct fixture *f)
{
	execl(f->file, f->file, NULL);
	return errno;
}

static int gets_in_by_exec(struct fixture *f)
{
	char script[128];

	snprintf(script, sizeof(script), "read x <%s", f->other);
	execl("/bin/sh", "sh", "-c", script, NULL);
	return errno;
}

static int binds_unix(struct fixture *f)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/sock", f->sub);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return errno;
	return unlink(un.sun_path) < 0 ? errno : 0;
}

/* -- files ----------------------------------------------------------------- */

static void nothing_is_allowed_by_itself(void **state)
{
	struct fixture *f = *state;

	need(2);
	deny(f, SANDBOX_FILES);
	assert_int_equal(inside(f, reads), EACCES);
	assert_int_equal(inside(f, writes), EACCES);
	assert_int_equal(inside(f, lists), EACCES);
	assert_int_equal(inside(f, makes), EACCES);
	assert_int_equal(inside(f, removes), EACCES);
	assert_int_equal(inside(f, executes), EACCES);
	assert_int_equal(inside(f, binds_unix), EACCES);
	assert_int_equal(reads(f), 0); /* who has not entered is outside */
}

static void what_is_allowed_works(void **state)
{
	struct fixture *f = *state;

	need(2);
	deny(f, SANDBOX_FILES);
	allow(f, f->file, SANDBOX_READ);
	assert_int_equal(inside(f, reads), 0);
	assert_int_equal(inside(f, writes), EACCES);
	assert_int_equal(inside(f, reads_other), EACCES);
	assert_int_equal(inside(f, executes), EACCES);
	allow(f, f->file, SANDBOX_WRITE);
	assert_int_equal(inside(f, writes), 0);
	allow(f, f->dir, SANDBOX_READ);
	assert_int_equal(inside(f, lists), 0);
	assert_int_equal(inside(f, reads_other), 0);
}

static void a_file_is_not_cut_either(void **state)
{
	struct fixture *f = *state;

	need(3);
	deny(f, SANDBOX_FILES);
	allow(f, f->file, SANDBOX_READ);
	assert_int_equal(inside(f, cuts), EACCES);
	allow(f, f->file, SANDBOX_WRITE);
	assert_int_equal(inside(f, cuts), 0);
}

static void names_are_made_and_moved_where_they_may_be(void **state)
{
	struct fixture *f = *state;

	need(2);
	deny(f, SANDBOX_FILES);
	allow(f, f->sub, SANDBOX_SOCKETS);
	assert_int_equal(inside(f, makes), EACCES);
	assert_int_equal(inside(f, binds_unix), 0);
	allow(f, f->sub, SANDBOX_READ | SANDBOX_WRITE | SANDBOX_MAKE);
	assert_int_equal(inside(f, makes), 0);
	assert_int_equal(inside(f, makes_outside), EACCES);
	assert_int_not_equal(inside(f, moves_away), 0);
	assert_int_equal(inside(f, moves_within), 0);
}

static void it_holds_through_exec(void **state)
{
	struct fixture *f = *state;

	need(2);
	deny(f, SANDBOX_FILES);
	assert_int_equal(sandbox_system(f->s, false, "", NULL), 0);
	assert_int_equal(inside(f, gets_in_by_exec), EACCES);
	assert_int_equal(sandbox_system(f->s, true, "", NULL), 0);
	assert_int_not_equal(inside(f, gets_in_by_exec), 0);
	allow(f, f->other, SANDBOX_READ);
	assert_int_equal(inside(f, gets_in_by_exec), 0);
}

static int held;

static int reads_what_was_open(struct fixture *f)
{
	char c;

	return pread(held, &c, 1, 0) == 1 ? 0 : errno;
}

static int opens_again(struct fixture *f)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
	return opens(path, O_RDWR);
}

static void what_is_open_goes_on(void **state)
{
	struct fixture *f = *state;

	need(2);
	deny(f, SANDBOX_FILES);
	held = open(f->file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(inside(f, reads_what_was_open), 0);
	assert_int_equal(inside(f, opens_again), EACCES);
	assert_int_equal(
		sandbox_fd(f->s, held, SANDBOX_READ | SANDBOX_WRITE, NULL), 0);
	assert_int_equal(inside(f, opens_again), 0);
	close(held);
}

static void a_memfd_needs_no_rule(void **state)
{
	struct fixture *f = *state;

	need(2);
	deny(f, SANDBOX_FILES);
	held = memfd_create("sandbox", MFD_CLOEXEC);
	assert_int_equal(sandbox_fd(f->s, held, SANDBOX_READ, NULL), 0);
	assert_int_equal(inside(f, opens_again), 0);
	close(held);
}

static void what_is_not_there_needs_no_rule(void **state)
{
	struct fixture *f = *state;
	struct errmsg err;

	deny(f, SANDBOX_FILES);
	assert_int_equal(sandbox_path(f->s, "/nonexistent", SANDBOX_READ, NULL),
			 0);
	allow(f, f->file, SANDBOX_MAKE); /* a right of directories only */
	need(2);
	assert_int_equal(sandbox_fd(f->s, 12345, SANDBOX_READ, &err), -EBADF);
	assert_string_equal(err.text, "sandbox: Bad file descriptor");
}

static void libraries_may_be_elsewhere(void **state)
{
	struct fixture *f = *state;
	char dirs[160];

	need(2);
	deny(f, SANDBOX_FILES);
	snprintf(dirs, sizeof(dirs), ":.:%s:", f->closed);
	setenv("LD_LIBRARY_PATH", dirs, 1);
	assert_int_equal(chdir(f->dir), 0);
	assert_int_equal(sandbox_system(f->s, false, "", NULL), 0);
	assert_int_equal(inside(f, reads), EACCES); /* "." is not meant */
	snprintf(dirs, sizeof(dirs), "/nonexistent:%s", f->dir);
	assert_int_equal(sandbox_system(f->s, false, dirs, NULL), 0);
	assert_int_equal(inside(f, reads), 0);
	assert_int_equal(inside(f, executes), EACCES);
	setenv("LD_LIBRARY_PATH", f->dir, 1);
	assert_int_equal(sandbox_system(f->s, true, "", NULL), 0);
	assert_int_not_equal(inside(f, executes), EACCES);
	unsetenv("LD_LIBRARY_PATH");
	assert_int_equal(chdir("/"), 0);
}

/* -- all else -------------------------------------------------------------- */

static struct sockaddr_in server;

static int connects(struct fixture *f)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0
		       ? errno
		       : 0;
}

static int binds(struct fixture *f)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 ? errno : 0;
}

static void tcp_is_closed_as_was_said(void **state)
{
	struct fixture *f = *state;
	socklen_t len = sizeof(server);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	need(4);
	server = (struct sockaddr_in){ .sin_family = AF_INET };
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&server, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	getsockname(fd, (struct sockaddr *)&server, &len);
	deny(f, SANDBOX_TCP_CONNECT);
	assert_int_equal(inside(f, connects), EACCES);
	assert_int_equal(inside(f, binds), 0);
	assert_int_equal(inside(f, reads), 0);
	sandbox_free(TAKE_PTR(f->s));
	deny(f, SANDBOX_TCP_BIND);
	assert_int_equal(inside(f, connects), 0);
	assert_int_equal(inside(f, binds), EACCES);
	close(fd);
}

static struct sockaddr_un listener;

static int makes_unix(struct fixture *f)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0 ? errno : 0;
}

static int makes_pair(struct fixture *f)
{
	int sv[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0 ? errno : 0;
}

static int connects_unix(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno;
	return connect(fd, (struct sockaddr *)&listener, sizeof(listener)) < 0
		       ? errno
		       : 0;
}

static int makes_ring(struct fixture *f)
{
	return syscall(SYS_io_uring_setup, 1, NULL) < 0 ? errno : 0;
}

static void sockets_with_a_path_are_closed(void **state)
{
	struct fixture *f = *state;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	listener = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(listener.sun_path, sizeof(listener.sun_path), "%s/sock",
		 f->sub);
	assert_int_equal(
		bind(fd, (struct sockaddr *)&listener, sizeof(listener)), 0);
	assert_int_equal(listen(fd, 8), 0);
	deny(f, 0);
	assert_int_equal(inside(f, connects_unix), 0);
	sandbox_free(TAKE_PTR(f->s));
	deny(f, SANDBOX_CONNECT);
	assert_int_equal(inside(f, makes_unix), 0);
	assert_int_equal(inside(f, connects_unix), EACCES);
	assert_int_equal(inside(f, makes_ring), ENOSYS);
	sandbox_free(TAKE_PTR(f->s));
	deny(f, SANDBOX_UNIX);
	assert_int_equal(inside(f, makes_unix), EACCES);
	assert_int_equal(inside(f, makes_pair), 0);
	assert_int_equal(inside(f, binds), 0);
	assert_int_equal(inside(f, makes_ring), ENOSYS);
	close(fd);
}

static pid_t outsider;

static int signals(struct fixture *f)
{
	return kill(outsider, 0) < 0 ? errno : 0;
}

static int traces(struct fixture *f)
{
	return ptrace(PTRACE_ATTACH, outsider, NULL, NULL) < 0 ? errno : 0;
}

static int looks_into_memory(struct fixture *f)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)outsider);
	return opens(path, O_RDONLY);
}

/* A process that is this user's, dumpable, and does nothing. */
static pid_t start_outsider(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		/* where Yama is, who looks at us need not be our parent */
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		for (;;)
			pause();
	}
	return pid;
}

static void who_is_outside_is_out_of_reach(void **state)
{
	struct fixture *f = *state;

	need(2);
	deny(f, SANDBOX_FILES | SANDBOX_OTHERS);
	allow(f, "/proc", SANDBOX_READ);
	outsider = start_outsider();
	assert_int_equal(inside(f, traces), EPERM);
	assert_int_equal(inside(f, looks_into_memory), EACCES);
	assert_int_equal(signals(f), 0);
	if (sandbox_abi() >= 6)
		assert_int_equal(inside(f, signals), EPERM);
	sandbox_free(TAKE_PTR(f->s));
	deny(f, 0);
	assert_int_equal(inside(f, signals), 0);
	kill(outsider, SIGKILL);
	waitpid(outsider, NULL, 0);
}

static int has_no_new_privs(struct fixture *f)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : ENOENT;
}

static void no_privileges_are_gained(void **state)
{
	struct fixture *f = *state;

	deny(f, 0);
	assert_int_equal(inside(f, has_no_new_privs), 0);
	assert_int_equal(inside(f, writes), 0);
	assert_int_equal(has_no_new_privs(f), ENOENT);
}

/* From here on the kernel is one without Landlock. */
static void forbid_landlock(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CREATE_RULESET, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(filter), filter };

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

static void without_landlock_all_else_works(void **state) /* the last one */
{
	struct fixture *f = *state;
	char text[SANDBOX_TEXT];
	struct errmsg err;

	if (sandbox_abi())
		assert_int_equal(sandbox_require("n1", &err), 0);
	forbid_landlock();
	assert_int_equal(sandbox_abi(), 0);
	assert_string_equal(sandbox_text(true, text),
			    "none, this kernel has no Landlock");
	assert_int_equal(sandbox_require("n1", &err), -ENOSYS);
	assert_non_null(strstr(err.text, "the kernel of n1 has no Landlock"));
	deny(f, SANDBOX_FILES | SANDBOX_TCP_BIND);
	allow(f, f->file, SANDBOX_READ);
	assert_int_equal(sandbox_fd(f->s, 12345, SANDBOX_READ, NULL), 0);
	assert_int_equal(sandbox_system(f->s, true, "", NULL), 0);
	assert_int_equal(inside(f, reads_other), 0);
	assert_int_equal(inside(f, binds), 0);
	assert_int_equal(inside(f, has_no_new_privs), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_allowed_by_itself),
		TEST(what_is_allowed_works),
		TEST(a_file_is_not_cut_either),
		TEST(names_are_made_and_moved_where_they_may_be),
		TEST(it_holds_through_exec),
		TEST(what_is_open_goes_on),
		TEST(a_memfd_needs_no_rule),
		TEST(what_is_not_there_needs_no_rule),
		TEST(libraries_may_be_elsewhere),
		TEST(tcp_is_closed_as_was_said),
		TEST(sockets_with_a_path_are_closed),
		TEST(who_is_outside_is_out_of_reach),
		TEST(no_privileges_are_gained),
		TEST(without_landlock_all_else_works),
	};

	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
