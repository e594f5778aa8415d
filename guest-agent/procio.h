/* procio.h - a process's stdin, stdout and stderr, on the channels of a mux
 *
 * Pipes, or one pty. Owns our ends of them; the mux's channels have copies, so
 * that output can still be read, to nowhere, when the host is gone: a process
 * is not to die of SIGPIPE for that. When the host gives a channel up while it
 * is there, our copy is closed, and the process learns.
 *
 * A host that is gone may be one that has moved: the guest was saved, and goes
 * on elsewhere. So for PROCIO_HOLD_MS nothing is read; a host that comes back
 * in time attaches its channels and has lost none of it.
 *
 * Thread: the loop's.
 */
#ifndef VMSTEP_PROCIO_H
#define VMSTEP_PROCIO_H

#include <stdbool.h>
#include <sys/types.h>

#include "errmsg.h"
#include "loop.h"
#include "mux.h"

/* setting up takes long where many guests share a CPU */
#define PROCIO_HOLD_MS 60000

struct procio;

struct procio_spec {
	unsigned int in, out, err; /* channels; 0: /dev/null */
	bool pty;		   /* in and out on a pty, err not used */
	unsigned short rows, cols;
	uid_t owner; /* of the pty */
};

/* An output has ended: see procio_is_done(). */
typedef void (*procio_fn)(void *arg);

/* The child's ends go to @child, -1 for /dev/null; with a pty the first is all
 * three. procio_close_child() after fork. Returns 0 or -errno with words:
 * -EBUSY where a channel is in use. */
int procio_open(struct loop *l, struct mux *m, const struct procio_spec *spec,
		procio_fn fn, void *arg, struct procio **ret, int child[3],
		struct errmsg *err);
void procio_close_child(int child[3]);
/* Resets what is still open. NULL is fine. @error goes to the host. */
void procio_free(struct procio *io, int error);

/* A host that has come back takes over what is not at its end, by @m and the
 * channels of @spec: *ret_out, *ret_err say which of them it does. The input of
 * a pipe has ended with the host before. -EBUSY: a host has it. */
int procio_attach(struct procio *io, struct mux *m,
		  const struct procio_spec *spec, bool *ret_out, bool *ret_err);

/* No host will attach to it. */
void procio_let_go(struct procio *io);

bool procio_is_done(const struct procio *io); /* all outputs at their end */
/* Nothing is on its way: the outputs that are open are empty, and the host has
 * taken all that was read from them. */
bool procio_is_quiet(const struct procio *io);
/* The process has ended: tell the host to send no more. */
void procio_end_input(struct procio *io);
int procio_resize(struct procio *io, unsigned short rows, unsigned short cols);

#endif
