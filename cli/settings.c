#include <config.h>

#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "option.h"

/* -- a list of them -------------------------------------------------------- */

static int add(struct settings *s, const char *name, const char *value,
	       const char *from)
{
	struct setting *v = realloc(s->v, (s->n + 1) * sizeof(*v));
	struct setting *at;

	if (!v)
		return -ENOMEM;
	s->v = v;
	at = &v[s->n++];
	*at = (struct setting){ strdup(name), strdup(value), strdup(from) };
	return at->name && at->value && at->from ? 0 : -ENOMEM;
}

static struct setting *find(struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].name, name) == 0)
			return &s->v[i];
	return NULL;
}

/* -- vmstep.conf ----------------------------------------------------------- */

static const char *default_of(const struct site_key *key)
{
	const char *dflt = key->kind == SITE_OPTION
				   ? option_defs[key->offset].dflt
				   : key->dflt;

	return dflt ? dflt : "";
}

static int add_keys(struct settings *s)
{
	int r = 0;

	for (size_t i = 0; i < n_site_keys && r == 0; i++)
		r = add(s, site_keys[i].name, default_of(&site_keys[i]),
			"default");
	return r;
}

/* A key is one of those that are there; default_NAME is new, and repeats of a
 * list add up. */
static void on_line(const char *key, const char *value, const char *file,
		    unsigned int line, void *arg)
{
	struct settings *s = arg;
	struct setting *at = find(s, key);
	char from[PATH_MAX + 16];
	char *copy;

	snprintf(from, sizeof(from), "%s:%u", file, line);
	if (!at || strncmp(key, "default_", 8) == 0) {
		add(s, key, value, from);
		return;
	}
	copy = strdup(value);
	if (copy) {
		free(at->value);
		at->value = copy;
	}
	copy = strdup(from);
	if (copy) {
		free(at->from);
		at->from = copy;
	}
}

static void load_site(struct settings *s)
{
	const struct site_listener listener = { on_line, s };

	s->site_result = site_load_told(s->path, s->named, &listener, &s->site,
					&s->site_error);
}

/* -- which one ------------------------------------------------------------- */

static int take_path(struct settings *s, const char *path, bool named,
		     const char *from)
{
	s->path = strdup(path);
	s->named = named;
	snprintf(s->from, sizeof(s->from), "%s", from);
	return s->path ? 0 : -ENOMEM;
}

static int find_path(struct settings *s, const char *config)
{
	const char *path = SITE_DEFAULT_PATH;
	char from[PATH_MAX + 64] = "default";
	bool named = false;

	if (config)
		return take_path(s, config, true, "--config");
	if (s->plugstack.n) {
		int r = site_args((int)s->plugstack.args.n, s->plugstack.args.v,
				  &path, &named, &s->plugstack_error);

		if (r < 0)
			s->plugstack_result = r;
		if (named)
			snprintf(from, sizeof(from), "%s:%u", s->plugstack.file,
				 s->plugstack.line);
	}
	return take_path(s, path, named, from);
}

int settings_load(const char *config, struct settings *ret)
{
	int r;

	*ret = (struct settings){ 0 };
	slurmconf_load(&ret->slurm, &ret->slurm_error);
	slurmconf_plugstack(&ret->slurm, ret->plugstack_path,
			    sizeof(ret->plugstack_path));
	ret->plugstack_result = plugstack_load(
		ret->plugstack_path, &ret->plugstack, &ret->plugstack_error);
	r = find_path(ret, config);
	if (r == 0)
		r = add_keys(ret);
	if (r == 0)
		load_site(ret);
	else
		settings_done(ret);
	return r;
}

/* -- options --------------------------------------------------------------- */

static int add_option(struct settings *s, const struct optset *set, int id,
		      const char *from)
{
	char name[64];
	int r = 0;

	snprintf(name, sizeof(name), "--vm-%s", option_defs[id].name);
	for (size_t i = 0; i < set->opt[id].n && r == 0; i++)
		r = add(s, name, set->opt[id].v[i], from);
	return r;
}

int settings_add_options(struct settings *s, struct errmsg *err)
{
	struct optset env = { 0 }, inherited = { 0 };
	const char *text = getenv(INHERIT_ENV);
	int r = optset_add_env(&env, err);

	if (r == 0 && text)
		r = optset_decode(&inherited, text, err);
	for (int id = 0; id < OPT_COUNT && r == 0; id++) {
		char name[64];

		option_env_name((enum option_id)id, name);
		if (env.opt[id].n)
			r = add_option(s, &env, id, name);
		else
			r = add_option(s, &inherited, id, "sbatch or salloc");
		if (r < 0)
			errmsg_set(err, r, "%s", name);
	}
	optset_done(&env);
	optset_done(&inherited);
	return r;
}

void settings_done(struct settings *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].name);
		free(s->v[i].value);
		free(s->v[i].from);
	}
	free(s->v);
	free(s->path);
	if (s->site_result == 0)
		site_done(&s->site);
	plugstack_done(&s->plugstack);
	slurmconf_done(&s->slurm);
	*s = (struct settings){ 0 };
}
