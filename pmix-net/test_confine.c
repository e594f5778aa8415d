#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "confine.h"
#include "local_address.h"
#include "log.h"
#include "sandbox.h"
#include "tcp_socket.h"

static struct options options(void)
{
	return (struct options){ .sandbox = true, .sandbox_paths = "" };
}

/* What @fn returns in a process that is confined: 0 or an errno. */
static int confined(struct options o, int (*fn)(void))
{
	pid_t pid = fork();
	int wstatus;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(confine(&o, NULL) < 0 ? 255 : fn());
	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
	assert_true(WIFEXITED(wstatus));
	return WEXITSTATUS(wstatus);
}

static char path[] = "/tmp/vmstep-test.XXXXXX";
static pid_t outsider;

static int opens(const char *name, int flags)
{
	return open(name, flags | O_CLOEXEC, 0600) < 0 ? errno : 0;
}

static int reads_a_file(void)
{
	return opens(path, O_RDONLY);
}
static int writes_a_file(void)
{
	return opens(path, O_WRONLY);
}
static int lists_others(void)
{
	return opens("/tmp", O_RDONLY | O_DIRECTORY);
}
static int reads_settings(void)
{
	return opens("/etc/fstab", O_RDONLY);
}
static int writes_to_proc(void)
{
	return opens("/proc/self/comm", O_WRONLY);
}
static int makes_memory(void)
{
	return opens("/dev/shm/vmstep-test", O_RDWR | O_CREAT | O_EXCL);
}

static int executes(void)
{
	execl("/bin/true", "true", NULL);
	return errno;
}

static int signals(void)
{
	return kill(outsider, SIGKILL) < 0 ? errno : 0;
}

static int makes_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0 ? errno : 0;
}

static int looks_inside(void)
{
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/mem", (int)outsider);
	return opens(name, O_RDONLY);
}

/* The same, and beside it runs one that is not. */
static int with_outsider(struct options o, int (*fn)(void))
{
	int r;

	outsider = fork();
	assert_true(outsider >= 0);
	if (outsider == 0)
		for (;;)
			pause();
	r = confined(o, fn);
	kill(outsider, SIGKILL);
	waitpid(outsider, NULL, 0);
	return r;
}

static void need_landlock(void)
{
	if (sandbox_abi())
		return;
	print_message("this kernel has no Landlock\n");
	skip();
}

static void the_user_s_own_is_closed(void **state)
{
	const struct options o = options();

	need_landlock();
	assert_int_equal(confined(o, reads_a_file), EACCES);
	assert_int_equal(confined(o, writes_a_file), EACCES);
	assert_int_equal(confined(o, lists_others), EACCES);
	assert_int_equal(confined(o, reads_settings), EACCES);
	assert_int_equal(confined(o, writes_to_proc), EACCES);
	assert_int_equal(confined(o, executes), EACCES);
	assert_int_equal(with_outsider(o, looks_inside), EACCES);
	if (sandbox_abi() >= 6)
		assert_int_equal(with_outsider(o, signals), EPERM);
}

static void without_a_sandbox_it_is_open(void **state)
{
	const struct options o = { .sandbox_paths = "" };

	assert_int_equal(confined(o, reads_a_file), 0);
	assert_int_equal(confined(o, writes_a_file), 0);
	assert_int_equal(confined(o, executes), 0);
	assert_int_equal(with_outsider(o, signals), 0);
}

/* -- what it needs --------------------------------------------------------- */

static int makes_a_link(void)
{
	char address[TCP_ADDRESS_MAX];
	struct sockaddr_storage sa;
	int fd, r = local_address(NULL, NULL, "localhost", &sa, NULL);

	if (r < 0)
		return -r;
	fd = tcp_listen(&sa, (struct port_range){ 0 }, address, NULL);
	if (fd < 0)
		return -fd;
	r = tcp_connect(address, NULL);
	return r < 0 ? -r : 0;
}

static int shares_memory(void)
{
	int fd = memfd_create("stats", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 4096) < 0)
		return errno;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
			       MAP_FAILED
		       ? errno
		       : 0;
}

static int loads_libraries(void)
{
	return opens("/usr/lib", O_RDONLY | O_DIRECTORY);
}

static void what_it_needs_works(void **state)
{
	const struct options o = options();

	assert_int_equal(confined(o, makes_a_link), 0);
	assert_int_equal(confined(o, shares_memory), 0);
	assert_int_equal(confined(o, loads_libraries), 0);
}

static void ucx_has_shared_memory(void **state)
{
	struct options o = options();

	need_landlock();
	o.kind = LINK_TCP;
	assert_int_equal(confined(o, makes_memory), EACCES);
	o.kind = LINK_UCX;
	assert_int_equal(confined(o, makes_memory), 0);
	assert_int_equal(unlink("/dev/shm/vmstep-test"), 0);
}

static void no_daemon_is_reached_but_to_learn_its_address(void **state)
{
	struct options o = options();

	o.link_fd = -1;
	assert_int_equal(confined(o, makes_unix_socket), 0);
	o.bind = "127.0.0.1";
	assert_int_equal(confined(o, makes_unix_socket), EACCES);
	o.sandbox = false;
	assert_int_equal(confined(o, makes_unix_socket), 0);
}

static void the_site_can_open_more(void **state)
{
	struct options o = options();

	need_landlock();
	o.sandbox_paths = path;
	assert_int_equal(confined(o, reads_a_file), 0);
	assert_int_equal(confined(o, writes_a_file), EACCES);
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	close(fd);
	return fd < 0 ? -1 : 0;
}

static int remove_file(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_user_s_own_is_closed),
		cmocka_unit_test(without_a_sandbox_it_is_open),
		cmocka_unit_test(what_it_needs_works),
		cmocka_unit_test(ucx_has_shared_memory),
		cmocka_unit_test(no_daemon_is_reached_but_to_learn_its_address),
		cmocka_unit_test(the_site_can_open_more),
	};

	log_setup("confine", STDERR_FILENO, LOG_LEVEL_WARN);
	return cmocka_run_group_tests_name("confine", tests, make_file,
					   remove_file);
}
