#include <config.h>

#include "copyhere.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "command.h"
#include "conn.h"
#include "copyhead.h"
#include "digest.h"
#include "here.h"
#include "log.h"
#include "loop.h"
#include "param.h"

#define PIECE	  65536
#define PIPE_SIZE (256 * 1024)

static json_t *params_of(const struct copyhere *conf, const char *path)
{
	json_t *p = json_pack("{s:o}", "path", param_from_text(path));

	if (p && conf->user)
		json_object_set_new(p, "user", json_string(conf->user));
	return p;
}

static int make_pipe(int *ours, int *theirs, bool we_read)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[!we_read];
	*theirs = fds[we_read];
	fcntl(*ours, F_SETPIPE_SZ, PIPE_SIZE); /* or as large as it was */
	fcntl(*ours, F_SETFL, O_NONBLOCK);
	return 0;
}

/* -- out of a guest -------------------------------------------------------- */

struct get {
	const struct copyhere *conf;
	struct loop *loop;
	struct conn *conn;
	struct copyhead head;
	int data; /* -1: at its end */
	struct loop_io *io;
	struct digest digest;
	bool answered, begun;  /* something was written */
	char sum[DIGEST_TEXT]; /* what the agent says */
	int status;
};

static void get_check(struct get *g)
{
	if (g->answered && g->data < 0)
		loop_stop(g->loop, 0);
}

/* Where nothing was said yet, the stream says it; else its end is missing. */
static void get_fail(struct get *g, const char *text)
{
	if (g->status == EXIT_DONE && !g->begun)
		copyhead_write_error(STDOUT_FILENO, text);
	else if (g->status == EXIT_DONE)
		log_err("%s", text);
	g->status = EXIT_FAILED;
	loop_stop(g->loop, 0);
}

static void get_reply_failed(struct get *g, const struct rpc_reply *reply)
{
	struct errmsg err;

	errmsg_say(&err, 0, "vm[%" PRIu32 "]: %s",
		   rankset_next(g->conf->ranks, 0), reply->message);
	get_fail(g, err.text);
}

static bool write_out(const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(STDOUT_FILENO, p, n);

		if (done < 0 && errno != EINTR)
			return false;
		p += done > 0 ? done : 0;
		n -= done > 0 ? (size_t)done : 0;
	}
	return true;
}

static void on_get_data(uint32_t events, void *arg)
{
	struct get *g = arg;
	char buf[PIECE];
	ssize_t n = read(g->data, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		digest_add(&g->digest, buf, (size_t)n);
		if (write_out(buf, (size_t)n))
			return;
		g->status = EXIT_FAILED; /* nobody wants it any more */
		loop_stop(g->loop, 0);
		return;
	}
	loop_io_free(g->io);
	g->io = NULL;
	close(TAKE_FD(g->data));
	get_check(g);
}

static void on_got(const struct rpc_reply *reply, void *arg)
{
	struct get *g = arg;
	const char *sum;

	if (!reply->result) {
		get_reply_failed(g, reply);
		return;
	}
	sum = json_string_value(json_object_get(reply->result, "xxh64"));
	snprintf(g->sum, sizeof(g->sum), "%s", sum ? sum : "");
	g->answered = true;
	get_check(g);
}

/* An archive has no sum of its own: the agent tells it. */
static int get_ask(struct get *g)
{
	json_t *p = params_of(g->conf, g->conf->path);
	_cleanup_close_ int theirs = -1;
	int r = make_pipe(&g->data, &theirs, true);

	if (r == 0)
		r = loop_io_add(g->loop, g->data, EPOLLIN, on_get_data, g,
				&g->io);
	if (r < 0) {
		json_decref(p);
		return r;
	}
	json_object_set_new(p, "io", json_string("fd"));
	json_object_set_new(p, "hash",
			    json_string(g->head.dir ? "xxh64" : "none"));
	if (!g->head.dir)
		json_object_set_new(p, "format", json_string("extents"));
	digest_init(&g->digest, g->head.dir ? DIGEST_XXH64 : DIGEST_NONE);
	return conn_ask(g->conn, g->head.dir ? "tree.get" : "file.get", p,
			&theirs, 1, on_got, g);
}

static void on_get_stat(const struct rpc_reply *reply, void *arg)
{
	struct get *g = arg;
	const json_t *o = reply->result;
	const char *type = json_string_value(json_object_get(o, "type"));

	if (!o) {
		get_reply_failed(g, reply);
		return;
	}
	g->head = (struct copyhead){
		.dir = type && strcmp(type, "dir") == 0,
		.name = copyhead_name(g->conf->path),
		.mode = json_integer_value(json_object_get(o, "mode")),
		.mtime_ns = json_integer_value(json_object_get(o, "mtime_ns")),
		.size = json_integer_value(json_object_get(o, "size")),
	};
	if (!g->head.name || copyhead_write(STDOUT_FILENO, &g->head) < 0) {
		get_fail(g, "cannot begin the copy");
		return;
	}
	g->begun = true;
	if (get_ask(g) < 0)
		get_fail(g, "the task has ended");
}

static void get_run(struct get *g, uint32_t rank)
{
	json_t *p = params_of(g->conf, g->conf->path);
	char sum[DIGEST_TEXT];
	struct errmsg err;

	if (conn_open(g->loop, g->conf->dir, rank, NULL, NULL, &g->conn, &err) <
		    0 ||
	    conn_ask(g->conn, "file.stat", p, NULL, 0, on_get_stat, g) < 0) {
		get_fail(g, "the task has ended");
		return;
	}
	loop_run(g->loop);
	if (g->status != EXIT_DONE)
		return;
	digest_text(&g->digest, sum);
	if (strcmp(sum, g->sum) != 0)
		get_fail(g, "what came is not what the guest has sent");
}

int copyhere_get(const struct copyhere *conf)
{
	struct get g = { .conf = conf, .data = -1, .status = EXIT_DONE };
	struct rankset here = { 0 };
	uint32_t rank = rankset_next(conf->ranks, 0);
	struct errmsg err;
	int r = conn_ranks(conf->dir, &here, &err);

	if (r == 0 && rankset_has(&here, rank)) {
		r = loop_new(&g.loop, &err);
		if (r == 0)
			get_run(&g, rank);
	}
	if (r < 0) {
		log_err("%s", err.text);
		g.status = EXIT_FAILED;
	}
	conn_free(g.conn);
	loop_io_free(g.io);
	if (g.data >= 0)
		close(g.data);
	loop_free(g.loop);
	copyhead_done(&g.head);
	rankset_done(&here);
	return g.begun ? g.status : EXIT_DONE; /* what failed was said */
}

/* -- into guests ----------------------------------------------------------- */

struct target {
	struct put *put;
	uint32_t rank;
	struct conn *conn;
	char *place; /* owned; NULL: not known */
	int fd;	     /* -1: it takes no more */
	struct loop_io *io;
	size_t at;  /* of the piece */
	bool begun; /* it has been asked to take the data, or will not be */
	bool answered;
};

struct put {
	const struct copyhere *conf;
	struct loop *loop;
	struct copyhead head;
	struct target *targets;
	size_t n, open;	 /* that have not answered */
	size_t starting; /* that have not begun: until then nothing is read */
	json_t *results;
	char piece[PIECE];
	size_t piece_len;
	struct loop_io *in;
	struct digest digest;
	bool ended; /* standard input */
};

static void end_data(struct target *t)
{
	loop_io_free(t->io);
	t->io = NULL;
	if (t->fd >= 0)
		close(TAKE_FD(t->fd));
}

/* The next piece is read when all have this one. */
static void read_on(struct put *p)
{
	if (p->starting || p->ended)
		return;
	for (size_t i = 0; i < p->n; i++)
		if (p->targets[i].fd >= 0 && p->targets[i].at < p->piece_len)
			return;
	loop_io_set(p->in, EPOLLIN);
}

static void set_begun(struct target *t)
{
	t->put->starting -= !t->begun;
	t->begun = true;
	read_on(t->put);
}

static void answer(struct target *t, json_t *o)
{
	char key[16];

	end_data(t);
	set_begun(t);
	if (t->answered) {
		json_decref(o);
		return;
	}
	t->answered = true;
	snprintf(key, sizeof(key), "%" PRIu32, t->rank);
	json_object_set_new(t->put->results, key, o);
	if (--t->put->open == 0)
		loop_stop(t->put->loop, 0);
}

static void fail(struct target *t, int code, const char *text)
{
	answer(t, json_pack("{s:{s:i, s:s}}", "error", "code", code, "message",
			    text));
}

static void fail_reply(struct target *t, const struct rpc_reply *reply)
{
	json_t *e = json_pack("{s:i, s:s}", "code", reply->code, "message",
			      reply->message);

	if (reply->data)
		json_object_set(e, "data", (json_t *)(uintptr_t)reply->data);
	answer(t, json_pack("{s:o}", "error", e));
}

static void feed(struct target *t)
{
	struct put *p = t->put;

	while (t->fd >= 0 && t->at < p->piece_len) {
		ssize_t n =
			write(t->fd, p->piece + t->at, p->piece_len - t->at);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			end_data(t); /* its answer says why */
		if (n > 0)
			t->at += (size_t)n;
	}
	if (t->fd >= 0)
		loop_io_set(t->io, t->at < p->piece_len ? EPOLLOUT : 0);
}

static void on_may_feed(uint32_t events, void *arg)
{
	struct target *t = arg;

	feed(t);
	read_on(t->put);
}

static void on_input(uint32_t events, void *arg)
{
	struct put *p = arg;
	ssize_t n = read(STDIN_FILENO, p->piece, sizeof(p->piece));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	p->ended = n <= 0;
	p->piece_len = n > 0 ? (size_t)n : 0;
	digest_add(&p->digest, p->piece, p->piece_len);
	loop_io_set(p->in, 0);
	for (size_t i = 0; i < p->n; i++) {
		p->targets[i].at = 0;
		if (n > 0)
			feed(&p->targets[i]);
		else
			end_data(&p->targets[i]);
	}
	read_on(p);
}

static void on_put(const struct rpc_reply *reply, void *arg)
{
	struct target *t = arg;
	struct put *p = t->put;
	char text[DIGEST_TEXT];
	struct digest d = p->digest;
	const char *sum;

	if (!reply->result) {
		fail_reply(t, reply);
		return;
	}
	sum = json_string_value(json_object_get(reply->result, "xxh64"));
	digest_text(&d, text);
	if (p->head.dir && (!sum || strcmp(sum, text) != 0))
		fail(t, RPC_E_PROTO,
		     "what the guest received is not what was sent");
	else
		answer(t, json_pack("{s:O}", "result", reply->result));
}

static json_t *put_params(const struct target *t)
{
	const struct put *p = t->put;
	json_t *o = params_of(p->conf, t->place);

	json_object_set_new(o, "io", json_string("fd"));
	json_object_set_new(o, "hash",
			    json_string(p->head.dir ? "xxh64" : "none"));
	if (p->conf->sync)
		json_object_set_new(o, "sync", json_true());
	if (p->head.dir) {
		json_object_set_new(o, "parents", json_true());
		if (p->conf->owner)
			json_object_set_new(o, "owner", json_true());
		return o;
	}
	json_object_set_new(o, "format", json_string("extents"));
	if (p->head.mode >= 0)
		json_object_set_new(o, "mode",
				    json_integer(p->head.mode & 0777));
	if (p->head.mtime_ns >= 0)
		json_object_set_new(o, "mtime_ns",
				    json_integer(p->head.mtime_ns));
	return o;
}

static void begin_put(struct target *t)
{
	const char *method = t->put->head.dir ? "tree.put" : "file.put";
	_cleanup_close_ int theirs = -1;
	int r = make_pipe(&t->fd, &theirs, false);

	if (r == 0)
		r = loop_io_add(t->put->loop, t->fd, 0, on_may_feed, t, &t->io);
	if (r == 0)
		r = conn_ask(t->conn, method, put_params(t), &theirs, 1, on_put,
			     t);
	if (r < 0)
		fail(t, RPC_E_UNREACHABLE, "the task has ended");
	else
		set_begun(t);
}

/* A directory takes what is copied; a slash asks for one. */
static void on_put_stat(const struct rpc_reply *reply, void *arg)
{
	struct target *t = arg;
	const char *type =
		json_string_value(json_object_get(reply->result, "type"));
	bool is_dir = type && strcmp(type, "dir") == 0;

	if (!reply->result && reply->code != RPC_E_NOENT) {
		fail_reply(t, reply);
		return;
	}
	t->place = copyhead_place(&t->put->head, t->put->conf->path, is_dir);
	if (!t->place)
		fail(t, RPC_INTERNAL, "out of memory");
	else
		begin_put(t);
}

static void open_target(struct put *p, uint32_t rank, const char *path)
{
	struct target *t = &p->targets[p->n++];
	struct errmsg err;

	*t = (struct target){ .put = p, .rank = rank, .fd = -1 };
	p->open++;
	if (conn_open(p->loop, p->conf->dir, rank, NULL, NULL, &t->conn, &err) <
		    0 ||
	    conn_ask(t->conn, "file.stat", params_of(p->conf, path), NULL, 0,
		     on_put_stat, t) < 0)
		fail(t, RPC_E_UNREACHABLE, "the task has ended");
}

static int open_targets(struct put *p, const struct rankset *ranks)
{
	uint32_t rank;

	p->targets = calloc(rankset_count(ranks) + 1, sizeof(*p->targets));
	if (!p->targets)
		return -ENOMEM;
	p->starting = rankset_count(ranks);
	p->open = 1; /* so that no early answer ends it */
	for (rank = rankset_next(ranks, 0); rank <= RANK_MAX;
	     rank = rankset_next(ranks, rank + 1))
		open_target(p, rank, p->conf->path);
	p->open--;
	return 0;
}

static int put_run(struct put *p, const struct rankset *ranks,
		   struct errmsg *err)
{
	int r = copyhead_read(STDIN_FILENO, &p->head, err);

	if (r < 0)
		return r;
	digest_init(&p->digest, p->head.dir ? DIGEST_XXH64 : DIGEST_NONE);
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	r = loop_new(&p->loop, err);
	if (r == 0)
		r = loop_io_add(p->loop, STDIN_FILENO, 0, on_input, p, &p->in);
	if (r == 0)
		r = open_targets(p, ranks);
	if (r < 0)
		return errmsg_set(err, r, "copy");
	if (p->open)
		loop_run(p->loop);
	return 0;
}

static void put_done(struct put *p)
{
	for (size_t i = 0; i < p->n; i++) {
		end_data(&p->targets[i]);
		conn_free(p->targets[i].conn);
		free(p->targets[i].place);
	}
	free(p->targets);
	loop_io_free(p->in);
	loop_free(p->loop);
	copyhead_done(&p->head);
}

/* All that comes is read, wanted or not: srun stops passing anything on to all
 * nodes when one of them has taken no more. */
static void drain(void)
{
	char buf[PIECE];
	ssize_t n;

	fcntl(STDIN_FILENO, F_SETFL,
	      fcntl(STDIN_FILENO, F_GETFL) & ~O_NONBLOCK);
	do
		n = read(STDIN_FILENO, buf, sizeof(buf));
	while (n > 0 || (n < 0 && errno == EINTR));
}

static int tell(json_t *results, const struct errmsg *err, int r)
{
	json_t *o =
		r < 0 ? json_pack("{s:o}", "error", param_from_text(err->text))
		      : json_pack("{s:O}", "results", results);

	r = o ? here_print(o) : -ENOMEM;
	json_decref(o);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

int copyhere_put(const struct copyhere *conf)
{
	_cleanup_free_ struct put *p = calloc(1, sizeof(*p));
	struct rankset here = { 0 }, wanted = { 0 };
	struct errmsg err;
	int r = p ? conn_ranks(conf->dir, &here, &err)
		  : errmsg_set(&err, -ENOMEM, "copy");

	for (uint32_t rank = rankset_next(&here, 0); r == 0 && rank <= RANK_MAX;
	     rank = rankset_next(&here, rank + 1))
		if (rankset_has(conf->ranks, rank))
			r = rankset_add(&wanted, rank, rank);
	if (r == 0 && wanted.n) {
		p->conf = conf;
		p->results = json_object();
		r = put_run(p, &wanted, &err);
		put_done(p);
		tell(p->results, &err, r);
		json_decref(p->results);
	} else if (r < 0) {
		tell(NULL, &err, r);
	}
	rankset_done(&here);
	rankset_done(&wanted);
	drain();
	return EXIT_DONE; /* each task's answer is in what was told */
}
