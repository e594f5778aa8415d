/* api.h - the socket where users' programs ask about a running task
 *
 * task.RANK.sock in the step's directory: JSON-RPC 2.0, a line each, as
 * vmstep-api(7) describes it. Who may ask is told by SO_PEERCRED. A client that
 * does not read its answers is not read from either; nothing else waits for it.
 *
 * Memory is bounded: by API_LINE_MAX for what each of API_CLIENTS has said, and
 * by API_OUT_SUM for what they all have not read; an answer beyond that is
 * RPC_E_FULL.
 *
 * A descriptor may come with a request (SCM_RIGHTS), for the method to take at
 * once: those that are left are closed.
 *
 * Owns:    the socket, the connections, descriptors that nobody has taken.
 *          Borrows the loop and the ops.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_API_H
#define VMSTEP_HELPER_API_H

#include <jansson.h>
#include <stddef.h>
#include <sys/queue.h>

#include "errmsg.h"
#include "loop.h"
#include "ops.h"
#include "rpc.h"
#include "stream.h"

#define API_PROTO     1
#define API_LINE_MAX  (1024 * 1024 + 4096) /* a MiB, and a bit around it */
#define API_REPLY_MAX (16 * 1024 * 1024)   /* of an answer */
#define API_CLIENTS   64
#define API_CALLS \
	1024 /* of a client that wait for their answer: then so does it */
#define API_OUT_SUM (64 * 1024 * 1024) /* that clients have not read */
#define API_BACKLOG (256 * 1024)       /* of notifications that wait */
#define API_FDS	    8 /* of a connection that wait to be taken */

struct api;

/* Listen as @name in directory @dir (both borrowed), for @ops. Each client is
 * greeted with a "hello" whose params are @hello (owned, also on failure). */
int api_new(struct loop *l, int dir, const char *name, struct ops *ops,
	    json_t *hello, struct api **ret, struct errmsg *err);
/* NULL is fine. The socket's name goes; open calls are answered to nobody. */
void api_free(struct api *a);

/* The first descriptor that came and was not taken, the caller's from now on;
 * -ENOENT. */
int api_take_fd(struct client *c);

/* Who has notifications for a client beside its answers. Such a client stays
 * when it has sent all. */
struct api_listener {
	LIST_ENTRY(api_listener) link;
	struct client *client;	 /* NULL: not with one */
	void (*room)(void *arg); /* what it was sent has gone out */
	void (*gone)(void *arg); /* it has left, and forgets the listener */
	void *arg;
};
void api_listen(struct client *c, struct api_listener *l); /* borrowed */
void api_unlisten(struct api_listener *l);
/* @params are stolen. -EAGAIN: it is not sent, as too much waits for the client
 * to read: room() will be called. */
int api_notify(struct client *c, const char *method, json_t *params);

/* Its streams by notifications. */
struct streams *api_streams(struct client *c);
/* What follows the line that is being dealt with is no line any more. */
void api_hold(struct client *c);
/* Once what it was answered has gone out, the connection becomes the other end
 * of socket @fd (taken), byte for byte, until that or the client has ended. -1:
 * it will not; it ends. */
void api_go_raw(struct client *c, int fd);

/* What a client's bytes do to @rpc: each whole line of @data, from *len bytes
 * of which the first @seen were there before and have no end of line, is
 * received, until *hold is set or @rpc has no room, and what is left is moved
 * to its front. -EMSGSIZE: what is left is longer than a line may be. */
int api_take_lines(struct rpc *rpc, char *data, size_t seen, size_t *len,
		   const bool *hold);

#endif
