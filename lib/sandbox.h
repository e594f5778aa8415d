/* sandbox.h - what a process may still do, for good: Landlock and seccomp
 *
 * A sandbox is made first, by names and descriptors, and then entered, by this
 * process or by a child between fork and exec. There is no way back: it holds
 * for whoever has entered, its later threads, what it forks and what it
 * becomes. Inside, what was not allowed fails with EACCES, or EPERM; what was
 * open before goes on working.
 *
 * Whoever has entered gains no privileges by exec, and where anything at all
 * is denied may neither trace processes outside, nor read their memory. UDP
 * stays open. On sockets with a path Landlock has no word: seccomp takes away
 * the system calls, whatever they are for.
 *
 * Thread: any; enter before there are threads, which would stay outside.
 */
#ifndef VMSTEP_SANDBOX_H
#define VMSTEP_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"

/* What may be done to a path, and to all that is below a directory. */
enum sandbox_right {
	SANDBOX_READ = 1, /* files, lists of directories */
	SANDBOX_EXEC = 2,
	SANDBOX_WRITE = 4,   /* into files that are there; ioctl of devices */
	SANDBOX_MAKE = 8,    /* names: made, removed, moved; no device files */
	SANDBOX_SOCKETS = 16 /* made and removed */
};

/* What is denied, but for what is allowed by name. */
enum sandbox_deny {
	SANDBOX_FILES = 1,	 /* all of the above */
	SANDBOX_TCP_BIND = 2,	 /* from Linux 6.7 on (ABI 4); no name helps */
	SANDBOX_TCP_CONNECT = 4, /* the same */
	/* from Linux 6.12 on (ABI 6): to signal processes outside, and to
	 * connect to their abstract sockets */
	SANDBOX_OTHERS = 8,
	/* by seccomp, with Landlock or without: */
	SANDBOX_UNIX = 16,    /* to make a unix socket that is no pair's */
	SANDBOX_CONNECT = 32, /* to connect any socket */
};

struct sandbox;

/* The ABI of the kernel's Landlock, 2 or more. 0: it has none, or it is
 * switched off, or it is Linux 5.13 to 5.18's, in which no file can be moved
 * from one directory to another. */
int sandbox_abi(void);

/* What a log should say of it: is it @wanted, and does the kernel have it? */
#define SANDBOX_TEXT 64
const char *sandbox_text(bool wanted, char text[SANDBOX_TEXT]);

/* Where the site wants one in any case: 0; or -ENOSYS with words, of @node, if
 * the kernel cannot. */
int sandbox_require(const char *node, struct errmsg *err);

/* @deny: enum sandbox_deny; 0: nothing. Where the kernel has no Landlock all
 * that remains is that no privileges are gained. */
int sandbox_new(unsigned int deny, struct sandbox **ret, struct errmsg *err);
void sandbox_free(struct sandbox *s); /* NULL is fine */

/* Allow @rights (enum sandbox_right) on @path. What is not there, or out of our
 * own reach, needs no rule. A file that takes the place of @path later is not
 * meant. */
int sandbox_path(struct sandbox *s, const char *path, unsigned int rights,
		 struct errmsg *err);
/* The same for what @fd (borrowed) is open on. */
int sandbox_fd(struct sandbox *s, int fd, unsigned int rights,
	       struct errmsg *err);
/* The same for @n paths. */
int sandbox_paths(struct sandbox *s, const char *const *paths, size_t n,
		  unsigned int rights, struct errmsg *err);

/* Allow what programs read of the system wherever they run: programs and
 * libraries (/usr, /lib, LD_LIBRARY_PATH's and those of @dirs, absolute with
 * ':' between them), what of /etc is needed by them and for names of hosts,
 * /proc, /sys, /dev/null and its like. @exec: also become a program of these.
 */
int sandbox_system(struct sandbox *s, bool exec, const char *dirs,
		   struct errmsg *err);

/* Async-signal-safe. 0 or -errno; @s may be entered again by other children. */
int sandbox_enter(const struct sandbox *s);

#endif
