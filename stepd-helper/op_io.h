/* op_io.h - how the streams of an op reach the user's program
 *
 *	fd      descriptors that came along with the request (SCM_RIGHTS)
 *	raw     the connection becomes the stream behind the answer
 *	events  notifications (stream.h)
 *
 * vmstep-api(7) has it for users.
 */
#ifndef VMSTEP_OP_IO_H
#define VMSTEP_OP_IO_H

#include <jansson.h>
#include <stdbool.h>

#include "errmsg.h"
#include "rpc.h"

enum { OP_IN, OP_OUT, OP_ERR, OP_STREAMS };

struct op_io {
	int ids[OP_STREAMS]; /* of events; 0: none */
	int raw;	     /* our end; -1: none */
};
#define OP_IO_NONE        \
	(struct op_io)    \
	{                 \
		.raw = -1 \
	}

/* The guest's ends of the @wanted streams in @fd (-1 where not wanted), the
 * caller's also on failure, as "io" of @params says. -EINVAL with words. */
int op_io_open(struct op_io *io, struct rpc_call *call, const json_t *params,
	       const bool wanted[OP_STREAMS], int fd[OP_STREAMS],
	       struct errmsg *err);
/* Answer @call with @result (stolen), and let them flow. */
void op_io_answer(struct op_io *io, struct rpc_call *call, json_t *result);
/* They never will; @call is not answered yet. */
void op_io_drop(struct op_io *io, const struct rpc_call *call);

#endif
