#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "frame.h"
#include "loop.h"
#include "mux.h"
#include "rpc.h"
#include "test_host.h"

/* One process, from the host's side. */
struct run {
	struct fixture *f;
	json_int_t proc; /* 0: it was not started */
	unsigned int in, out, err;
	int out_file, err_file; /* what it wrote */
	bool out_done, err_done;
	int out_error, in_error;
	bool in_done;
};

/* -- a process ------------------------------------------------------------- */

static void on_run_done(unsigned int chan, int error, void *arg)
{
	struct run *r = arg;

	if (chan == r->out) {
		r->out_done = true;
		r->out_error = error;
	} else if (chan == r->err) {
		r->err_done = true;
	}
}

static void on_in_done(unsigned int chan, int error, void *arg)
{
	struct run *r = arg;

	r->in_done = true;
	r->in_error = error;
}

/* "out_to" < 0: into a file. */
static struct run run_open(struct fixture *f, struct run *r, int out_to)
{
	*r = (struct run){ .f = f,
			   .in = ++f->last_chan,
			   .out = ++f->last_chan,
			   .err = ++f->last_chan };
	r->out_file = memfd_create("out", MFD_CLOEXEC);
	r->err_file = memfd_create("err", MFD_CLOEXEC);
	if (out_to < 0)
		out_to = fcntl(r->out_file, F_DUPFD_CLOEXEC, 3);
	mux_recv_fd(f->mux, r->out, out_to, on_run_done, r);
	mux_recv_fd(f->mux, r->err, fcntl(r->err_file, F_DUPFD_CLOEXEC, 3),
		    on_run_done, r);
	return *r;
}

static void run_close(struct run *r)
{
	if (r->f->mux) {
		mux_reset(r->f->mux, r->in, true, ECANCELED);
		mux_reset(r->f->mux, r->out, false, ECANCELED);
		mux_reset(r->f->mux, r->err, false, ECANCELED);
	}
	close(r->out_file);
	close(r->err_file);
}

/* Start what @params say, with channels; stdin only where @input is a
 * descriptor. Returns the reply. */
static json_t *run_start(struct run *r, json_t *params, int input)
{
	json_t *reply;

	if (input >= 0)
		json_object_set_new(params, "stdin", json_integer(r->in));
	json_object_set_new(params, "stdout", json_integer(r->out));
	if (!json_object_get(params, "pty"))
		json_object_set_new(params, "stderr", json_integer(r->err));
	else
		mux_reset(r->f->mux, r->err, false, ECANCELED);
	r->err_done = json_object_get(params, "pty") != NULL;
	if (input >= 0) /* before it is asked for: it may end at once */
		mux_send_fd(r->f->mux, r->in, input, on_in_done, r);
	reply = ask(r->f, "proc.start", params);
	r->proc = json_integer_value(
		json_object_get(json_object_get(reply, "result"), "proc"));
	return reply;
}

static json_t *shell(const char *script)
{
	return json_pack("{s:[s, s, s]}", "argv", "sh", "-c", script);
}

static void start_shell(struct fixture *f, struct run *r, const char *script)
{
	run_open(f, r, -1);
	result_of(run_start(r, shell(script), -1));
}

/* Its proc.exit, or NULL when that has not come. */
static json_t *exit_of(const struct run *r)
{
	char key[32];

	snprintf(key, sizeof(key), "%lld", (long long)r->proc);
	return json_object_get(r->f->exits, key);
}

static json_int_t exit_int(const struct run *r, const char *key)
{
	json_t *v = json_object_get(exit_of(r), key);

	return v ? json_integer_value(v) : -1;
}

static bool out_open(const struct run *r)
{
	return json_is_true(json_object_get(exit_of(r), "out_open"));
}

/* Wait for the end, which comes after that of its output. */
static void run_wait(struct run *r)
{
	WAIT_FOR(r->f, exit_of(r));
	assert_true(out_open(r) || (r->out_done && r->err_done));
}

static const char *text_of(int file)
{
	static char text[4][8192];
	static int next;
	char *p = text[next++ % 4];
	ssize_t n = pread(file, p, sizeof(text[0]) - 1, 0);

	p[n < 0 ? 0 : n] = '\0';
	return p;
}

static void check_shell(struct fixture *f, const char *script, const char *out,
			const char *err, int status)
{
	struct run r;

	start_shell(f, &r, script);
	run_wait(&r);
	assert_string_equal(text_of(r.out_file), out);
	assert_string_equal(text_of(r.err_file), err);
	assert_int_equal(exit_int(&r, "exit"), status);
	run_close(&r);
}

/* What cannot be started: the reply's error. */
static void check_refused(struct fixture *f, json_t *params, int code,
			  const char *what)
{
	struct run r;

	run_open(f, &r, -1);
	check_error(run_start(&r, params, -1), code, what);
	assert_int_equal(r.proc, 0);
	pass(f, 20);
	run_close(&r);
	assert_true(mux_is_up(f->mux));
}

static int file_of(size_t len)
{
	int fd = memfd_create("in", MFD_CLOEXEC);
	uint32_t *p;

	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	p = mmap(NULL, len, PROT_WRITE, MAP_SHARED, fd, 0);
	for (uint32_t i = 0; i < len / 4; i++)
		p[i] = i * 2654435761u;
	munmap(p, len);
	return fd;
}

static int text_input(const char *text)
{
	int fd = memfd_create("in", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* -- what cannot be ------------------------------------------------------- */

static void test_unknown(void **state)
{
	struct fixture *f = *state;

	check_error(ask(f, "no.such.method", json_object()), RPC_NO_METHOD,
		    NULL);
	check_error(ask(f, "proc.start", json_object()), RPC_INVALID_PARAMS,
		    NULL);
	check_error(ask(f, "proc.signal",
			json_pack("{s:i, s:i}", "proc", 99, "signal", 9)),
		    RPC_E_NOENT, NULL);
	check_error(
		ask(f, "net.configure",
		    json_pack("{s:s, s:s, s:i, s:i, s:s}", "mac",
			      "52:54:00:ff:ff:fd", "ip", "10.0.0.1", "prefix",
			      8, "timeout_ms", 50, "mode", "check")),
		RPC_E_TIMEOUT, "interface");
	check_error(ask(f, "vm.shutdown", json_pack("{s:s}", "how", "no")),
		    RPC_INVALID_PARAMS, NULL);
	check_error(ask(f, "sys.time.set", json_object()), RPC_INVALID_PARAMS,
		    NULL);
}

static void test_cannot_run(void **state)
{
	struct fixture *f = *state;
	char script[100];
	FILE *file;

	check_refused(f, json_pack("{s:[s]}", "argv", "no-such-command"),
		      RPC_E_NOENT, "command");
	check_refused(f, json_pack("{s:[s]}", "argv", "/no/such/file"),
		      RPC_E_NOENT, "command");
	check_refused(f,
		      json_pack("{s:[s], s:{s:s}}", "argv", "sh", "env", "PATH",
				"/none"),
		      RPC_E_NOENT, "command");
	check_refused(f, json_pack("{s:[s]}", "argv", "/tmp"), RPC_E_PERM,
		      "command");
	check_refused(f, json_pack("{s:[s]}", "argv", "/etc/passwd"),
		      RPC_E_PERM, "command");
	snprintf(script, sizeof(script), "%s/script", f->dir);
	file = fopen(script, "w");
	fputs("#!/no/such/interpreter\n", file);
	fclose(file);
	chmod(script, 0755);
	check_refused(f, json_pack("{s:[s]}", "argv", script), RPC_E_PERM,
		      "command");
	file = fopen(script, "w");
	fputs("neither program nor script\n", file);
	fclose(file);
	check_refused(f, json_pack("{s:[s]}", "argv", script), RPC_E_PERM,
		      "command");
	unlink(script);
	check_refused(f,
		      json_pack("{s:[s], s:s}", "argv", "true", "cwd",
				"/no/such/dir"),
		      RPC_E_NOENT, "cwd");
	check_refused(f,
		      json_pack("{s:[s], s:s}", "argv", "true", "user",
				"no-such-user"),
		      RPC_E_NOENT, "user");
	check_shell(f, "exit 0", "", "", 0); /* it goes on */
}

static void test_second_agent(void **state)
{
	struct fixture *f = *state;
	int log = memfd_create("log", MFD_CLOEXEC), wstatus;
	pid_t pid = run_agent(f, NULL, log);

	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
	assert_int_equal(wstatus, 0);
	assert_non_null(strstr(text_of(log), "another agent"));
	pid = run_agent(f, "--no-such-option", log);
	waitpid(pid, &wstatus, 0);
	assert_int_equal(WEXITSTATUS(wstatus), 2);
	pid = run_agent(f, "argument", log);
	waitpid(pid, &wstatus, 0);
	assert_int_equal(WEXITSTATUS(wstatus), 2);
	close(log);
}

/* -- what the guest says --------------------------------------------------- */

static void test_hello(void **state)
{
	struct fixture *f = *state;
	json_t *echo = json_pack("{s:[i, n, s]}", "a", 1, "b");

	assert_string_equal(
		json_string_value(json_object_get(f->hello, "version")),
		PACKAGE_VERSION);
	assert_true(json_is_array(json_object_get(f->hello, "mac")));
	assert_true(json_equal(
		result_of(ask(f, "task.echo", json_incref(echo))), echo));
	json_decref(echo);
	assert_true(json_integer_value(json_object_get(
			    result_of(ask(f, "sys.info", json_object())),
			    "mem_bytes")) > 0);
}

/* -- processes ------------------------------------------------------------- */

static void test_output(void **state)
{
	struct fixture *f = *state;

	check_shell(f, "echo out; echo err >&2", "out\n", "err\n", 0);
	check_shell(f, "exit 7", "", "", 7);
	check_shell(f, "no-such-command 2>/dev/null", "", "", 127);
	check_shell(f, "wc -c </dev/stdin", "0\n", "", 0); /* /dev/null */
}

static void test_arguments(void **state)
{
	struct fixture *f = *state;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(&r,
			    json_pack("{s:[s, s, {s:s}, s]}", "argv", "printf",
				      "<%s>", "b64", "/yA=", "\xc3\xa4 b"),
			    -1));
	run_wait(&r);
	assert_string_equal(text_of(r.out_file), "<\xff ><\xc3\xa4 b>");
	run_close(&r);
}

static void test_environment(void **state)
{
	struct fixture *f = *state;
	struct run r;

	check_shell(
		f,
		"echo ${LANG-none} ${TERM-none} ${PATH%%:*} ${USER:+u} ${HOME:+h}",
		"none none /usr/local/sbin u h\n", "", 0);
	run_open(f, &r, -1);
	result_of(run_start(&r,
			    json_pack("{s:[s], s:b, s:{s:s, s:{s:s}}}", "argv",
				      "env", "env_clear", 1, "env", "A", "x=y",
				      "B", "b64", "/w=="),
			    -1));
	run_wait(&r);
	assert_true(strcmp(text_of(r.out_file), "A=x=y\nB=\xff\n") == 0 ||
		    strcmp(text_of(r.out_file), "B=\xff\nA=x=y\n") == 0);
	run_close(&r);
	run_open(f, &r, -1);
	result_of(run_start(
		&r, json_pack("{s:[s], s:s}", "argv", "pwd", "cwd", "/usr"),
		-1));
	run_wait(&r);
	assert_string_equal(text_of(r.out_file), "/usr\n");
	run_close(&r);
}

/* Nothing of the agent's is in its children. */
static void test_clean(void **state)
{
	struct fixture *f = *state;

	check_shell(f, "ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3 ", "", 0);
	/* make's posix_spawn() leaves glibc's own signals 32 and 33 ignored */
	check_shell(
		f,
		"grep -E 'SigBlk|SigIgn' /proc/self/status | tr -d '\\t\\n' | sed s/180000000/000000000/",
		"SigBlk:0000000000000000SigIgn:0000000000000000", "", 0);
	check_shell(f, "umask; cat /proc/self/oom_score_adj", "0022\n0\n", "",
		    0);
	/* a session of its own */
	check_shell(f,
		    "set -- $(cat /proc/self/stat); test $6 = $$ && echo own",
		    "own\n", "", 0);
}

static void test_death(void **state)
{
	struct fixture *f = *state;
	struct run r;

	start_shell(f, &r, "echo last words; kill -SEGV $$");
	run_wait(&r);
	assert_int_equal(exit_int(&r, "signal"), SIGSEGV);
	assert_null(json_object_get(exit_of(&r), "exit"));
	assert_string_equal(text_of(r.out_file), "last words\n");
	assert_true(json_integer_value(json_object_get(
			    json_object_get(exit_of(&r), "rusage"),
			    "maxrss_kb")) > 0);
	run_close(&r);
}

static void test_signal(void **state)
{
	struct fixture *f = *state;
	struct run r;

	/* the grandchild holds stdout: only the whole group ends it */
	start_shell(f, &r, "sleep 100 & sleep 100");
	result_of(
		ask(f, "proc.signal",
		    json_pack("{s:I, s:s}", "proc", r.proc, "signal", "TERM")));
	run_wait(&r);
	assert_false(out_open(&r));
	assert_int_equal(exit_int(&r, "signal"), SIGTERM);
	check_error(ask(f, "proc.signal",
			json_pack("{s:I, s:i}", "proc", r.proc, "signal", 9)),
		    RPC_E_NOENT, NULL);
	run_close(&r);
}

static void test_kill_all(void **state)
{
	struct fixture *f = *state;
	struct run a, b;

	start_shell(f, &a, "sleep 100");
	start_shell(f, &b,
		    "trap '' TERM; echo ready; while :; do sleep 1; done");
	WAIT_FOR(f, *text_of(b.out_file));
	assert_int_equal(json_array_size(json_object_get(
				 result_of(ask(f, "proc.list", json_object())),
				 "procs")),
			 2);
	result_of(
		ask(f, "proc.kill_all", json_pack("{s:i}", "grace_ms", 1000)));
	run_wait(&a);
	run_wait(&b);
	assert_int_equal(exit_int(&a, "signal"), SIGTERM);
	assert_int_equal(exit_int(&b, "signal"), SIGKILL);
	run_close(&a);
	run_close(&b);
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	struct run r[60];

	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		start_shell(f, &r[i], "read x </dev/null; echo $PPID; exit 3");
	for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
		run_wait(&r[i]);
		assert_int_equal(exit_int(&r[i], "exit"), 3);
		assert_int_equal(atoi(text_of(r[i].out_file)), f->agent);
		run_close(&r[i]);
	}
}

static void test_user(void **state)
{
	struct fixture *f = *state;
	struct run r;

	if (geteuid() != 0) {
		check_refused(
			f,
			json_pack("{s:[s], s:s}", "argv", "id", "user", "root"),
			RPC_E_PERM, "user");
		print_message("not root: cannot become another user\n");
		skip();
	}
	run_open(f, &r, -1);
	result_of(run_start(&r,
			    json_pack("{s:[s, s, s], s:s, s:s}", "argv", "sh",
				      "-c", "id -u; id -G; echo $USER", "user",
				      "nobody", "cwd", "/"),
			    -1));
	run_wait(&r);
	assert_string_equal(text_of(r.out_file), "65534\n65534\nnobody\n");
	run_close(&r);
}

/* -- streams --------------------------------------------------------------- */

static void test_input(void **state)
{
	struct fixture *f = *state;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(&r, shell("cat; echo end"), text_input("line\n")));
	run_wait(&r);
	assert_string_equal(text_of(r.out_file), "line\nend\n");
	WAIT_FOR(f, r.in_done);
	assert_int_equal(r.in_error, 0);
	run_close(&r);
}

static void test_input_unread(void **state)
{
	struct fixture *f = *state;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(&r, shell("exit 0"), file_of(4 << 20)));
	run_wait(&r);
	WAIT_FOR(f, r.in_done);
	assert_int_equal(r.in_error, EPIPE);
	run_close(&r);
}

static void test_input_to_dead(void **state)
{
	struct fixture *f = *state;
	struct run r;
	int fds[2];

	/* the host's stdin stays open and silent */
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	run_open(f, &r, -1);
	result_of(run_start(&r, shell("exit 0"), fds[0]));
	run_wait(&r);
	WAIT_FOR(f, r.in_done);
	close(fds[1]);
	run_close(&r);
}

static void test_20_mb(void **state)
{
	struct fixture *f = *state;
	size_t len = 20 << 20;
	int in = file_of(len);
	uint8_t *a, *b;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(&r, shell("cat"), fcntl(in, F_DUPFD_CLOEXEC, 3)));
	run_wait(&r);
	assert_int_equal(lseek(r.out_file, 0, SEEK_END), len);
	a = mmap(NULL, len, PROT_READ, MAP_SHARED, in, 0);
	b = mmap(NULL, len, PROT_READ, MAP_SHARED, r.out_file, 0);
	assert_true(a != MAP_FAILED && b != MAP_FAILED);
	assert_int_equal(memcmp(a, b, len), 0);
	munmap(a, len);
	munmap(b, len);
	close(in);
	run_close(&r);
}

static void test_both_outputs(void **state)
{
	struct fixture *f = *state;
	struct run r;

	start_shell(
		f, &r,
		"head -c 20000000 /dev/zero & head -c 20000000 /dev/zero >&2; wait");
	run_wait(&r);
	assert_int_equal(lseek(r.out_file, 0, SEEK_END), 20000000);
	assert_int_equal(lseek(r.err_file, 0, SEEK_END), 20000000);
	run_close(&r);
}

static void test_slow_reader(void **state)
{
	struct fixture *f = *state;
	size_t got = 0;
	char buf[4096];
	struct run r;
	int fds[2];
	ssize_t n;

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	run_open(f, &r, fds[1]);
	result_of(run_start(&r, shell("head -c 300000 /dev/zero"), -1));
	pass(f, 600);
	assert_null(exit_of(&r)); /* its output is still on its way */
	while (!r.out_done || got < 300000) {
		n = read(fds[0], buf, sizeof(buf));
		got += n > 0 ? (size_t)n : 0;
		spin(f);
	}
	run_wait(&r);
	assert_false(out_open(&r));
	close(fds[0]);
	run_close(&r);
}

static void test_reader_gone(void **state)
{
	struct fixture *f = *state;
	struct run r;

	start_shell(f, &r, "exec yes");
	WAIT_FOR(f, lseek(r.out_file, 0, SEEK_END) > 0);
	mux_reset(f->mux, r.out, false, EPIPE);
	r.out_done = true;
	run_wait(&r);
	assert_int_equal(exit_int(&r, "signal"), SIGPIPE);
	run_close(&r);
}

/* -- what is left behind --------------------------------------------------- */

static void test_daemon(void **state)
{
	struct fixture *f = *state;
	char script[200], go[100];
	struct run r;

	snprintf(go, sizeof(go), "%s/go", f->dir);
	snprintf(
		script, sizeof(script),
		"(until rmdir %s; do sleep 0.05; done 2>&-; echo late) & echo done",
		go);
	start_shell(f, &r, script);
	run_wait(&r);
	assert_true(out_open(&r));
	assert_string_equal(text_of(r.out_file), "done\n");
	assert_int_equal(mkdir(go, 0700), 0);
	WAIT_FOR(f, r.out_done && r.err_done); /* it flows on to its end */
	assert_string_equal(text_of(r.out_file), "done\nlate\n");
	run_close(&r);
}

static void test_daemon_slow_reader(void **state)
{
	struct fixture *f = *state;
	size_t got = 0;
	char buf[4096];
	struct run r;
	int fds[2];
	ssize_t n;

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	run_open(f, &r, fds[1]);
	result_of(run_start(&r, shell("sleep 60 & head -c 300000 /dev/zero"),
			    -1));
	pass(f, 600);
	assert_null(exit_of(&r)); /* the grace time has not begun */
	while (!exit_of(&r)) {
		n = read(fds[0], buf, sizeof(buf));
		got += n > 0 ? (size_t)n : 0;
		spin(f);
	}
	assert_true(out_open(&r));
	assert_in_range(got, 300000 - 65536, 300000);
	close(fds[0]);
	run_close(&r);
}

static void test_host_gone(void **state)
{
	struct fixture *f = *state;
	char script[300], alive[100];
	struct run r;

	/* it writes when nobody is there to read */
	snprintf(alive, sizeof(alive), "%s/alive", f->dir);
	snprintf(
		script, sizeof(script),
		"sleep 0.3; head -c 1000000 /dev/zero && echo yes >%s; sleep 100",
		alive);
	start_shell(f, &r, script);
	hang_up(f);
	accept_agent(f);
	WAIT_FOR(f, access(alive, F_OK) == 0);
	assert_int_equal(json_array_size(json_object_get(
				 result_of(ask(f, "proc.list", json_object())),
				 "procs")),
			 1);
	check_shell(f, "echo new", "new\n", "", 0);
	result_of(
		ask(f, "proc.signal",
		    json_pack("{s:I, s:s}", "proc", r.proc, "signal", "KILL")));
	WAIT_FOR(f, exit_of(&r));
	unlink(alive);
	run_close(&r);
}

static json_t *attach(struct run *r)
{
	return ask(r->f, "proc.attach",
		   json_pack("{s:I, s:I, s:I}", "proc", r->proc, "stdout",
			     (json_int_t)r->out, "stderr", (json_int_t)r->err));
}

static void test_attach(void **state)
{
	struct fixture *f = *state;
	char script[300], go[100];
	json_int_t proc;
	struct run r;

	snprintf(go, sizeof(go), "%s/go", f->dir);
	snprintf(
		script, sizeof(script),
		"echo one; exec 2>&-; until [ -e %s ]; do sleep 0.01; done; seq 100000; exit 7",
		go);
	start_shell(f, &r, script);
	WAIT_FOR(f, *text_of(r.out_file) && r.err_done);
	check_error(attach(&r), RPC_E_NOENT, NULL); /* it has its host */
	proc = r.proc;
	run_close(&r);
	hang_up(f);
	close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	f->attach = true;
	accept_agent(f);
	run_open(f, &r, -1);
	r.proc = proc;
	result_of(attach(&r));
	assert_true(json_is_true(json_object_get(
		json_object_get(f->reply, "result"), "stdout")));
	assert_true(json_is_false(json_object_get(
		json_object_get(f->reply, "result"), "stderr")));
	r.err_done = true;
	check_error(attach(&r), RPC_E_NOENT, NULL); /* once */
	run_wait(&r);
	assert_int_equal(exit_int(&r, "exit"), 7);
	assert_int_equal(lseek(r.out_file, 0, SEEK_END),
			 588895); /* all of it */
	check_error(attach(&r), RPC_E_NOENT, NULL);
	unlink(go);
	run_close(&r);
}

/* -- terminals ------------------------------------------------------------- */

static json_t *with_pty(json_t *params)
{
	json_object_set_new(params, "pty",
			    json_pack("{s:i, s:i, s:s}", "rows", 33, "cols",
				      121, "term", "vt100"));
	return params;
}

static void test_pty(void **state)
{
	struct fixture *f = *state;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(
		&r,
		with_pty(shell(
			"stty size; echo $TERM; test -t 0 && test -t 2 && echo tty >/dev/tty; exit 5")),
		-1));
	run_wait(&r);
	assert_string_equal(text_of(r.out_file), "33 121\r\nvt100\r\ntty\r\n");
	assert_int_equal(exit_int(&r, "exit"), 5);
	check_error(ask(f, "proc.resize", json_pack("{s:I}", "proc", r.proc)),
		    RPC_E_NOENT, NULL);
	run_close(&r);
}

static void test_pty_resize(void **state)
{
	struct fixture *f = *state;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(
		&r,
		with_pty(shell(
			"trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done")),
		-1));
	WAIT_FOR(f, strstr(text_of(r.out_file), "ready"));
	result_of(ask(f, "proc.resize",
		      json_pack("{s:I, s:i, s:i}", "proc", r.proc, "rows", 40,
				"cols", 50)));
	run_wait(&r);
	assert_non_null(strstr(text_of(r.out_file), "40 50"));
	run_close(&r);
}

static void test_pty_keys(void **state)
{
	struct fixture *f = *state;
	struct run r;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	run_open(f, &r, -1);
	/* not a shell: one that is just about to fork may miss the signal */
	result_of(run_start(&r, with_pty(json_pack("{s:[s]}", "argv", "cat")),
			    fds[0]));
	assert_int_equal(write(fds[1], "keys\n", 5), 5);
	WAIT_FOR(f, strstr(text_of(r.out_file), "keys\r\nkeys\r\n"));
	assert_int_equal(write(fds[1], "\003", 1), 1);
	run_wait(&r);
	assert_int_equal(exit_int(&r, "signal"), SIGINT);
	close(fds[1]);
	run_close(&r);
}

static void test_pty_eof(void **state)
{
	struct fixture *f = *state;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(&r, with_pty(shell("cat; echo end")),
			    text_input("x\n")));
	run_wait(&r);
	assert_non_null(strstr(text_of(r.out_file), "x\r\nend\r\n"));
	run_close(&r);
}

/* The host that comes has another terminal's keys for it. */
static void test_pty_attach(void **state)
{
	struct fixture *f = *state;
	json_int_t proc;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(&r, with_pty(shell("read line; exit $line")), -1));
	proc = r.proc;
	run_close(&r);
	hang_up(f);
	f->attach = true;
	accept_agent(f);
	run_open(f, &r, -1);
	r.proc = proc;
	mux_send_fd(f->mux, r.in, text_input("7\n"), on_in_done, &r);
	result_of(
		ask(f, "proc.attach",
		    json_pack("{s:I, s:I, s:I}", "proc", r.proc, "stdin",
			      (json_int_t)r.in, "stdout", (json_int_t)r.out)));
	r.err_done = true;
	run_wait(&r);
	assert_int_equal(exit_int(&r, "exit"), 7);
	run_close(&r);
}

static void test_pty_hangup(void **state)
{
	struct fixture *f = *state;
	struct run r;

	run_open(f, &r, -1);
	result_of(run_start(&r, with_pty(shell("echo up; sleep 100")), -1));
	WAIT_FOR(f, r.out_done || *text_of(r.out_file));
	mux_reset(f->mux, r.out, false, EPIPE);
	r.out_done = true;
	run_wait(&r);
	assert_int_equal(exit_int(&r, "signal"), SIGHUP);
	run_close(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("what it does not know or understand is refused",
		     test_unknown),
		TEST("not found, not runnable, no such user or directory",
		     test_cannot_run),
		TEST("a second agent leaves, bad options are told",
		     test_second_agent),
		TEST("hello, echo and info", test_hello),
		TEST("stdout, stderr and exit status", test_output),
		TEST("arguments of any bytes", test_arguments),
		TEST("environment and directory", test_environment),
		TEST("children inherit nothing of the agent's", test_clean),
		TEST("death by a signal", test_death),
		TEST("a signal goes to the whole group", test_signal),
		TEST("all are ended, the stubborn by force", test_kill_all),
		TEST("sixty at once", test_many),
		TEST("another user, with that user's groups only", test_user),
		TEST("stdin to its end", test_input),
		TEST("stdin that nobody reads", test_input_unread),
		TEST("a silent stdin ends with the process",
		     test_input_to_dead),
		TEST("20 MB in and out are the same", test_20_mb),
		TEST("20 MB on stdout and stderr at once", test_both_outputs),
		TEST("the exit waits for a slow reader", test_slow_reader),
		TEST("a reader that is gone breaks the pipe", test_reader_gone),
		TEST("a daemon left behind does not delay the exit",
		     test_daemon),
		TEST("nor cut a slow reader short", test_daemon_slow_reader),
		TEST("the host goes and comes, processes stay", test_host_gone),
		TEST("a host that comes takes over a process and all that it says",
		     test_attach),
		TEST("a terminal of the right size", test_pty),
		TEST("its size changes", test_pty_resize),
		TEST("keys, and ^C", test_pty_keys),
		TEST("the end of stdin is typed", test_pty_eof),
		TEST("another host's keys", test_pty_attach),
		TEST("a terminal that hangs up", test_pty_hangup),
	};

	return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
