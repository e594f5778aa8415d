/* writeall.h - write all of it, to a file, a pipe or a socket that blocks */
#ifndef VMSTEP_WRITEALL_H
#define VMSTEP_WRITEALL_H

#include <stddef.h>

/* 0 or -errno; some of it may be written then. */
int write_all(int fd, const void *data, size_t len);

#endif
