#include <config.h>

#include "configfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "group.h"
#include "rankset.h"
#include "value.h"

enum where { FOR_ALL, FOR_SOME, GROUPS };

struct reader {
	struct optset *set;
	const char *path;
	unsigned int line;
	enum where where;
	char *ranks; /* owned; of FOR_SOME, "0-3" or "@head" */
};

/* -- sections -------------------------------------------------------------- */

static int set_section(struct reader *r, char *name, struct errmsg *err)
{
	struct rankset ranks = { 0 };
	size_t len = strlen(name);
	int code;

	free(r->ranks);
	r->ranks = NULL;
	r->where = GROUPS;
	if (strcmp(name, "groups") == 0)
		return 0;
	r->where = FOR_SOME;
	code = group_name_len(name) && group_name_len(name) + 1 == len
		       ? 0
		       : rankset_parse(&ranks, name, len, err);
	rankset_done(&ranks);
	if (code < 0)
		return errmsg_say(
			err, code,
			"[%s] is neither [groups], nor ranks as in [0,4-7], nor a group as in [@head]",
			name);
	r->ranks = strdup(name);
	return r->ranks ? 0 : errmsg_set(err, -ENOMEM, "[%s]", name);
}

/* -- lines ----------------------------------------------------------------- */

static int add_group(struct reader *r, const char *name, const char *value,
		     const char *origin, struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "@%s=%s", name, value) < 0) {
		text = NULL;
		return errmsg_set(err, -ENOMEM, "%s", origin);
	}
	return optset_add(r->set, OPT_CONFIG, text, origin, err);
}

static int add_option(struct reader *r, char *name, const char *value,
		      const char *origin, struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	int id;

	for (char *p = name; *p; p++)
		if (*p == '_')
			*p = '-';
	id = option_find(name);
	if (id < 0)
		return errmsg_say(err, -EINVAL,
				  "%s: there is no option --vm-%s", origin,
				  name);
	if (id == OPT_CONFIG)
		return errmsg_say(err, -EINVAL,
				  "%s: a file names no other files", origin);
	if (r->where == FOR_ALL)
		return optset_add(r->set, (enum option_id)id, value, origin,
				  err);
	if (!(option_defs[id].flags & OPTF_RANKS))
		return errmsg_say(
			err, -EINVAL,
			"%s: is the same for all tasks: put it before the first section",
			origin);
	if (asprintf(&text, "%s:%s", r->ranks, value) < 0) {
		text = NULL;
		return errmsg_set(err, -ENOMEM, "%s", origin);
	}
	return optset_add(r->set, (enum option_id)id, text, origin, err);
}

static int take_line(struct reader *r, char *line, struct errmsg *err)
{
	char *text = value_strip(line), *value, *eq, origin[512];
	size_t len = strlen(text);

	if (!*text || *text == '#')
		return 0;
	snprintf(origin, sizeof(origin), "%.400s:%u", r->path, r->line);
	if (*text == '[' && text[len - 1] == ']') {
		text[len - 1] = '\0';
		return errmsg_prefix(err,
				     set_section(r, value_strip(text + 1), err),
				     "%s", origin);
	}
	eq = strchr(text, '=');
	if (!eq)
		return errmsg_say(
			err, -EINVAL,
			"%s: '%.100s' is neither name = value nor [RANKS]",
			origin, text);
	*eq = '\0';
	value = value_strip(eq + 1);
	text = value_strip(text);
	len = strlen(origin);
	snprintf(origin + len, sizeof(origin) - len, ": %.60s", text);
	return r->where == GROUPS ? add_group(r, text, value, origin, err)
				  : add_option(r, text, value, origin, err);
}

int configfile_load(const char *path, struct optset *ret, struct errmsg *err)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	struct reader reader = { .set = ret, .path = path };
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int r = 0;

	if (!f)
		return errmsg_set(err, -errno, "--vm-config=%s", path);
	while (r == 0 && (n = getline(&line, &size, f)) >= 0) {
		reader.line++;
		r = memchr(line, '\0', (size_t)n)
			    ? errmsg_say(err, -EINVAL, "%s:%u: is no text",
					 path, reader.line)
			    : take_line(&reader, line, err);
	}
	if (r == 0 && ferror(f))
		r = errmsg_set(err, -EIO, "--vm-config=%s", path);
	free(reader.ranks);
	return r;
}

/* -- of a source ----------------------------------------------------------- */

static int keep_groups(struct optset *set, const struct optset *from,
		       struct errmsg *err)
{
	const struct optvals *vals = &from->opt[OPT_CONFIG];
	int r = 0;

	for (size_t i = 0; i < vals->n && r == 0; i++)
		if (*vals->v[i] == '@')
			r = optset_add(set, OPT_CONFIG, vals->v[i],
				       "--vm-config", err);
	return r;
}

int configfile_take(struct optset *set, struct errmsg *err)
{
	struct optset named = { 0 }, groups = { 0 };
	int r = 0;

	/* the files' names leave the set before their groups come into it */
	named.opt[OPT_CONFIG] = set->opt[OPT_CONFIG];
	set->opt[OPT_CONFIG] = (struct optvals){ 0 };
	for (size_t i = named.opt[OPT_CONFIG].n; i > 0 && r == 0; i--) {
		const char *path = named.opt[OPT_CONFIG].v[i - 1];
		struct optset file = { 0 };

		if (*path == '@')
			continue;
		r = configfile_load(path, &file, err);
		if (r == 0) /* before those of the files behind it */
			r = keep_groups(&file, &groups, err);
		optset_clear(&groups, OPT_CONFIG);
		groups.opt[OPT_CONFIG] = file.opt[OPT_CONFIG];
		file.opt[OPT_CONFIG] = (struct optvals){ 0 };
		if (r == 0)
			r = optset_inherit(set, &file, err);
		optset_done(&file);
	}
	if (r == 0)
		r = keep_groups(set, &groups, err);
	if (r == 0)
		r = keep_groups(set, &named, err);
	optset_done(&named);
	optset_done(&groups);
	return r;
}

/* -- of a saved step ------------------------------------------------------- */

#define OPTIONS_MAX (128 * 1024)

static int read_options(const char *path, char **ret, struct errmsg *err)
{
	/* a fifo would be waited for, in srun */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	_cleanup_free_ char *text = calloc(1, OPTIONS_MAX + 1);
	struct stat st;
	size_t n;

	if (!f || fstat(fd, &st) < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (!text)
		return errmsg_set(err, -ENOMEM, "%s", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return errmsg_say(
			err, -EPERM,
			"%s belongs to user %u: options of a stranger's could give away your files; start from what you have saved",
			path, st.st_uid);
	n = S_ISREG(st.st_mode) ? fread(text, 1, OPTIONS_MAX + 1, f) : SIZE_MAX;
	if (ferror(f))
		return errmsg_set(err, -EIO, "%s", path);
	if (n > OPTIONS_MAX || memchr(text, '\0', n))
		return errmsg_say(err, -EINVAL, "%s: has no options of a step",
				  path);
	*ret = TAKE_PTR(text);
	return 0;
}

int configfile_take_saved(struct optset *set, struct errmsg *err)
{
	const struct optvals *named = &set->opt[OPT_RESTORE];
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct optset saved = { 0 };
	int r;

	if (!named->n)
		return 0;
	if (asprintf(&path, "%s/options", named->v[named->n - 1]) < 0) {
		path = NULL;
		return errmsg_set(err, -ENOMEM, "--vm-restore");
	}
	r = read_options(path, &text, err);
	if (r == 0)
		r = optset_decode(&saved, text, err);
	if (r == 0)
		r = optset_inherit(set, &saved, err);
	optset_done(&saved);
	return r < 0 ? errmsg_prefix(err, r, "--vm-restore") : 0;
}
