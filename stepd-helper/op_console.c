#include <config.h>

#include "op_console.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cleanup.h"
#include "console.h"
#include "op_io.h"
#include "param.h"

struct op_console {
	struct machine *machine;
};

/* No stream: what is kept now is the answer. */
static void show(struct rpc_call *call, const struct console *c)
{
	_cleanup_free_ char *data = NULL;
	uint64_t dropped;
	size_t len;

	data = console_kept(c, &len, &dropped);
	if (!data)
		rpc_fail(call, RPC_INTERNAL, "out of memory");
	else
		rpc_result(call, json_pack("{s:o, s:I}", "data",
					   param_from_bytes(data, len),
					   "dropped", (json_int_t)dropped));
}

static int attach(struct rpc_call *call, const json_t *params,
		  struct console *c, bool input, bool kept, struct errmsg *err)
{
	const bool wanted[OP_STREAMS] = { [OP_IN] = input, [OP_OUT] = true };
	int fd[OP_STREAMS] = { -1, -1, -1 };
	struct op_io io = OP_IO_NONE;
	int r = op_io_open(&io, call, params, wanted, fd, err);

	if (r == 0) {
		r = console_attach(c, TAKE_FD(fd[OP_OUT]), TAKE_FD(fd[OP_IN]),
				   kept);
		errmsg_set(err, r, "console");
	}
	for (int i = 0; i < OP_STREAMS; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	if (r < 0)
		op_io_drop(&io, call);
	else
		op_io_answer(&io, call, json_object());
	return r;
}

static void vm_console(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_console *o = arg;
	struct console *c = machine_console(o->machine);
	bool input = false, kept = true;
	struct errmsg err;
	int r = param_bool(params, "input", &input, &err);

	if (r == 0)
		r = param_bool(params, "kept", &kept, &err);
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	} else if (!c) {
		rpc_fail(call, RPC_E_STATE, "the VM has not been started yet");
	} else if (!json_object_get(params, "io")) {
		show(call, c);
	} else {
		r = attach(call, params, c, input, kept, &err);
		if (r == -EBUSY)
			rpc_fail(call, RPC_E_BUSY,
				 "another one types at this console");
		else if (r < 0)
			rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	}
}

const struct rpc_method op_console_methods[] = {
	{ "vm.console", vm_console },
	{ 0 },
};

int op_console_new(struct machine *m, struct ops *ops, struct op_console **ret)
{
	struct op_console *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->machine = m;
	r = ops_add(ops, op_console_methods, o);
	if (r < 0) {
		free(o);
		return r;
	}
	*ret = o;
	return 0;
}

void op_console_free(struct op_console *o)
{
	free(o);
}
