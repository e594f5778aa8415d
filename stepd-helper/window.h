/* window.h - this node's fabric-attached memory, as this helper sees it
 *
 * A mapping of the object that fam.h makes. Guests, other helpers and the user
 * change it at any time, so what is decided upon is copied out first. Where its
 * owner cuts it, or no memory can be had for it, there are zeroes, and
 * window_is_gone().
 *
 * Owns:    the mapping, the descriptor, the guard against SIGBUS.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_WINDOW_H
#define VMSTEP_HELPER_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "spec.h"
#include "task.h"

struct window;

/* -ENOTSUP: the step has none (no --vm-fam); -errno. */
int window_open(const struct task *t, const struct spec *s, struct window **ret,
		struct errmsg *err);
void window_free(struct window *w); /* NULL is fine */

uint64_t window_bytes(const struct window *w);
bool window_is_gone(const struct window *w);

/* Is [@at, @at + @len) in it? */
bool window_has(const struct window *w, uint64_t at, uint64_t len);
/* What is there, which the caller has checked. */
void window_read(const struct window *w, uint64_t at, void *to, size_t len);
void window_write(struct window *w, uint64_t at, const void *from, size_t len);
void *window_word(struct window *w, uint64_t at, size_t size);
/* Zeroes, whose whole pages are given back. */
void window_clear(struct window *w, uint64_t at, uint64_t len);

#endif
