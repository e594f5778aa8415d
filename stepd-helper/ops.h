/* ops.h - where an op goes: the modules' methods under one roof
 *
 * Each module adds a table of methods; who asks (a program of the user's, the
 * guest, another task) comes here through its rpc's handler, ops_handle(). Each
 * method is a row of lib/opcat.h, which says whether a guest may ask for it,
 * and what it takes: a parameter that is not there is refused.
 *
 * Owns:   the list of tables. Borrows the tables and their args.
 */
#ifndef VMSTEP_OPS_H
#define VMSTEP_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "rpc.h"

struct ops;
struct client; /* of api.h */

enum ops_who {
	OPS_USER,  /* over the task's socket */
	OPS_GUEST, /* the guest of this task, which is not trusted */
	OPS_TASK,  /* another task of the step, for its user */
};

/* The handler's arg: rpc_call_origin() of each call. */
struct ops_origin {
	struct ops *ops;
	enum ops_who who;
	struct client *client; /* of a user; NULL */
	uint32_t rank;	       /* of another task */
};

/* Has it answered, or taken, @call, which is for another task? @params have
 * what it tells that by. */
typedef bool (*ops_router_fn)(struct rpc_call *call, const char *method,
			      const json_t *params, void *arg);

/* @call, which is allowed, is this one's: to be answered, or to go on by
 * ops_go_on(), now or later. */
typedef void (*ops_gate_fn)(struct rpc_call *call, const char *method,
			    const json_t *params, void *arg);

struct ops *ops_new(void);    /* NULL: no memory */
void ops_free(struct ops *o); /* NULL is fine */

/* The methods get @arg. -ENOMEM, -EEXIST: one is there already. */
int ops_add(struct ops *o, const struct rpc_method *methods, void *arg);

/* While @in_force(@arg), a method that @methods has is theirs, too: for guests
 * whose agent is another. */
void ops_set_other(struct ops *o, const struct rpc_method *methods,
		   bool (*in_force)(void *arg), void *arg);

/* What is allowed to be asked goes to @fn first. NULL: to nobody. */
void ops_set_gate(struct ops *o, ops_gate_fn fn, void *arg);
void ops_go_on(struct ops *o, struct rpc_call *call, const char *method,
	       const json_t *params);
/* Then to @fn, but for ops that have a
 * parameter "to" of their own. */
/* Methods with a colon, KERNEL:OP: those of the guest's kernels. A guest may
 * ask for its own. */
typedef void (*ops_kernel_fn)(struct rpc_call *call, const char *method,
			      const json_t *params, void *arg);
void ops_set_kernels(struct ops *o, ops_kernel_fn fn, void *arg);

/* What is allowed to be asked goes to @fn first. */
void ops_set_router(struct ops *o, ops_router_fn fn, void *arg);
/* @method, which is there, of this task. */
void ops_carry_out(struct ops *o, struct rpc_call *call, const char *method,
		   const json_t *params);
/* Who asks: a rank, where that is another task; else @self. */
uint32_t ops_rank(const struct rpc_call *call, uint32_t self);
bool ops_is_guest(const struct rpc_call *call);

/* A rpc_handler_fn; @origin is a struct ops_origin. */
void ops_handle(struct rpc_call *call, const char *method, const json_t *params,
		void *origin);

#endif
