/* stepd.c - in slurmstepd: decide, describe, and let the helper be the task
 *
 * Whatever is wrong, a step that asks for VMs never runs on the host: its
 * program becomes vmstep-helper all the same, with a description that says
 * what to tell the user, and exits with 125. The batch script, salloc's
 * interactive step and steps that ask for no VM are left as they are.
 *
 * stepd_post_opt() runs once, before tasks are forked, so tasks inherit what it
 * found in memory; what differs by task is added in stepd_task_init().
 */
#include <config.h>

#include "plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <slurm/slurm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allow.h"
#include "cleanup.h"
#include "desc.h"
#include "site.h"
#include "slots.h"

static struct {
	bool vm;      /* this step's tasks are VMs */
	bool refused; /* ... or would be: refusal says why not */
	struct errmsg refusal;
	struct site site;
	struct optset options; /* of the step, the site's defaults included */
	uint32_t job, step;
	uid_t uid;
	gid_t gid;
	char name[64];	 /* "1234.0", "1234.0+1": the step's directory */
	char *user;	 /* the caller's name */
	uint32_t ntasks; /* here */
	int slots;	 /* open as long as this process lives; -1: no limit */
} stepd = { .slots = -1 };

static void refuse(const struct errmsg *err)
{
	stepd.vm = true;
	stepd.refused = true;
	stepd.refusal = *err;
}

/* -- what srun handed over ------------------------------------------------- */

/* The component of a heterogeneous step that this slurmstepd serves. SPANK
 * does not tell; slurmstepd's own title does: "slurmstepd: [12.0+1]". */
static unsigned int het_component(void)
{
	_cleanup_close_ int fd =
		open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	char title[256];
	ssize_t len = fd < 0 ? -1 : read(fd, title, sizeof(title) - 1);
	const char *plus;

	if (len <= 0)
		return 0;
	title[len] = '\0';
	plus = strchr(title, '[') ? strchr(strchr(title, '['), '+') : NULL;
	return plus ? (unsigned int)strtoul(plus + 1, NULL, 10) : 0;
}

/* The components of a heterogeneous job have job ids of their own, counted up
 * from the leader's, which is the one in the environment. */
static unsigned int het_job_offset(spank_t sp)
{
	char leader[32];

	if (spank_getenv(sp, "SLURM_JOB_ID", leader, sizeof(leader)) !=
	    ESPANK_SUCCESS)
		return 0;
	return stepd.job - (unsigned int)strtoul(leader, NULL, 10);
}

static bool env_of_component(spank_t sp, unsigned int n, char *buf, int size)
{
	char name[64];

	snprintf(name, sizeof(name), STEP_ENV "%u", n);
	return spank_getenv(sp, name, buf, size) == ESPANK_SUCCESS;
}

/* Find what srun said about this step. Returns 1 and its text in @buf, 0 when
 * the step wants no VM, -errno with words when it must be refused. */
static int find_handover(spank_t sp, char *buf, int size, struct errmsg *err)
{
	unsigned int n = het_component();
	bool het;

	if (n == 0)
		n = het_job_offset(sp);
	het = env_of_component(sp, 1, buf, size);
	if (het || n)
		snprintf(stepd.name, sizeof(stepd.name), "%u.%u+%u", stepd.job,
			 stepd.step, n);
	if (env_of_component(sp, n, buf, size))
		return 1;
	if (!het && env_of_component(sp, 0, buf, size))
		return 1; /* --het-group named one component */
	if (het)	  /* all components have a record where one has */
		return errmsg_say(
			err, -ENOTSUP,
			"srun said nothing about component %u of this step: --het-group with some of a job's components is not in this version yet; name all of them, or one",
			n);
	if (spank_getenv(sp, "VMSTEP_IMAGE", buf, size) == ESPANK_SUCCESS &&
	    *buf && strcmp(buf, "none") != 0)
		return errmsg_say(
			err, -ENOSYS,
			"VMSTEP_IMAGE is set, but srun did not load the vmstep plugin: install it where srun runs, or unset VMSTEP_IMAGE");
	return 0;
}

/* VMs of a step meet by a PMIx fence of all its tasks, those of all components;
 * one without VMs would never come to it. */
static int check_components(spank_t sp, struct errmsg *err)
{
	const int size = 256 * 1024;
	_cleanup_free_ char *text = malloc((size_t)size);
	struct optset set = { 0 };
	bool vm = true;

	if (!text)
		return errmsg_set(err, -ENOMEM, "options");
	for (unsigned int i = 0; vm && env_of_component(sp, i, text, size);
	     i++) {
		char *options = strchr(text, '\n');

		vm = options && optset_decode(&set, options + 1, NULL) == 0 &&
		     optset_wants_vm(&set);
		optset_done(&set);
	}
	return vm ? 0
		  : errmsg_say(
			    err, -ENOTSUP,
			    "a step with VMs in some of its components only is not in this version yet: give each component --vm-image, or run two steps");
}

static int parse_handover(char *text, struct errmsg *err)
{
	char *options = strchr(text, '\n');

	if (!options)
		return errmsg_say(err, -EINVAL,
				  "options handed over by srun are damaged");
	*options++ = '\0';
	if (strcmp(text, PACKAGE_VERSION) != 0)
		return errmsg_say(
			err, -EPROTO,
			"srun's plugin is version %s, this node's is %s: install one version everywhere",
			text, PACKAGE_VERSION);
	return optset_decode(&stepd.options, options, err);
}

/* -- the step's directory -------------------------------------------------- */

/* Make @name under @at, or find it made, as a directory of @uid's; its
 * descriptor, or -errno. A link there is refused, not followed. */
static int make_dir_at(int at, const char *name, uid_t uid, gid_t gid,
		       mode_t mode)
{
	struct stat st;
	int fd;

	if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || (st.st_uid != uid && st.st_uid != 0) ||
	    fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

/* The same as the user, within what is his: what he has put there in its place
 * he has to be the owner of, too. */
static int make_dir_as(int at, const char *name, uid_t uid, gid_t gid,
		       mode_t mode)
{
	int fd;

	setfsgid(gid);
	setfsuid(uid);
	fd = make_dir_at(at, name, uid, gid, mode);
	setfsuid(geteuid());
	setfsgid(getegid());
	return fd;
}

static int take_slots(int top, struct errmsg *err)
{
	if (stepd.site.max_vms == SITE_VMS_MAX)
		return 0;
	stepd.slots = slots_take(top, stepd.site.max_vms, stepd.ntasks, err);
	return stepd.slots < 0 ? stepd.slots : 0;
}

static void give_slots_back(void)
{
	_cleanup_close_ int top =
		open(stepd.site.runtime_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	slots_drop(top, stepd.slots);
	stepd.slots = -1;
}

static int make_step_dir(struct errmsg *err)
{
	const char *top_path = stepd.site.runtime_dir;
	_cleanup_close_ int top = -1;
	char uid_name[16];
	int r;

	/* root's; a slurmd of tests may be someone else's */
	top = make_dir_at(AT_FDCWD, top_path, geteuid(), getegid(), 0755);
	if (top < 0)
		return errmsg_set(err, top, "runtime directory %s", top_path);
	r = take_slots(top, err);
	if (r < 0)
		return r;
	r = -ENOENT;
	snprintf(uid_name, sizeof(uid_name), "%u", stepd.uid);
	/* again where the end of an earlier step removed the user's directory
	 * between our two calls */
	for (int tries = 0; r == -ENOENT && tries < 5; tries++) {
		_cleanup_close_ int user = -1;

		user = make_dir_at(top, uid_name, stepd.uid, stepd.gid, 0700);
		if (user < 0) {
			r = user;
			continue;
		}
		r = make_dir_as(user, stepd.name, stepd.uid, stepd.gid, 0700);
		if (r >= 0) {
			close(r);
			return 0;
		}
	}
	return errmsg_set(err, r, "step's directory %s/%s/%s", top_path,
			  uid_name, stepd.name);
}

/* -- once a step ----------------------------------------------------------- */

static int prepare(int ac, char **av, struct errmsg *err)
{
	const char *path;
	bool given;
	int r;

	r = site_args(ac, av, &path, &given, err);
	if (r == 0)
		r = site_load(path, given, &stepd.site, err);
	if (r == 0)
		r = optset_inherit(&stepd.options, &stepd.site.defaults, err);
	if (r == 0)
		r = optset_check(&stepd.options, err);
	if (r == 0)
		r = allow_user(&stepd.site, stepd.user, stepd.gid, err);
	if (r == 0)
		r = allow_options(&stepd.site, &stepd.options, err);
	if (r == 0)
		r = make_step_dir(err);
	return r;
}

static void load_user_name(void)
{
	const struct passwd *pw = getpwuid(stepd.uid);

	stepd.user = pw ? strdup(pw->pw_name) : NULL;
}

int stepd_post_opt(spank_t sp, int ac, char **av)
{
	_cleanup_free_ char *text = NULL;
	const int size = 256 * 1024;
	struct errmsg err;
	int r;

	if (spank_get_item(sp, S_JOB_ID, &stepd.job) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_STEPID, &stepd.step) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_UID, &stepd.uid) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_GID, &stepd.gid) != ESPANK_SUCCESS)
		return ESPANK_SUCCESS;
	if (stepd.step > SLURM_MAX_NORMAL_STEP_ID)
		return ESPANK_SUCCESS; /* batch script, interactive, extern */
	snprintf(stepd.name, sizeof(stepd.name), "%u.%u", stepd.job,
		 stepd.step);
	text = malloc((size_t)size);
	if (!text)
		return ESPANK_SUCCESS;
	r = find_handover(sp, text, size, &err);
	if (r == 0)
		return ESPANK_SUCCESS;
	if (r > 0)
		r = parse_handover(text, &err);
	if (r == 0 && !optset_wants_vm(&stepd.options))
		return ESPANK_SUCCESS;
	stepd.vm = true;
	spank_get_item(sp, S_JOB_LOCAL_TASK_COUNT, &stepd.ntasks);
	load_user_name();
	if (r == 0)
		r = check_components(sp, &err);
	if (r == 0)
		r = prepare(ac, av, &err);
	if (r < 0)
		refuse(&err);
	return ESPANK_SUCCESS;
}

/* -- each task ------------------------------------------------------------- */

/* False where there is no such variable. */
static bool describe_env(spank_t sp, struct desc_writer *w, const char *key,
			 const char *var)
{
	char value[64 * 1024];

	if (spank_getenv(sp, var, value, sizeof(value)) != ESPANK_SUCCESS)
		return false;
	desc_add(w, key, "%s", value);
	return true;
}

static void describe_site(struct desc_writer *w)
{
	const struct site *s = &stepd.site;

	desc_add(w, "site.runtime_dir", "%s", s->runtime_dir);
	desc_add(w, "site.image_path", "%s", s->image_path);
	desc_add(w, "site.rundir", "%s", s->rundir);
	desc_add(w, "site.kernel", "%s", s->kernel);
	desc_add(w, "site.initrd", "%s", s->initrd);
	desc_add(w, "site.qemu", "%s", s->qemu);
	desc_add(w, "site.allow_tcg", "%s", s->allow_tcg ? "yes" : "no");
	desc_add(w, "site.allow_qmp", "%s", s->allow_qmp ? "yes" : "no");
	desc_add(w, "site.allow_images", "%s", s->allow_images);
	desc_add(w, "site.allow_mounts", "%s", s->allow_mounts);
	desc_add(w, "site.data_path", "%s", s->data_path);
	desc_add(w, "site.virtiofsd", "%s", s->virtiofsd);
	desc_add(w, "site.allow_qemu_args", "%s",
		 s->allow_qemu_args ? "yes" : "no");
	desc_add(w, "site.allow_devices", "%s", s->allow_devices);
	desc_add(w, "site.allow_publish", "%s", s->allow_publish);
	desc_add(w, "site.sandbox", "%s", s->sandbox);
	desc_add(w, "site.sandbox_paths", "%s", s->sandbox_paths);
	desc_add(w, "site.mem_reserve", "%llu",
		 (unsigned long long)s->mem_reserve);
	desc_add(w, "site.max_fam", "%llu", (unsigned long long)s->max_fam);
	desc_add(w, "site.net_device", "%s", s->net_device);
	desc_add(w, "site.net_port_range", "%s", s->net_port_range);
	desc_add(w, "site.net_link", "%s", s->net_link);
	desc_add(w, "site.net_encrypt", "%s", s->net_encrypt ? "yes" : "no");
	desc_add(w, "site.net_workers", "%u", s->net_workers);
	desc_add(w, "site.beacon_interval", "%u", s->beacon_interval_s);
	desc_add(w, "site.lost_after", "%u", s->lost_after_s);
}

static void describe_options(struct desc_writer *w)
{
	for (int i = 0; i < OPT_COUNT; i++)
		for (size_t j = 0; j < stepd.options.opt[i].n; j++) {
			char key[64];

			snprintf(key, sizeof(key), "opt.%s",
				 option_defs[i].name);
			desc_add(w, key, "%s", stepd.options.opt[i].v[j]);
		}
}

/* Where in the helper's arguments the user's second is:
 * spank_prepend_task_argv() leaves the first, which the description has, after
 * the helper's path. */
#define ARGV_FROM (HAVE_DECL_SPANK_PREPEND_TASK_ARGV ? 2 : 1)

static void describe_task(spank_t sp, struct desc_writer *w)
{
	uint32_t cpus = 1, ntasks = 1, nnodes = 1;
	uint64_t mem_mib = 0;

	spank_get_item(sp, S_STEP_CPUS_PER_TASK, &cpus);
	spank_get_item(sp, S_STEP_ALLOC_MEM, &mem_mib);
	spank_get_item(sp, S_JOB_LOCAL_TASK_COUNT, &ntasks);
	spank_get_item(sp, S_JOB_NNODES, &nnodes);
	desc_add(w, "step", "%s", stepd.name);
	if (stepd.site.runtime_dir) /* not where the configuration is bad */
		desc_add(w, "step_dir", "%s/%u/%s", stepd.site.runtime_dir,
			 stepd.uid, stepd.name);
	desc_add(w, "job", "%u", stepd.job);
	desc_add(w, "stepid", "%u", stepd.step);
	desc_add(w, "stepd", "%d", getppid());
	desc_add(w, "user", "%s", stepd.user ? stepd.user : "");
	desc_add(w, "cpus", "%u", cpus);
	desc_add(w, "step_mem_mib", "%llu", (unsigned long long)mem_mib);
	desc_add(w, "local_tasks", "%u", ntasks);
	describe_env(sp, w, "rank", "SLURM_PROCID");
	describe_env(sp, w, "ranks", "SLURM_NPROCS");
	describe_env(sp, w, "local_id", "SLURM_LOCALID");
	describe_env(sp, w, "local_ranks", "SLURM_GTIDS");
	describe_env(sp, w, "node_id", "SLURM_NODEID");
	describe_env(sp, w, "node", "SLURMD_NODENAME");
	desc_add(w, "argv_from", "%d", ARGV_FROM);
}

/* What the user wanted to run. Where srun has put the helper there, under the
 * path that it has on srun's host, it tells what was there before; else it
 * hides the variable. */
static void describe_command(spank_t sp, struct desc_writer *w, char **argv)
{
	if (!describe_env(sp, w, "argv0", ARGV0_ENV))
		desc_add(w, "argv0", "%s", argv[0]);
}

/* The refusal's last resort, should there be no memory for a description, is
 * that vmstep-helper finds none and refuses by itself. */
static void hand_description(spank_t sp, struct desc_writer *w)
{
	struct errmsg err;
	char number[16];
	int fd;

	spank_unsetenv(sp, DESC_FD_ENV);
	if (desc_seal(w, &fd, &err) < 0) {
		slurm_error("vmstep: %s", err.text);
		return;
	}
	snprintf(number, sizeof(number), "%d", fd);
	spank_setenv(sp, DESC_FD_ENV, number, 1);
}

/* The helper that would say what is wrong may be what is missing. The task is
 * our own, forked for the helper, and never one of the host. */
static void require_helper(const char *rank)
{
	if (access(HELPER_PATH, X_OK) == 0)
		return;
	slurm_error("vmstep: vm[%s]: " HELPER_PATH
		    " cannot be run: %s; install vmstep on this node",
		    rank, strerror(errno));
	_exit(125);
}

static char helper[] = HELPER_PATH;

/* Slurm's own way, where it has one; else by the list that it shows. */
static void become_helper(spank_t sp, char **argv)
{
#if HAVE_DECL_SPANK_PREPEND_TASK_ARGV
	const char *before[] = { helper };
	spank_err_t r = spank_prepend_task_argv(sp, 1, before);

	if (r == ESPANK_SUCCESS)
		return;
	slurm_error("vmstep: Slurm does not take " HELPER_PATH
		    " for the task: SPANK error %d",
		    (int)r);
	_exit(125);
#else
	argv[0] = helper;
#endif
}

int stepd_task_init(spank_t sp)
{
	struct desc_writer w = { 0 };
	char multi[8], rank[16] = "?";
	bool multi_prog;
	char **argv;
	int argc;

	if (!stepd.vm)
		return ESPANK_SUCCESS;
	if (spank_get_item(sp, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS ||
	    argc < 1) {
		slurm_error(
			"vmstep: this Slurm does not show the step's command");
		_exit(125); /* our own task, forked for it: never the host */
	}
	spank_getenv(sp, "SLURM_PROCID", rank, sizeof(rank));
	require_helper(rank);
	multi_prog = spank_getenv(sp, MULTI_ENV, multi, sizeof(multi)) ==
		     ESPANK_SUCCESS;
	desc_add(&w, "version", "%s", PACKAGE_VERSION);
	describe_task(sp, &w);
	if (stepd.refused) {
		desc_add(&w, "refuse", "%s", stepd.refusal.text);
	} else if (multi_prog) {
		desc_add(
			&w, "refuse",
			"--multi-prog is not in this version yet: give options by rank and one command, or run several steps");
	} else {
		describe_site(&w);
		describe_options(&w);
	}
	if (!multi_prog)
		describe_command(sp, &w, argv);
	hand_description(sp, &w);
	if (multi_prog) { /* its tasks have argument lists of their own */
		char *args[] = { helper, NULL };
		char **env;

		spank_get_item(sp, S_JOB_ENV, &env);
		execve(helper, args, env);
		_exit(125);
	}
	become_helper(sp, argv);
	return ESPANK_SUCCESS;
}

/* A helper that was killed cannot say so itself. */
int stepd_task_exit(spank_t sp)
{
	uint32_t rank = 0;
	int status = 0;

	if (!stepd.vm ||
	    spank_get_item(sp, S_TASK_EXIT_STATUS, &status) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_TASK_GLOBAL_ID, &rank) != ESPANK_SUCCESS)
		return ESPANK_SUCCESS;
	if (WIFSIGNALED(status))
		slurm_error(
			"vmstep: vm[%u]: vmstep-helper was ended by signal %d (%s), and its VM with it",
			rank, WTERMSIG(status), strsignal(WTERMSIG(status)));
	return ESPANK_SUCCESS;
}

int stepd_exit(spank_t sp)
{
	if (stepd.slots >= 0)
		give_slots_back();
	if (stepd.vm && stepd.site.runtime_dir)
		sweep(stepd.site.runtime_dir, stepd.uid, stepd.job, stepd.name);
	return ESPANK_SUCCESS;
}
