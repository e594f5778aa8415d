#include <config.h>

#include "showconfig.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "settings.h"

static json_t *as_json(const struct settings *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name",
						      s->v[i].name, "value",
						      s->v[i].value, "from",
						      s->v[i].from));
	return json_pack("{s:s, s:s, s:b, s:o}", "config", s->path, "from",
			 s->from, "there", access(s->path, F_OK) == 0,
			 "settings", list);
}

static void print_json(const struct settings *s)
{
	json_t *o = as_json(s);

	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

/* The longest name and value, within reason. */
static void widths(const struct settings *s, int *ret_name, int *ret_value)
{
	*ret_name = *ret_value = 8;
	for (size_t i = 0; i < s->n; i++) {
		int name = (int)strlen(s->v[i].name);
		int value = (int)strlen(s->v[i].value);

		if (name > *ret_name)
			*ret_name = name;
		if (value > *ret_value && value <= 40)
			*ret_value = value;
	}
}

static void print_text(const struct settings *s)
{
	int name, value;

	widths(s, &name, &value);
	printf("%s%s (%s)\n", s->path,
	       access(s->path, F_OK) == 0 ? "" : ", which is not there",
	       s->from);
	for (size_t i = 0; i < s->n; i++)
		printf("%-*s  %-*s  %s\n", name, s->v[i].name, value,
		       s->v[i].value, s->v[i].from);
}

static int print(struct settings *s, bool json)
{
	struct errmsg err;

	if (!s->slurm.text)
		log_warn("%s; plugstack.conf is taken to be %s",
			 s->slurm_error.text, s->plugstack_path);
	if (s->plugstack_result < 0)
		log_warn("%s", s->plugstack_error.text);
	if (s->site_result < 0) {
		log_err("%s", s->site_error.text);
		return EXIT_FAILED;
	}
	if (settings_add_options(s, &err) < 0) {
		log_err("%s", err.text);
		return EXIT_FAILED;
	}
	if (json)
		print_json(s);
	else
		print_text(s);
	if (fflush(stdout) == 0)
		return EXIT_DONE;
	log_err("standard output: %m");
	return EXIT_FAILED;
}

int config_run(const struct invocation *inv)
{
	struct settings s;
	int status;

	if (settings_load(inv->config, &s) < 0) {
		log_err("no memory");
		return EXIT_FAILED;
	}
	status = print(&s, inv->json);
	settings_done(&s);
	return status;
}
