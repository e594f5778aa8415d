/* orders.h - what the test asks a program of the fake Slurm for
 *
 * A description (desc.h) on an inherited descriptor; cluster.c writes it.
 */
#ifndef FAKE_SLURM_ORDERS_H
#define FAKE_SLURM_ORDERS_H

#include <stdint.h>

#include "option.h"

/* Read them, and take what leads to them out of the environment. */
void orders_read(void);
const char *order_text(const char *key); /* NULL: not said */
uint32_t order_number(const char *key);	 /* 0: not said */
/* All values of @key, NULL-terminated, how many in *ret_n if not NULL. */
char **order_list(const char *key, int *ret_n);

/* Take what @list has as an array that is NULL-terminated and lives as long as
 * the process. */
char **keep(struct strings *list);

#endif
