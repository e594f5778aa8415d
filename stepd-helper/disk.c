#include <config.h>

#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"

#define QEMU_IMG_TIMEOUT_MS (60 * 1000)

int disk_anonymous(const char *dir, struct errmsg *err)
{
	char path[PATH_MAX];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return errmsg_set(err, -errno, "%s", dir);
	snprintf(path, sizeof(path), "%s/vmstep-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return errmsg_set(err, -errno, "%s", dir);
	unlink(path);
	return fd;
}

void disk_tool(const char *qemu, char *ret, size_t size)
{
	const char *slash = strrchr(qemu, '/');

	if (slash) {
		snprintf(ret, size, "%.*s/qemu-img", (int)(slash - qemu), qemu);
		if (access(ret, X_OK) == 0)
			return;
	}
	snprintf(ret, size, "qemu-img");
}

int disk_overlay(const char *base, enum image_kind format, const char *rundir,
		 const char *qemu, struct errmsg *err)
{
	_cleanup_close_ int fd = disk_anonymous(rundir, err);
	char tool[PATH_MAX], path[64];
	const char *argv[] = { tool,
			       "create",
			       "-q",
			       "-f",
			       "qcow2",
			       "-F",
			       image_format_name(format),
			       "-b",
			       base,
			       path,
			       NULL };
	int r;

	if (fd < 0)
		return errmsg_prefix(
			err, fd,
			"run directory (--vm-rundir, or the site's rundir)");
	disk_tool(qemu, tool, sizeof(tool));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = child_run(argv, fd, QEMU_IMG_TIMEOUT_MS, err);
	if (r < 0)
		return errmsg_prefix(err, r, "overlay of %s in %s", base,
				     rundir);
	return TAKE_FD(fd);
}
