#include <config.h>

#include "filelock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BYTE 300 /* QEMU has 100 and up, and 200 and up, for its own */

static struct flock lock_of(bool write)
{
	return (struct flock){ .l_type = write ? F_WRLCK : F_RDLCK,
			       .l_whence = SEEK_SET,
			       .l_start = BYTE,
			       .l_len = 1 };
}

int filelock(int fd, bool write)
{
	struct flock l = lock_of(write);

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

bool filelock_by_others(int fd)
{
	struct flock l = lock_of(true);

	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}
