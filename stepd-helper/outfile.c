#include <config.h>

#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int refuse(const char *option, const char *path, int error,
		  struct errmsg *err)
{
	struct stat st;

	if (error == -ENXIO && stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
		return errmsg_say(
			err, error,
			"%s=%s: nobody reads this FIFO; start its reader first, on this node, or name a file",
			option, path);
	return errmsg_set(err, error, "%s=%s", option, path);
}

int outfile_open(const char *option, const char *path, int flags,
		 struct errmsg *err)
{
	int fd = open(path,
		      O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
			      flags,
		      0666);

	return fd < 0 ? refuse(option, path, -errno, err) : fd;
}
