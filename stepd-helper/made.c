#include <config.h>

#include "made.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MADE_MAX 1000 /* a task */

int made_record(const struct task *t, const char *path, struct errmsg *err)
{
	char link[PATH_MAX];

	for (unsigned int i = 0; i < MADE_MAX; i++) {
		snprintf(link, sizeof(link), "%s/made.%u.%u", t->step_dir,
			 t->rank, i);
		if (symlink(path, link) == 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return errmsg_set(err, -errno, "%s: record of %s", t->step_dir, path);
}

void made_forget(const struct task *t, const char *path)
{
	char link[PATH_MAX], target[PATH_MAX];
	ssize_t n;

	for (unsigned int i = 0; i < MADE_MAX; i++) {
		snprintf(link, sizeof(link), "%s/made.%u.%u", t->step_dir,
			 t->rank, i);
		n = readlink(link, target, sizeof(target) - 1);
		if (n < 0 && errno == ENOENT)
			continue;
		target[n > 0 ? n : 0] = '\0';
		if (strcmp(target, path) == 0)
			unlink(link);
	}
}
