#include <config.h>

#include "slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOOR  0x7fffffff /* locked while one counts, or removes: others wait */
#define TRIES 100	 /* each time one has removed it before our eyes */

static int lock(int fd, int type, off_t at, off_t len, int cmd)
{
	struct flock l = { .l_type = (short)type,
			   .l_whence = SEEK_SET,
			   .l_start = at,
			   .l_len = len };
	int r;

	do
		r = fcntl(fd, cmd, &l);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static bool is_still_there(int top, int fd)
{
	struct stat at, now;

	return fstat(fd, &at) == 0 &&
	       fstatat(top, SLOTS_FILE, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	       at.st_dev == now.st_dev && at.st_ino == now.st_ino;
}

/* The file with its door locked. */
static int enter(int top)
{
	for (int i = 0; i < TRIES; i++) {
		int fd =
			openat(top, SLOTS_FILE,
			       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		int r = fd < 0 ? -errno
			       : lock(fd, F_WRLCK, DOOR, 1, F_OFD_SETLKW);

		if (r == 0 && is_still_there(top, fd))
			return fd;
		if (fd >= 0)
			close(fd);
		if (r < 0)
			return r;
	}
	return -ELOOP;
}

static int take(int fd, unsigned int max, unsigned int n, unsigned int *ret_got)
{
	int r = 0;

	*ret_got = 0;
	for (unsigned int i = 0; i < max && *ret_got < n && r == 0; i++) {
		r = lock(fd, F_WRLCK, i, 1, F_OFD_SETLK);
		if (r == 0)
			++*ret_got;
		else if (r == -EAGAIN || r == -EACCES)
			r = 0; /* another VM's */
	}
	return r;
}

int slots_take(int top, unsigned int max, unsigned int n, struct errmsg *err)
{
	unsigned int got = 0;
	int fd = enter(top), r = fd;

	if (fd >= 0)
		r = take(fd, max, n, &got);
	if (r >= 0 && got == n) {
		lock(fd, F_UNLCK, DOOR, 1, F_OFD_SETLK);
		return fd;
	}
	if (fd >= 0) /* behind the door still: nobody counts what it took */
		slots_drop(top, fd);
	if (r < 0)
		return errmsg_set(err, r, "max_vms_per_node: %s", SLOTS_FILE);
	return errmsg_say(
		err, -EAGAIN,
		"the step has %u VMs on this node, where %u of the site's %u (max_vms_per_node in vmstep.conf) are left: give it fewer tasks a node (--ntasks-per-node), or wait until others have ended",
		n, got, max);
}

void slots_drop(int top, int fd)
{
	if (lock(fd, F_WRLCK, DOOR, 1, F_OFD_SETLKW) == 0 &&
	    lock(fd, F_WRLCK, 0, DOOR, F_OFD_SETLK) == 0 &&
	    is_still_there(top, fd))
		unlinkat(top, SLOTS_FILE, 0);
	close(fd);
}
