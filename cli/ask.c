#include <config.h>

#include "ask.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "cleanup.h"
#include "localsock.h"

struct ask {
	FILE *in, *out; /* of the same connection */
	char *line;
	size_t size;
	json_int_t last_id;
};

static int open_streams(struct ask *a, int fd)
{
	const struct timeval limit = { .tv_sec = ASK_S };
	_cleanup_close_ int in = fd;
	_cleanup_close_ int out = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (out < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) <
		    0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	a->in = fdopen(in, "r");
	if (!a->in)
		return -ENOMEM;
	TAKE_FD(in);
	a->out = fdopen(out, "w");
	if (!a->out)
		return -ENOMEM;
	TAKE_FD(out);
	return 0;
}

/* Any will do; one that has just ended refuses. */
static int connect_any(int dir)
{
	_cleanup_close_ int copy = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	int fd = -ENOENT;
	struct dirent *e;

	if (!d)
		return -errno;
	TAKE_FD(copy);
	while (fd == -ENOENT && (e = readdir(d))) {
		if (strncmp(e->d_name, "task.", 5) != 0)
			continue;
		fd = localsock_connect(dir, e->d_name, SOCK_STREAM);
		if (fd == -ECONNREFUSED)
			fd = -ENOENT;
	}
	closedir(d);
	return fd;
}

int ask_open(const char *dir_path, struct ask **ret, struct errmsg *err)
{
	_cleanup_close_ int dir =
		open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct ask *a;
	int fd, r;

	fd = dir < 0 ? -errno : connect_any(dir);
	if (fd == -ENOENT)
		return errmsg_say(err, fd, "no task of the step is here");
	if (fd < 0)
		return errmsg_set(err, fd, "%s", dir_path);
	a = calloc(1, sizeof(*a));
	r = a ? open_streams(a, fd) : -ENOMEM;
	if (r < 0) {
		ask_close(a);
		return errmsg_set(err, r, "%s", dir_path);
	}
	*ret = a;
	return 0;
}

void ask_close(struct ask *a)
{
	if (!a)
		return;
	if (a->in)
		fclose(a->in);
	if (a->out)
		fclose(a->out);
	free(a->line);
	free(a);
}

static int send_request(struct ask *a, const char *method, json_t *params)
{
	json_t *msg = json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id",
				++a->last_id, "method", method, "params",
				params ? params : json_object());
	int r = msg ? json_dumpf(msg, a->out, JSON_COMPACT) : -1;

	json_decref(msg);
	if (r < 0 || fputc('\n', a->out) == EOF || fflush(a->out) != 0)
		return -EPIPE;
	return 0;
}

static int take_error(const json_t *error, struct errmsg *err)
{
	const char *text = json_string_value(json_object_get(error, "message"));

	return errmsg_say(err, -EREMOTE, "%s", text ? text : "an error");
}

/* The answer to the last request; what else comes is passed over. */
static int receive(struct ask *a, json_t **ret, struct errmsg *err)
{
	for (;;) {
		json_t *msg, *id, *result;
		ssize_t len;
		int r = 0;

		errno = 0;
		len = getline(&a->line, &a->size, a->in);
		if (len < 0 && errno == EAGAIN)
			return errmsg_say(err, -ETIMEDOUT,
					  "no answer within %d s", ASK_S);
		if (len < 0)
			return errmsg_say(err, -EPIPE, "the task has ended");
		msg = json_loadb(a->line, (size_t)len, 0, NULL);
		id = json_object_get(msg, "id");
		result = json_object_get(msg, "result");
		if (!msg)
			return errmsg_say(err, -EPROTO,
					  "an answer that is not JSON");
		if (json_is_integer(id) && json_integer_value(id) == a->last_id)
			r = result ? 1
				   : take_error(json_object_get(msg, "error"),
						err);
		if (r > 0)
			*ret = json_incref(result);
		json_decref(msg);
		if (r)
			return r < 0 ? r : 0;
	}
}

int ask_call(struct ask *a, const char *method, json_t *params, json_t **ret,
	     struct errmsg *err)
{
	int r = send_request(a, method, params);

	if (r < 0)
		return errmsg_say(err, r, "the task has ended");
	return receive(a, ret, err);
}
