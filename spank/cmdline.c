#include <config.h>

#include "cmdline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

/* srun's options whose value, if any, cannot be the next argument (Slurm 22.05
 * to 24.11). */
static const char short_flags[] = "EHOQVXZhlsuv";
static const char short_optional[] = "IKk"; /* what follows is their value */
static const char *const long_flags[] = {
	"--compress",
	"--contiguous",
	"--disable-status",
	"--exact",
	"--exclusive",
	"--external",
	"--help",
	"--hold",
	"--immediate",
	"--interactive",
	"--kill-on-bad-exit",
	"--label",
	"--multi-prog",
	"--nice",
	"--no-allocate",
	"--no-kill",
	"--overcommit",
	"--overlap",
	"--oversubscribe",
	"--preserve-env",
	"--propagate",
	"--pty",
	"--quiet",
	"--quit-on-interrupt",
	"--reboot",
	"--resv-ports",
	"--send-libs",
	"--share",
	"--spread-job",
	"--stepmgr",
	"--test-only",
	"--unbuffered",
	"--usage",
	"--use-min-nodes",
	"--verbose",
	"--version",
	"--whole",
};

int cmdline_load(struct strings *ret)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/cmdline", "re");
	_cleanup_free_ char *arg = NULL;
	size_t size = 0;
	ssize_t n;
	int r = f ? 0 : -errno;

	while (r == 0 && (n = getdelim(&arg, &size, '\0', f)) > 0)
		r = strings_add(ret, arg, strlen(arg));
	return r;
}

static bool is_our_flag(const char *name)
{
	for (int i = 0; i < OPT_COUNT; i++)
		if (option_defs[i].flags & (OPTF_FLAG | OPTF_FLAGARG) &&
		    strncmp(name, "--vm-", 5) == 0 &&
		    strcmp(name + 5, option_defs[i].name) == 0)
			return true;
	return false;
}

static bool is_flag(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(long_flags); i++)
		if (strcmp(name, long_flags[i]) == 0)
			return true;
	return is_our_flag(name);
}

/* May the argument after the option @arg be its value? */
static bool takes_next(const char *arg)
{
	size_t n;

	if (arg[1] == '-')
		return !strchr(arg, '=') && !is_flag(arg);
	n = 1 + strspn(arg + 1, short_flags); /* -n, -ln; not -n2 */
	return arg[n] && !arg[n + 1] && !strchr(short_optional, arg[n]);
}

static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1];
}

static size_t own_end(const struct strings *args, size_t from)
{
	size_t i = from;

	while (i < args->n && is_option(args->v[i])) {
		const char *arg = args->v[i++];

		if (strcmp(arg, "--") == 0)
			break;
		if (takes_next(arg) && i < args->n && !is_option(args->v[i]))
			i++;
	}
	return i;
}

struct cmdline_part cmdline_first(const struct strings *args)
{
	return (struct cmdline_part){ 1, own_end(args, 1) };
}

bool cmdline_next(const struct strings *args, struct cmdline_part *part)
{
	size_t i = part->to;

	while (i < args->n && strcmp(args->v[i], ":") != 0)
		i++;
	if (i >= args->n)
		return false;
	part->from = i + 1;
	part->to = own_end(args, i + 1);
	return true;
}

const char *cmdline_value(const struct strings *args,
			  const struct cmdline_part *part, const char *name,
			  size_t least)
{
	const char *value = NULL;

	for (size_t i = part->from; i < part->to; i++) {
		const char *arg = args->v[i];
		size_t n = strcspn(arg, "=");

		if (n < least || n > strlen(name) || strncmp(arg, name, n) != 0)
			continue;
		if (arg[n])
			value = arg + n + 1;
		else
			value = i + 1 < part->to ? args->v[i + 1] : "";
	}
	return value;
}

/* Ours that @arg gives; OPT_COUNT where it is none, or could be several. */
static int our_option(const char *arg)
{
	size_t n = strcspn(arg, "=");
	int found = OPT_COUNT;

	if (n < 5 || strncmp(arg, "--vm-", 5) != 0)
		return OPT_COUNT;
	for (int i = 0; i < OPT_COUNT; i++) {
		const char *name = option_defs[i].name;

		if (strncmp(name, arg + 5, n - 5) != 0)
			continue;
		if (!name[n - 5])
			return i;
		if (found != OPT_COUNT)
			return OPT_COUNT;
		found = i;
	}
	return found;
}

size_t cmdline_count(const struct strings *args,
		     const struct cmdline_part *part, enum option_id id)
{
	size_t n = 0;

	for (size_t i = part->from; i < part->to; i++)
		n += our_option(args->v[i]) == (int)id;
	return n;
}
