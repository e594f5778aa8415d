#include <config.h>

#include "qga.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "qga_line.h"

#define MARK	      0xff /* is in no UTF-8, so in no JSON */
#define PIECE	      65536
#define SYNC_FIRST_MS 1000 /* it is asked again, ever more rarely */
#define SYNC_LAST_MS  16000

/* SHUT:  nobody has the port open in the guest, or QEMU has ended
 * SYNC:  guest-sync-delimited is on its way; what comes before the mark that
 *        its answer begins with is of an earlier life
 * MEET:  it answers; its version and system are asked for, before others ask
 * UP:    requests go out, one at a time; the first of the list is under way
 */
enum state { SHUT, SYNC, MEET, UP };

struct request {
	STAILQ_ENTRY(request) next;
	char *text;
	size_t len;
	json_int_t id;
	int64_t timeout_ms;
	size_t answer_max;
	bool mute;
	rpc_reply_fn fn;
	void *arg;
};
STAILQ_HEAD(requests, request);

struct qga {
	struct loop *loop;
	int fd;
	struct loop_io *io; /* NULL: QEMU has ended */
	struct loop_timer *timer;
	struct qga_ops ops;
	void *arg;
	enum state state;
	bool told_up;
	json_int_t last_id, sync_id;
	int64_t sync_ms; /* until it is asked again */

	struct requests requests;
	unsigned int n_requests;
	size_t bytes; /* of their texts */
	bool begun;   /* the first of them */

	char *out; /* of the sync, or borrowed from the request */
	size_t out_at, out_len;
	char sync_text[128];

	struct qga_line in;
	bool marked; /* SYNC: the mark has come */

	char *version;
	json_t *os;
};

static void begin_sync(struct qga *q);
static void go_on(struct qga *q);

/* -- requests -------------------------------------------------------------- */

static void request_free(struct request *r)
{
	free(r->text);
	free(r);
}

static void take_off(struct qga *q, struct request *r)
{
	STAILQ_REMOVE(&q->requests, r, request, next);
	q->n_requests--;
	q->bytes -= r->len;
}

static void tell(struct request *r, const struct rpc_reply *reply)
{
	if (r->fn)
		r->fn(reply, r->arg);
}

static void tell_error(struct request *r, enum rpc_error code,
		       const char *words)
{
	const struct rpc_reply reply = { .code = (int)code, .message = words };

	tell(r, &reply);
}

/* Those that are made meanwhile stay; who is told may forget others. */
static void fail_all(struct qga *q, const char *why)
{
	json_int_t last = q->last_id;
	struct request *r;

	while ((r = STAILQ_FIRST(&q->requests)) && r->id <= last) {
		take_off(q, r);
		q->begun = false;
		q->out_at = q->out_len = 0;
		tell_error(r, RPC_E_UNREACHABLE, why);
		request_free(r);
	}
}

/* The one under way is over: out of the list, the caller's. */
static struct request *end_request(struct qga *q)
{
	struct request *r = STAILQ_FIRST(&q->requests);

	take_off(q, r);
	q->begun = false;
	q->out_at = q->out_len = 0;
	loop_timer_set(q->timer, -1);
	return r;
}

/* What was asked is not answered as it should be: what still comes of that is
 * skipped by a new beginning. */
static void give_up_request(struct qga *q, enum rpc_error code,
			    const char *words)
{
	struct request *r = end_request(q);

	begin_sync(q);
	tell_error(r, code, words);
	request_free(r);
}

static char *request_text(json_int_t id, const char *command, json_t *args)
{
	json_t *o =
		args ? json_pack("{s:s, s:o, s:I}", "execute", command,
				 "arguments", args, "id", id)
		     : json_pack("{s:s, s:I}", "execute", command, "id", id);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	return text;
}

static int add_request(struct qga *q, const struct qga_ask *ask)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r) {
		json_decref(ask->args);
		return -ENOMEM;
	}
	r->id = ++q->last_id;
	r->timeout_ms = ask->timeout_ms ? ask->timeout_ms : QGA_TIMEOUT_MS;
	r->answer_max = ask->answer_max ? ask->answer_max : QGA_ANSWER_MAX;
	r->mute = ask->mute;
	r->fn = ask->fn;
	r->arg = ask->arg;
	r->text = request_text(r->id, ask->command, ask->args);
	if (!r->text) {
		request_free(r);
		return -ENOMEM;
	}
	r->len = strlen(r->text);
	r->text[r->len++] = '\n'; /* the NUL's place */
	if (q->n_requests >= QGA_QUEUE || q->bytes + r->len > QGA_QUEUE_BYTES) {
		request_free(r);
		return -ENOBUFS;
	}
	STAILQ_INSERT_TAIL(&q->requests, r, next);
	q->n_requests++;
	q->bytes += r->len;
	go_on(q);
	return 0;
}

int qga_ask(struct qga *q, const struct qga_ask *ask)
{
	if (qga_is_up(q))
		return add_request(q, ask);
	json_decref(ask->args);
	return -ENOTCONN;
}

void qga_forget(struct qga *q, const void *arg)
{
	struct request *r;

	STAILQ_FOREACH(r, &q->requests, next)
	if (r->arg == arg)
		r->fn = NULL;
}

void qga_forget_all(struct qga *q, const char *why)
{
	fail_all(q, why);
}

/* -- out ------------------------------------------------------------------- */

/* Nothing is read while nothing is awaited: who floods waits for ever. */
static void set_events(struct qga *q)
{
	uint32_t events = 0;

	if (q->state == SYNC || q->begun)
		events |= EPOLLIN;
	if (q->out_at < q->out_len)
		events |= EPOLLOUT;
	loop_io_set(q->io, events);
}

static void send_more(struct qga *q)
{
	while (q->out_at < q->out_len) {
		ssize_t n =
			send(q->fd, q->out + q->out_at, q->out_len - q->out_at,
			     MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break; /* what is broken is seen when it is read */
		q->out_at += (size_t)n;
	}
	set_events(q);
}

/* Send what is next, unless something is under way. */
static void go_on(struct qga *q)
{
	struct request *r = STAILQ_FIRST(&q->requests);

	if ((q->state == UP || q->state == MEET) && r && !q->begun) {
		q->begun = true;
		q->out = r->text;
		q->out_at = 0;
		q->out_len = r->len;
		loop_timer_set(q->timer, r->timeout_ms);
	}
	send_more(q);
}

static void forget_requests(struct qga *q)
{
	struct request *r;

	while ((r = STAILQ_FIRST(&q->requests))) {
		STAILQ_REMOVE_HEAD(&q->requests, next);
		request_free(r);
	}
	q->n_requests = 0;
	q->bytes = 0;
	q->begun = false;
}

static void begin_sync(struct qga *q)
{
	uint32_t id = 0;
	int n;

	if (!q->told_up)
		forget_requests(q); /* our own, which will be made again */
	if (getrandom(&id, sizeof(id), GRND_NONBLOCK) < 0)
		id = (uint32_t)loop_now_ms();
	q->sync_id = id;
	q->state = SYNC;
	q->marked = false;
	q->begun = false;
	qga_line_reset(&q->in);
	n = snprintf(
		q->sync_text, sizeof(q->sync_text),
		"%c{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%lld}}\n",
		MARK, (long long)q->sync_id);
	q->out = q->sync_text;
	q->out_at = 0;
	q->out_len = (size_t)n;
	q->sync_ms = q->sync_ms ? q->sync_ms * 2 : SYNC_FIRST_MS;
	if (q->sync_ms > SYNC_LAST_MS)
		q->sync_ms = SYNC_LAST_MS;
	loop_timer_set(q->timer, q->sync_ms);
	send_more(q);
}

/* -- what it says ---------------------------------------------------------- */

/* The words are of the guest's C library, or of Windows, where nothing is
 * found. */
static enum rpc_error code_of(const char *class, const char *words)
{
	static const int known[] = { ENOENT, EACCES, EPERM,   EISDIR, ENOTDIR,
				     ENOSPC, EROFS,  ENOEXEC, EBUSY,  EEXIST };

	if (strcmp(class, "CommandNotFound") == 0 ||
	    strstr(words, "not currently supported") ||
	    strstr(words, "has been disabled"))
		return RPC_E_NOTSUP;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strstr(words, strerror(known[i])))
			return known[i] == ENOEXEC ? RPC_E_PERM
						   : rpc_error_of(known[i]);
	return RPC_E_OS;
}

static const char *text_of(const json_t *o, const char *name,
			   const char *fallback)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : fallback;
}

static void tell_answer(struct request *r, const json_t *msg)
{
	const json_t *error = json_object_get(msg, "error");
	struct rpc_reply reply = { .result = json_object_get(msg, "return") };

	if (!reply.result) {
		reply.message = text_of(error, "desc", "no reason was given");
		reply.code = (int)code_of(text_of(error, "class", ""),
					  reply.message);
	}
	tell(r, &reply);
}

static void on_answer(struct qga *q, const json_t *msg)
{
	struct request *r = STAILQ_FIRST(&q->requests);
	const json_t *id = json_object_get(msg, "id");

	/* of an earlier request; old ones tell no id */
	if (!q->begun ||
	    (id && (!json_is_integer(id) || json_integer_value(id) != r->id)))
		return;
	if (!json_object_get(msg, "return") && !json_object_get(msg, "error"))
		return;
	r = end_request(q);
	tell_answer(r, msg);
	request_free(r);
}

static void on_osinfo(const struct rpc_reply *reply, void *arg)
{
	struct qga *q = arg;

	json_decref(q->os);
	q->os = json_is_object(reply->result) ? json_deep_copy(reply->result)
					      : NULL;
	if (q->state != MEET)
		return; /* it was late, and is asked again */
	q->state = UP;
	if (!q->told_up) {
		q->told_up = true;
		q->ops.up(q->arg);
	}
}

static void on_info(const struct rpc_reply *reply, void *arg)
{
	struct qga *q = arg;
	const char *version = text_of(reply->result, "version", NULL);

	free(q->version);
	q->version = version ? strdup(version) : NULL;
}

/* Old ones may not know their system; that is no reason to do without. */
static void on_synced(struct qga *q)
{
	const struct qga_ask info = { .command = "guest-info",
				      .fn = on_info,
				      .arg = q };
	const struct qga_ask os = { .command = "guest-get-osinfo",
				    .fn = on_osinfo,
				    .arg = q };

	loop_timer_set(q->timer, -1);
	q->sync_ms = 0;
	q->out_len = 0;
	if (q->told_up) {
		q->state = UP;
		go_on(q);
		return;
	}
	q->state = MEET;
	if (add_request(q, &info) < 0 || add_request(q, &os) < 0)
		begin_sync(q);
}

static void on_line(struct qga *q)
{
	json_t *msg = json_loadb(q->in.data, q->in.len, 0, NULL);
	const json_t *ret = json_object_get(msg, "return");

	qga_line_reset(
		&q->in); /* before more memory is taken for what it says */
	if (q->state != SYNC)
		on_answer(q, msg);
	else if (json_is_integer(ret) && json_integer_value(ret) == q->sync_id)
		on_synced(q);
	else
		q->marked = false;
	json_decref(msg);
}

/* -- in -------------------------------------------------------------------- */

static size_t answer_max(const struct qga *q)
{
	return q->begun ? STAILQ_FIRST(&q->requests)->answer_max : 4096;
}

static void on_too_long(struct qga *q)
{
	if (q->begun)
		give_up_request(q, RPC_E_TOOBIG,
				"QEMU's guest agent answers more than it may");
	else
		begin_sync(q);
}

/* False: what follows is of another life. */
static bool take_byte(struct qga *q, char c)
{
	if ((unsigned char)c == MARK) {
		qga_line_reset(&q->in);
		q->marked = true;
		return true;
	}
	if (q->state == SYNC && !q->marked)
		return true;
	if (c == '\n') {
		if (q->in.len)
			on_line(q);
		return q->io && (q->state == SYNC || q->begun);
	}
	if (qga_line_add(&q->in, c, answer_max(q), QGA_STRING_MAX))
		return true;
	on_too_long(q);
	return false;
}

static void shut(struct qga *q, const char *why)
{
	bool was_up = q->told_up;

	q->state = SHUT;
	q->told_up = false;
	q->sync_ms = 0;
	q->out_at = q->out_len = 0;
	qga_line_reset(&q->in);
	loop_timer_set(q->timer, -1);
	fail_all(q, why);
	set_events(q);
	if (was_up)
		q->ops.down(why, q->arg);
}

static void on_io(uint32_t events, void *arg)
{
	static char piece[PIECE]; /* one thread's */
	struct qga *q = arg;
	ssize_t n;

	if (events & EPOLLOUT)
		send_more(q);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(q->fd, piece, sizeof(piece), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_io_free(TAKE_PTR(q->io));
		shut(q, "QEMU has closed the guest agent's port");
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		if (!take_byte(q, piece[i]))
			break;
	go_on(q);
}

static void on_timer(void *arg)
{
	struct rpc_reply reply = { 0 };
	struct qga *q = arg;
	struct request *r;

	if (q->state == SYNC) {
		begin_sync(q);
	} else if (q->begun && STAILQ_FIRST(&q->requests)->mute) {
		r = end_request(q);
		reply.result = json_true();
		tell(r, &reply);
		request_free(r);
		go_on(q);
	} else if (q->begun) {
		give_up_request(q, RPC_E_TIMEOUT,
				"QEMU's guest agent has not answered in time");
	}
}

/* -------------------------------------------------------------------------- */

void qga_port(struct qga *q, bool open)
{
	if (!q->io || open == (q->state != SHUT))
		return;
	if (open)
		begin_sync(q);
	else
		shut(q, "QEMU's guest agent has closed its port");
}

bool qga_is_up(const struct qga *q)
{
	return q->state == UP;
}

bool qga_is_open(const struct qga *q)
{
	return q->state != SHUT;
}

const char *qga_version(const struct qga *q)
{
	return q->version;
}

const json_t *qga_os(const struct qga *q)
{
	return q->os;
}

bool qga_is_windows(const struct qga *q)
{
	return strcmp(text_of(q->os, "id", ""), "mswindows") == 0;
}

int qga_new(struct loop *l, int fd, const struct qga_ops *ops, void *arg,
	    struct qga **ret, struct errmsg *err)
{
	struct qga *q = calloc(1, sizeof(*q));
	int r;

	if (!q) {
		close(fd);
		return errmsg_set(err, -ENOMEM, "guest agent's port");
	}
	q->loop = l;
	q->fd = fd;
	q->ops = *ops;
	q->arg = arg;
	STAILQ_INIT(&q->requests);
	r = loop_timer_add(l, -1, on_timer, q, &q->timer);
	if (r == 0)
		r = loop_io_add(l, fd, 0, on_io, q, &q->io);
	if (r < 0) {
		qga_free(q);
		return errmsg_set(err, r, "guest agent's port");
	}
	*ret = q;
	return 0;
}

void qga_free(struct qga *q)
{
	if (!q)
		return;
	forget_requests(q);
	loop_io_free(q->io);
	loop_timer_free(q->timer);
	qga_line_reset(&q->in);
	free(q->version);
	json_decref(q->os);
	close(q->fd);
	free(q);
}
