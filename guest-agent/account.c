#include <config.h>

#include "account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

void account_done(struct account *a)
{
	free(a->groups);
	free(a->name);
	free(a->home);
	free(a->shell);
	*a = (struct account){ 0 };
}

/* Digits only, and a number that is a uid. */
static bool parse_uid(const char *text, uid_t *ret)
{
	unsigned long long v;

	if (!*text || strspn(text, "0123456789") != strlen(text))
		return false;
	errno = 0;
	v = strtoull(text, NULL, 10);
	if (errno || v >= (uid_t)-1)
		return false;
	*ret = (uid_t)v;
	return true;
}

static int fill(struct account *a, const char *name, uid_t uid, gid_t gid,
		const char *home, const char *shell)
{
	a->uid = uid;
	a->gid = gid;
	a->name = strdup(name);
	a->home = strdup(home && *home ? home : "/");
	a->shell = strdup(shell && *shell ? shell : "/bin/sh");
	return a->name && a->home && a->shell ? 0 : -ENOMEM;
}

/* -ENOENT where it is not there. A name made of digits wins over a uid. */
static int find_user(const char *path, const char *user, struct account *a)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	struct passwd *pw;
	uid_t uid;

	while (f && (pw = fgetpwent(f)))
		if (strcmp(pw->pw_name, user) == 0)
			return fill(a, user, pw->pw_uid, pw->pw_gid, pw->pw_dir,
				    pw->pw_shell);
	if (!parse_uid(user, &uid))
		return -ENOENT;
	if (f)
		rewind(f);
	while (f && (pw = fgetpwent(f)))
		if (pw->pw_uid == uid)
			return fill(a, pw->pw_name, uid, pw->pw_gid, pw->pw_dir,
				    pw->pw_shell);
	return fill(a, user, uid, (gid_t)uid, NULL, NULL);
}

static int add_group(struct account *a, gid_t gid)
{
	gid_t *groups;

	for (size_t i = 0; i < a->n_groups; i++)
		if (a->groups[i] == gid)
			return 0;
	if (a->n_groups == ACCOUNT_GROUPS_MAX)
		return 0;
	groups = reallocarray(a->groups, a->n_groups + 1, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	a->groups = groups;
	groups[a->n_groups++] = gid;
	return 0;
}

static int find_groups(const char *path, struct account *a)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	struct group *gr;
	int r = add_group(a, a->gid);

	while (r == 0 && f && (gr = fgetgrent(f)))
		for (char **m = gr->gr_mem; r == 0 && *m; m++)
			if (strcmp(*m, a->name) == 0)
				r = add_group(a, gr->gr_gid);
	return r;
}

int account_find_in(const char *passwd, const char *group, const char *user,
		    struct account *ret, struct errmsg *err)
{
	_cleanup_(account_done) struct account a = { 0 };
	int r = find_user(passwd, user, &a);

	if (r == -ENOENT && strcmp(user, "root") == 0)
		r = fill(&a, "root", 0, 0, "/root", NULL); /* an initramfs */
	if (r == -ENOENT)
		return errmsg_say(err, r, "no user %s in the guest's %s", user,
				  passwd);
	if (r == 0)
		r = find_groups(group, &a);
	if (r < 0)
		return errmsg_set(err, r, "user %s", user);
	*ret = a;
	a = (struct account){ 0 };
	return 0;
}

int account_find(const char *user, struct account *ret, struct errmsg *err)
{
	char own[16] = "root"; /* there, even if the file is not */

	if (geteuid() != 0)
		snprintf(own, sizeof(own), "%u", (unsigned int)geteuid());
	return account_find_in("/etc/passwd", "/etc/group", user ? user : own,
			       ret, err);
}
