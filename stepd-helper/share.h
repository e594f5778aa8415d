/* share.h - a directory of the node that a guest sees as it is
 *
 * By virtiofs where a virtiofsd works for an ordinary user (the Rust one, in a
 * user namespace of its own), else by QEMU's 9p. Which that is, is tried: the
 * daemon is started and asked. Either way the guest's root is the user: what it
 * makes belongs to the user, and it has no rights that the user has not. Names
 * are walked from the directory's descriptor, and no symbolic link is followed
 * on the node.
 *
 * Owns:   the daemon, and QEMU's end of its socket until QEMU has it.
 * Thread: the loop's.
 */
#ifndef VMSTEP_SHARE_H
#define VMSTEP_SHARE_H

#include <stdbool.h>
#include <sys/types.h>

#include "args.h"
#include "errmsg.h"

#define SHARES_MAX 8 /* of a VM */

struct share {
	char *path; /* owned; without links */
	char tag[32];
	bool ro;
	bool virtiofs; /* else 9p */
	pid_t pid;     /* of virtiofsd; 0: none */
};

/* Start @program (a path, or a name to be looked for) for s->path, with a
 * socket in @dir that is gone at once. Returns QEMU's end, or -errno with why
 * virtiofs is not to be had here. */
int share_start(struct share *s, const char *program, const char *dir,
		struct errmsg *err);
/* QEMU's arguments; @fd: what QEMU has share_start()'s descriptor as. */
void share_args(struct args *a, const struct share *s, int fd, bool kvm);
void share_done(struct share *s); /* ends it */

#endif
