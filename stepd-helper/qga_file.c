#include <config.h>

#include "qga_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "digest.h"
#include "op_file.h"
#include "op_qga.h"
#include "param.h"

#define SMALL_MAX (64 * 1024) /* of file.read and file.write */

struct qga_file {
	LIST_ENTRY(qga_file) next;
	struct loop *loop;
	struct qga *qga;
	struct rpc_call *call;
	enum qga_file_kind kind;
	char *path;
	const char *mode;     /* of fopen() */
	const char *fallback; /* where there is no such file; NULL: none */
	json_int_t handle;    /* < 0: not open */

	int fd; /* the user's end of get and put; -1: none */
	struct loop_io *io;
	char *buf;
	size_t at, len;	      /* of it: what is still to go */
	int64_t offset, size; /* < 0: from where it is; all */
	bool to_end;	      /* the offset is from the end */
	uint64_t done;	      /* bytes */
	bool eof;
	int64_t want_size; /* of a put; < 0: not said */
	char *want_sum;	   /* NULL: not said */
	struct digest sum;

	enum rpc_error failed; /* 0: it has not; once it is closed it is told */
	char words[200];
};

static void move(struct qga_file *f);

static void file_free(struct qga_file *f)
{
	LIST_REMOVE(f, next);
	qga_forget(f->qga, f);
	loop_io_free(f->io);
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	free(f->want_sum);
	free(f->buf);
	free(f);
}

/* -- its end --------------------------------------------------------------- */

static json_t *result(struct qga_file *f)
{
	char sum[DIGEST_TEXT];
	json_t *o = json_pack("{s:I, s:b}", "bytes", (json_int_t)f->done,
			      "degraded", 1);

	if (f->kind == QGA_FILE_READ) {
		json_object_set_new(o, "data",
				    f->done ? param_from_bytes(f->buf, f->done)
					    : json_string(""));
		json_object_set_new(o, "eof", json_boolean(f->eof));
	}
	if (f->kind < QGA_FILE_GET)
		return o;
	json_object_set_new(o, "stream_bytes",
			    json_integer((json_int_t)f->done));
	digest_text(&f->sum, sum);
	if (f->sum.kind != DIGEST_NONE)
		json_object_set_new(o, digest_names[f->sum.kind],
				    json_string(sum));
	return o;
}

static void fail(struct qga_file *f, enum rpc_error code, const char *words)
{
	if (f->failed)
		return;
	f->failed = code;
	snprintf(f->words, sizeof(f->words), "%.150s: %s", f->path, words);
}

/* Is it what was said it would be? */
static void check(struct qga_file *f)
{
	char sum[DIGEST_TEXT];
	struct digest d = f->sum;

	digest_text(&d, sum);
	if (f->want_size >= 0 && (uint64_t)f->want_size != f->done)
		fail(f, RPC_E_PROTO, "not of the size that was said");
	else if (f->want_sum && strcmp(f->want_sum, sum) != 0)
		fail(f, RPC_E_PROTO, "not of the sum that was said");
}

static void answer(struct qga_file *f)
{
	if (!f->failed && f->kind == QGA_FILE_PUT)
		check(f);
	if (f->failed)
		rpc_fail(f->call, f->failed, f->words);
	else
		rpc_result(f->call, result(f));
	file_free(f);
}

/* @args are stolen. */
static int ask(struct qga_file *f, const char *command, json_t *args,
	       rpc_reply_fn fn)
{
	const struct qga_ask ask = {
		.command = command, .args = args, .fn = fn, .arg = f
	};

	return qga_ask(f->qga, &ask);
}

/* What was written may fail only now. */
static void on_closed(const struct rpc_reply *reply, void *arg)
{
	struct qga_file *f = arg;

	if (!reply->result)
		fail(f, (enum rpc_error)reply->code, reply->message);
	answer(f);
}

static void finish(struct qga_file *f)
{
	json_int_t handle = f->handle;

	loop_io_free(TAKE_PTR(f->io));
	f->handle = -1;
	if (handle < 0 ||
	    ask(f, "guest-file-close", json_pack("{s:I}", "handle", handle),
		on_closed) < 0) {
		if (handle >= 0)
			fail(f, RPC_E_NOAGENT, "QEMU's guest agent is gone");
		answer(f);
	}
}

static void give_up(struct qga_file *f, enum rpc_error code, const char *words)
{
	fail(f, code, words);
	finish(f);
}

static void give_up_errno(struct qga_file *f, int error)
{
	give_up(f, rpc_error_of(error), strerror(error));
}

/* -- out of the guest ------------------------------------------------------ */

static size_t block(const struct qga_file *f)
{
	size_t most = f->kind == QGA_FILE_READ ? SMALL_MAX : QGA_FILE_BLOCK;

	if (f->size >= 0 && (uint64_t)f->size - f->done < most)
		most = (size_t)((uint64_t)f->size - f->done);
	return most;
}

static void on_read(const struct rpc_reply *reply, void *arg)
{
	const json_t *b64 = json_object_get(reply->result, "buf-b64");
	struct qga_file *f = arg;
	size_t asked = block(f);

	if (!reply->result) {
		give_up(f, (enum rpc_error)reply->code, reply->message);
		return;
	}
	free(TAKE_PTR(f->buf));
	if (param_decode_b64(b64, "buf-b64", &f->buf, &f->len, NULL) < 0 ||
	    f->len > asked) {
		give_up(f, RPC_E_PROTO, "QEMU's guest agent answers nonsense");
		return;
	}
	f->at = 0;
	f->done += f->len;
	f->eof = json_is_true(json_object_get(reply->result, "eof")) || !f->len;
	digest_add(&f->sum, f->buf, f->len);
	if (f->kind == QGA_FILE_READ)
		finish(f);
	else
		move(f);
}

static void read_block(struct qga_file *f)
{
	size_t n = block(f);

	if (f->eof || !n)
		finish(f);
	else if (ask(f, "guest-file-read",
		     json_pack("{s:I, s:I}", "handle", f->handle, "count",
			       (json_int_t)n),
		     on_read) < 0)
		give_up(f, RPC_E_NOAGENT, "QEMU's guest agent is gone");
}

/* What is in the buffer goes to the user, then there is more. */
static void move_out(struct qga_file *f)
{
	while (f->at < f->len) {
		ssize_t n = write(f->fd, f->buf + f->at, f->len - f->at);

		if (n < 0 && errno == EAGAIN) {
			loop_io_set(f->io, EPOLLOUT);
			return;
		}
		if (n < 0 && errno != EINTR) {
			give_up_errno(f, errno);
			return;
		}
		f->at += n > 0 ? (size_t)n : 0;
	}
	loop_io_set(f->io, 0);
	read_block(f);
}

/* -- into the guest -------------------------------------------------------- */

static void on_written(const struct rpc_reply *reply, void *arg)
{
	json_int_t n =
		json_integer_value(json_object_get(reply->result, "count"));
	struct qga_file *f = arg;

	if (!reply->result) {
		give_up(f, (enum rpc_error)reply->code, reply->message);
	} else if (n <= 0 || (size_t)n > f->len - f->at) {
		give_up(f, RPC_E_PROTO, "QEMU's guest agent answers nonsense");
	} else {
		f->at += (size_t)n;
		f->done += (size_t)n;
		move(f);
	}
}

static void write_block(struct qga_file *f)
{
	if (ask(f, "guest-file-write",
		json_pack("{s:I, s:o}", "handle", f->handle, "buf-b64",
			  param_encode_b64(f->buf + f->at, f->len - f->at)),
		on_written) < 0)
		give_up(f, RPC_E_NOAGENT, "QEMU's guest agent is gone");
}

/* What is in the buffer goes to the guest, then there is more. */
static void move_in(struct qga_file *f)
{
	ssize_t n;

	if (f->at < f->len) {
		loop_io_set(f->io, 0);
		write_block(f);
		return;
	}
	if (f->kind == QGA_FILE_WRITE) {
		finish(f);
		return;
	}
	n = read(f->fd, f->buf, QGA_FILE_BLOCK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		loop_io_set(f->io, EPOLLIN);
	} else if (n < 0) {
		give_up_errno(f, errno);
	} else if (n == 0) {
		finish(f);
	} else {
		f->at = 0;
		f->len = (size_t)n;
		digest_add(&f->sum, f->buf, f->len);
		loop_io_set(f->io, 0);
		write_block(f);
	}
}

static void move(struct qga_file *f)
{
	if (f->kind == QGA_FILE_READ || f->kind == QGA_FILE_GET)
		move_out(f);
	else
		move_in(f);
}

static void on_fd(uint32_t events, void *arg)
{
	move(arg);
}

/* -- its beginning --------------------------------------------------------- */

static void on_sought(const struct rpc_reply *reply, void *arg)
{
	struct qga_file *f = arg;

	if (!reply->result)
		give_up(f, (enum rpc_error)reply->code, reply->message);
	else
		move(f);
}

static void seek(struct qga_file *f)
{
	if (f->offset <= 0 && !f->to_end)
		move(f);
	else if (ask(f, "guest-file-seek",
		     json_pack("{s:I, s:I, s:i}", "handle", f->handle, "offset",
			       f->to_end ? (json_int_t)0 : f->offset, "whence",
			       f->to_end ? 2 : 0),
		     on_sought) < 0)
		give_up(f, RPC_E_NOAGENT, "QEMU's guest agent is gone");
}

static int open_file(struct qga_file *f);

static void on_opened(const struct rpc_reply *reply, void *arg)
{
	struct qga_file *f = arg;

	if (json_is_integer(reply->result)) {
		f->handle = json_integer_value(reply->result);
		seek(f);
	} else if (reply->code == RPC_E_NOENT && f->fallback) {
		f->mode = f->fallback;
		f->fallback = NULL;
		if (open_file(f) < 0)
			give_up(f, RPC_E_NOAGENT, "QEMU's guest agent is gone");
	} else if (reply->result) {
		give_up(f, RPC_E_PROTO, "QEMU's guest agent answers nonsense");
	} else {
		give_up(f, (enum rpc_error)reply->code, reply->message);
	}
}

static int open_file(struct qga_file *f)
{
	return ask(f, "guest-file-open",
		   json_pack("{s:s, s:s}", "path", f->path, "mode", f->mode),
		   on_opened);
}

/* -- parameters ------------------------------------------------------------ */

/* What it has nothing for: words that name it, or NULL. */
static const char *what_cannot(const json_t *params)
{
	static const char *const names[] = { "mode",	  "uid",    "gid",
					     "mtime_ns",  "sparse", "parents",
					     "exclusive", "sync" };
	const char *user = json_string_value(json_object_get(params, "user"));
	const char *format =
		json_string_value(json_object_get(params, "format"));

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (json_is_integer(json_object_get(params, names[i])) ||
		    json_is_true(json_object_get(params, names[i])))
			return names[i];
	if (json_is_true(json_object_get(params, "atomic")))
		return "atomic";
	if (user && strcmp(user, "root") != 0 && strcmp(user, "0") != 0)
		return "user";
	return format && strcmp(format, "plain") != 0 ? "format" : NULL;
}

/* fopen() has no way to make a file and keep what is in it. */
static int parse_write(struct qga_file *f, const json_t *params,
		       struct errmsg *err)
{
	bool create = false, truncate = false, append = false;
	int r = param_bool(params, "create", &create, err);

	if (r == 0)
		r = param_bool(params, "truncate", &truncate, err);
	if (r == 0)
		r = param_bool(params, "append", &append, err);
	if (r == 0)
		r = param_bytes(params, "data", &f->buf, &f->len, err);
	if (r == 0 && (!f->buf || f->len > SMALL_MAX))
		return errmsg_say(err, -EINVAL,
				  "data: missing, or more than 64 KiB");
	if (truncate && !create)
		return errmsg_say(
			err, -EOPNOTSUPP,
			"truncate without create: QEMU's guest agent cannot do that");
	f->mode = truncate ? "w" : "r+";
	f->fallback = create && !truncate ? "w" : NULL;
	f->to_end = append;
	return r;
}

static int parse_copy(struct qga_file *f, const json_t *params,
		      struct errmsg *err)
{
	int sum = DIGEST_SHA256, r;

	r = param_word(params, "hash", digest_names, &sum, err);
	if (r == 0)
		r = param_text(params, "sha256", &f->want_sum, err);
	if (r == 0 && f->want_sum && sum != DIGEST_SHA256)
		r = errmsg_say(err, -EINVAL,
			       "sha256 cannot be checked with another hash");
	digest_init(&f->sum, (enum digest_kind)sum);
	if (r < 0 || f->kind == QGA_FILE_GET)
		return r;
	f->mode = f->offset > 0 ? "r+" : "w";
	f->buf = malloc(QGA_FILE_BLOCK);
	f->want_size = f->size;
	f->size = -1;
	return f->buf ? 0 : errmsg_set(err, -ENOMEM, "copy");
}

static int take_fd(struct qga_file *f, const json_t *params, struct errmsg *err)
{
	int r = op_file_take_data(f->call, params, err);

	if (r < 0)
		return r;
	f->fd = r;
	fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) | O_NONBLOCK);
	r = loop_io_add(f->loop, f->fd, 0, on_fd, f, &f->io);
	return r < 0 ? errmsg_set(err, r, "the data's descriptor") : 0;
}

static int parse(struct qga_file *f, const json_t *params, struct errmsg *err)
{
	const char *path = json_string_value(json_object_get(params, "path"));
	const char *no = what_cannot(params);
	int r;

	if (no)
		return errmsg_say(err, -EOPNOTSUPP,
				  "%s: QEMU's guest agent cannot do that", no);
	if (!path || !(f->path = strdup(path)))
		return errmsg_say(
			err, path ? -ENOMEM : -EINVAL,
			"path: missing, or not UTF-8, as QEMU's guest agent needs it");
	f->mode = "r";
	r = param_int(params, "offset", 0, INT64_MAX, &f->offset, err);
	if (r == 0)
		r = param_int(params, "size", 0, INT64_MAX, &f->size, err);
	if (r == 0 && f->kind == QGA_FILE_WRITE)
		r = parse_write(f, params, err);
	else if (r == 0 && f->kind != QGA_FILE_READ)
		r = parse_copy(f, params, err);
	if (r == 0 && f->kind >= QGA_FILE_GET)
		r = take_fd(f, params, err);
	return r;
}

void qga_file_begin(struct qga_files *all, struct loop *l, struct qga *q,
		    struct rpc_call *call, enum qga_file_kind kind,
		    const json_t *params)
{
	struct qga_file *f = calloc(1, sizeof(*f));
	struct errmsg err;
	int r;

	if (!f) {
		op_qga_failed(call, -ENOMEM);
		return;
	}
	*f = (struct qga_file){ .loop = l,
				.qga = q,
				.call = call,
				.kind = kind,
				.handle = -1,
				.fd = -1,
				.offset = -1,
				.size = -1,
				.want_size = -1 };
	LIST_INSERT_HEAD(&all->list, f, next);
	r = parse(f, params, &err);
	if (r < 0)
		rpc_fail(call, rpc_error_of(-r), err.text);
	else if ((r = open_file(f)) < 0)
		op_qga_failed(call, r);
	if (r < 0)
		file_free(f);
}

void qga_files_init(struct qga_files *all)
{
	LIST_INIT(&all->list);
}

void qga_files_done(struct qga_files *all)
{
	struct qga_file *f;

	while ((f = LIST_FIRST(&all->list))) {
		rpc_fail(f->call, RPC_E_STATE, "the task has ended");
		file_free(f);
	}
}
