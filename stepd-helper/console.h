/* console.h - the guest's serial console, and QEMU's own last words
 *
 * Reads a descriptor until its end, keeps the last CONSOLE_KEEP bytes, and
 * passes everything on to a file where one is wanted. That never waits: a
 * reader that falls further behind than CONSOLE_KEEP finds a line that says how
 * much is missing.
 */
#ifndef VMSTEP_CONSOLE_H
#define VMSTEP_CONSOLE_H

#include <stddef.h>

#include "errmsg.h"
#include "loop.h"

#define CONSOLE_KEEP (64 * 1024)

struct console;

/* Takes @fd, and @copy_fd (-1: no copy), which does not block from now on: the
 * flags that it may share are put back at the end. */
int console_new(struct loop *l, int fd, int copy_fd, struct console **ret,
		struct errmsg *err);
/* Waits a second at the most for who reads the copy. NULL is fine. */
void console_free(struct console *c);
/* Read what is there now, without the loop: before the last words are shown. */
void console_drain(struct console *c);
/* The last @lines lines, without control characters (plain.h); to be freed.
 * NULL if none. */
char *console_tail(const struct console *c, unsigned int lines);

#endif
