#include <config.h>

#include "step.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

/* "1234", "1234.5", "1234.5+1" */
static bool is_name(const char *text)
{
	const char *p = text;

	for (const char *stop = ".+"; isdigit((unsigned char)*p); stop++) {
		p += strspn(p, "0123456789");
		if (!*p)
			return true;
		if (!*stop || *p++ != *stop)
			return false;
	}
	return false;
}

int step_name(const char *given, struct step_name *ret, struct errmsg *err)
{
	const char *text = given ? given : getenv("SLURM_JOB_ID");
	size_t len;

	*ret = (struct step_name){ 0 };
	if (!text)
		return errmsg_say(
			err, -ENOENT,
			"which job? this is not run within one: say -j JOB or -j JOB.STEP");
	len = strcspn(text, ".");
	if (!is_name(text) || len >= sizeof(ret->job) ||
	    strlen(text) >= sizeof(ret->step))
		return errmsg_say(
			err, -EINVAL,
			"%s '%s' is not JOB or JOB.STEP, as in 1234.0",
			given ? "-j" : "SLURM_JOB_ID", text);
	memcpy(ret->job, text, len);
	if (text[len])
		snprintf(ret->step, sizeof(ret->step), "%s", text);
	return 0;
}

static bool is_meant(const struct step_name *name, const char *dir)
{
	size_t len = strlen(name->job);

	if (name->step[0])
		return strcmp(dir, name->step) == 0;
	return strncmp(dir, name->job, len) == 0 && dir[len] == '.';
}

static int find_of_user(const char *runtime_dir, const char *uid,
			const struct step_name *name, struct strings *ret,
			struct strings *dirs)
{
	char path[4096];
	struct dirent *e;
	int r = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", runtime_dir, uid);
	d = opendir(path);
	if (!d)
		return errno == ENOENT || errno == EACCES ? 0 : -errno;
	while (r == 0 && (e = readdir(d))) {
		char dir[4096 + 256];

		if (!is_meant(name, e->d_name))
			continue;
		snprintf(dir, sizeof(dir), "%s/%s", path, e->d_name);
		r = strings_add(ret, e->d_name, strlen(e->d_name));
		if (r == 0)
			r = strings_add(dirs, dir, strlen(dir));
	}
	closedir(d);
	return r;
}

static int find_of_all(const char *runtime_dir, const struct step_name *name,
		       struct strings *ret, struct strings *dirs)
{
	DIR *d = opendir(runtime_dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (r == 0 && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			r = find_of_user(runtime_dir, e->d_name, name, ret,
					 dirs);
	closedir(d);
	return r;
}

int step_find(const char *runtime_dir, const struct step_name *name,
	      struct strings *ret, struct strings *dirs, struct errmsg *err)
{
	char uid[16];
	int r;

	snprintf(uid, sizeof(uid), "%u", geteuid());
	r = geteuid() == 0 ? find_of_all(runtime_dir, name, ret, dirs)
			   : find_of_user(runtime_dir, uid, name, ret, dirs);
	return r < 0 ? errmsg_set(err, r, "%s", runtime_dir) : 0;
}
