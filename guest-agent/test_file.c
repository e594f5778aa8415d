#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "file.h"
#include "job.h"
#include "rpc.h"
#include "test_host.h"

/* What is tested is in "w" of the fixture's directory. */
static int setup_files(void **state)
{
	struct fixture *f;
	char path[100];

	if (setup(state) < 0)
		return -1;
	f = *state;
	snprintf(path, sizeof(path), "%s/w", f->dir);
	return mkdir(path, 0755);
}

static void shell(struct fixture *f, const char *script)
{
	char command[2048];

	snprintf(command, sizeof(command), "cd %s/w && { %s\n}", f->dir,
		 script);
	assert_int_equal(system(command), 0);
}

static int teardown_files(void **state)
{
	struct fixture *f = *state;

	shell(f, "chmod -R u+rwx . && rm -rf ../w");
	return teardown(state);
}

static const char *path_of(struct fixture *f, const char *name)
{
	static char path[4][600];
	static int next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/w/%s", f->dir, name);
	return p;
}

static json_t *path_params(struct fixture *f, const char *name)
{
	return json_pack("{s:s}", "path", path_of(f, name));
}

/* @params and a path. */
static json_t *with_path(struct fixture *f, json_t *params, const char *name)
{
	json_object_set_new(params, "path", json_string(path_of(f, name)));
	return params;
}

static json_int_t int_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	assert_true(json_is_integer(v));
	return json_integer_value(v);
}

static const char *text_in(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	assert_non_null(s);
	return s;
}

static int errno_of(const json_t *reply)
{
	return (int)int_of(
		json_object_get(json_object_get(reply, "error"), "data"),
		"errno");
}

/* -- a copy ---------------------------------------------------------------- */

struct copy {
	bool done;
	int error;
};

static void on_done(unsigned int chan, int error, void *arg)
{
	struct copy *c = arg;

	c->done = true;
	c->error = error;
}

static int open_at(struct fixture *f, const char *name, int flags)
{
	int fd = open(path_of(f, name), flags | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	return fd;
}

/* Begin to send @fd (taken) by @method; @params are stolen. */
static void put_only(struct fixture *f, struct copy *c, const char *method,
		     json_t *params, int fd)
{
	*c = (struct copy){ 0 };
	json_object_set_new(params, "data", json_integer(++f->last_chan));
	assert_int_equal(mux_send_fd(f->mux, f->last_chan, fd, on_done, c), 0);
	ask_only(f, method, params);
}

static json_t *put(struct fixture *f, struct copy *c, const char *method,
		   json_t *params, int fd)
{
	put_only(f, c, method, params, fd);
	WAIT_FOR(f, f->reply && c->done);
	return f->reply;
}

static void get_only(struct fixture *f, struct copy *c, const char *method,
		     json_t *params, int fd)
{
	*c = (struct copy){ 0 };
	json_decref(f->opened);
	f->opened = NULL;
	json_object_set_new(params, "data", json_integer(++f->last_chan));
	assert_int_equal(mux_recv_fd(f->mux, f->last_chan, fd, on_done, c), 0);
	ask_only(f, method, params);
}

static json_t *get(struct fixture *f, struct copy *c, const char *method,
		   json_t *params, int fd)
{
	get_only(f, c, method, params, fd);
	WAIT_FOR(f, f->reply && c->done);
	return f->reply;
}

/* -- names and attributes -------------------------------------------------- */

static void test_stat(void **state)
{
	struct fixture *f = *state;
	json_t *o;

	shell(f,
	      "printf 12345 >a; chmod 640 a; touch -d @1000000000.5 a; ln -s a l");
	o = result_of(ask(f, "file.stat", path_params(f, "l")));
	assert_string_equal(text_in(o, "type"), "file");
	assert_int_equal(int_of(o, "size"), 5);
	assert_int_equal(int_of(o, "mode"), 0640);
	assert_int_equal(int_of(o, "uid"), geteuid());
	assert_int_equal(int_of(o, "mtime_ns"), 1000000000500000000);
	o = result_of(ask(f, "file.stat",
			  with_path(f, json_pack("{s:b}", "follow", 0), "l")));
	assert_string_equal(text_in(o, "type"), "symlink");
	assert_string_equal(text_in(o, "target"), "a");
	check_error(ask(f, "file.stat", path_params(f, "none")), RPC_E_NOENT,
		    "path");
	assert_int_equal(errno_of(f->reply), ENOENT);
	check_error(ask(f, "file.stat", json_object()), RPC_INVALID_PARAMS,
		    NULL);
	check_error(ask(f, "file.stat", path_params(f, "a/b")), RPC_E_OS,
		    "path");
	assert_int_equal(errno_of(f->reply), ENOTDIR);
}

static void test_list(void **state)
{
	struct fixture *f = *state;
	json_t *o, *e, *after;

	shell(f, "touch b a .hidden c.txt $(printf '\\377'); mkdir d");
	o = result_of(ask(f, "file.list", path_params(f, "")));
	e = json_object_get(o, "entries");
	assert_int_equal(json_array_size(e), 6);
	assert_string_equal(text_in(json_array_get(e, 0), "name"), ".hidden");
	assert_string_equal(text_in(json_array_get(e, 4), "type"), "dir");
	assert_string_equal(
		text_in(json_object_get(json_array_get(e, 5), "name"), "b64"),
		"/w==");
	assert_null(json_object_get(o, "next"));
	o = result_of(
		ask(f, "file.list",
		    with_path(f, json_pack("{s:s}", "pattern", "*.txt"), "")));
	assert_int_equal(json_array_size(json_object_get(o, "entries")), 1);
	o = result_of(ask(f, "file.list",
			  with_path(f, json_pack("{s:i}", "limit", 5), "")));
	after = json_incref(json_object_get(o, "next"));
	o = result_of(
		ask(f, "file.list",
		    with_path(f, json_pack("{s:o}", "after", after), "")));
	assert_int_equal(json_array_size(json_object_get(o, "entries")), 1);
	check_error(ask(f, "file.list", path_params(f, "a")), RPC_E_OS, "path");
	assert_int_equal(errno_of(f->reply), ENOTDIR);
}

/* A list that is too long for one answer goes on in the next. */
static void test_long_list(void **state)
{
	struct fixture *f = *state;
	json_t *o, *next = NULL;
	size_t n = 0, parts = 0;

	shell(f,
	      "i=0; while [ $i -lt 3000 ]; do echo a-name-of-some-length-$i; i=$((i + 1)); done | xargs touch");
	do {
		json_t *p =
			json_pack("{s:i, s:o*}", "limit", 10000, "after", next);

		o = result_of(ask(f, "file.list", with_path(f, p, "")));
		n += json_array_size(json_object_get(o, "entries"));
		next = json_incref(json_object_get(o, "next"));
		parts++;
	} while (next);
	assert_int_equal(n, 3000);
	assert_in_range(parts, 2, 5);
}

static void test_names(void **state)
{
	struct fixture *f = *state;
	json_t *p;

	result_of(ask(f, "file.mkdir",
		      with_path(f, json_pack("{s:i}", "mode", 0700), "d")));
	shell(f, "[ $(stat -c %a d) = 700 ]");
	check_error(ask(f, "file.mkdir", path_params(f, "d")), RPC_E_EXIST,
		    "path");
	check_error(ask(f, "file.mkdir", path_params(f, "x/y/z")), RPC_E_NOENT,
		    "path");
	result_of(ask(f, "file.mkdir",
		      with_path(f, json_pack("{s:b}", "parents", 1), "x/y/z")));
	shell(f, "[ -d x/y/z ] && touch x/y/f && ln -s /etc x/e");
	result_of(
		ask(f, "file.symlink",
		    with_path(f, json_pack("{s:s}", "target", "../d"), "x/l")));
	assert_string_equal(text_in(result_of(ask(f, "file.readlink",
						  path_params(f, "x/l"))),
				    "target"),
			    "../d");
	result_of(ask(f, "file.rename",
		      with_path(f, json_pack("{s:s}", "to", path_of(f, "m")),
				"x/l")));
	shell(f, "[ -L m ] && [ ! -e x/l ]");
	p = json_pack("{s:s, s:b}", "to", path_of(f, "d"), "replace", 0);
	check_error(ask(f, "file.rename", with_path(f, p, "m")), RPC_E_EXIST,
		    "path");
	check_error(ask(f, "file.remove", path_params(f, "x")), RPC_E_EXIST,
		    "path");
	result_of(ask(f, "file.remove",
		      with_path(f, json_pack("{s:b}", "recursive", 1), "x")));
	shell(f, "[ ! -e x ] && [ -e /etc/passwd ]");
	result_of(ask(f, "file.remove", path_params(f, "m")));
	result_of(ask(f, "file.remove", path_params(f, "d")));
	check_error(ask(f, "file.remove", path_params(f, "d")), RPC_E_NOENT,
		    "path");
}

static void test_bytes_in_names(void **state)
{
	struct fixture *f = *state;
	char name[100];
	json_t *p;

	/* "/tmp/vmstep-agent-XXXXXX" is 24 bytes: base64 of it needs no end */
	snprintf(name, sizeof(name), "%s", path_of(f, "x"));
	assert_int_equal(strlen(f->dir), 24);
	snprintf(name, sizeof(name), "%s/w/\xff", f->dir);
	p = json_pack("{s:s, s:s}", "path", path_of(f, "l"), "target", "to");
	result_of(ask(f, "file.symlink", p));
	shell(f, "mv l $(printf '\\377')");
	p = json_pack("{s:s, s:s}", "path", path_of(f, "plain"), "target", "x");
	/* the target is the bytes 0xff 0xfe */
	json_object_set_new(p, "target", json_pack("{s:s}", "b64", "//4="));
	result_of(ask(f, "file.symlink", p));
	shell(f, "[ \"$(readlink plain)\" = \"$(printf '\\377\\376')\" ]");
	assert_string_equal(
		text_in(json_object_get(result_of(ask(f, "file.readlink",
						      path_params(f, "plain"))),
					"target"),
			"b64"),
		"//4=");
}

static void test_set(void **state)
{
	struct fixture *f = *state;
	json_t *p = json_pack("{s:i, s:I}", "mode", 04751, "mtime_ns",
			      (json_int_t)-1250000000);

	shell(f, "printf 12345 >a");
	result_of(ask(f, "file.set", with_path(f, p, "a")));
	shell(f,
	      "[ $(stat -c %a a) = 4751 ] && [ \"$(TZ=UTC stat -c %y a)\" = '1969-12-31 23:59:58.750000000 +0000' ]");
	result_of(ask(f, "file.truncate",
		      with_path(f, json_pack("{s:i}", "size", 2), "a")));
	shell(f, "[ \"$(cat a)\" = 12 ]");
	check_error(ask(f, "file.truncate", path_params(f, "a")),
		    RPC_INVALID_PARAMS, NULL);
	p = json_pack("{s:s}", "owner", "no-such-user");
	check_error(ask(f, "file.set", with_path(f, p, "a")), RPC_E_NOENT,
		    "owner");
	p = json_pack("{s:i}", "mode", 010000);
	check_error(ask(f, "file.set", with_path(f, p, "a")),
		    RPC_INVALID_PARAMS, NULL);
}

static void test_read_write(void **state)
{
	struct fixture *f = *state;
	json_t *o, *p = json_pack("{s:s, s:b}", "data", "hello", "create", 1);

	result_of(ask(f, "file.write", with_path(f, p, "a")));
	p = json_pack("{s:{s:s}, s:i}", "data", "b64", "AP8=", "offset", 2);
	result_of(ask(f, "file.write", with_path(f, p, "a")));
	o = result_of(ask(f, "file.read", path_params(f, "a")));
	assert_int_equal(int_of(o, "bytes"), 5);
	assert_true(json_is_true(json_object_get(o, "eof")));
	assert_string_equal(text_in(json_object_get(o, "data"), "b64"),
			    "aGUA/28=");
	p = json_pack("{s:s, s:b}", "data", "!", "append", 1);
	result_of(ask(f, "file.write", with_path(f, p, "a")));
	p = json_pack("{s:i, s:i}", "offset", 4, "size", 2);
	o = result_of(ask(f, "file.read", with_path(f, p, "a")));
	assert_string_equal(text_in(o, "data"), "o!");
	assert_false(json_is_true(json_object_get(o, "eof")));
	p = json_pack("{s:s, s:b}", "data", "", "truncate", 1);
	result_of(ask(f, "file.write", with_path(f, p, "a")));
	shell(f, "[ ! -s a ]");
	p = json_pack("{s:s}", "data", "x");
	check_error(ask(f, "file.write", with_path(f, p, "none")), RPC_E_NOENT,
		    "path");
	check_error(ask(f, "file.write", path_params(f, "a")),
		    RPC_INVALID_PARAMS, NULL);
	p = json_pack("{s:i}", "size", FILE_IO_MAX + 1);
	check_error(ask(f, "file.read", with_path(f, p, "a")),
		    RPC_INVALID_PARAMS, NULL);
	/* a full device */
	check_error(
		ask(f, "file.write",
		    json_pack("{s:s, s:s}", "path", "/dev/full", "data", "x")),
		RPC_E_FULL, "path");
	assert_int_equal(errno_of(f->reply), ENOSPC);
	shell(f, "printf abc >a");
	assert_string_equal(
		text_in(result_of(ask(f, "file.hash", path_params(f, "a"))),
			"sha256"),
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* -- files in -------------------------------------------------------------- */

static void test_put(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	char script[300];
	json_t *o, *p;

	shell(f, "head -c 3000000 /dev/urandom >a");
	p = json_pack("{s:s, s:i, s:I, s:i}", "format", "plain", "mode", 0640,
		      "mtime_ns", (json_int_t)1000000000500000000, "size",
		      3000000);
	o = result_of(put(f, &c, "file.put", with_path(f, p, "b"),
			  open_at(f, "a", O_RDONLY)));
	assert_int_equal(c.error, 0);
	assert_int_equal(int_of(o, "bytes"), 3000000);
	assert_int_equal(int_of(o, "stream_bytes"), 3000000);
	snprintf(
		script, sizeof(script),
		"cmp a b && [ $(sha256sum <b | cut -c1-64) = %s ] && [ \"$(stat -c '%%a %%Y' b)\" = '640 1000000000' ]",
		text_in(o, "sha256"));
	shell(f, script);
	/* in its place: the mode stays, a link leads on */
	shell(f, "ln -s b l; printf small >a");
	result_of(put(f, &c, "file.put", path_params(f, "l"),
		      open_at(f, "a", O_RDONLY)));
	shell(f,
	      "[ -L l ] && cmp a b && [ $(stat -c %a b) = 640 ] && [ \"$(echo $(ls -A))\" = 'a b l' ]");
	p = json_pack("{s:i}", "offset", 2);
	result_of(put(f, &c, "file.put", with_path(f, p, "b"),
		      open_at(f, "a", O_RDONLY)));
	shell(f, "[ $(cat b) = smsmall ]");
	p = json_pack("{s:b, s:b}", "parents", 1, "sync", 1);
	result_of(put(f, &c, "file.put", with_path(f, p, "x/y/z"),
		      open_at(f, "a", O_RDONLY)));
	shell(f, "cmp a x/y/z && [ $(stat -c %a x/y/z) = 644 ]");
	result_of(put(f, &c, "file.put",
		      json_pack("{s:s}", "path", "/dev/null"),
		      open_at(f, "a", O_RDONLY)));
	shell(f, "[ -c /dev/null ]");
}

/* What the host sends is refused, and nothing is left. */
static void check_put_fails(struct fixture *f, json_t *params, int code,
			    const char *what)
{
	struct copy c;

	check_error(put(f, &c, "file.put", params, open_at(f, "a", O_RDONLY)),
		    code, what);
	shell(f,
	      "[ \"$(echo $(find . -mindepth 1))\" = './a ./d' -o \"$(echo $(find . -mindepth 1))\" = './d ./a' ]");
}

static void test_put_refused(void **state)
{
	struct fixture *f = *state;
	char name[300];
	struct copy c;
	json_t *p;

	shell(f, "head -c 3000000 /dev/zero >a; mkdir d");
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	check_put_fails(f, path_params(f, "none/b"), RPC_E_NOENT, "path");
	check_put_fails(f, path_params(f, "d"), RPC_E_OS, "path");
	assert_int_equal(errno_of(f->reply), EISDIR);
	check_put_fails(f, path_params(f, "b/"), RPC_E_OS, "path");
	check_put_fails(f, path_params(f, name), RPC_E_OS, "path");
	assert_int_equal(errno_of(f->reply), ENAMETOOLONG);
	check_put_fails(f, json_pack("{s:s}", "path", "/dev/full"), RPC_E_FULL,
			"path");
	assert_int_equal(errno_of(f->reply), ENOSPC);
	p = json_pack("{s:i}", "size", 2999999);
	check_put_fails(f, with_path(f, p, "b"), RPC_E_PROTO, "size");
	p = json_pack("{s:s}", "sha256", "00");
	check_put_fails(f, with_path(f, p, "b"), RPC_E_PROTO, "sha256");
	p = json_pack("{s:s}", "format", "extents");
	check_put_fails(f, with_path(f, p, "b"), RPC_E_PROTO, "data");
	p = json_pack("{s:b}", "exclusive", 1);
	check_put_fails(f, with_path(f, p, "a"), RPC_E_EXIST, "path");
	p = json_pack("{s:s}", "format", "none");
	check_put_fails(f, with_path(f, p, "b"), RPC_INVALID_PARAMS, NULL);
	check_error(ask(f, "file.put", path_params(f, "b")), RPC_INVALID_PARAMS,
		    NULL); /* no channel */
	/* the channel hears of it, too */
	put(f, &c, "file.put", path_params(f, "none/b"),
	    open_at(f, "a", O_RDONLY));
	assert_int_equal(c.error, ENOENT);
}

/* A copy that stands in the middle: 100,000 bytes of it are there. */
static int begin_put(struct fixture *f, struct copy *c, const char *method)
{
	char buf[100000] = { 0 };
	int fds[2], left = 0;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	put_only(f, c, method, path_params(f, "b"), fds[0]);
	assert_int_equal(write(fds[1], buf, sizeof(buf)), sizeof(buf));
	WAIT_FOR(f, ioctl(fds[1], FIONREAD, &left) == 0 && !left &&
			    mux_unacked(f->mux, f->last_chan) == 0);
	return fds[1];
}

static void test_put_breaks_off(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	int fd = begin_put(f, &c, "file.put");

	shell(f, "[ ! -e b ]");
	mux_reset(f->mux, f->last_chan, true, ECANCELED);
	WAIT_FOR(f, f->reply);
	check_error(f->reply, RPC_E_CANCELLED, "data");
	shell(f, "[ -z \"$(ls -A)\" ]");
	close(fd);
}

static bool is_empty(struct fixture *f)
{
	char command[200];

	snprintf(command, sizeof(command), "[ -z \"$(ls -A %s/w)\" ]", f->dir);
	return system(command) == 0;
}

static void test_put_host_gone(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	int fd = begin_put(f, &c, "file.put");

	hang_up(f);
	accept_agent(f);
	WAIT_FOR(f, is_empty(f));
	shell(f, "printf x >a");
	result_of(put(f, &c, "file.put", path_params(f, "b"),
		      open_at(f, "a", O_RDONLY)));
	shell(f, "cmp a b");
	close(fd);
}

static void test_put_agent_killed(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	int fd = begin_put(f, &c, "file.put");

	kill(f->agent, SIGKILL);
	waitpid(f->agent, NULL, 0);
	WAIT_FOR(f, is_empty(f));
	close(fd);
	hang_up(f);
	f->agent = run_agent(f, NULL, open("/dev/null", O_WRONLY | O_CLOEXEC));
	accept_agent(f);
}

/* -- files out ------------------------------------------------------------- */

static void test_get(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	char script[200];
	json_t *o, *p;

	shell(f, "head -c 3000000 /dev/urandom >a; chmod 751 a; touch -d @7 a");
	o = result_of(get(f, &c, "file.get", path_params(f, "a"),
			  open_at(f, "b", O_WRONLY | O_CREAT)));
	assert_int_equal(c.error, 0);
	snprintf(script, sizeof(script),
		 "cmp a b && [ $(sha256sum <b | cut -c1-64) = %s ]",
		 text_in(o, "sha256"));
	shell(f, script);
	assert_int_equal(int_of(o, "bytes"), 3000000);
	assert_int_equal(int_of(f->opened, "data"), f->last_chan);
	assert_int_equal(int_of(f->opened, "size"), 3000000);
	assert_int_equal(int_of(f->opened, "mode"), 0751);
	assert_int_equal(int_of(f->opened, "mtime_ns"), 7000000000);
	p = json_pack("{s:i, s:i, s:s}", "offset", 2000000, "size", 10, "hash",
		      "none");
	o = result_of(get(f, &c, "file.get", with_path(f, p, "a"),
			  open_at(f, "c", O_WRONLY | O_CREAT)));
	shell(f, "cmp -n 10 -i 2000000:0 a c && [ $(stat -c %s c) = 10 ]");
	assert_null(json_object_get(o, "sha256"));
	check_error(get(f, &c, "file.get", path_params(f, "none"),
			open_at(f, "c", O_WRONLY)),
		    RPC_E_NOENT, "path");
	assert_int_equal(c.error, ENOENT);
	assert_null(f->opened);
	check_error(get(f, &c, "file.get", path_params(f, ""),
			open_at(f, "c", O_WRONLY)),
		    RPC_E_OS, "path");
	assert_int_equal(errno_of(f->reply), EISDIR);
}

/* Out as extents, and in again: holes stay holes. */
static void test_sparse(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	json_t *o;

	shell(f,
	      "truncate -s 200M a; printf data | dd of=a bs=1 seek=100000000 conv=notrunc status=none");
	o = result_of(
		get(f, &c, "file.get",
		    with_path(f, json_pack("{s:s}", "format", "extents"), "a"),
		    open_at(f, "s", O_WRONLY | O_CREAT)));
	assert_int_equal(int_of(o, "bytes"), 200 << 20);
	assert_in_range(int_of(o, "stream_bytes"), 1, 1 << 20);
	o = result_of(
		put(f, &c, "file.put",
		    with_path(f, json_pack("{s:s}", "format", "extents"), "b"),
		    open_at(f, "s", O_RDONLY)));
	assert_int_equal(int_of(o, "bytes"), 200 << 20);
	shell(f,
	      "[ $(stat -c %s b) = 209715200 ] && [ $(du -k b | cut -f1) -lt 1000 ] && cmp a b");
}

/* Who does not read stops nobody else, and may go. */
static void test_get_slow_reader(void **state)
{
	struct fixture *f = *state;
	struct copy slow, fast;
	unsigned int chan;
	int fds[2];

	shell(f, "head -c 3000000 /dev/urandom >a");
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	get_only(f, &slow, "file.get", path_params(f, "a"), fds[1]);
	WAIT_FOR(f, f->opened);
	chan = f->last_chan;
	result_of(get(f, &fast, "file.get", path_params(f, "a"),
		      open_at(f, "b", O_WRONLY | O_CREAT)));
	shell(f, "cmp a b");
	assert_false(slow.done);
	mux_reset(f->mux, chan, false, EPIPE);
	result_of(ask(f, "task.echo", json_object()));
	close(fds[0]);
}

static void test_get_reader_gone(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	int fds[2];

	shell(f, "head -c 3000000 /dev/urandom >a");
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	close(fds[0]);
	check_error(get(f, &c, "file.get", path_params(f, "a"), fds[1]),
		    RPC_E_OS, "data");
	assert_int_equal(errno_of(f->reply), EPIPE);
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	struct copy c[40];
	char name[16];

	shell(f, "head -c 100000 /dev/urandom >a");
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		snprintf(name, sizeof(name), "b%zu", i);
		put_only(f, &c[i], "file.put", path_params(f, name),
			 open_at(f, "a", O_RDONLY));
	}
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		WAIT_FOR(f, c[i].done);
		assert_int_equal(c[i].error, 0);
	}
	WAIT_FOR(f, f->reply);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		snprintf(name, sizeof(name), "b%zu", i);
		WAIT_FOR(f, access(path_of(f, name), F_OK) == 0);
	}
	shell(f, "for i in b*; do cmp a $i || exit 1; done");
}

/* More than are carried out at a time. */
static void test_many_questions(void **state)
{
	enum { N = 3 * JOB_MAX };
	struct fixture *f = *state;
	int before = f->n_results;

	for (int i = 0; i < N; i++)
		ask_only(f, "file.stat", json_pack("{s:s}", "path", f->dir));
	ask_only(f, "task.echo", json_object());
	WAIT_FOR(f, f->reply); /* which waits for none of them */
	assert_true(f->n_results - before < N);
	WAIT_FOR(f, f->n_results - before == N + 1);
	for (int i = 0; i < N; i++)
		ask_only(f, "file.stat", json_pack("{s:s}", "path", f->dir));
	hang_up(f); /* nobody waits for those */
	accept_agent(f);
	result_of(ask(f, "file.stat", json_pack("{s:s}", "path", f->dir)));
}

/* -- trees ----------------------------------------------------------------- */

static void test_tree(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	json_t *o, *p;

	shell(f,
	      "mkdir -p a/d; echo 1 >a/d/f; ln -s f a/d/l; touch -d @7 a/d/f; head -c 1000000 /dev/urandom >a/r");
	o = result_of(get(f, &c, "tree.get", path_params(f, "a"),
			  open_at(f, "tar", O_WRONLY | O_CREAT)));
	assert_int_equal(int_of(o, "entries"), 5);
	assert_int_equal(int_of(o, "files"), 2);
	assert_int_equal(int_of(o, "bytes"), 1000002);
	assert_string_equal(text_in(f->opened, "type"), "dir");
	p = json_pack("{s:b, s:s}", "parents", 1, "hash", "xxh64");
	o = result_of(put(f, &c, "tree.put", with_path(f, p, "x/b"),
			  open_at(f, "tar", O_RDONLY)));
	assert_int_equal(int_of(o, "entries"), 5);
	assert_int_equal(strlen(text_in(o, "xxh64")), 16);
	shell(f,
	      "diff -r --no-dereference a x/b && [ $(stat -c %Y x/b/d/f) = 7 ]");
	p = json_pack("{s:[s, s]}", "globs", "d/f*", "[x-z]");
	o = result_of(get(f, &c, "tree.get", with_path(f, p, "a"),
			  open_at(f, "chosen", O_WRONLY | O_CREAT)));
	assert_int_equal(int_of(o, "entries"), 2); /* "./" and "./d/f" */
	p = json_pack("{s:b, s:i}", "parents", 1, "strip", 1);
	o = result_of(put(f, &c, "tree.put", with_path(f, p, "x/c"),
			  open_at(f, "chosen", O_RDONLY)));
	assert_int_equal(int_of(o, "entries"), 1);
	shell(f, "cmp a/d/f x/c/f && [ \"$(ls -A x/c)\" = f ]");
	p = json_pack("{s:[]}", "globs");
	check_error(get(f, &c, "tree.get", with_path(f, p, "a"),
			open_at(f, "t3", O_WRONLY | O_CREAT)),
		    RPC_INVALID_PARAMS, NULL);
	check_error(put(f, &c, "tree.put", path_params(f, "none"),
			open_at(f, "tar", O_RDONLY)),
		    RPC_E_NOENT, "path");
	check_error(put(f, &c, "tree.put", path_params(f, "x"),
			open_at(f, "a/r", O_RDONLY)),
		    RPC_E_PROTO, "data");
	shell(f,
	      "mkdir e; echo evil >e/evil; tar -cPf tar -C e --transform 's,^,../,' evil");
	check_error(put(f, &c, "tree.put", path_params(f, "x"),
			open_at(f, "tar", O_RDONLY)),
		    RPC_E_PERM, "path");
	shell(f, "[ ! -e evil ]");
	check_error(get(f, &c, "tree.get", path_params(f, "tar"),
			open_at(f, "t2", O_WRONLY | O_CREAT)),
		    RPC_E_OS, "path");
}

static void test_tree_breaks_off(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	int fd;

	shell(f, "mkdir b");
	fd = begin_put(f, &c, "tree.put");
	/* zeros are the end of an archive: it waits for that of the stream */
	mux_reset(f->mux, f->last_chan, true, ECANCELED);
	WAIT_FOR(f, f->reply);
	check_error(f->reply, RPC_E_CANCELLED, "data");
	close(fd);
}

/* -- users ----------------------------------------------------------------- */

static void test_user(void **state)
{
	struct fixture *f = *state;
	struct copy c;
	json_t *p;

	shell(f, "printf x >a; chmod 600 a; mkdir open; chmod 777 open");
	if (geteuid() != 0) {
		p = json_pack("{s:s}", "user", "root");
		check_error(ask(f, "file.stat", with_path(f, p, "a")),
			    RPC_E_PERM, "user");
		print_message("not root: cannot become another user\n");
		skip();
	}
	p = json_pack("{s:s}", "user", "nobody");
	check_error(ask(f, "file.read", with_path(f, json_incref(p), "a")),
		    RPC_E_PERM, "path");
	assert_int_equal(errno_of(f->reply), EACCES);
	check_error(put(f, &c, "file.put", with_path(f, json_incref(p), "b"),
			open_at(f, "a", O_RDONLY)),
		    RPC_E_PERM, "path");
	result_of(put(f, &c, "file.put", with_path(f, p, "open/b"),
		      open_at(f, "a", O_RDONLY)));
	shell(f, "[ $(stat -c %U open/b) = nobody ]");
	check_error(ask(f, "file.stat",
			json_pack("{s:s, s:s}", "path", "/", "user",
				  "no-such-user")),
		    RPC_E_NOENT, "user");
}

#define FILES(text, fn)                                     \
	{                                                   \
		text, fn, setup_files, teardown_files, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		FILES("what a file is", test_stat),
		FILES("what is in a directory, bytes and all", test_list),
		FILES("a long list comes in parts", test_long_list),
		FILES("directories, links and names", test_names),
		FILES("names are bytes", test_bytes_in_names),
		FILES("modes, times, sizes", test_set),
		FILES("small pieces are read and written", test_read_write),
		FILES("a file goes in", test_put),
		FILES("what cannot go in is refused and leaves nothing",
		      test_put_refused),
		FILES("a copy that breaks off leaves nothing",
		      test_put_breaks_off),
		FILES("nor one whose host is gone", test_put_host_gone),
		FILES("nor one whose agent is killed", test_put_agent_killed),
		FILES("a file comes out", test_get),
		FILES("holes stay holes on both ways", test_sparse),
		FILES("a slow reader stops nobody", test_get_slow_reader),
		FILES("a reader that is gone is told", test_get_reader_gone),
		FILES("forty at once", test_many),
		FILES("questions wait for their turn", test_many_questions),
		FILES("trees go both ways, and not out of their directory",
		      test_tree),
		FILES("a tree that breaks off is told", test_tree_breaks_off),
		FILES("a user's rights", test_user),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
