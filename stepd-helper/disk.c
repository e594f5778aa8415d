#include <config.h>

#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

/* A qcow2 file, @what in the words, made as @options say (NULL at the end), of
 * @bytes (0: as what is below it). */
static int make_qcow2(const char *what, const char *const options[],
		      uint64_t bytes, const char *rundir, const char *qemu,
		      struct errmsg *err)
{
	_cleanup_close_ int fd = disk_anonymous(rundir, err);
	char tool[PATH_MAX], path[64], size[24];
	const char *argv[16] = { tool, "create", "-q", "-f", "qcow2" };
	size_t n = 5;
	int r;

	if (fd < 0)
		return errmsg_prefix(
			err, fd,
			"run directory (--vm-rundir, or the site's rundir)");
	while (*options)
		argv[n++] = *options++;
	argv[n++] = path;
	if (bytes)
		argv[n++] = size;
	argv[n] = NULL;
	disk_tool(qemu, tool, sizeof(tool));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(size, sizeof(size), "%" PRIu64, bytes);
	r = child_run(argv, fd, QEMU_IMG_TIMEOUT_MS, err);
	return r < 0 ? errmsg_prefix(err, r, "%s in %s", what, rundir)
		     : TAKE_FD(fd);
}

int disk_overlay(const char *base, enum image_kind format, const char *rundir,
		 const char *qemu, struct errmsg *err)
{
	const char *const options[] = { "-F", image_format_name(format), "-b",
					base, NULL };
	struct errmsg what;

	errmsg_say(&what, 0, "overlay of %s", base);
	return make_qcow2(what.text, options, 0, rundir, qemu, err);
}

int disk_empty(uint64_t bytes, const char *rundir, const char *qemu,
	       struct errmsg *err)
{
	static const char *const options[] = { NULL };

	return make_qcow2("an empty disk", options, bytes, rundir, qemu, err);
}
