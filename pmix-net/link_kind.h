/* link_kind.h - what a node's links are like, and how its address says so
 *
 * All nodes of a step have the same kind of link. Before the address that its
 * kind dials, a node puts what its links are like (WIRE_SEALED, WIRE_UCX):
 * nothing, "aes:", "ucx:" or "ucx+aes:". So a node that has others is found,
 * and named, as soon as the table of nodes is there. Pure.
 */
#ifndef VMSTEP_LINK_KIND_H
#define VMSTEP_LINK_KIND_H

#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "table.h"

enum link_kind { LINK_AUTO, LINK_TCP, LINK_UCX };

/* "tcp, encrypted" */
const char *link_kind_text(uint32_t flags);
/* @address, of @size bytes, gets what says @flags before it; -EINVAL, and it
 * stays as it is, where that does not fit. */
int link_kind_mark(uint32_t flags, char *address, size_t size);
/* What is to be dialled of it. */
const char *link_kind_plain(const char *address);
/* -EINVAL, with the first node that has other links than @flags says. */
int link_kind_check(uint32_t flags, const struct table *t, struct errmsg *err);

#endif
