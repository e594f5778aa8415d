/* table.h - the nodes of the step: who has which ranks, and where it listens
 *
 * Owns:    a copy of what the text said. Read-only once made.
 */
#ifndef VMSTEP_TABLE_H
#define VMSTEP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "rankset.h"

#define TABLE_NONE	UINT32_MAX
#define TABLE_BYTES_MAX (64 * 1024 * 1024)

struct table;

/* One line a node, in node order: "ADDRESS:PORT RANKS". Every rank below
 * @nranks is on exactly one of the @nnodes nodes. -EINVAL with words else;
 * -ENOMEM. */
int table_parse(const char *text, size_t len, uint32_t nnodes, uint32_t nranks,
		struct table **ret, struct errmsg *err);
/* The same from the file @fd (borrowed), of up to TABLE_BYTES_MAX. */
int table_read(int fd, uint32_t nnodes, uint32_t nranks, struct table **ret,
	       struct errmsg *err);
void table_free(struct table *t); /* NULL is fine */

uint32_t table_nnodes(const struct table *t);
/* The node of @rank, by binary search; TABLE_NONE where it is no rank. */
uint32_t table_node(const struct table *t, uint32_t rank);
const char *table_address(const struct table *t, uint32_t node);
/* Add the ranks of @node to @ret. 0 or -ENOMEM. */
int table_ranks(const struct table *t, uint32_t node, struct rankset *ret);
/* Are @ranks exactly those of @node? */
bool table_is(const struct table *t, uint32_t node,
	      const struct rankset *ranks);

#endif
