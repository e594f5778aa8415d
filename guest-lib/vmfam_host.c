#include <config.h>

#include "vmfam_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc.h"

#define SOCKET_PATH "/run/vmstep/ops.sock" /* guest-agent/opsock.h */
#define SOCKET_ENV  "VMSTEP_OPS_SOCKET"
#define LINE_MAX_IN (2 * 1024 * 1024)

int vmfam_say(struct vmfam *f, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->words, sizeof(f->words), fmt, ap);
	va_end(ap);
	return error;
}

int vmfam_connect(struct vmfam *f)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *path = getenv(SOCKET_ENV);

	path = path && *path ? path : SOCKET_PATH;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	f->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->sock < 0 ||
	    connect(f->sock, (struct sockaddr *)&un, sizeof(un)) < 0) {
		int e = errno == ENOENT ? ECONNREFUSED : errno;

		return vmfam_say(
			f, -e, "%s: %s; is vmstep-agent running in this guest?",
			path, strerror(errno));
	}
	return 0;
}

/* -- out ------------------------------------------------------------------- */

static int gone(struct vmfam *f)
{
	if (f->heard)
		return vmfam_say(f, -ECONNRESET,
				 "the agent has closed the connection");
	return vmfam_say(
		f, -EACCES,
		"the agent closed the connection: it is for root and the step's user");
}

static int send_all(struct vmfam *f, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(f->sock, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gone(f);
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int64_t vmfam_send(struct vmfam *f, const char *method, json_t *params)
{
	json_t *msg = json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id",
				(json_int_t)(f->last_id + 1), "method", method,
				"params", params);
	char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	int r;

	json_decref(msg);
	if (!text)
		return vmfam_say(f, -EINVAL, "names are UTF-8");
	text[len] = '\n'; /* in the place of the NUL */
	r = send_all(f, text, len + 1);
	free(text);
	return r < 0 ? r : ++f->last_id;
}

/* -- in -------------------------------------------------------------------- */

static int read_some(struct vmfam *f)
{
	ssize_t n;
	char *in;

	if (f->in_len == f->in_size) {
		size_t size = f->in_size ? f->in_size * 2 : 4096;

		in = size <= LINE_MAX_IN ? realloc(f->in, size) : NULL;
		if (!in)
			return vmfam_say(f, -ENOMEM, "out of memory");
		f->in = in;
		f->in_size = size;
	}
	n = recv(f->sock, f->in + f->in_len, f->in_size - f->in_len, 0);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return gone(f);
	f->in_len += (size_t)n;
	return 0;
}

static int read_message(struct vmfam *f, json_t **ret)
{
	char *end;
	size_t len;
	int r;

	while (!(end = f->in_len ? memchr(f->in, '\n', f->in_len) : NULL)) {
		r = read_some(f);
		if (r < 0)
			return r;
	}
	len = (size_t)(end - f->in);
	*ret = json_loadb(f->in, len, 0, NULL);
	f->in_len -= len + 1;
	memmove(f->in, end + 1, f->in_len);
	return *ret ? 0
		    : vmfam_say(f, -EPROTO, "the agent's answer is no JSON");
}

static int errno_of(json_int_t code)
{
	static const struct {
		json_int_t code;
		int error;
	} all[] = {
		{ RPC_E_UNREACHABLE, EHOSTUNREACH },
		{ RPC_E_TIMEOUT, ETIMEDOUT },
		{ RPC_E_PERM, EACCES },
		{ RPC_E_NOTSUP, EOPNOTSUPP },
		{ RPC_E_BUSY, EBUSY },
		{ RPC_E_NOENT, ENOENT },
		{ RPC_E_EXIST, EEXIST },
		{ RPC_E_TOOBIG, EMSGSIZE },
		{ RPC_E_FULL, ENOSPC },
		{ RPC_E_RANGE, ERANGE },
		{ RPC_INVALID_PARAMS, EINVAL },
		{ 0 },
	};

	for (size_t i = 0; all[i].code; i++)
		if (all[i].code == code)
			return -all[i].error;
	return -EIO;
}

/* Notifications are nobody's. */
static int read_answer(struct vmfam *f, json_t **ret)
{
	int r = read_message(f, ret);

	while (r == 0 && !json_is_integer(json_object_get(*ret, "id"))) {
		json_decref(*ret);
		r = read_message(f, ret);
	}
	return r;
}

int64_t vmfam_receive(struct vmfam *f, json_t **ret, int *ret_error)
{
	const json_t *error;
	const char *words;
	json_t *msg = NULL;
	int64_t id;
	int r = read_answer(f, &msg);

	if (r < 0)
		return r;
	f->heard = true;
	id = json_integer_value(json_object_get(msg, "id"));
	*ret = json_incref(json_object_get(msg, "result"));
	*ret_error = 0;
	if (!*ret) {
		error = json_object_get(msg, "error");
		words = json_string_value(json_object_get(error, "message"));
		*ret_error = vmfam_say(
			f,
			errno_of(json_integer_value(
				json_object_get(error, "code"))),
			"%s", words ? words : "refused without a reason");
	}
	json_decref(msg);
	return id;
}

int vmfam_ask(struct vmfam *f, const char *method, json_t *params, json_t **ret)
{
	int64_t id = vmfam_send(f, method, params), got;
	json_t *result = NULL;
	int error = 0;

	while (id >= 0) {
		got = vmfam_receive(f, &result, &error);
		if (got < 0)
			return (int)got;
		if (got == id)
			break;
		vmfam_slot_answer(f, got, result, error);
		json_decref(result);
	}
	if (id < 0)
		return (int)id;
	if (ret)
		*ret = result;
	else
		json_decref(result);
	return error;
}
