#include <config.h>

#include "vmop_impl.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Lines go out as they come: all that one read() has brought are one request,
 * whose answer is waited for. Who writes one line now and then does not wait
 * for the next; who writes many has few round trips. */

#define LINES_BUF (1024 * 1024) /* and so the longest line */
#define LINES_MAX 256		/* of a request, unless it is one line: */
#define LINES_BYTES \
	(40 * 1024)   /* ... of these, as they may be written longer */
#define TAKE_MAX 1024 /* messages of an answer */

/* -- send ------------------------------------------------------------------ */

/* Of several receivers, those that did not get it. */
static int tell_failures(const json_t *result)
{
	const char *rank;
	json_t *one;
	int status = 0;

	json_object_foreach (json_object_get(result, "results"), rank, one)
		if (json_object_get(one, "error"))
			status = vmop_refused(json_object_get(one, "error"));
	return status;
}

/* @data is stolen. */
static int send_data(struct vmop *v, json_t *data, bool each)
{
	json_t *params =
		json_pack("{s:s, s:o}", "to", v->argv[0], "data", data);
	_cleanup_json_ json_t *result = NULL;
	int r;

	vmop_set_text(params, "queue", v->o.queue);
	vmop_set_text(params, "ref", v->o.ref);
	vmop_set_text(params, "reply_to", v->o.reply_to);
	vmop_set_text(params, "wait", v->o.wait);
	if (each) {
		json_object_set_new(params, "each", json_true());
		json_object_set_new(params, "full", json_string("wait"));
	}
	r = vmop_ask(v, "msg.send", params, &result);
	return r ? r : tell_failures(result);
}

struct lines {
	struct vmop *v;
	json_t *some; /* those of the next request */
	size_t bytes; /* of these */
	uint64_t sent;
	size_t len; /* of buf */
	char buf[LINES_BUF];
};

static int send_some(struct lines *l)
{
	size_t n = json_array_size(l->some);
	int r = n ? send_data(l->v, l->some, true) : 0;

	if (!n)
		return 0;
	l->some = json_array();
	l->bytes = 0;
	if (r)
		vmop_fail(r, "send: lines %llu to %llu",
			  (unsigned long long)l->sent + 1,
			  (unsigned long long)(l->sent + n));
	l->sent += n;
	return r;
}

static int take_line(struct lines *l, const char *line, size_t len)
{
	int r = l->bytes + len > LINES_BYTES ? send_some(l) : 0;
	json_t *data;

	if (r)
		return r;
	data = l->v->o.json ? json_loadb(line, len, JSON_DECODE_ANY, NULL)
			    : json_stringn(line, len);
	if (!data)
		return vmop_fail(EXIT_USAGE, "send: line %llu is no %s",
				 (unsigned long long)(l->sent +
						      json_array_size(l->some) +
						      1),
				 l->v->o.json ? "JSON" : "UTF-8");
	json_array_append_new(l->some, data);
	l->bytes += len;
	return json_array_size(l->some) < LINES_MAX ? 0 : send_some(l);
}

/* Those that are whole; with @last also one without an end. */
static int take_lines(struct lines *l, bool last)
{
	char *at = l->buf, *end;
	int r = 0;

	while (r == 0 && (end = memchr(at, '\n', l->len))) {
		size_t n = (size_t)(end - at);

		r = take_line(l, at, n);
		at = end + 1;
		l->len -= n + 1;
	}
	if (r == 0 && last && l->len) {
		r = take_line(l, at, l->len);
		l->len = 0;
	}
	memmove(l->buf, at, l->len);
	return r ? r : send_some(l);
}

static int send_lines(struct vmop *v)
{
	_cleanup_free_ struct lines *l = calloc(1, sizeof(*l));
	ssize_t n = 1;
	int r = 0;

	if (!l)
		return vmop_fail(EXIT_REFUSED, "out of memory");
	l->v = v;
	l->some = json_array();
	while (r == 0 && n > 0) {
		if (l->len == sizeof(l->buf)) {
			r = vmop_fail(EXIT_USAGE,
				      "send: line %llu has more than %d bytes",
				      (unsigned long long)l->sent + 1,
				      LINES_BUF);
			break;
		}
		n = read(STDIN_FILENO, l->buf + l->len,
			 sizeof(l->buf) - l->len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			r = vmop_fail(EXIT_REFUSED, "standard input: %s",
				      strerror(errno));
		else
			l->len += (size_t)n;
		if (r == 0)
			r = take_lines(l, n == 0);
	}
	json_decref(l->some);
	return r;
}

int vmop_send(struct vmop *v)
{
	json_t *data;

	if (v->argc < 1 || v->argc > 2 || (v->o.lines && v->argc > 1))
		return vmop_fail(
			EXIT_USAGE,
			v->o.lines
				? "send TO, with lines on standard input; see vmop --help"
				: "send TO [DATA]; see vmop --help");
	if (v->o.lines)
		return send_lines(v);
	data = vmop_value(v, v->argc > 1 ? v->argv[1] : NULL);
	if (!data)
		return vmop_fail(EXIT_USAGE, "send: this is no %s",
				 v->o.json ? "JSON" : "UTF-8");
	return send_data(v, data, false);
}

/* -- recv ------------------------------------------------------------------ */

/* Up to @count; *ret: so many were printed. */
static int take(struct vmop *v, int count, size_t *ret)
{
	_cleanup_json_ json_t *result = NULL;
	json_t *params = json_pack("{s:i}", "wait_ms", -1), *msg;
	size_t i;
	int r;

	*ret = 0;
	vmop_set_text(params, "queue", v->o.queue);
	vmop_set_text(params, "ref", v->o.ref);
	if (v->o.has_from)
		json_object_set_new(params, "from", json_integer(v->o.from));
	if (count)
		json_object_set_new(params, "count", json_integer(count));
	r = vmop_set_ms(v, params, "wait_ms");
	if (r) {
		json_decref(params);
		return r;
	}
	r = vmop_ask(v, "msg.recv", params, &result);
	if (r)
		return r;
	json_array_foreach (result, i, msg)
		if (v->o.json)
			vmop_print_json(msg, JSON_COMPACT);
		else
			vmop_print(json_object_get(msg, "data"));
	*ret = json_array_size(result);
	return 0;
}

static int take_many(struct vmop *v)
{
	int left = v->o.count;
	size_t n;
	int r = 0;

	while (r == 0 && (left > 0 || !v->o.count)) {
		r = take(v, left > 0 && left < TAKE_MAX ? left : TAKE_MAX, &n);
		left -= left > 0 ? (int)n : 0;
		if (r == 0 && fflush(stdout) != 0)
			r = vmop_fail(EXIT_REFUSED, "standard output: %s",
				      strerror(errno));
	}
	return r;
}

int vmop_recv(struct vmop *v)
{
	size_t n;

	return v->o.lines ? take_many(v) : take(v, v->o.count, &n);
}
