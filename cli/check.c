#include <config.h>

#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check_impl.h"
#include "cleanup.h"
#include "log.h"

enum { FULL };
const struct cmd_option check_options[] = {
	[FULL] = { "--full", "[IMAGE]", "boot a VM, too, of this image" },
	{ 0 },
};

#define FULL_IMAGE "tiny"

#define SITE CHECK_WANTS_SITE
#define NODE CHECK_OF_NODE

const struct check check_table[] = {
	{ "slurm", 0, check_slurm },
	{ "plugstack.conf", 0, check_plugstack },
	{ "plugin", 0, check_plugin },
	{ "vmstep.conf", 0, check_site },
	{ "user", SITE, check_user },
	{ "limits", 0, check_limits },
	{ "accounting", 0, check_accounting },
	{ "grace", SITE, check_killwait },
	{ "programs", NODE, check_programs },
	{ "qemu", SITE | NODE, check_qemu },
	{ "accelerator", SITE | NODE, check_accel },
	{ "pmix", NODE, check_pmix },
	{ "net", SITE | NODE, check_net },
	{ "memlock", SITE | NODE, check_memlock },
	{ "/dev/shm", SITE | NODE, check_shm },
	{ "runtime_dir", SITE | NODE, check_runtime_dir },
	{ "rundir", SITE | NODE, check_rundir },
	{ "images", SITE | NODE, check_images },
	{ "roots", SITE | NODE, check_roots },
	{ "virtiofsd", SITE | NODE, check_virtiofsd },
	{ "firmware", NODE, check_firmware },
	{ "tools", NODE, check_tools },
	{ "cgroup", NODE, check_cgroup },
	{ "kernel", NODE, check_kernel },
	{ "sandbox", SITE | NODE, check_sandbox },
	{ "full", SITE, check_full },
	{ 0 },
};

/* -- lines ----------------------------------------------------------------- */

static const char *const level_names[CHECK_LEVELS] = {
	[CHECK_OK] = "ok",
	[CHECK_WARNING] = "warning",
	[CHECK_FAILED] = "failed",
};

__attribute__((format(printf, 4, 0))) static void
say(struct checking *c, enum check_level level, const char *cure,
    const char *fmt, va_list ap)
{
	struct errmsg words;

	vsnprintf(words.text, sizeof(words.text), fmt, ap);
	c->counts[level]++;
	if (c->lines)
		json_array_append_new(c->lines,
				      json_pack("{s:s, s:s, s:s, s:s*}",
						"subject", c->subject, "level",
						level_names[level], "found",
						words.text, "cure", cure));
	else
		printf("%-8s %-14s  %s%s%s\n", level_names[level], c->subject,
		       words.text, cure ? "; " : "", cure ? cure : "");
}

void check_ok(struct checking *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, CHECK_OK, NULL, fmt, ap);
	va_end(ap);
}

void check_warn(struct checking *c, const char *cure, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, CHECK_WARNING, cure, fmt, ap);
	va_end(ap);
}

void check_fail(struct checking *c, const char *cure, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, CHECK_FAILED, cure, fmt, ap);
	va_end(ap);
}

/* -- rows ------------------------------------------------------------------ */

void check_rows(struct checking *c, const struct check *rows)
{
	bool site = c->s->site_result == 0;

	for (; rows->subject; rows++) {
		if ((rows->flags & CHECK_WANTS_SITE && !site) ||
		    (rows->flags & CHECK_OF_NODE && !*c->node))
			continue;
		c->subject = rows->subject;
		rows->run(c);
		if (!c->lines)
			fflush(stdout);
	}
}

static void sum_up(const struct checking *c)
{
	if (!*c->node)
		log_warn(
			"this host is no node of Slurm's: what nodes need is not looked at; `srun vmstep check` does that");
	if (c->s->site_result < 0)
		log_warn(
			"what depends on vmstep.conf is not looked at: mend that first");
	if (!c->lines)
		printf("%u ok, %u warnings, %u failed\n", c->counts[CHECK_OK],
		       c->counts[CHECK_WARNING], c->counts[CHECK_FAILED]);
}

static void print_json(struct checking *c)
{
	json_t *o = json_pack("{s:s, s:b, s:O, s:i, s:i, s:i}", "version",
			      PACKAGE_VERSION, "node", *c->node != '\0',
			      "lines", c->lines, "ok", (int)c->counts[CHECK_OK],
			      "warnings", (int)c->counts[CHECK_WARNING],
			      "failed", (int)c->counts[CHECK_FAILED]);

	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
	json_decref(c->lines);
}

static int check_all(const struct invocation *inv, const struct settings *s)
{
	struct checking c = {
		.s = s,
		.root = "",
		.libexec = PKGLIBEXECDIR,
		.image = inv->options[FULL],
		.lines = inv->json ? json_array() : NULL,
	};

	if (c.image && !*c.image)
		c.image = FULL_IMAGE;
	check_find_node(c.node, sizeof(c.node));
	check_rows(&c, check_table);
	sum_up(&c);
	if (c.lines)
		print_json(&c);
	if (fflush(stdout) != 0) {
		log_err("standard output: %m");
		return EXIT_FAILED;
	}
	return c.counts[CHECK_FAILED] ? EXIT_FAILED : EXIT_DONE;
}

int check_run(const struct invocation *inv)
{
	struct settings s;
	int status;

	if (settings_load(inv->config, &s) < 0) {
		log_err("no memory");
		return EXIT_FAILED;
	}
	status = check_all(inv, &s);
	settings_done(&s);
	return status;
}
