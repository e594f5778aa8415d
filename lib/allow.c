#include <config.h>

#include "allow.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "publish.h"

#define SEPARATORS ", "

static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; *p;) {
		size_t n = strcspn(p, SEPARATORS);

		if (n == len && strncmp(p, name, n) == 0)
			return true;
		p += n;
		p += strspn(p, SEPARATORS);
	}
	return false;
}

static bool group_listed(const char *list, const char *user, gid_t gid)
{
	gid_t groups[1024];
	int n = ARRAY_SIZE(groups);

	if (!user || getgrouplist(user, gid, groups, &n) < 0)
		return false;
	for (int i = 0; i < n; i++) {
		const struct group *g = getgrgid(groups[i]);

		if (g && listed(list, g->gr_name))
			return true;
	}
	return false;
}

int allow_user(const struct site *s, const char *user, gid_t gid,
	       struct errmsg *err)
{
	struct errmsg unknown = { "" };

	if (!*s->allow_users && !*s->allow_groups)
		return 0;
	if (user && listed(s->allow_users, user))
		return 0;
	if (*s->allow_groups && group_listed(s->allow_groups, user, gid))
		return 0;
	allow_names_unknown(s, &unknown);
	return errmsg_say(
		err, -EPERM,
		"user %s may not run VMs here: the site's allow_users and allow_groups do not name them%s%s",
		user ? user : "(unknown)", *unknown.text ? "; " : "",
		unknown.text);
}

/* -- options --------------------------------------------------------------- */

int allow_options(const struct site *s, const struct optset *options,
		  struct errmsg *err)
{
	uint16_t first, last;
	const struct {
		enum option_id id;
		bool allowed;
		const char *key;
	} rows[] = {
		{ OPT_OUTBOUND, s->allow_outbound, "allow_outbound" },
		{ OPT_TFTP, s->allow_outbound, "allow_outbound" },
		{ OPT_PUBLISH,
		  publish_allowed(s->allow_publish, &first, &last, NULL) == 0 &&
			  last,
		  "allow_publish" },
		{ OPT_QEMU, s->allow_qemu_args, "allow_qemu_args" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct optvals *v = &options->opt[rows[i].id];

		if (!v->n || rows[i].allowed ||
		    strcmp(v->v[v->n - 1], "none") == 0)
			continue;
		return errmsg_say(
			err, -EPERM,
			"--vm-%s=%s: the site does not allow it (%s in vmstep.conf); leave it out",
			option_defs[rows[i].id].name, v->v[v->n - 1],
			rows[i].key);
	}
	return 0;
}

/* -- names that nobody has ------------------------------------------------- */

/* A directory service that does not answer is no reason to doubt a name. */
static bool not_found(void)
{
	return errno == 0 || errno == ENOENT || errno == ESRCH;
}

static bool no_user(const char *name)
{
	errno = 0;
	return !getpwnam(name) && not_found();
}

static bool no_group(const char *name)
{
	errno = 0;
	return !getgrnam(name) && not_found();
}

/* Add to the text those names of @list that are @unknown. */
static void add_unknown(const char *list, const char *key,
			bool (*unknown)(const char *name), struct errmsg *ret)
{
	for (const char *p = list; *p;) {
		size_t n = strcspn(p, SEPARATORS), len = strlen(ret->text);
		char name[256];

		snprintf(name, sizeof(name), "%.*s", (int)n, p);
		if (n && unknown(name))
			snprintf(ret->text + len, sizeof(ret->text) - len,
				 "%s%s: '%s' is not known on this host",
				 len ? ", " : "", key, name);
		p += n;
		p += strspn(p, SEPARATORS);
	}
}

bool allow_names_unknown(const struct site *s, struct errmsg *ret)
{
	ret->text[0] = '\0';
	add_unknown(s->allow_users, "allow_users", no_user, ret);
	add_unknown(s->allow_groups, "allow_groups", no_group, ret);
	return *ret->text;
}
