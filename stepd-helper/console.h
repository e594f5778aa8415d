/* console.h - the guest's serial console, and QEMU's own last words
 *
 * Reads a descriptor until its end, keeps the last CONSOLE_KEEP bytes, and
 * passes everything on to a file where one is wanted, and to who attaches; one
 * of these may type. That never waits: a reader that falls further behind than
 * CONSOLE_KEEP finds a line that says how much is missing.
 */
#ifndef VMSTEP_CONSOLE_H
#define VMSTEP_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
/* Another reader: what is @kept, and what comes, goes to @fd until it is closed
 * or the console ends. What comes from @in_fd (-1: nothing) is typed: -EBUSY
 * where another one types. Both are taken, also on failure, and do not block
 * from now on. */
int console_attach(struct console *c, int fd, int in_fd, bool kept);
/* What is kept, to be freed, and how many bytes before that are not. NULL: no
 * memory. */
char *console_kept(const struct console *c, size_t *ret_len,
		   uint64_t *ret_dropped);
/* Read what is there now, without the loop: before the last words are shown. */
void console_drain(struct console *c);
/* The last @lines lines, without control characters (plain.h); to be freed.
 * NULL if none. */
char *console_tail(const struct console *c, unsigned int lines);

#endif
