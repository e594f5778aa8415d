#include <config.h>

#include "qemu_find.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *qemu_find(const char *name, const char *origin, struct errmsg *err)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	if (strchr(name, '/')) {
		if (access(name, X_OK) == 0)
			return strdup(name);
		errmsg_set(err, -errno, "QEMU (%s=%s)", origin, name);
		return NULL;
	}
	if (!path || !*path)
		path = "/usr/local/bin:/usr/bin:/bin";
	for (const char *p = path; *p; p += *p == ':') {
		int n = (int)strcspn(p, ":");

		snprintf(file, sizeof(file), "%.*s/%s", n, p, name);
		if (n && access(file, X_OK) == 0)
			return strdup(file);
		p += n;
	}
	errmsg_say(
		err, -ENOENT,
		"%s is not installed on this node (not in PATH %s); install QEMU or name another (%s)",
		name, path, origin);
	return NULL;
}
