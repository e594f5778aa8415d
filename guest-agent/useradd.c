#include <config.h>

#include "useradd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "opsock.h"
#include "param.h"

static void useradd_done(struct useradd *u)
{
	free(u->name);
	free(u->group);
	free(u->home);
	free(u->authorized);
	free(u->private_key);
}

/* A field of a line of such a file. */
static int parse_field(const json_t *params, const char *name, char **ret,
		       struct errmsg *err)
{
	int r = param_text(params, name, ret, err);

	if (r < 0)
		return r;
	if (!*ret || !**ret || strpbrk(*ret, ":\n"))
		return errmsg_say(err, -EINVAL,
				  "%s: '%s' cannot be in /etc/passwd", name,
				  *ret ? *ret : "");
	return 0;
}

static int parse(const json_t *params, struct useradd *u, struct errmsg *err)
{
	int64_t uid = -1, gid = -1;
	int r = parse_field(params, "name", &u->name, err);

	if (r == 0)
		r = parse_field(params, "group", &u->group, err);
	if (r == 0)
		r = parse_field(params, "home", &u->home, err);
	if (r == 0)
		r = param_int(params, "uid", 0, UINT32_MAX - 1, &uid, err);
	if (r == 0)
		r = param_int(params, "gid", 0, UINT32_MAX - 1, &gid, err);
	if (r == 0)
		r = param_text(params, "authorized", &u->authorized, err);
	if (r == 0)
		r = param_text(params, "private_key", &u->private_key, err);
	if (r == 0 && (uid < 0 || gid < 0 || *u->home != '/'))
		r = errmsg_say(err, -EINVAL,
			       "uid, gid and a home from / are needed");
	u->uid = (uid_t)uid;
	u->gid = (gid_t)gid;
	return r;
}

/* -- the files ------------------------------------------------------------- */

/* Add a line to @etc/@name; a last line without its end gets one. */
__attribute__((format(printf, 5, 6))) static int
append(const char *etc, const char *name, mode_t mode, struct errmsg *err,
       const char *fmt, ...)
{
	char path[PATH_MAX], last = '\n', text[PATH_MAX + 1024];
	_cleanup_close_ int fd = -1;
	struct stat st;
	va_list ap;
	int n = 0, more;

	snprintf(path, sizeof(path), "%s/%s", etc, name);
	fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, mode);
	if (fd < 0 || fstat(fd, &st) < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (st.st_size && pread(fd, &last, 1, st.st_size - 1) != 1)
		return errmsg_set(err, -EIO, "%s", path);
	if (last != '\n')
		text[n++] = '\n';
	va_start(ap, fmt);
	more = vsnprintf(text + n, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	n += more;
	if (n >= (int)sizeof(text) - 1)
		return errmsg_say(err, -EINVAL, "%s: a line is too long", path);
	text[n++] = '\n';
	if (write(fd, text, (size_t)n) != n)
		return errmsg_set(err, -errno, "%s", path);
	return 0;
}

/* 1: @u is there, 0: not. */
static int look(const char *etc, const struct useradd *u, struct errmsg *err)
{
	char path[PATH_MAX];
	_cleanup_fclose_ FILE *f = NULL;
	const struct passwd *pw;

	snprintf(path, sizeof(path), "%s/passwd", etc);
	f = fopen(path, "re");
	while (f && (pw = fgetpwent(f)))
		if (strcmp(pw->pw_name, u->name) == 0)
			return pw->pw_uid == u->uid
				       ? 1
				       : errmsg_say(
						 err, -EEXIST,
						 "the guest has a user %s already, whose number is %u and not %u: name that one by --vm-user, or take another image",
						 u->name, pw->pw_uid, u->uid);
	return 0;
}

static bool has_group(const char *etc, const struct useradd *u)
{
	char path[PATH_MAX];
	_cleanup_fclose_ FILE *f = NULL;
	const struct group *g;

	snprintf(path, sizeof(path), "%s/group", etc);
	f = fopen(path, "re");
	while (f && (g = fgetgrent(f)))
		if (g->gr_gid == u->gid || strcmp(g->gr_name, u->group) == 0)
			return true;
	return false;
}

static bool has_bash(void)
{
	return access("/bin/bash", X_OK) == 0;
}

int useradd_write(const char *etc, const struct useradd *u, struct errmsg *err)
{
	int r = look(etc, u, err);

	if (r != 0)
		return r < 0 ? r : 0;
	if (!has_group(etc, u))
		r = append(etc, "group", 0644, err, "%s:x:%u:", u->group,
			   u->gid);
	if (r == 0) /* no password is good, but a key is */
		r = append(etc, "shadow", 0600, err,
			   "%s:*:19000:0:99999:7:::", u->name);
	if (r == 0) /* last: whoever finds the user finds all of it */
		r = append(etc, "passwd", 0644, err, "%s:x:%u:%u::%s:%s",
			   u->name, u->uid, u->gid, u->home,
			   has_bash() ? "/bin/bash" : "/bin/sh");
	return r;
}

/* -- the home -------------------------------------------------------------- */

static int write_own(const char *home, const char *name, const char *text,
		     const struct useradd *u, struct errmsg *err)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;
	ssize_t len = (ssize_t)strlen(text);

	snprintf(path, sizeof(path), "%s/.ssh/%s", home, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, (size_t)len) != len ||
	    fchown(fd, u->uid, u->gid) < 0)
		return errmsg_set(err, -errno, "%s", path);
	return 0;
}

static int write_keys(const struct useradd *u, struct errmsg *err)
{
	char path[PATH_MAX];
	int r = 0;

	if (!u->authorized && !u->private_key)
		return 0;
	snprintf(path, sizeof(path), "%s/.ssh", u->home);
	if (mkdir(path, 0700) < 0 || chown(path, u->uid, u->gid) < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (u->authorized)
		r = write_own(u->home, "authorized_keys", u->authorized, u,
			      err);
	if (r == 0 && u->private_key)
		r = write_own(u->home, "id_ed25519", u->private_key, u, err);
	return r;
}

/* One that is there is theirs, or the host's: nothing of ours goes in. */
static int make_home(const struct useradd *u, struct errmsg *err)
{
	bool made = false;
	int r = file_make_parents(u->home, true, &made);

	if (r == 0 && made &&
	    (chmod(u->home, 0700) < 0 || chown(u->home, u->uid, u->gid) < 0))
		r = -errno;
	if (r < 0)
		return errmsg_set(err, r, "%s", u->home);
	return made ? write_keys(u, err) : 0;
}

void useradd_add(struct rpc_call *call, const json_t *params, void *agent)
{
	_cleanup_(useradd_done) struct useradd u = { 0 };
	const struct agent *a = agent;
	struct errmsg err;
	int r = parse(params, &u, &err);

	if (r == 0)
		r = useradd_write("/etc", &u, &err);
	if (r == 0)
		r = make_home(&u, &err);
	if (r < 0) {
		rpc_fail_os(call, rpc_error_of(-r), -r, "user", err.text);
		return;
	}
	if (a->opsock)
		opsock_set_user(a->opsock, u.name);
	rpc_result(call, NULL);
}
