#include <config.h>

#include "op_io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api.h"
#include "cleanup.h"
#include "param.h"

enum { FD, RAW, EVENTS };

static const char *const stream_names[] = { "stdin", "stdout", "stderr" };

/* NULL: who asked is gone, or is no program of the user's. */
static struct client *client_of(const struct rpc_call *call)
{
	const struct ops_origin *from = rpc_call_origin(call);

	return from ? from->client : NULL;
}

static int take_fds(struct client *c, const bool wanted[OP_STREAMS],
		    int fd[OP_STREAMS], struct errmsg *err)
{
	for (int i = 0; i < OP_STREAMS; i++) {
		if (!wanted[i])
			continue;
		fd[i] = api_take_fd(c);
		if (fd[i] < 0)
			return errmsg_say(
				err, -EINVAL,
				"io: fd: a descriptor for each stream has to come with the request");
	}
	return 0;
}

static int add_events(struct op_io *io, struct client *c,
		      const bool wanted[OP_STREAMS], int fd[OP_STREAMS],
		      struct errmsg *err)
{
	for (int i = 0; i < OP_STREAMS; i++) {
		int r = wanted[i] ? streams_add(api_streams(c), i == OP_IN,
						&fd[i], &io->ids[i])
				  : 0;

		if (r < 0)
			return errmsg_set(err, r, "io: events");
	}
	return 0;
}

/* Both directions are one socket. */
static int make_raw(struct op_io *io, struct client *c,
		    const bool wanted[OP_STREAMS], int fd[OP_STREAMS],
		    struct errmsg *err)
{
	int sv[2], first = wanted[OP_IN]    ? OP_IN
			   : wanted[OP_OUT] ? OP_OUT
					    : OP_ERR;

	if (wanted[OP_ERR] && wanted[OP_OUT])
		return errmsg_say(
			err, -EINVAL,
			"io: raw: one of stdout and stderr, the connection has no place for both");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return errmsg_set(err, -errno, "io: raw");
	io->raw = sv[0];
	api_hold(c);
	fd[first] = sv[1];
	for (int i = first + 1; i < OP_STREAMS; i++) {
		if (!wanted[i])
			continue;
		fd[i] = fcntl(sv[1], F_DUPFD_CLOEXEC, 3);
		if (fd[i] < 0)
			return errmsg_set(err, -errno, "io: raw");
	}
	return 0;
}

int op_io_open(struct op_io *io, struct rpc_call *call, const json_t *params,
	       const bool wanted[OP_STREAMS], int fd[OP_STREAMS],
	       struct errmsg *err)
{
	static const char *const words[] = { "fd", "raw", "events", NULL };
	struct client *c = client_of(call);
	int kind = -1, r = param_word(params, "io", words, &kind, err);

	*io = OP_IO_NONE;
	for (int i = 0; i < OP_STREAMS; i++)
		fd[i] = -1;
	if (r < 0 || (!wanted[OP_IN] && !wanted[OP_OUT] && !wanted[OP_ERR]))
		return r;
	if (kind < 0)
		return errmsg_say(
			err, -EINVAL,
			"io has to say how streams are carried: fd, raw or events");
	if (!c)
		return errmsg_say(
			err, -EINVAL,
			"streams are for programs at the task's own socket");
	if (kind == FD)
		return take_fds(c, wanted, fd, err);
	return kind == RAW ? make_raw(io, c, wanted, fd, err)
			   : add_events(io, c, wanted, fd, err);
}

void op_io_answer(struct op_io *io, struct rpc_call *call, json_t *result)
{
	struct client *c = client_of(call);
	json_t *ids = json_object();
	bool any = false;

	for (int i = 0; i < OP_STREAMS; i++)
		if (io->ids[i]) {
			any = true;
			json_object_set_new(ids, stream_names[i],
					    json_integer(io->ids[i]));
		}
	if (any && result)
		json_object_set(result, "streams", ids);
	json_decref(ids);
	rpc_result(call, result);
	for (int i = 0; c && i < OP_STREAMS; i++)
		if (io->ids[i])
			streams_begin(api_streams(c), io->ids[i]);
	if (c && io->raw >= 0)
		api_go_raw(c, TAKE_FD(io->raw));
	else if (io->raw >= 0)
		close(TAKE_FD(io->raw));
	*io = OP_IO_NONE;
}

void op_io_drop(struct op_io *io, const struct rpc_call *call)
{
	struct client *c = client_of(call);

	for (int i = 0; c && i < OP_STREAMS; i++)
		if (io->ids[i])
			streams_drop(api_streams(c), io->ids[i]);
	if (io->raw >= 0) {
		close(TAKE_FD(io->raw));
		if (c)
			api_go_raw(c, -1);
	}
	*io = OP_IO_NONE;
}
