/* qemu_find.h - where QEMU is */
#ifndef VMSTEP_QEMU_FIND_H
#define VMSTEP_QEMU_FIND_H

#include "errmsg.h"

/* The path of QEMU: @name where it has a slash, else found in PATH. @origin
 * says in words who named it. To be freed; NULL with @err. */
char *qemu_find(const char *name, const char *origin, struct errmsg *err);

#endif
