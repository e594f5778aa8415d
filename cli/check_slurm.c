/* check_slurm.c - what srun and slurmctld say of themselves and of our plugin
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <slurm/slurm_version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "allow.h"
#include "check_impl.h"
#include "child.h"
#include "cleanup.h"

#define SRUN_MS	    30000
#define SRUN_MAX    (256 * 1024)
#define BUILT_MAJOR SLURM_VERSION_MAJOR(SLURM_VERSION_NUMBER)
#define BUILT_MINOR SLURM_VERSION_MINOR(SLURM_VERSION_NUMBER)

/* -- versions -------------------------------------------------------------- */

/* Slurm loads plugins that were built for the same release, as 22.05. */
void check_slurm(struct checking *c)
{
	unsigned int major, minor;
	char version[64];

	if (!c->s->slurm.text) {
		check_fail(c,
			   "start slurmctld, or have this host find slurm.conf",
			   "%s", c->s->slurm_error.text);
		return;
	}
	slurmconf_get(&c->s->slurm, "SLURM_VERSION", version, sizeof(version));
	if (sscanf(version, "%u.%u", &major, &minor) != 2)
		check_warn(c, NULL, "scontrol does not tell its version");
	else if (major != BUILT_MAJOR || minor != BUILT_MINOR)
		check_fail(
			c,
			"build vmstep with the headers of this Slurm, or install the package made for it",
			"this is Slurm %s, and vmstep was built for %d.%02d",
			version, BUILT_MAJOR, BUILT_MINOR);
	else
		check_ok(c, "%s, for which vmstep was built", version);
}

/* -- plugstack.conf -------------------------------------------------------- */

void check_plugstack(struct checking *c)
{
	const struct plugstack *p = &c->s->plugstack;
	const char *cure = "add the line: optional " PLUGINDIR "/vmstep.so";

	if (c->s->plugstack_result < 0)
		check_fail(c, p->n ? NULL : cure, "%s",
			   c->s->plugstack_error.text);
	else if (!p->n)
		check_fail(c, cure, "%s has no line for vmstep.so",
			   c->s->plugstack_path);
	else if (p->n > 1)
		check_fail(c, "leave one of them",
			   "%u lines load vmstep.so; the first is %s:%u", p->n,
			   p->file, p->line);
	else if (p->required)
		check_warn(
			c,
			"say optional: steps with VMs are refused all the same where it does not load",
			"%s:%u: with 'required' no step runs where vmstep.so does not load",
			p->file, p->line);
	else
		check_ok(c, "%s:%u", p->file, p->line);
}

/* -- the plugin ------------------------------------------------------------ */

/* Where a plugin's name without a path is looked up. */
static bool in_plugin_dir(const struct checking *c, const char *name, char *ret,
			  size_t size)
{
	char dirs[4096], *rest = dirs, *dir;

	slurmconf_get(&c->s->slurm, "PluginDir", dirs, sizeof(dirs));
	while ((dir = strsep(&rest, ":"))) {
		snprintf(ret, size, "%s/%s", dir, name);
		if (access(ret, R_OK) == 0)
			return true;
	}
	return false;
}

/* The text behind @mark in a file; false: there is none. */
static bool find_text(const char *path, const char *mark, char *ret,
		      size_t size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *bytes = NULL;
	size_t n, len = 0;
	const char *at;
	long end;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (end = ftell(f)) < 0)
		return false;
	rewind(f);
	n = (size_t)end;
	bytes = malloc(n + 1);
	if (!bytes || fread(bytes, 1, n, f) != n)
		return false;
	bytes[n] = '\0'; /* the text ends in the file, or here */
	at = memmem(bytes, n, mark, strlen(mark));
	if (!at)
		return false;
	at += strlen(mark);
	for (; len < size - 1 && at[len]; len++)
		ret[len] = at[len];
	ret[len] = '\0';
	return true;
}

static bool check_release(struct checking *c, const char *path)
{
	char release[64];

	if (access(path, R_OK) < 0)
		check_fail(c, "install vmstep here", "%s: %s", path,
			   strerror(errno));
	else if (!find_text(path, PLUGIN_RELEASE, release, sizeof(release)))
		check_fail(c, "let plugstack.conf name vmstep's own",
			   "%s is no vmstep.so", path);
	else if (strcmp(release, PACKAGE_VERSION) != 0)
		check_fail(
			c, "install one version everywhere",
			"%s is of version %s, this vmstep is " PACKAGE_VERSION,
			path, release);
	else
		return true;
	return false;
}

/* srun loads what plugstack.conf has before it prints its help; what kept it
 * from that stands before the help. */
static void check_loads(struct checking *c, const char *path)
{
	const char *const argv[] = { "srun", "--help", NULL };
	_cleanup_free_ char *text = malloc(SRUN_MAX);
	struct errmsg err = { "no memory" };
	int r = -ENOMEM;

	if (text)
		r = child_output(argv, SRUN_MS, text, SRUN_MAX, &err);
	if (r < 0) {
		check_fail(c, "install srun here", "%s", err.text);
		return;
	}
	if (strstr(text, "--vm-image")) {
		check_ok(c, "srun loads %s, version " PACKAGE_VERSION, path);
		return;
	}
	text[strcspn(text, "\n")] = '\0';
	check_fail(c, "slurmd's log and `srun -v` have more",
		   "srun does not load %s: %s", path,
		   strncmp(text, "srun: ", 6) == 0
			   ? text
			   : "its help has no --vm-image");
}

void check_plugin(struct checking *c)
{
	const struct plugstack *p = &c->s->plugstack;
	char path[PATH_MAX];

	if (!p->n) {
		check_fail(c, NULL, "nothing loads it, see plugstack.conf");
		return;
	}
	snprintf(path, sizeof(path), "%s", p->plugin);
	if (*path != '/' && !in_plugin_dir(c, p->plugin, path, sizeof(path)))
		check_fail(c, "name it by its path",
			   "%s is not in Slurm's PluginDir", p->plugin);
	else if (check_release(c, path))
		check_loads(c, path);
}

/* -- vmstep.conf ----------------------------------------------------------- */

void check_site(struct checking *c)
{
	const struct settings *s = c->s;
	struct errmsg names;

	if (s->site_result < 0) {
		check_fail(c, "vmstep.conf(5) has each key", "%s",
			   s->site_error.text);
		return;
	}
	if (allow_names_unknown(&s->site, &names))
		check_warn(c, "mend the name, or this host's user database",
			   "%s", names.text);
	check_ok(c, "%s (%s)%s", s->path, s->from,
		 access(s->path, F_OK) == 0 ? ""
					    : ": not there, all is default");
}

void check_user(struct checking *c)
{
	const struct passwd *pw = getpwuid(getuid());
	struct errmsg err;

	if (!pw)
		check_fail(c, "mend this host's user database",
			   "no name for user %u", (unsigned int)getuid());
	else if (allow_user(&c->s->site, pw->pw_name, pw->pw_gid, &err) < 0)
		check_warn(c, NULL, "%s", err.text);
	else
		check_ok(c, "%s may run VMs", pw->pw_name);
}

/* -- slurm.conf ------------------------------------------------------------ */

void check_limits(struct checking *c)
{
	char track[128], task[256];

	slurmconf_get(&c->s->slurm, "ProctrackType", track, sizeof(track));
	slurmconf_get(&c->s->slurm, "TaskPlugin", task, sizeof(task));
	if (!*track)
		return; /* said already: no scontrol */
	if (strstr(track, "cgroup") && strstr(task, "cgroup"))
		check_ok(c, "%s, %s", track, task);
	else
		check_warn(
			c,
			"let slurm.conf have ProctrackType=proctrack/cgroup and TaskPlugin=task/affinity,task/cgroup",
			"%s, %s: memory and devices of a step are not limited, and what leaves its process group is not found",
			track, *task ? task : "no TaskPlugin");
}

/* Guests share their memory with vmstep-net. */
void check_accounting(struct checking *c)
{
	char type[128];

	slurmconf_get(&c->s->slurm, "JobAcctGatherType", type, sizeof(type));
	if (!*type)
		return;
	if (!strstr(type, "linux") ||
	    slurmconf_has(&c->s->slurm, "JobAcctGatherParams", "UsePss") ||
	    slurmconf_has(&c->s->slurm, "JobAcctGatherParams", "NoShared"))
		check_ok(c, "%s", type);
	else
		check_warn(
			c, "let slurm.conf have JobAcctGatherParams=UsePss",
			"%s counts a guest's memory in QEMU and again in vmstep-net: MaxRSS is too high",
			type);
}

void check_killwait(struct checking *c)
{
	const struct optvals *v = &c->s->site.defaults.opt[OPT_GRACE];
	unsigned int grace, wait;
	char text[64];

	slurmconf_get(&c->s->slurm, "KillWait", text, sizeof(text));
	if (sscanf(text, "%u", &wait) != 1 ||
	    sscanf(v->n ? v->v[v->n - 1] : option_defs[OPT_GRACE].dflt, "%u",
		   &grace) != 1)
		return;
	if (grace < wait)
		check_ok(c, "%u s, within KillWait's %u", grace, wait);
	else
		check_warn(c, "lower grace, or raise KillWait in slurm.conf",
			   "%u s, and Slurm's KillWait ends a step after %u",
			   grace, wait);
}

/* Steps of several nodes are wired up by PMIx; Slurm's plugin opens libpmix.so
 * by that name. */
void check_pmix(struct checking *c)
{
	const char *const argv[] = { "srun", "--mpi=list", NULL };
	char path[PATH_MAX], text[4096];
	struct errmsg err;

	if (!c->s->slurm.text)
		return;
	if (!in_plugin_dir(c, "mpi_pmix.so", path, sizeof(path)))
		check_fail(
			c,
			"install Slurm's PMIx plugin; until then a step of VMs has to fit on one node",
			"there is no mpi_pmix.so in Slurm's PluginDir");
	else if (child_output(argv, SRUN_MS, text, sizeof(text), &err) != 0 ||
		 !strstr(text, "pmix"))
		check_fail(
			c,
			"install what it wants: on Debian libpmix-dev, for libpmix.so",
			"srun --mpi=list does not name pmix, though there is %s",
			path);
	else
		check_ok(c, "%s", path);
}
