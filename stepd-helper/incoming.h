/* incoming.h - has QEMU load what was saved, instead of booting
 *
 * Borrows: the machine. Thread: the loop's.
 */
#ifndef VMSTEP_INCOMING_H
#define VMSTEP_INCOMING_H

#include "machine.h"

struct incoming;

/* It is loaded, and stopped; or @error has words. Once. A QEMU that cannot load
 * it may also end instead. */
typedef void (*incoming_fn)(const char *error, void *arg);
/* QEMU was started with -incoming defer and QEMU_FD_STATE. */
int incoming_start(struct machine *m, incoming_fn fn, void *arg,
		   struct incoming **ret);
void incoming_free(struct incoming *i); /* NULL is fine */

#endif
