/* child.h - start programs so that they end when we do, and say why if not
 *
 * A child gets the descriptors it is given and no others, default signals, and
 * SIGKILL should this process die. What fails between fork and exec comes back
 * as step plus errno.
 */
#ifndef VMSTEP_CHILD_H
#define VMSTEP_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "errmsg.h"
#include "sandbox.h"

struct child_fd {
	int from; /* ours */
	int to;	  /* its number in the child */
};

struct child_spec {
	const char *const *argv; /* argv[0]: a path, or a name of PATH */
	const struct child_fd *fds;
	size_t n_fds;	  /* 0..2 must be among them */
	bool outlives_us; /* no parent-death signal; own session */
	/* Slurm signals all processes of a step; what is meant for the user's
	 * command may not end QEMU. It stays deaf to all that ends a process
	 * but SIGKILL. */
	bool deaf;
	const struct sandbox *sandbox; /* that it is in; NULL: none */
	bool private_files; /* what it makes is for its user only: umask 077 */
};

/* Returns 0 and its pid in *ret once its exec succeeded. */
int child_start(const struct child_spec *spec, pid_t *ret, struct errmsg *err);

/* Run to the end, @timeout_ms at the most, and return 0 if it exited with 0.
 * Its stderr's first lines are in @err else. It inherits @keep_fd (-1: none)
 * under the same number. */
int child_run(const char *const *argv, int keep_fd, int timeout_ms,
	      struct errmsg *err);

/* Run to the end in the same way; what it says at both outputs goes to @ret,
 * cut to @size. Returns its exit status, 128+n for signal n; -errno. */
int child_output(const char *const *argv, int timeout_ms, char *ret,
		 size_t size, struct errmsg *err);

#endif
