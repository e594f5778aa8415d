#include <config.h>

#include "op_plain.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "log.h"
#include "param.h"

struct nap {
	LIST_ENTRY(nap) next;
	struct rpc_call *call;
	struct loop_timer *timer;
};

struct op_plain {
	struct loop *loop;
	LIST_HEAD(, nap) naps;
};

static void nap_free(struct nap *n)
{
	LIST_REMOVE(n, next);
	loop_timer_free(n->timer);
	free(n);
}

static void on_time_up(void *arg)
{
	struct nap *n = arg;

	rpc_result(n->call, NULL);
	nap_free(n);
}

static void on_gone(struct rpc_call *call, void *arg)
{
	rpc_result(call, NULL);
	nap_free(arg);
}

static void sleep_op(struct rpc_call *call, const json_t *params, void *arg)
{
	const json_t *given = json_object_get(params, "seconds");
	double s = json_number_value(given);
	struct op_plain *p = arg;
	struct nap *n;

	if (!json_is_number(given) || !(s >= 0 && s <= OP_SLEEP_MAX_S)) {
		rpc_failf(call, RPC_INVALID_PARAMS,
			  "seconds: not a number from 0 to %d", OP_SLEEP_MAX_S);
		return;
	}
	n = calloc(1, sizeof(*n));
	if (n) {
		n->call = call;
		LIST_INSERT_HEAD(&p->naps, n, next);
		if (loop_timer_add(p->loop, (int64_t)(s * 1000), on_time_up, n,
				   &n->timer) == 0) {
			rpc_on_gone(call, on_gone, n);
			return;
		}
		nap_free(n);
	}
	rpc_fail(call, RPC_INTERNAL, "out of memory");
}

static void log_write(struct rpc_call *call, const json_t *params, void *arg)
{
	static const char *const levels[] = { "err", "warn", "info", "debug",
					      NULL };
	static_assert(LOG_LEVEL_ERR == 0 && LOG_LEVEL_DEBUG == 3,
		      "the words are in the order of the levels");
	_cleanup_free_ char *text = NULL;
	int level = LOG_LEVEL_INFO;
	struct errmsg err;
	int r = param_text(params, "text", &text, &err);

	if (r == 0 && !text)
		r = errmsg_say(&err, -EINVAL, "text: is missing");
	if (r == 0)
		r = param_word(params, "level", levels, &level, &err);
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (ops_is_guest(call))
		log_limited((enum log_level)level, "the guest says: %s", text);
	else
		log_at((enum log_level)level, "%s", text);
	rpc_result(call, NULL);
}

const struct rpc_method op_plain_methods[] = {
	{ "log.write", log_write },
	{ "sleep", sleep_op },
	{ 0 },
};

int op_plain_new(struct loop *l, struct ops *ops, struct op_plain **ret)
{
	struct op_plain *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->loop = l;
	LIST_INIT(&p->naps);
	*ret = p;
	return ops_add(ops, op_plain_methods, p);
}

void op_plain_free(struct op_plain *p)
{
	struct nap *n;

	if (!p)
		return;
	while ((n = LIST_FIRST(&p->naps))) {
		rpc_fail(n->call, RPC_E_STATE, "the task has ended");
		nap_free(n);
	}
	free(p);
}
