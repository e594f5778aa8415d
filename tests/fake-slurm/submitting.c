#include <config.h>

#include "programs.h"

#include <err.h>
#include <getopt.h>
#include <slurm/slurm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "orders.h"
#include "report.h"

extern char **environ;

/* -- options of srun, sbatch and salloc ------------------------------------ */

enum { OPT_OWN = 1 << 16 };

static const struct option own_options[] = {
	{ "cpus-per-task", required_argument, NULL, 'c' },
	{ "export", required_argument, NULL, OPT_OWN + 'x' },
	{ "het-group", required_argument, NULL, OPT_OWN + 'h' },
	{ "interactive", no_argument, NULL, OPT_OWN + 'i' },
	{ "mpi", required_argument, NULL, OPT_OWN + 'm' },
	{ "multi-prog", no_argument, NULL, OPT_OWN + 'p' },
	{ "nodes", required_argument, NULL, 'N' },
	{ "ntasks", required_argument, NULL, 'n' },
	{ "pty", no_argument, NULL, OPT_OWN + 't' },
};

/* One component of the command line. */
struct component {
	const char *export_env, *ntasks;
	unsigned int het_groups; /* how many --het-group names */
	bool interactive, multi_prog;
	char **argv;
};

static struct option *option_table(void)
{
	size_t n = ARRAY_SIZE(own_options);
	struct option *table = calloc(n + host.n_options + 1, sizeof(*table));

	memcpy(table, own_options, sizeof(own_options));
	for (size_t i = 0; i < host.n_options; i++)
		table[n + i] = (struct option){
			.name = host.options[i].def.name,
			.has_arg = host.options[i].def.has_arg,
			.val = (int)i + 2 * OPT_OWN,
		};
	return table;
}

static void plugin_option(size_t i, const char *arg)
{
	if (host_option_given(i, arg, 0) == 0)
		return;
	report("log", "error: Invalid --%s argument: %s",
	       host.options[i].def.name, arg);
	exit(255);
}

static void own_option(struct component *c, int opt)
{
	switch (opt) {
	case OPT_OWN + 'x':
		c->export_env = optarg;
		break;
	case OPT_OWN + 'h':
		c->het_groups = 1;
		for (const char *p = optarg; *p; p++)
			c->het_groups += *p == ',';
		break;
	case OPT_OWN + 'i':
		c->interactive = true;
		break;
	case OPT_OWN + 'p':
		c->multi_prog = true;
		break;
	case 'n':
		c->ntasks = optarg;
		break;
	case '?':
		exit(1); /* getopt_long() has said why */
	}
}

/* Returns how many elements of @argv were options, argv[0] included. */
static int parse_options(struct component *c, int argc, char **argv)
{
	_cleanup_free_ struct option *table = option_table();
	int opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "+N:n:c:", table, NULL)) != -1)
		if (opt >= 2 * OPT_OWN)
			plugin_option((size_t)(opt - 2 * OPT_OWN), optarg);
		else
			own_option(c, opt);
	return optind;
}

static void replay_env_options(void)
{
	for (size_t i = 0; i < host.n_options; i++) {
		_cleanup_free_ char *name = NULL;

		if (asprintf(&name, "SLURM_SPANK_%s",
			     host.options[i].env_name) < 0)
			abort();
		if (getenv(name) &&
		    host_option_given(i, getenv(name), 0) != 0) {
			report("log",
			       "error: Invalid argument (%s) for environment variable: %s",
			       getenv(name), name);
			exit(255);
		}
	}
}

/* All options of a component are there. */
static void options_done(void)
{
	for (size_t i = 0; i < host.n_options; i++)
		if (host.options[i].found)
			setenv(host.options[i].env_name,
			       host.options[i].last ? host.options[i].last : "",
			       1);
	if (!host_call(CALL_POST_OPT)) {
		report("log",
		       "error: Plugin stack post-option processing failed.");
		exit(1);
	}
}

/* The command at @argv, up to the next ":", which @argv is then at (NULL: there
 * is none). */
static char **take_command(char ***argv)
{
	struct strings command = { 0 };
	char **p = *argv;

	for (; *p && strcmp(*p, ":") != 0; p++)
		strings_add(&command, *p, strlen(*p));
	*argv = *p ? p : NULL;
	return keep(&command);
}

static int argc_of(char **argv)
{
	int n = 0;

	while (argv[n])
		n++;
	return n;
}

static bool exported(const char *list, const char *var)
{
	size_t len = strcspn(var, "=");

	if (!list || strcmp(list, "ALL") == 0 ||
	    strncmp(list, "ALL,", 4) == 0 || strncmp(var, "SLURM_", 6) == 0)
		return true;
	for (const char *p = list; *p; p += p[0] == ',') {
		size_t n = strcspn(p, ",=");

		if (n == len && strncmp(p, var, n) == 0)
			return true;
		p += strcspn(p, ",");
	}
	return false;
}

static void report_env(const char *export_env)
{
	for (char **e = environ; *e; e++)
		if (exported(export_env, *e))
			report("env", "%s", *e);
}

static void end_plugin(void)
{
	host_call(CALL_EXIT);
}

/* -- srun ------------------------------------------------------------------ */

#define COMPONENTS_MAX 8

static struct component components[COMPONENTS_MAX];
static unsigned int n_components;

/* --multi-prog: the text of the file argv[0] becomes argv[1]. */
static void load_multi_prog(struct component *c)
{
	_cleanup_fclose_ FILE *f = fopen(c->argv[0], "re");
	struct strings argv = { 0 };
	char text[4096];
	size_t len = f ? fread(text, 1, sizeof(text), f) : 0;

	if (len == 0)
		errx(1, "%s: no such configuration", c->argv[0]);
	strings_add(&argv, c->argv[0], strlen(c->argv[0]));
	strings_add(&argv, text, len);
	for (char **a = c->argv + 1; *a; a++)
		strings_add(&argv, *a, strlen(*a));
	c->argv = keep(&argv);
}

static void parse_component(int argc, char ***argv)
{
	struct component c = { .het_groups = 1 };

	for (unsigned int i = 0; i < c.het_groups; i++) {
		char **rest;

		replay_env_options();
		rest = *argv + parse_options(&c, argc, *argv);
		c.argv = take_command(&rest);
		options_done();
		if (n_components == COMPONENTS_MAX)
			abort();
		components[n_components++] = c;
		if (i + 1 == c.het_groups)
			*argv = rest;
	}
}

static void local_user_init(void)
{
	struct component *c = &components[0];

	host.has_job = true;
	host.job = (struct host_job){
		.job = getenv("SLURM_JOB_ID")
			       ? (uint32_t)atoi(getenv("SLURM_JOB_ID"))
			       : 1234,
		.step = c->interactive ? SLURM_INTERACTIVE_STEP : 0,
		.uid = getuid(),
		.gid = getgid(),
		.nodes = 1,
		.tasks = c->ntasks ? (uint32_t)atoi(c->ntasks) : 1,
		.argv = c->argv,
	};
	if (!host_call(CALL_LOCAL_USER_INIT)) {
		report("log", "error: Failure in local plugin stack");
		exit(1);
	}
}

static void launch(unsigned int i)
{
	const struct component *c = &components[i];

	report("component", "%u", i);
	for (char **a = c->argv; *a; a++)
		report("arg", "%s", *a);
	for (size_t o = 0; o < host.n_options; o++)
		if (host.options[o].found)
			report("option", "%s%s%s", host.options[o].def.name,
			       host.options[o].last ? "=" : "",
			       host.options[o].last ? host.options[o].last
						    : "");
	setenv("SLURM_NPROCS", c->ntasks ? c->ntasks : "1", 1);
	report_env(c->export_env);
}

int play_srun(int argc, char **argv)
{
	bool ok = start_plugin(S_CTX_LOCAL);

	if (!ok)
		return 1;
	atexit(end_plugin);
	while (argv)
		parse_component(argc_of(argv), &argv);
	if (components[0].multi_prog)
		load_multi_prog(&components[0]);
	if (!components[0].argv[0])
		errx(1, "No command given to execute.");
	local_user_init();
	for (unsigned int i = 0; i < n_components; i++)
		launch(i);
	return 0;
}

/* -- sbatch and salloc ----------------------------------------------------- */

/* What Slurm puts into the job's environment to be replayed there. */
static void set_replay(void)
{
	for (size_t i = 0; i < host.n_options; i++) {
		const struct host_option *o = &host.options[i];
		_cleanup_free_ char *name = NULL;

		if (!o->found)
			continue;
		if (asprintf(&name, "SLURM_SPANK_%s", o->env_name) < 0)
			abort();
		setenv(name, o->last ? o->last : "(null)", 1);
	}
}

/* The #SBATCH lines of the script that @argv names behind its options, if
 * there is one: they come before what was typed. */
static void parse_directives(char **argv)
{
	_cleanup_free_ struct option *table = option_table();
	_cleanup_fclose_ FILE *f = NULL;
	char line[256];
	int opt;

	opterr = optind = 0;
	do
		opt = getopt_long(argc_of(argv), argv, "+N:n:c:", table, NULL);
	while (opt != -1);
	if (argv[optind])
		f = fopen(argv[optind], "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *words[] = { argv[0], line + strlen("#SBATCH "), NULL };

		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "#SBATCH ", strlen("#SBATCH ")) == 0)
			parse_options(&(struct component){ 0 }, 2, words);
	}
	opterr = 1;
}

int play_allocator(int argc, char **argv)
{
	if (!start_plugin(S_CTX_ALLOCATOR))
		return 1;
	atexit(end_plugin);
	for (unsigned int i = 0; argv; i++) {
		struct component c = { 0 };

		replay_env_options();
		if (strcmp(argv[0], "sbatch") == 0)
			parse_directives(argv);
		argv += parse_options(&c, argc_of(argv), argv);
		take_command(&argv);
		options_done();
		set_replay();
		report("component", "%u", i);
		report_env(c.export_env);
	}
	return 0;
}
