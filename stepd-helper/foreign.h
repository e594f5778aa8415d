/* foreign.h - disk formats of others: can a file of theirs name another file?
 *
 * Only what keeps all of its data in itself is taken; the rest is refused with
 * words that say how to convert it. For qcow2 see qcow2.h.
 */
#ifndef VMSTEP_FOREIGN_H
#define VMSTEP_FOREIGN_H

#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "imagespec.h"

#define FOREIGN_HEAD (64 * 1024) /* bytes that are looked at */
#define FOREIGN_TAIL 512

/* @head: the first @len bytes of a file (FOREIGN_HEAD, or all of it if it is
 * shorter), @tail: its last FOREIGN_TAIL, NULL if it is shorter. @kind:
 * IMAGE_VMDK, IMAGE_VDI or IMAGE_VPC. Returns 0, or -errno with words that
 * follow the file's name. */
int foreign_check(enum image_kind kind, const uint8_t *head, size_t len,
		  const uint8_t *tail, struct errmsg *err);

#endif
