/* flow.h - bytes on their way through a descriptor: buffered, counted, digested
 *
 * Blocking; for programs and processes whose work is one copy. Owns its buffer,
 * borrows the descriptor. Each reads or writes, not both.
 */
#ifndef VMSTEP_FLOW_H
#define VMSTEP_FLOW_H

#include <stdint.h>
#include <sys/types.h>

#include "digest.h"

#define FLOW_BUF (128 * 1024)

struct flow;
/* @bytes have passed so far. A negative errno stops the copy with it. */
typedef int (*flow_fn)(uint64_t bytes, void *arg);

struct flow {
	int fd;
	uint64_t bytes;	      /* through the descriptor */
	struct digest digest; /* of these */
	flow_fn moved;	      /* NULL: nobody asks */
	void *arg;
	uint8_t *buf;
	size_t at, len;
};

int flow_init(struct flow *f, int fd, enum digest_kind kind); /* -ENOMEM */
void flow_done(struct flow *f);

/* Some bytes, up to @n; 0 at the end; -errno. */
ssize_t flow_read(struct flow *f, void *p, size_t n);
/* Exactly @n; -ENODATA when the end comes before. */
int flow_read_all(struct flow *f, void *p, size_t n);
int flow_skip(struct flow *f, uint64_t n);
/* All that is left. */
int flow_drain(struct flow *f);

int flow_write(struct flow *f, const void *p, size_t n);
int flow_zeros(struct flow *f, uint64_t n);
int flow_flush(struct flow *f);

#endif
