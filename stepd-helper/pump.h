/* pump.h - bytes between two sockets, both ways, as they are
 *
 * The end of one side's bytes is passed on to the other (shutdown); when both
 * have ended, or one is broken, it is over. A side that does not read makes the
 * other wait.
 *
 * Owns:   both sockets. Thread: the loop's.
 */
#ifndef VMSTEP_PUMP_H
#define VMSTEP_PUMP_H

#include <stddef.h>

#include "loop.h"

struct pump;

/* Takes @a and @b, also on failure. The @len bytes of @first go to @b before
 * what @a says. @over is called once, from the loop; pump_free() may follow
 * from there. -errno. */
int pump_new(struct loop *l, int a, int b, const void *first, size_t len,
	     void (*over)(void *arg), void *arg, struct pump **ret);
void pump_free(struct pump *p); /* NULL is fine */

#endif
