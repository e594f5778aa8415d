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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "api.h"
#include "cleanup.h"
#include "command.h"
#include "copyhere.h"
#include "copylocal.h"
#include "guest.h"
#include "log.h"
#include "machine.h"
#include "op_file.h"
#include "ops.h"
#include "service.h"

/* All of a copy but QEMU and Slurm: a task's socket and its ops on files, over
 * the agent's port, to the real agent (VMSTEP_AGENT, or the one built here),
 * which has this machine for a guest. Two tasks, 0 and 1, each a process. */

struct machine {
	struct guest *guest;
};

struct guest *machine_guest(const struct machine *m)
{
	return m->guest;
}

bool machine_runs(const struct machine *m)
{
	return true;
}

bool machine_is_paused(const struct machine *m)
{
	return false;
}

#define TASKS 2

struct fixture {
	char dir[64];
	pid_t tasks[TASKS];
};

/* -- a task ---------------------------------------------------------------- */

static const char *agent_path(void)
{
	const char *path = getenv("VMSTEP_AGENT");

	return path ? path : "guest-agent/vmstep-agent";
}

static void on_hello(void *arg)
{
	if (write(*(int *)arg, "", 1) != 1)
		_exit(1);
}

static void on_lost(const char *why, void *arg)
{
	_exit(1);
}

static int listen_for_agent(char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 1) < 0)
		_exit(1);
	return fd;
}

static int start_agent(const char *dir, uint32_t rank)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), listener;
	char path[100];

	snprintf(path, sizeof(path), "%s/port.%u", dir, rank);
	listener = listen_for_agent(path);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 2);
		execl(agent_path(), "vmstep-agent", "--port", path, NULL);
		_exit(99);
	}
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

/* As long as it is not killed. A byte goes to @ready when its agent is up. */
static _Noreturn void serve(const char *dir_path, uint32_t rank, int ready)
{
	static char user[16], host[] = "vm";
	struct task task = { .rank = rank, .ranks = TASKS };
	struct spec spec = { .hostname = host, .guest_user = user };
	struct guest_ops ops = { on_hello, on_lost };
	struct machine machine = { 0 };
	struct service_conf conf = { .task = &task,
				     .spec = &spec,
				     .machine = &machine };
	struct op_file *files;
	struct ops *all = ops_new();
	struct api *api;
	char name[32];
	int dir = open(dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(user, sizeof(user), "%u", geteuid());
	snprintf(name, sizeof(name), "task.%u.sock", rank);
	if (loop_new(&conf.loop, NULL) < 0 ||
	    guest_new(conf.loop, start_agent(dir_path, rank), &task, &spec,
		      &ops, &ready, &machine.guest, NULL) < 0 ||
	    op_file_new(&conf, all, &files) < 0 ||
	    api_new(conf.loop, dir, name, all, json_pack("{s:i}", "proto", 1),
		    &api, NULL) < 0)
		_exit(1);
	_exit(loop_run(conf.loop));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int ready[2];
	char c;

	*state = f;
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	log_setup("", open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_WARN);
	strcpy(f->dir, "/tmp/vmstep-copy-XXXXXX");
	if (!mkdtemp(f->dir) || pipe(ready) < 0)
		return -1;
	for (uint32_t i = 0; i < TASKS; i++) {
		f->tasks[i] = fork();
		if (f->tasks[i] == 0)
			serve(f->dir, i, ready[1]);
	}
	close(ready[1]);
	for (int i = 0; i < TASKS; i++)
		if (read(ready[0], &c, 1) != 1)
			return -1;
	close(ready[0]);
	return 0;
}

static void shell(struct fixture *f, const char *script)
{
	char command[2048];

	snprintf(command, sizeof(command), "cd %s && { %s\n}", f->dir, script);
	assert_int_equal(system(command), 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < TASKS; i++) {
		kill(f->tasks[i], SIGKILL);
		waitpid(f->tasks[i], NULL, 0);
	}
	shell(f, "cd / && rm -rf \"$OLDPWD\"");
	free(f);
	return 0;
}

/* -- copies ---------------------------------------------------------------- */

static pid_t start(struct fixture *f, const char *ranks, const char *path,
		   bool get, int in, int out)
{
	struct rankset set = { 0 };
	struct copyhere conf = { .dir = f->dir, .ranks = &set };
	char full[200];
	pid_t pid = fork();

	if (pid)
		return pid;
	snprintf(full, sizeof(full), "%s%s%s", *path == '/' ? "" : f->dir,
		 *path == '/' ? "" : "/", path);
	conf.path = full;
	rankset_parse(&set, ranks, strlen(ranks), NULL);
	if (in != 0)
		dup2(in, 0);
	fflush(stdout);
	dup2(out, 1);
	for (int fd = 3; fd < 100; fd++) /* the ends of other pipes */
		close(fd);
	_exit(get ? copyhere_get(&conf) : copyhere_put(&conf));
}

static pid_t start_local(struct fixture *f, const char *path, bool send, int fd)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	dup2(fd, 50);
	for (int i = 3; i < 50; i++)
		close(i);
	if (chdir(f->dir) < 0)
		_exit(1);
	_exit(send ? copylocal_send(path, 50) : copylocal_receive(50, path));
}

static int status_of(pid_t pid)
{
	int wstatus = -1;

	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
	return WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : -1;
}

/* What `put` has said of rank @key: 0, or the code of its error; -1: nothing.
 */
static int said(struct fixture *f, const char *key)
{
	_cleanup_free_ char *line = NULL;
	char path[100];
	size_t size = 0;
	json_t *o, *r;
	FILE *said;
	int code = -1;

	snprintf(path, sizeof(path), "%s/said", f->dir);
	said = fopen(path, "r");
	if (getline(&line, &size, said) > 0) { /* "NODE . JSON" */
		o = json_loads(strchr(line, '{'), 0, NULL);
		r = json_object_get(json_object_get(o, "results"), key);
		if (r)
			code = (int)json_integer_value(json_object_get(
				json_object_get(r, "error"), "code"));
		json_decref(o);
	}
	fclose(said);
	return code;
}

static int open_said(struct fixture *f)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/said", f->dir);
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

static void put(struct fixture *f, const char *from, const char *ranks,
		const char *to)
{
	int fds[2], out = open_said(f);
	pid_t sender, receiver;

	assert_int_equal(pipe(fds), 0);
	sender = start_local(f, from, true, fds[1]);
	receiver = start(f, ranks, to, false, fds[0], out);
	close(fds[0]);
	close(fds[1]);
	close(out);
	status_of(sender);
	assert_int_equal(status_of(receiver), EXIT_DONE);
}

static int get(struct fixture *f, const char *rank, const char *from,
	       const char *to)
{
	pid_t sender, receiver;
	int fds[2], status;

	assert_int_equal(pipe(fds), 0);
	sender = start(f, rank, from, true, 0, fds[1]);
	receiver = start_local(f, to, false, fds[0]);
	close(fds[0]);
	close(fds[1]);
	status = status_of(sender);
	return status_of(receiver) == EXIT_DONE ? status : EXIT_FAILED;
}

static void test_files(void **state)
{
	struct fixture *f = *state;

	shell(f,
	      "head -c 3000000 /dev/urandom >a; chmod 751 a; touch -d @7 a; mkdir d");
	put(f, "a", "0", "b");
	assert_int_equal(said(f, "0"), 0);
	assert_int_equal(said(f, "1"), -1);
	shell(f, "cmp a b && [ \"$(stat -c '%a %Y' b)\" = '751 7' ]");
	put(f, "a", "0-1", "d");
	assert_int_equal(said(f, "0") + said(f, "1"), 0);
	shell(f, "cmp a d/a");
	assert_int_equal(get(f, "1", "a", "c"), EXIT_DONE);
	shell(f, "cmp a c && [ \"$(stat -c '%a %Y' c)\" = '751 7' ]");
	shell(f, "truncate -s 300M s; printf x >>s");
	put(f, "s", "0", "t");
	assert_int_equal(get(f, "0", "t", "u"), EXIT_DONE);
	shell(f,
	      "cmp s u && [ $(du -k t | cut -f1) -lt 1000 ] && [ $(du -k u | cut -f1) -lt 1000 ]");
}

static void test_trees(void **state)
{
	struct fixture *f = *state;

	shell(f,
	      "mkdir -p a/d; echo 1 >a/d/f; ln -s f a/d/l; head -c 1000000 /dev/urandom >a/r");
	put(f, "a", "1", "b");
	assert_int_equal(said(f, "1"), 0);
	shell(f, "diff -r --no-dereference a b");
	assert_int_equal(get(f, "0", "b", "c"), EXIT_DONE);
	shell(f, "diff -r --no-dereference a c");
}

static void test_refused(void **state)
{
	struct fixture *f = *state;

	shell(f, "head -c 3000000 /dev/urandom >a; mkdir d d/a");
	put(f, "a", "0-1", "none/b");
	assert_int_equal(said(f, "0"), RPC_E_NOENT);
	assert_int_equal(said(f, "1"), RPC_E_NOENT);
	put(f, "a", "0", "d"); /* d/a is a directory */
	assert_int_equal(said(f, "0"), RPC_E_OS);
	put(f, "a", "0", "/dev/full");
	assert_int_equal(said(f, "0"), RPC_E_FULL);
	put(f, "a", "7", "b"); /* a rank of another node */
	assert_int_equal(said(f, "7"), -1);
	assert_int_equal(get(f, "0", "none", "b"), EXIT_FAILED);
	assert_int_equal(get(f, "7", "a", "b"), EXIT_FAILED);
	shell(f, "[ ! -e b ] && [ ! -e none ]");
}

/* Killed in the middle: the sender, who relays, and the task. */
static void test_killed(void **state)
{
	struct fixture *f = *state;
	char zeros[100000] = { 0 };

	for (int who = 0; who < 3; who++) {
		int slow[2], fds[2], out = open_said(f);
		pid_t sender, relay;

		shell(f, "mkdir x");
		assert_int_equal(pipe(slow), 0);
		assert_int_equal(pipe(fds), 0);
		sender = fork();
		if (sender == 0) {
			dup2(slow[0], 0);
			dup2(fds[1], 50);
			for (int i = 3; i < 50; i++)
				close(i);
			_exit(copylocal_send("-", 50));
		}
		relay = start(f, "0", "x/b", false, fds[0], out);
		close(fds[0]);
		close(fds[1]);
		close(slow[0]);
		close(out);
		for (int i = 0; i < 10; i++) /* more than the pipes hold */
			assert_int_equal(write(slow[1], zeros, sizeof(zeros)),
					 sizeof(zeros));
		kill(who == 0	? sender
		     : who == 1 ? relay
				: f->tasks[0],
		     SIGKILL);
		close(slow[1]);
		status_of(sender);
		status_of(relay);
		/* the agent hears of it, and its child, who tidies up */
		shell(f,
		      "i=0; while [ -n \"$(ls -A x)\" ]; do [ $((i += 1)) -lt 3000 ] || exit 1; sleep 0.01; done; rmdir x");
	}
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("files into tasks and out", test_files),
		TEST("trees into tasks and out", test_trees),
		TEST("what cannot be is told, and nothing is made",
		     test_refused),
		TEST("whoever is killed, nothing is left", test_killed),
	};

	return cmocka_run_group_tests_name("copyhere", tests, NULL, NULL);
}
