#include <config.h>

#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "filelock.h"
#include "log.h"

static int lock(int fd, const char *path, bool write, struct errmsg *err)
{
	int r = filelock(fd, write);

	if (r != -EBUSY) {
		if (r < 0 && write)
			log_warn(
				"%s cannot be locked here (%s): see that no other VM uses it, continuing",
				path, strerror(-r));
		return 0;
	}
	if (write)
		return errmsg_say(
			err, -EBUSY,
			"%s is to be written (ctl=w), and another VM uses it: give each VM a disk of its own, or leave w out",
			path);
	return errmsg_say(
		err, -EBUSY,
		"%s is written by another VM (ctl=w): wait for its end, or give each VM a disk of its own",
		path);
}

static int hold_file(struct hold *h, const char *path, bool write,
		     struct errmsg *err)
{
	_cleanup_close_ int fd =
		open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
	int *list, r;

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", path);
	r = lock(fd, path, write, err);
	if (r < 0)
		return r;
	list = reallocarray(h->fd, h->n + 1, sizeof(*list));
	if (!list)
		return errmsg_set(err, -ENOMEM, "%s", path);
	h->fd = list;
	list[h->n++] = TAKE_FD(fd);
	return 0;
}

int hold_files(struct hold *h, const struct strings *files, bool write,
	       struct errmsg *err)
{
	int r = 0;

	for (size_t i = 0; i < files->n && r == 0; i++)
		r = hold_file(h, files->v[i], write && i == 0, err);
	return r;
}

void hold_done(struct hold *h)
{
	for (size_t i = 0; i < h->n; i++)
		close(h->fd[i]);
	free(h->fd);
	*h = (struct hold){ 0 };
}
