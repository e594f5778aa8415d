/* api.h - the socket where users' programs ask about a running task
 *
 * task.RANK.sock in the step's directory: JSON-RPC 2.0, a line each, as
 * vmstep-api(7) describes it. Who may ask is told by SO_PEERCRED. A client that
 * does not read its answers is not read from either; nothing else waits for it.
 *
 * Owns:    the socket, the connections. Borrows the loop and the methods.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_API_H
#define VMSTEP_HELPER_API_H

#include <jansson.h>
#include <stddef.h>

#include "errmsg.h"
#include "loop.h"
#include "rpc.h"

#define API_PROTO     1
#define API_LINE_MAX  (64 * 1024)	 /* of a request */
#define API_REPLY_MAX (16 * 1024 * 1024) /* of an answer */
#define API_CLIENTS   32

struct api;

/* Listen as @name in directory @dir (both borrowed), for @methods, which get
 * @arg. Each client is greeted with a "hello" whose params are @hello (owned,
 * also on failure). */
int api_new(struct loop *l, int dir, const char *name,
	    const struct rpc_method *methods, void *arg, json_t *hello,
	    struct api **ret, struct errmsg *err);
/* NULL is fine. The socket's name goes; open calls are answered to nobody. */
void api_free(struct api *a);

/* What a client's bytes do to @rpc: each whole line of @data, from *len bytes,
 * is received, and what is left is moved to its front. -EMSGSIZE: what is left
 * is longer than a line may be. */
int api_take_lines(struct rpc *rpc, char *data, size_t *len);

#endif
