/* test_data.c - results that are copied out: the helper's side, over the
 * agent's port, with the real agent (VMSTEP_AGENT, or the one built here),
 * which has this machine for a guest. What it mounts needs a VM: t0320.
 */
#include <config.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "data.h"
#include "data_item.h"
#include "log.h"

#define WAIT_MS 60000

struct machine {
	struct guest *guest;
	struct data_items items;
};

struct guest *machine_guest(const struct machine *m)
{
	return m->guest;
}

struct data_items *machine_data(struct machine *m)
{
	return &m->items;
}

const uint8_t *machine_seed_key(const struct machine *m)
{
	return NULL;
}

static char root[] = "root", host[] = "vm", dir[64];
static struct task task = { .ranks = 1, .step = "1.0", .node = "n" };
static struct spec spec = { .hostname = host, .guest_user = root };
static struct machine machine;
static struct loop *loop;
static struct loop_timer *tick;
static struct data *data;
static pid_t agent;
static int n_hello, n_done;
static char said[ERRMSG_MAX];

static void on_hello(void *arg)
{
	n_hello++;
}

static void on_lost(const char *why, void *arg)
{
}

static void on_done(const char *error, void *arg)
{
	n_done++;
	snprintf(said, sizeof(said), "%s", error ? error : "");
}

static void on_tick(void *arg)
{
	loop_stop(loop, 0);
}

#define WAIT_FOR(condition)                                \
	do {                                               \
		int64_t end_ = loop_now_ms() + WAIT_MS;    \
		while (!(condition)) {                     \
			assert_true(loop_now_ms() < end_); \
			loop_timer_set(tick, 2);           \
			loop_run(loop);                    \
		}                                          \
	} while (0)

static void shell(const char *script)
{
	char command[1024];

	snprintf(command, sizeof(command), "umask 022; cd %s && { %s\n}", dir,
		 script);
	assert_int_equal(system(command), 0);
}

static void start_agent(const char *path)
{
	const char *program = getenv("VMSTEP_AGENT");

	agent = fork();
	if (agent)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execl(program ? program : "guest-agent/vmstep-agent", "vmstep-agent",
	      "--port", path, "--log", "/dev/null", NULL);
	_exit(99);
}

/* "guest/out" is the guest's, "host" the node's. */
static struct data_item *add_output(void)
{
	char src[128], dst[128];
	struct data_item *i;

	snprintf(src, sizeof(src), "%s/host", dir);
	snprintf(dst, sizeof(dst), "%s/guest/out", dir);
	i = data_items_add(&machine.items, DATA_OUTPUT, src, dst, NULL);
	assert_non_null(i);
	i->by = BY_COPY;
	i->there = true;
	return i;
}

static int begin(void **state)
{
	static const struct guest_ops ops = { on_hello, on_lost };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int listener =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd;

	n_hello = n_done = 0;
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/vmstep-data-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/port", dir);
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(listener, 1) < 0)
		return -1;
	start_agent(sa.sun_path);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (loop_new(&loop, NULL) < 0 ||
	    loop_timer_add(loop, -1, on_tick, NULL, &tick) < 0 ||
	    guest_new(loop, fd, &task, &spec, &ops, NULL, &machine.guest,
		      NULL) < 0 ||
	    data_new(loop, &task, &spec, &machine, &data, NULL) < 0)
		return -1;
	shell("mkdir -p guest/out/d host; echo old >host/old; echo a >guest/out/a; "
	      "head -c 3000000 /dev/urandom >guest/out/d/big; chmod 640 guest/out/a; "
	      "ln -s /etc/passwd guest/out/link");
	WAIT_FOR(n_hello);
	return 0;
}

static int end(void **state)
{
	char command[128];

	data_free(data);
	guest_free(machine.guest);
	data_items_done(&machine.items);
	loop_free(loop);
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void nothing(void **state)
{
	assert_false(data_has_results(data));
	data_collect(data, on_done, NULL);
	assert_int_equal(n_done, 1);
	assert_string_equal(said, "");
	data_setup(data, on_done, NULL);
	assert_int_equal(n_done, 2);
}

static void is_right_there(void **state)
{
	add_output()->ro = true;
	assert_false(data_has_results(data));
	machine.items.v[0].ro = false;
	machine.items.v[0].there = false;
	assert_false(data_has_results(data));
}

static void needs_root(void)
{
	if (geteuid() != 0)
		skip(); /* the agent can be root for root only */
}

static void results_come(void **state)
{
	needs_root();
	add_output();
	assert_true(data_has_results(data));
	data_collect(data, on_done, NULL);
	WAIT_FOR(n_done);
	assert_string_equal(said, "");
	shell("test \"$(cat host/old)\" = old && rm host/old && "
	      "diff -r --no-dereference guest/out host && "
	      "test \"$(stat -c %a host/a)\" = 640 && test -L host/link");
	/* again, over what is there */
	shell("echo b >guest/out/a; mkdir guest/out/e");
	data_collect(data, on_done, NULL);
	WAIT_FOR(n_done == 2);
	assert_string_equal(said, "");
	shell("diff -r --no-dereference guest/out host");
}

static void not_from_a_user(void **state)
{
	if (geteuid() == 0)
		skip();
	add_output();
	data_collect(data, on_done, NULL);
	WAIT_FOR(n_done);
	assert_non_null(strstr(said, "--vm-output: "));
	assert_non_null(strstr(said, "root"));
}

static void no_place(void **state)
{
	needs_root();
	add_output();
	shell("rm -rf host");
	data_collect(data, on_done, NULL);
	WAIT_FOR(n_done);
	assert_non_null(strstr(said, "/host: No such file"));
}

static void no_source(void **state)
{
	needs_root();
	add_output();
	shell("rm -rf guest/out");
	data_collect(data, on_done, NULL);
	WAIT_FOR(n_done);
	assert_non_null(strstr(said, "guest/out"));
	shell("test \"$(cat host/old)\" = old");
}

static void a_lost_agent(void **state)
{
	add_output();
	kill(agent, SIGSTOP);
	data_collect(data, on_done, NULL);
	kill(agent, SIGKILL);
	WAIT_FOR(n_done);
	assert_non_null(strstr(said, "--vm-output"));
	/* and one that is not there at all */
	data_collect(data, on_done, NULL);
	assert_int_equal(n_done, 2);
	assert_non_null(strstr(said, "the guest's agent is not there"));
}

#define TEST(text, fn)                     \
	{                                  \
		text, fn, begin, end, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("without data there is nothing to do", nothing),
		TEST("what is read, or never came, has no results",
		     is_right_there),
		TEST("results come whole, to what is there", results_come),
		TEST("an agent that is not root's says so", not_from_a_user),
		TEST("a place that is gone is told", no_place),
		TEST("so are results that are gone", no_source),
		TEST("an agent that is lost ends it", a_lost_agent),
	};

	return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
