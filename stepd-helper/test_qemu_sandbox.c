#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "child.h"
#include "cleanup.h"
#include "qemu_sandbox.h"

/* A node's files: an image above another, a share, the step's directory, and
 * what is none of QEMU's business. */
struct fixture {
	struct task t;
	struct spec s;
	struct qemu_plan p;
	char dir[32], image[64], below[64], other[64], share[64], step[64];
};

static void write_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char *files[2] = { f->image, f->below };
	const struct strings list = { .v = files, .n = 2 };

	strcpy(f->dir, "/tmp/vmstep-test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->image, sizeof(f->image), "%s/image", f->dir);
	snprintf(f->below, sizeof(f->below), "%s/below", f->dir);
	snprintf(f->other, sizeof(f->other), "%s/other", f->dir);
	snprintf(f->share, sizeof(f->share), "%s/share", f->dir);
	snprintf(f->step, sizeof(f->step), "%s/step", f->dir);
	write_file(f->image);
	write_file(f->below);
	write_file(f->other);
	assert_int_equal(mkdir(f->share, 0700), 0);
	assert_int_equal(mkdir(f->step, 0700), 0);
	f->s.net = NET_NONE;
	f->t.step_dir = f->step;
	f->t.sandbox_paths = "";
	qemu_plan_init(&f->p);
	f->p.task = &f->t;
	f->p.spec = &f->s;
	assert_int_equal(hold_files(&f->p.hold, &list, false, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char rm[64];

	qemu_plan_done(&f->p);
	snprintf(rm, sizeof(rm), "rm -rf %s", f->dir);
	assert_int_equal(system(rm), 0);
	free(f);
	return 0;
}

static void need_landlock(int abi)
{
	if (sandbox_abi() >= abi)
		return;
	print_message("this kernel's Landlock has not ABI %d\n", abi);
	skip();
}

/* What @fn returns where QEMU would be: 0 or an errno. */
static int in_qemu(struct fixture *f, int (*fn)(struct fixture *))
{
	struct sandbox *b = NULL;
	int wstatus;
	pid_t pid;

	assert_int_equal(qemu_sandbox(&f->p, "/bin/sh", &b, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(sandbox_enter(b) < 0 ? 255 : fn(f));
	sandbox_free(b);
	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
	assert_true(WIFEXITED(wstatus));
	return WEXITSTATUS(wstatus);
}

static int opens(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC, 0600) < 0 ? errno : 0;
}

static int reads_image(struct fixture *f)
{
	return opens(f->image, O_RDONLY);
}

static int reads_below(struct fixture *f)
{
	return opens(f->below, O_RDONLY);
}

static int writes_image(struct fixture *f)
{
	return opens(f->image, O_RDWR);
}

static int reads_other(struct fixture *f)
{
	return opens(f->other, O_RDONLY);
}

static int reads_etc(struct fixture *f)
{
	return opens("/etc/fstab", O_RDONLY);
}

static int writes_image_dir(struct fixture *f)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/new", f->dir);
	return opens(path, O_WRONLY | O_CREAT);
}

static int makes_in_share(struct fixture *f)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/new", f->share);
	return opens(path, O_WRONLY | O_CREAT | O_TRUNC);
}

static int reads_share(struct fixture *f)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/new", f->share);
	return opens(path, O_RDONLY);
}

static int listens_in_step(struct fixture *f)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/sock", f->step);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return errno;
	return unlink(un.sun_path) < 0 ? errno : 0;
}

static int makes_in_step(struct fixture *f)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/file", f->step);
	return opens(path, O_WRONLY | O_CREAT);
}

static int uses_tcp(int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return call(fd, (struct sockaddr *)&any, sizeof(any)) < 0 ? errno : 0;
}

static int listens_on_tcp(struct fixture *f)
{
	return uses_tcp(bind);
}
static int connects(struct fixture *f)
{
	return uses_tcp(connect);
}

static int makes_unix(struct fixture *f)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0 ? errno : 0;
}

static int runs(struct fixture *f)
{
	execl("/bin/sh", "sh", "-c", "exit 0", NULL);
	return errno;
}

/* -- tests ----------------------------------------------------------------- */

static void its_images_can_be_read(void **state)
{
	struct fixture *f = *state;

	need_landlock(2);
	assert_int_equal(in_qemu(f, reads_image), 0);
	assert_int_equal(in_qemu(f, reads_below), 0);
	assert_int_equal(in_qemu(f, writes_image), EACCES);
	assert_int_equal(in_qemu(f, writes_image_dir), EACCES);
	f->p.n_disks = 1;
	f->p.disk[0].path = strdup(f->image);
	assert_int_equal(in_qemu(f, writes_image), 0);
	f->p.disk[0].read_only = true;
	assert_int_equal(in_qemu(f, writes_image), EACCES);
}

static void no_other_file_can(void **state)
{
	struct fixture *f = *state;

	need_landlock(2);
	assert_int_equal(in_qemu(f, reads_other), EACCES);
	assert_int_equal(in_qemu(f, reads_etc), EACCES);
	assert_int_equal(in_qemu(f, makes_in_share), EACCES);
	assert_int_equal(in_qemu(f, makes_in_step), EACCES);
	assert_int_equal(in_qemu(f, listens_in_step), EACCES);
	f->t.sandbox_paths = f->other;
	assert_int_equal(in_qemu(f, reads_other), 0);
	f->t.sandbox_paths = "";
	f->p.kernel = strdup(f->other);
	assert_int_equal(in_qemu(f, reads_other), 0);
}

static void it_can_be_run(void **state)
{
	assert_int_equal(in_qemu(*state, runs), 0);
}

static void what_qemu_shares_is_open(void **state)
{
	struct fixture *f = *state;

	need_landlock(2);
	f->p.n_shares = 1;
	f->p.share[0].path = strdup(f->share);
	assert_int_equal(in_qemu(f, makes_in_share), 0);
	assert_int_equal(in_qemu(f, reads_share), 0);
	assert_int_equal(in_qemu(f, reads_other), EACCES);
	f->p.share[0].ro = true;
	assert_int_equal(in_qemu(f, makes_in_share), EACCES);
	assert_int_equal(in_qemu(f, reads_share), 0);
	f->p.share[0].virtiofs = true; /* then it is not QEMU that opens it */
	assert_int_equal(in_qemu(f, reads_share), EACCES);
}

static void a_card_or_a_display_makes_a_socket(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in_qemu(f, makes_unix), EACCES);
	f->s.net = NET_VHOST_USER;
	assert_int_equal(in_qemu(f, listens_in_step), 0);
	f->s.net = NET_NONE;
	f->s.vnc = true;
	assert_int_equal(in_qemu(f, listens_in_step), 0);
	need_landlock(2);
	assert_int_equal(in_qemu(f, makes_in_step), EACCES);
}

/* With or without Landlock. */
static void without_outbound_it_connects_to_nothing(void **state)
{
	struct fixture *f = *state;

	f->s.net = NET_VHOST_USER;
	assert_int_equal(in_qemu(f, makes_unix), 0);
	assert_int_equal(in_qemu(f, connects), EACCES);
	f->s.outbound = true;
	assert_int_equal(in_qemu(f, connects), ECONNREFUSED);
}

static void tcp_is_open_where_guests_have_it(void **state)
{
	struct fixture *f = *state;

	need_landlock(4);
	assert_int_equal(in_qemu(f, listens_on_tcp), EACCES);
	assert_int_equal(in_qemu(f, connects), EACCES);
	f->s.n_ports = 1;
	assert_int_equal(in_qemu(f, listens_on_tcp), 0);
	assert_int_equal(in_qemu(f, connects), EACCES);
	f->s.outbound = true;
	assert_int_equal(in_qemu(f, connects), ECONNREFUSED);
	assert_int_equal(in_qemu(f, reads_etc), 0);
	f->s.n_ports = 0; /* the fixture has none to be freed */
}

static void a_user_s_arguments_open_files(void **state)
{
	struct fixture *f = *state;
	char *args[] = { f->other };

	f->s.qemu_args = (struct strings){ .v = args, .n = 1 };
	assert_int_equal(in_qemu(f, reads_other), 0);
	f->s.qemu_args = (struct strings){ 0 };
	f->p.n_disks = 1;
	f->p.disk[0].drive = strdup("file=x");
	assert_int_equal(in_qemu(f, reads_other), 0);
}

/* As QEMU: the descriptors are there, and so is the sandbox. */
static void a_child_is_in_it_and_has_its_descriptors(void **state)
{
	struct fixture *f = *state;
	struct child_fd fds[] = { { 0, 0 }, { -1, 1 }, { 2, 2 }, { -1, 40 } };
	struct sandbox *b = NULL;
	static char said[65536]; /* gcov says much, before */
	char script[160], out[96], *closed;
	const char *const argv[] = { "/bin/sh", "-c", script, NULL };
	struct child_spec spec = { .argv = argv, .fds = fds, .n_fds = 4 };
	int p[2], image = open(f->image, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	pid_t pid;

	need_landlock(2);
	snprintf(
		script, sizeof(script),
		"(read x <%s) 2>&1 || echo closed; ls -l /proc/$$/fd | grep -c landlock; readlink /proc/$$/fd/40",
		f->other);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fds[1].from = p[1];
	fds[2].from = p[1];
	fds[3].from = image;
	assert_int_equal(qemu_sandbox(&f->p, "/bin/sh", &b, NULL), 0);
	spec.sandbox = b;
	assert_int_equal(child_start(&spec, &pid, NULL), 0);
	sandbox_free(b);
	close(p[1]);
	close(image);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	n = read(p[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(p[0]);
	snprintf(out, sizeof(out), "closed\n0\n%s\n", f->image);
	closed = strstr(said, "closed");
	assert_non_null(closed);
	assert_string_equal(closed, out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(its_images_can_be_read),
		TEST(no_other_file_can),
		TEST(it_can_be_run),
		TEST(what_qemu_shares_is_open),
		TEST(a_card_or_a_display_makes_a_socket),
		TEST(without_outbound_it_connects_to_nothing),
		TEST(tcp_is_open_where_guests_have_it),
		TEST(a_user_s_arguments_open_files),
		TEST(a_child_is_in_it_and_has_its_descriptors),
	};

	return cmocka_run_group_tests_name("qemu_sandbox", tests, NULL, NULL);
}
