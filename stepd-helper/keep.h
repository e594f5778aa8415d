/* keep.h - output that nobody reads now, kept for who asks later
 *
 * The write end of a pipe is another's (the agent's channel); what comes is
 * kept up to a limit. Once someone is attached it goes there instead, first
 * what was kept, and waits for a slow reader; without one, what exceeds the
 * limit is counted and dropped, so that the writer goes on.
 *
 * Owns:   the pipe's read end, the bytes, the descriptor attached.
 * Thread: the loop's.
 */
#ifndef VMSTEP_KEEP_H
#define VMSTEP_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

struct keep;

/* *ret_fd: where to write to, the caller's; NULL: nothing flows, what there is
 * comes with keep_end(). @over (from the loop) is called
 * once the output has ended and all of it is kept or delivered. -errno. */
typedef void (*keep_fn)(void *arg);
int keep_new(struct loop *l, size_t limit, keep_fn over, void *arg,
	     struct keep **ret, int *ret_fd);
void keep_free(struct keep *k); /* NULL is fine */
/* Of what exceeds the limit the beginning is dropped, not the end. */
void keep_set_tail(struct keep *k);

/* Of one without a pipe: the output has ended, and was this; @dropped bytes of
 * it, or nobody knows how many but some, were lost before. @over may be called
 * from here. */
void keep_end(struct keep *k, const char *data, size_t len, uint64_t dropped);

/* Takes @fd, also on failure: -EBUSY: there is one already; -errno. It is
 * closed at the output's end. Where nobody reads it any more, what follows is
 * kept again. */
int keep_attach(struct keep *k, int fd);
bool keep_is_attached(const struct keep *k);

const char *keep_data(const struct keep *k, size_t *ret_len);
uint64_t keep_dropped(const struct keep *k); /* bytes */
bool keep_is_over(const struct keep *k);

#endif
