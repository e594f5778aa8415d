/* stream.h - a stream as JSON-RPC notifications, for clients without
 *descriptors
 *
 *	stream.data   {stream, seq, data}     bytes, either way
 *	stream.eof    {stream}                no more of them, either way
 *	stream.credit {stream, bytes}         so many were taken: more may come
 *
 * STREAM_WINDOW bytes may be on their way; who sends more breaks the rules, and
 * its stream ends. So neither a client that does not read nor a guest that does
 * not costs more than that.
 *
 * Owns:   the streams of one connection. Borrows its rpc. Thread: the loop's.
 */
#ifndef VMSTEP_STREAM_H
#define VMSTEP_STREAM_H

#include <stdbool.h>

#include "loop.h"
#include "rpc.h"

#define STREAM_WINDOW (256 * 1024)
#define STREAMS_MAX   16 /* of a connection */

struct streams;

struct streams *streams_new(struct loop *l); /* NULL: no memory */
/* Whose methods these are; before anything else. */
void streams_set_rpc(struct streams *s, struct rpc *rpc);
void streams_free(struct streams *s); /* NULL is fine */

/* A stream to the guest (@to_guest) or from it: *ret_fd is the guest's end, the
 * caller's; *ret_id its number. Nothing flows before streams_begin(). -EMFILE,
 * -errno. */
int streams_add(struct streams *s, bool to_guest, int *ret_fd, int *ret_id);
/* The client knows the number. */
void streams_begin(struct streams *s, int id);
/* It never will. */
void streams_drop(struct streams *s, int id);

/* What clients say; the methods' arg is the struct streams. */
extern const struct rpc_method streams_methods[];

#endif
