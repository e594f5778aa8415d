#include <config.h>

#include "op_file.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "api.h"
#include "cleanup.h"
#include "op_agent.h"
#include "opcat.h"
#include "param.h"

/* A copy, until the agent has answered. */
struct copy {
	LIST_ENTRY(copy) next;
	struct op_file *owner;
	struct rpc_call *call;
	unsigned int chan;
	bool sending; /* into the guest */
	bool open;    /* the channel */
};

struct op_file {
	const struct service_conf conf;
	LIST_HEAD(, copy) copies;
};

/* -- parameters ------------------------------------------------------------ */

/* For the agent: a new reference, or NULL without memory. */
static json_t *agent_params(const struct op_file *o, const json_t *params)
{
	json_t *p = json_deep_copy(params);

	if (p && !json_object_get(p, "user"))
		json_object_set_new(p, "user",
				    json_string(o->conf.spec->guest_user));
	json_object_del(p, "io");
	return p;
}

/* -- copies ---------------------------------------------------------------- */

static void copy_free(struct copy *c)
{
	struct guest *g = machine_guest(c->owner->conf.machine);

	LIST_REMOVE(c, next);
	if (c->open && g)
		mux_reset(guest_mux(g), c->chan, c->sending, ECANCELED);
	free(c);
}

static void on_data_end(unsigned int chan, int error, void *arg)
{
	struct copy *c = arg;

	c->open = false; /* the agent has the last word */
}

static void on_answer(const struct rpc_reply *reply, void *arg)
{
	struct copy *c = arg;

	rpc_pass_on(c->call, reply);
	copy_free(c);
}

/* Who asked has left, or has taken it back: there will be no such file. */
static void on_gone(struct rpc_call *call, void *arg)
{
	struct copy *c = arg;
	struct guest *g = machine_guest(c->owner->conf.machine);

	if (g)
		guest_forget_request(g, c);
	rpc_result(call, NULL);
	copy_free(c);
}

/* @fd is taken. */
static int open_channel(struct copy *c, struct guest *g, int fd)
{
	struct mux *m = guest_mux(g);
	int r;

	c->chan = guest_take_channels(g, 1);
	r = c->sending ? mux_send_fd(m, c->chan, fd, on_data_end, c)
		       : mux_recv_fd(m, c->chan, fd, on_data_end, c);
	c->open = r == 0;
	return r;
}

int op_file_take_data(struct rpc_call *call, const json_t *params,
		      struct errmsg *err)
{
	static const char *const words[] = { "fd", NULL };
	const struct ops_origin *from = rpc_call_origin(call);
	int io = -1, fd, r = param_word(params, "io", words, &io, err);

	if (r < 0)
		return r;
	if (io < 0)
		return errmsg_say(err, -EINVAL,
				  "io has to say how the data is carried: fd");
	fd = from && from->client ? api_take_fd(from->client) : -ENOENT;
	if (fd < 0)
		return errmsg_say(
			err, -EINVAL,
			"io: fd: a descriptor for the data has to come with the request");
	return fd;
}

static void begin(struct op_file *o, struct rpc_call *call, const char *method,
		  const json_t *params, int fd, bool sending)
{
	struct guest *g = op_agent_guest(o->conf.machine, call);
	struct copy *c = g ? calloc(1, sizeof(*c)) : NULL;
	json_t *p;
	int r;

	if (!c) {
		close(fd);
		if (g)
			op_agent_failed(call, -ENOMEM);
		return;
	}
	*c = (struct copy){ .owner = o, .call = call, .sending = sending };
	LIST_INSERT_HEAD(&o->copies, c, next);
	r = open_channel(c, g, fd);
	p = agent_params(o, params);
	if (r == 0 && !p)
		r = -ENOMEM;
	if (r == 0) {
		json_object_set_new(p, "data", json_integer(c->chan));
		r = guest_request(g, method, p, on_answer, c);
		if (r == 0)
			rpc_on_gone(call, on_gone, c);
	} else {
		json_decref(p);
	}
	if (r < 0) {
		op_agent_failed(call, r);
		copy_free(c);
	}
}

static void copy(struct op_file *o, struct rpc_call *call, const char *method,
		 const json_t *params, bool sending)
{
	struct errmsg err;
	int fd;

	fd = op_file_take_data(call, params, &err);
	if (fd < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else
		begin(o, call, method, params, fd, sending);
}

static void file_get(struct rpc_call *call, const json_t *params, void *arg)
{
	copy(arg, call, "file.get", params, false);
}

static void file_put(struct rpc_call *call, const json_t *params, void *arg)
{
	copy(arg, call, "file.put", params, true);
}

static void tree_get(struct rpc_call *call, const json_t *params, void *arg)
{
	copy(arg, call, "tree.get", params, false);
}

static void tree_put(struct rpc_call *call, const json_t *params, void *arg)
{
	copy(arg, call, "tree.put", params, true);
}

/* -- the others ------------------------------------------------------------ */

static void pass(struct op_file *o, struct rpc_call *call, const char *method,
		 const json_t *params)
{
	json_t *p;

	p = agent_params(o, params);
	if (p)
		op_agent_ask(o->conf.machine, call, method, p);
	else
		op_agent_failed(call, -ENOMEM);
}

#define PASS(name)                                                           \
	static void file_##name(struct rpc_call *call, const json_t *params, \
				void *arg)                                   \
	{                                                                    \
		pass(arg, call, "file." #name, params);                      \
	}

/* The agent's name for it is older. */
static void file_mount(struct rpc_call *call, const json_t *params, void *arg)
{
	pass(arg, call, "fs.mount", params);
}

static void file_unmount(struct rpc_call *call, const json_t *params, void *arg)
{
	pass(arg, call, "fs.unmount", params);
}

PASS(hash)
PASS(list)
PASS(mkdir)
PASS(read)
PASS(readlink)
PASS(remove)
PASS(rename)
PASS(set)
PASS(stat)
PASS(symlink)
PASS(truncate)
PASS(write)

const struct rpc_method op_file_methods[] = {
	{ "file.get", file_get },
	{ "file.hash", file_hash },
	{ "file.list", file_list },
	{ "file.mkdir", file_mkdir },
	{ "file.mount", file_mount },
	{ "file.put", file_put },
	{ "file.read", file_read },
	{ "file.readlink", file_readlink },
	{ "file.remove", file_remove },
	{ "file.rename", file_rename },
	{ "file.set", file_set },
	{ "file.stat", file_stat },
	{ "file.symlink", file_symlink },
	{ "file.truncate", file_truncate },
	{ "file.unmount", file_unmount },
	{ "file.write", file_write },
	{ "tree.get", tree_get },
	{ "tree.put", tree_put },
	{ 0 },
};

int op_file_new(const struct service_conf *conf, struct ops *ops,
		struct op_file **ret)
{
	const struct op_file init = { .conf = *conf };
	struct op_file *o = malloc(sizeof(*o));

	if (!o)
		return -ENOMEM;
	memcpy(o, &init, sizeof(init));
	LIST_INIT(&o->copies);
	*ret = o;
	return ops_add(ops, op_file_methods, o);
}

void op_file_free(struct op_file *o)
{
	struct copy *c;
	struct guest *g;

	if (!o)
		return;
	g = machine_guest(o->conf.machine);
	while ((c = LIST_FIRST(&o->copies))) {
		if (g)
			guest_forget_request(g, c);
		rpc_fail(c->call, RPC_E_STATE, "the task has ended");
		copy_free(c);
	}
	free(o);
}
