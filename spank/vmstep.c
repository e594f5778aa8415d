/* vmstep.c - Slurm's callbacks, and which part of the plugin serves each
 *
 * spank.h draws when each is called; the comments in plugin.h say where and as
 * whom. Nothing here fails where the failure would not reach the user of a VM
 * step, and nothing touches a step that asks for no VM.
 */
#include <config.h>

#include "plugin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "allow.h"
#include "site.h"

#pragma GCC visibility push(default)
SPANK_PLUGIN(vmstep, 1);
/* For `vmstep check`, which reads the file. */
extern const char plugin_release[];
const char plugin_release[] = PLUGIN_RELEASE PACKAGE_VERSION;
#pragma GCC visibility pop

/* What is well-formed and still of no use on this node. */
static void warn_of_site(const struct site *site)
{
	struct errmsg words;
	struct stat st;

	if (allow_names_unknown(site, &words))
		slurm_error("vmstep: %s, ignoring", words.text);
	if (!strchr(site->rundir, '%') && stat(site->rundir, &st) < 0)
		slurm_error(
			"vmstep: rundir: %s: %s (steps whose images are disks will fail here)",
			site->rundir, strerror(errno));
}

/* In slurmd, as root, at its start: say once what is wrong with the
 * configuration. Success all the same: no other job may suffer. */
static int slurmd_init(int ac, char **av)
{
	struct errmsg err;
	struct site site;
	const char *path;
	bool given;

	if (site_args(ac, av, &path, &given, &err) < 0 ||
	    site_load(path, given, &site, &err) < 0) {
		slurm_error(
			"vmstep: %s (steps that ask for VMs will be refused with this message)",
			err.text);
		return ESPANK_SUCCESS;
	}
	warn_of_site(&site);
	site_done(&site);
	return ESPANK_SUCCESS;
}

int slurm_spank_init(spank_t sp, int ac, char **av)
{
	switch (spank_context()) {
	case S_CTX_SLURMD:
		return slurmd_init(ac, av);
	case S_CTX_LOCAL:
	case S_CTX_ALLOCATOR:
	case S_CTX_REMOTE:
		return submit_init(sp, ac, av);
	default:
		return ESPANK_SUCCESS;
	}
}

int slurm_spank_init_post_opt(spank_t sp, int ac, char **av)
{
	switch (spank_context()) {
	case S_CTX_LOCAL:
	case S_CTX_ALLOCATOR:
		return submit_post_opt(sp, ac, av);
	case S_CTX_REMOTE:
		return stepd_post_opt(sp, ac, av);
	default:
		return ESPANK_SUCCESS;
	}
}

int slurm_spank_local_user_init(spank_t sp, int ac, char **av)
{
	return submit_user_init(sp);
}

int slurm_spank_task_init(spank_t sp, int ac, char **av)
{
	return stepd_task_init(sp);
}

int slurm_spank_task_exit(spank_t sp, int ac, char **av)
{
	return stepd_task_exit(sp);
}

int slurm_spank_exit(spank_t sp, int ac, char **av)
{
	return spank_remote(sp) == 1 ? stepd_exit(sp) : ESPANK_SUCCESS;
}

/* As root, on each node of a job that ended: what a crash left is removed.
 * Success all the same: a failing epilog drains the node. */
int slurm_spank_job_epilog(spank_t sp, int ac, char **av)
{
	struct site site;
	const char *path;
	uint32_t job;
	bool given;
	uid_t uid;

	if (site_args(ac, av, &path, &given, NULL) < 0 ||
	    site_load(path, given, &site, NULL) < 0)
		return ESPANK_SUCCESS;
	if (spank_get_item(sp, S_JOB_ID, &job) == ESPANK_SUCCESS &&
	    spank_get_item(sp, S_JOB_UID, &uid) == ESPANK_SUCCESS)
		sweep(site.runtime_dir, uid, job, NULL);
	site_done(&site);
	return ESPANK_SUCCESS;
}

/* Its presence makes Slurm call slurm_spank_init() in slurmd. */
int slurm_spank_slurmd_exit(spank_t sp, int ac, char **av)
{
	return ESPANK_SUCCESS;
}
