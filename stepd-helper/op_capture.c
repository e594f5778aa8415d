#include <config.h>

#include "op_capture.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "op_io.h"

struct op_capture {
	struct service_conf conf;
};

/* vmstep-net must never wait, as it would for a file. */
static int check_fd(int fd, struct errmsg *err)
{
	struct stat st;

	if (fstat(fd, &st) == 0 &&
	    (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
		return 0;
	return errmsg_say(err, -EINVAL, "io: fd: has to be a pipe or a socket");
}

static int start(struct net *n, struct rpc_call *call, const json_t *params,
		 struct errmsg *err)
{
	static const bool wanted[OP_STREAMS] = { [OP_OUT] = true };
	int fd[OP_STREAMS] = { -1, -1, -1 };
	struct op_io io = OP_IO_NONE;
	int r = op_io_open(&io, call, params, wanted, fd, err);

	if (r == 0)
		r = check_fd(fd[OP_OUT], err);
	if (r == 0) {
		r = net_capture(n, fd[OP_OUT], false);
		errmsg_set(err, r, "vmstep-net");
	}
	if (fd[OP_OUT] >= 0)
		close(fd[OP_OUT]);
	if (r < 0)
		op_io_drop(&io, call);
	else
		op_io_answer(&io, call, json_object());
	return r;
}

static void capture(struct rpc_call *call, const json_t *params, void *arg)
{
	const struct op_capture *o = arg;
	const struct spec *s = o->conf.spec;
	struct errmsg err;
	int r;

	if (s->net == NET_NONE) {
		rpc_fail(call, RPC_E_NOTSUP, "--vm-net=none: no network");
		return;
	}
	if (s->capture) {
		rpc_failf(call, RPC_E_BUSY,
			  "what goes through this port is in --vm-capture=%s",
			  s->capture);
		return;
	}
	r = start(o->conf.net, call, params, &err);
	if (r == -EINVAL)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else if (r < 0)
		rpc_fail(call, RPC_E_UNREACHABLE, err.text);
}

const struct rpc_method op_capture_methods[] = {
	{ "net.capture", capture },
	{ 0 },
};

int op_capture_new(const struct service_conf *conf, struct ops *ops,
		   struct op_capture **ret)
{
	struct op_capture *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->conf = *conf;
	*ret = o;
	return ops_add(ops, op_capture_methods, o);
}

void op_capture_free(struct op_capture *o)
{
	free(o);
}
