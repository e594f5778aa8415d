/* print-tables.c - the tables of lib/ as t0001-manpages.t compares them
 *
 *	print-tables options    a line for each option: as its entry in
 *	                        vmstep-options(7) begins, a tab, as it ends
 *	print-tables keys       vmstep.conf's keys: name, tab, default
 *	print-tables ops        the catalogue of ops, with their parameters
 *	print-tables load FILE  read FILE as vmstep.conf; why not, if not
 */
#include <config.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opcat.h"
#include "option.h"
#include "site.h"

static void print_tag(const struct option_def *def)
{
	bool optional = def->flags & OPTF_FLAGARG;

	printf("--vm-%s%s%s%s%s", def->name, optional ? "[" : "",
	       def->arginfo ? "=" : "", def->arginfo ? def->arginfo : "",
	       optional ? "]" : "");
}

static int print_options(void)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		const struct option_def *def = &option_defs[i];
		char env[64];

		option_env_name((enum option_id)i, env);
		print_tag(def);
		printf("\t%s", env);
		if (def->dflt)
			printf("; default: %s", def->dflt);
		if (def->flags & OPTF_RANKS)
			printf("; RANKS");
		if (def->flags & OPTF_TASKS)
			printf("; list by task%s",
			       def->flags & OPTF_SEMI ? " (;)" : "");
		if (def->flags & OPTF_ADDS)
			printf("; adds up");
		putchar('\n');
	}
	return 0;
}

static int print_ops(void)
{
	for (const struct op *o = ops_table; o->name; o++)
		printf("%s {%s}\n", o->name, o->params);
	return 0;
}

/* A key that stands for an option has the option's default. */
static const char *key_default(const struct site_key *key)
{
	if (key->kind == SITE_OPTION)
		return option_defs[key->offset].dflt;
	return key->dflt;
}

static int print_keys(void)
{
	for (size_t i = 0; i < n_site_keys; i++)
		printf("%s\t%s\n", site_keys[i].name,
		       key_default(&site_keys[i]));
	return 0;
}

static int load(const char *path)
{
	struct errmsg err;
	struct site site;

	if (site_load(path, true, &site, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	site_done(&site);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "load") == 0)
		return load(argv[2]);
	if (argc == 2 && strcmp(argv[1], "options") == 0)
		return print_options();
	if (argc == 2 && strcmp(argv[1], "keys") == 0)
		return print_keys();
	if (argc == 2 && strcmp(argv[1], "ops") == 0)
		return print_ops();
	fputs("usage: print-tables options|keys|ops|load FILE\n", stderr);
	return 2;
}
