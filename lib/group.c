#include <config.h>

#include "group.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "rankset.h"

size_t group_name_len(const char *text)
{
	size_t n = 0;

	if (*text != '@')
		return 0;
	while (isalnum((unsigned char)text[1 + n]) || text[1 + n] == '_' ||
	       text[1 + n] == '-')
		n++;
	return n;
}

int group_check(const char *text, struct errmsg *err)
{
	size_t len = group_name_len(text);
	struct rankset ranks = { 0 };
	const char *value = text + 1 + len + 1;
	int r;

	if (!len || text[1 + len] != '=')
		return errmsg_say(
			err, -EINVAL,
			"'%s' is no group: write it as in @workers=1-7", text);
	r = rankset_parse(&ranks, value, strlen(value), err);
	rankset_done(&ranks);
	return r < 0 ? errmsg_prefix(err, r, "@%.*s", (int)len, text + 1) : 0;
}

const char *group_find(const struct optset *set, const char *name, size_t len)
{
	const struct optvals *vals = &set->opt[OPT_CONFIG];

	for (size_t i = vals->n; i > 0; i--) {
		const char *v = vals->v[i - 1];

		if (group_name_len(v) == len &&
		    strncmp(v + 1, name, len) == 0 && v[1 + len] == '=')
			return v + 1 + len + 1;
	}
	return NULL;
}

static int resolve_one(const struct optset *set, enum option_id id, char **at,
		       struct errmsg *err)
{
	size_t len = group_name_len(*at);
	const char *ranks;
	char *text;

	if (!len || (*at)[1 + len] != ':')
		return 0;
	ranks = group_find(set, *at + 1, len);
	if (!ranks)
		return errmsg_say(
			err, -EINVAL,
			"--vm-%s=%s: there is no group '%.*s': name it in [groups] of the file that --vm-config names",
			option_defs[id].name, *at, (int)len, *at + 1);
	if (asprintf(&text, "%s%s", ranks, *at + 1 + len) < 0)
		return errmsg_set(err, -ENOMEM, "options");
	free(*at);
	*at = text;
	return 0;
}

int group_resolve(struct optset *set, struct errmsg *err)
{
	for (int id = 0; id < OPT_COUNT; id++)
		for (size_t i = 0; i < set->opt[id].n; i++) {
			int r = 0;

			if (option_defs[id].flags & OPTF_RANKS)
				r = resolve_one(set, (enum option_id)id,
						&set->opt[id].v[i], err);
			if (r < 0)
				return r;
		}
	return 0;
}
