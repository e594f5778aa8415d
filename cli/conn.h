/* conn.h - a connection to a task of this node, in a loop: vmstep-api(7)
 *
 * Owns:   the connection, and the requests that wait. Borrows the loop.
 * Thread: the loop's.
 */
#ifndef VMSTEP_CLI_CONN_H
#define VMSTEP_CLI_CONN_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "option.h"
#include "rankset.h"
#include "rpc.h"

#define CONN_FDS 3 /* that go along with a request */

struct conn;

/* The ranks of the step whose tasks have sockets in @dir, one bit of set @ret
 * (an empty one) each. */
int conn_ranks(const char *dir, struct rankset *ret, struct errmsg *err);

/* Connect to task @rank's in @dir. When it ends, requests are answered by
 * RPC_E_UNREACHABLE, and @gone (NULL: not wanted) is called. -ENOENT: it has
 * ended. */
int conn_open(struct loop *l, const char *dir, uint32_t rank,
	      void (*gone)(void *arg), void *arg, struct conn **ret,
	      struct errmsg *err);
void conn_free(struct conn *c); /* NULL is fine */

/* How many tasks the step has; 0 before the task has said so. */
json_int_t conn_tasks(const struct conn *c);

/* What the task asks or tells by itself goes to @fn. */
void conn_set_handler(struct conn *c, rpc_handler_fn fn, void *arg);

/* As rpc_request(); the descriptors @fds (borrowed) go along. */
int conn_ask(struct conn *c, const char *method, json_t *params, const int *fds,
	     size_t n_fds, rpc_reply_fn fn, void *arg);

#endif
