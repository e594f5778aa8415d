#include <config.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "test_plugin.h"

/* The step gets just these options. */
#define assert_step(t, options) \
	assert_string_equal(played_env(&(t)->run, 0, STEP_0), HEAD options)

static void refused(struct test *t, const char *const *argv,
		    const char *const *env, const char *words)
{
	play(t->c, argv, env, &t->run);
	assert_int_equal(t->run.status, 255);
	if (!played_said(&t->run, words))
		fail_msg("nothing said '%s'", words);
	assert_null(played_arg(&t->run, 0, 0)); /* nothing is launched */
}

/* -- refused --------------------------------------------------------------- */

static void test_bad_typed(void **state)
{
	struct test *t = *state;

	refused(t, LIST("srun", "--vm-image=a", "--vm-mem=lots", "true"), NULL,
		"--vm-mem: 'lots' is not a size");
	assert_true(played_said(&t->run, "Invalid --vm-mem argument: lots"));
	refused(t,
		LIST("sbatch", "--vm-image=a", "--vm-net=carrier-pigeon", "x"),
		NULL, "--vm-net: 'carrier-pigeon' is not one of");
	refused(t,
		LIST("srun", "--vm-image=a",
		     "--vm-install=b,unattended=", "true"),
		NULL, "--vm-install: no directory after unattended=");
}

static void test_bad_env(void **state)
{
	struct test *t = *state;

	refused(t, LIST("srun", "--vm-image=a", "true"), LIST("VMSTEP_CPUS=-1"),
		"VMSTEP_CPUS: '-1' is not a whole number");
	refused(t, LIST("sbatch", "--vm-image=a", "x"), LIST("VMSTEP_MEM="),
		"VMSTEP_MEM: '' is not a size");
	refused(t, LIST("srun", "true"), LIST("VMSTEP_WAIT=yes"),
		"VMSTEP_WAIT");
}

static void test_without_image(void **state)
{
	struct test *t = *state;

	refused(t, LIST("srun", "--vm-mem=1G", "true"), NULL,
		"--vm-mem needs --vm-image");
	refused(t, LIST("srun", "true"), LIST("VMSTEP_MEM=1G"),
		"VMSTEP_MEM is set, which needs --vm-image");
	refused(t, LIST("srun", "--vm-image=none", "--vm-image=a", "true"),
		NULL, "does not go with another");
}

static void test_bad_site(void **state)
{
	struct test *t = *state;

	cluster_conf(t->c, "colour = red\n");
	refused(t, LIST("srun", "--vm-image=a", "true"), NULL,
		"vmstep.conf:2: unknown key 'colour'");
	t->c->plugin_args = LIST("confg=/x");
	refused(t, LIST("srun", "--vm-image=a", "true"), NULL,
		"unknown argument 'confg=/x'");
}

static void test_not_allowed(void **state)
{
	struct test *t = *state;

	if (getuid() == 0)
		skip(); /* root may ask for others */
	cluster_conf(t->c, "allow_users = nobody-here\n");
	refused(t, LIST("srun", "--vm-image=a", "true"), NULL,
		"may not run VMs here");
	refused(t, LIST("sbatch", "--vm-image=a", "x"), NULL,
		"may not run VMs here");
}

static void test_too_long(void **state)
{
	struct test *t = *state;
	static char image[100 * 1024] = "--vm-image=", append[40 * 1024];

	memset(image + 11, 'x', sizeof(image) - 12);
	memset(append, 'y', sizeof(append) - 1);
	memcpy(append, "--vm-append=", 12);
	refused(t, LIST("srun", image, append, "true"), NULL, "options take");
	refused(t, LIST("sbatch", image, append, "true"), NULL, "options take");
}

static void test_damaged_inherit(void **state)
{
	struct test *t = *state;

	refused(t, LIST("srun", "--vm-image=a", "true"),
		LIST(INHERIT_ENV "=image=%zz\n"), "damaged");
}

static void test_required(void **state)
{
	struct test *t = *state;

	t->c->required = true;
	refused(t, LIST("srun", "--vm-image=a", "--vm-mem=no", "true"), NULL,
		"not a size");
	refused(t, LIST("srun", "--vm-mem=1G", "true"), NULL,
		"needs --vm-image");
}

/* -- left alone ------------------------------------------------------------ */

static void untouched(struct test *t, const char *const *argv,
		      const char *const *env)
{
	play(t->c, argv, env, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_null(played_failure(&t->run));
	assert_false(played_said(&t->run, ""));
	assert_string_equal(played_arg(&t->run, 0, 0), "true");
	assert_null(played_env(&t->run, 0, STEP_0));
	assert_null(played_env(&t->run, 0, ARGV0_ENV));
	assert_null(played_env(&t->run, 0, MULTI_ENV));
	assert_null(played_env(&t->run, 0, "SLURM_MPI_TYPE"));
}

static void test_no_image(void **state)
{
	struct test *t = *state;

	untouched(t, LIST("srun", "-n4", "true"), NULL);
	cluster_conf(t->c, "colour = red\n");
	untouched(t, LIST("srun", "true"), NULL);
	unlink(t->c->conf);
	untouched(t, LIST("srun", "true"), NULL);
	t->c->plugin_args = LIST("nonsense");
	untouched(t, LIST("srun", "true"), NULL);
	t->c->required = true;
	untouched(t, LIST("srun", "true"), NULL);
}

static void test_replay_is_hidden(void **state)
{
	struct test *t = *state;

	untouched(t, LIST("srun", "true"),
		  LIST("SLURM_SPANK__SLURM_SPANK_OPTION_vmstep_vm_image=a",
		       "_SLURM_SPANK_OPTION_vmstep_vm_mem=lots",
		       STEP_0 "=" HEAD "image=a\n", ARGV0_ENV "=sh",
		       MULTI_ENV "=1"));
}

static void test_interactive(void **state)
{
	struct test *t = *state;

	play(t->c, LIST("srun", "--interactive", "--pty", "bash"),
	     LIST(INHERIT_ENV "=image=a\n"), &t->run);
	assert_int_equal(t->run.status, 0);
	assert_string_equal(played_arg(&t->run, 0, 0), "bash");
	assert_null(played_env(&t->run, 0, ARGV0_ENV));
}

static void test_slurmd(void **state)
{
	struct test *t = *state;

	play(t->c, LIST("slurmd"), NULL, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_false(played_said(&t->run, ""));
	t->c->required = true;
	cluster_conf(t->c, "mem_reserve = much\n");
	play(t->c, LIST("slurmd"), NULL, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_true(played_said(&t->run, "'much' is not a size"));
	cluster_conf(t->c, "allow_users = root, nosuchuser\n"
			   "rundir = /nonexistent\n");
	play(t->c, LIST("slurmd"), NULL, &t->run);
	assert_true(played_said(
		&t->run,
		"allow_users: 'nosuchuser' is not known on this host, ignoring"));
	assert_true(played_said(&t->run, "rundir: /nonexistent: No such file"));
	t->c->plugin_args = LIST("x");
	play(t->c, LIST("slurmd"), NULL, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_true(played_said(&t->run, "unknown argument 'x'"));
}

/* -- handed to the step ---------------------------------------------------- */

static void srun(struct test *t, const char *const *argv,
		 const char *const *env)
{
	play(t->c, argv, env, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_null(played_failure(&t->run));
}

static void test_program(void **state)
{
	struct test *t = *state;

	srun(t, LIST("srun", "--vm-image=a", "hostname", "-f"), NULL);
	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	assert_string_equal(played_arg(&t->run, 0, 1), "-f");
	assert_null(played_arg(&t->run, 0, 2));
	assert_string_equal(played_env(&t->run, 0, ARGV0_ENV), "hostname");
	assert_step(t, "image=a\n");
}

static void test_precedence(void **state)
{
	struct test *t = *state;

	srun(t, LIST("srun", "--vm-image=typed", "true"),
	     LIST("VMSTEP_IMAGE=env", "VMSTEP_MEM=2G",
		  INHERIT_ENV "=image=sbatch\nmem=3G\ncpus=3\n"));
	assert_step(t, "image=typed\ncpus=3\nmem=2G\n");
}

static void test_nearly(void **state)
{
	struct test *t = *state;
	const char *const env[] = { "VMSTEP_NETMTU=1400", "VMSTEP_RANK=0",
				    NULL };

	srun(t, LIST("srun", "--vm-image=a", "true"), env);
	assert_true(played_said(
		&t->run,
		"VMSTEP_NETMTU is no option's variable, ignoring; VMSTEP_NET_MTU is"));
	assert_false(played_said(&t->run, "VMSTEP_RANK"));
	assert_step(t, "image=a\n");
	untouched(t, LIST("srun", "true"), env);
}

static void test_lists_add_up(void **state)
{
	struct test *t = *state;

	srun(t,
	     LIST("srun", "--vm-image=a", "--vm-image=b", "--vm-env=A",
		  "--vm-env=B,C", "--vm-mem=1G", "--vm-mem=0:2G", "true"),
	     LIST("VMSTEP_ENV=D"));
	assert_step(t, "image=a\nimage=b\nmem=1G\nmem=0:2G\nenv=A\nenv=B,C\n");
	srun(t, LIST("srun", "--vm-image=a", "true"),
	     LIST(INHERIT_ENV "=env=A\nenv=B\nimage=x\nimage=y\n"));
	assert_step(t, "image=a\nenv=A\nenv=B\n");
}

static void test_abbreviated(void **state)
{
	struct test *t = *state;

	srun(t, LIST("srun", "--vm-im=a", "--vm-net-m", "1500", "true"), NULL);
	assert_step(t, "image=a\nnet-mtu=1500\n");
}

static void test_flags(void **state)
{
	struct test *t = *state;

	srun(t, LIST("srun", "--vm-image=a", "--vm-verbose", "true"),
	     LIST("VMSTEP_DRY_RUN=no"));
	assert_step(t, "image=a\nverbose=yes\ndry-run=no\n");
}

static void test_export_none(void **state)
{
	struct test *t = *state;

	srun(t,
	     LIST("srun", "--export=NONE", "--vm-image=a", "--vm-image=b",
		  "true"),
	     LIST("VMSTEP_MEM=1G", "MINE=1"));
	assert_null(played_env(&t->run, 0, "MINE"));
	assert_step(t, "image=a\nimage=b\nmem=1G\n");
	assert_string_equal(played_env(&t->run, 0, ARGV0_ENV), "true");
}

static void test_exported(void **state)
{
	struct test *t = *state;

	refused(t, LIST("srun", "--vm-image=a", "--export=1A", "true"), NULL,
		"--export: '1A' is not a list of names");
	srun(t,
	     LIST("srun", "--export=ALL,A,B=2 3,C=\"4,5\",D='6,7'",
		  "--vm-env=X", "--vm-image=a", "true"),
	     NULL);
	assert_step(t, "image=a\nenv=X\nenv=A\nenv=B\nenv=C\nenv=D\n");
	/* the command's arguments are none of srun's, and its flag has none */
	srun(t,
	     LIST("srun", "--vm-image=a", "--pty", "echo", "--export=A",
		  "--vm-image=none"),
	     NULL);
	assert_step(t, "image=a\n");
	srun(t, LIST("srun", "--vm-image=a", "true"),
	     LIST("SLURM_EXPORT_ENV=none"));
	assert_step(t, "image=a\n");
	untouched(t, LIST("srun", "--export=ALL,A", "true"), NULL);
}

/* As in srun, what is said for a component holds for those after it. */
static void test_exported_het(void **state)
{
	struct test *t = *state;

	srun(t,
	     LIST("srun", "--vm-image=a", "true", "--export=X", ":",
		  "--vm-image=b", "--export=ALL,A", "true", ":", "--vm-image=c",
		  "true", ":", "--export=B", "--vm-image=d", "true"),
	     NULL);
	assert_string_equal(played_env(&t->run, 0, STEP_0), HEAD "image=a\n");
	assert_string_equal(played_env(&t->run, 0, STEP_ENV "1"),
			    HEAD "image=b\nenv=A\n");
	assert_string_equal(played_env(&t->run, 0, STEP_ENV "2"),
			    HEAD "image=c\nenv=A\n");
	assert_string_equal(played_env(&t->run, 0, STEP_ENV "3"),
			    HEAD "image=d\nenv=B\n");
}

static void test_nasty_values(void **state)
{
	struct test *t = *state;

	srun(t,
	     LIST("srun", "--vm-image=a\nmem=1T",
		  "--vm-append=100% \x01\xc3\xa4", "true"),
	     NULL);
	assert_step(t, "image=a%0Amem=1T\nappend=100%25 %01\xc3\xa4\n");
}

static void test_image_none(void **state)
{
	struct test *t = *state;

	srun(t, LIST("srun", "--vm-image=none", "true"),
	     LIST("VMSTEP_IMAGE=a", "VMSTEP_MEM=1G", INHERIT_ENV "=image=b\n"));
	assert_string_equal(played_arg(&t->run, 0, 0), "true");
	assert_null(played_env(&t->run, 0, ARGV0_ENV));
	/* the node shall not take VMSTEP_IMAGE for a wish */
	assert_step(t, "image=none\nmem=1G\n");
}

static void test_multi_prog(void **state)
{
	struct test *t = *state;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/progs", t->c->dir);
	f = fopen(path, "we");
	fputs("0 hostname\n1 date\n", f);
	fclose(f);
	srun(t, LIST("srun", "--vm-image=a", "--multi-prog", path, "x"), NULL);
	assert_string_equal(played_arg(&t->run, 0, 0), path);
	assert_string_equal(played_arg(&t->run, 0, 1), "0 hostname\n1 date\n");
	assert_string_equal(played_env(&t->run, 0, MULTI_ENV), "1");
	assert_null(played_env(&t->run, 0, ARGV0_ENV));
	assert_step(t, "image=a\n");
	srun(t, LIST("srun", "--vm-image=a", path, "--multi-prog"), NULL);
	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	assert_null(played_env(&t->run, 0, MULTI_ENV));
	/* a file for the program is no --multi-prog */
	srun(t, LIST("srun", "--vm-image=a", path, "x"), NULL);
	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	assert_null(played_env(&t->run, 0, MULTI_ENV));
}

static void test_het_step(void **state)
{
	struct test *t = *state;

	srun(t,
	     LIST("srun", "--vm-image=a", "--vm-mem=1G", "one", ":",
		  "--vm-image=b", "two", ":", "three"),
	     NULL);
	assert_step(t, "image=a\nmem=1G\n");
	assert_string_equal(played_env(&t->run, 2, STEP_0),
			    HEAD "image=a\nmem=1G\n");
	assert_string_equal(played_env(&t->run, 0, STEP_1), HEAD "image=b\n");
	assert_string_equal(played_env(&t->run, 0, STEP_ENV "2"), HEAD);
	/* local_user_init() comes for one component only: none is changed */
	assert_string_equal(played_arg(&t->run, 0, 0), "one");
	assert_string_equal(played_arg(&t->run, 1, 0), "two");
	assert_string_equal(played_arg(&t->run, 2, 0), "three");
}

static void test_het_groups(void **state)
{
	struct test *t = *state;

	/* Slurm parses the same words once for each group */
	srun(t,
	     LIST("srun", "--het-group=0,1", "--vm-image=a", "--vm-image=b",
		  "--vm-env=A", "true"),
	     NULL);
	assert_step(t, "image=a\nimage=b\nenv=A\n");
	assert_string_equal(played_env(&t->run, 1, STEP_1),
			    HEAD "image=a\nimage=b\nenv=A\n");
}

/* -- in a job -------------------------------------------------------------- */

static void sbatch(struct test *t, const char *const *argv,
		   const char *const *env)
{
	play(t->c, argv, env, &t->job);
	assert_int_equal(t->job.status, 0);
	assert_null(played_failure(&t->job));
}

static void srun_in_job(struct test *t, const char *const *argv)
{
	play_in_job(t->c, &t->job, argv, &t->run);
	assert_int_equal(t->run.status, 0);
}

static void test_inherited(void **state)
{
	struct test *t = *state;

	sbatch(t,
	       LIST("sbatch", "--vm-image=a", "--vm-image=b", "--vm-mem=1G",
		    "job.sh"),
	       NULL);
	srun_in_job(t, LIST("srun", "true"));
	assert_step(t, "image=a\nimage=b\nmem=1G\n");
	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	srun_in_job(t, LIST("srun", "--vm-image=c", "true"));
	assert_step(t, "image=c\nmem=1G\n");
	srun_in_job(t, LIST("srun", "--vm-image=none", "true"));
	assert_string_equal(played_arg(&t->run, 0, 0), "true");
}

static void test_directives(void **state)
{
	struct test *t = *state;
	char script[128];
	FILE *f;

	snprintf(script, sizeof(script), "%s/job.sh", t->c->dir);
	f = fopen(script, "w");
	assert_non_null(f);
	fputs("#!/bin/sh\n#SBATCH --vm-image=a\n#SBATCH --vm-image=b\n"
	      "#SBATCH --vm-env=A\n",
	      f);
	fclose(f);
	sbatch(t, LIST("sbatch", script), NULL);
	srun_in_job(t, LIST("srun", "true"));
	assert_step(t, "image=a\nimage=b\nenv=A\n");
	sbatch(t, LIST("sbatch", "--vm-im", "c", "--vm-image=d", script), NULL);
	srun_in_job(t, LIST("srun", "true"));
	assert_step(t, "image=c\nimage=d\nenv=A\n");
}

static void test_inherited_export_none(void **state)
{
	struct test *t = *state;

	sbatch(t,
	       LIST("sbatch", "--export=NONE", "--vm-verbose", "--vm-image=a",
		    "job.sh"),
	       LIST("VMSTEP_MEM=1G"));
	assert_null(played_env(&t->job, 0, "VMSTEP_MEM"));
	srun_in_job(t, LIST("srun", "true"));
	assert_step(t, "image=a\nmem=1G\nverbose=yes\n");
}

/* "PATH" of a new file with @text. */
static const char *config_file(const char *text)
{
	static char path[64];
	int fd;

	strcpy(path, "/tmp/vmstep-submit-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return path;
}

static void test_config(void **state)
{
	struct test *t = *state;
	const char *path = config_file("image = file\nmem = 4G\ncpus = 4\n"
				       "[groups]\nhead = 0\n"
				       "[@head]\nmem = 8G\n");
	char option[128], variable[128];

	snprintf(option, sizeof(option), "--vm-config=%s", path);
	snprintf(variable, sizeof(variable), "VMSTEP_CONFIG=%s", path);
	/* between what is typed and the environment; groups are resolved */
	srun(t,
	     LIST("srun", option, "--vm-cpus=1", "--vm-scratch=@head:1G",
		  "true"),
	     LIST("VMSTEP_MEM=2G", "VMSTEP_GRACE=5"));
	assert_step(
		t,
		"image=file\nscratch=0:1G\ncpus=1\nmem=4G\nmem=0:8G\ngrace=5\nconfig=@head=0\n");
	/* behind the variables, before what sbatch was given */
	srun(t, LIST("srun", "true"),
	     LIST(variable, "VMSTEP_MEM=2G", INHERIT_ENV "=cpus=3\ngrace=5\n"));
	assert_step(t, "image=file\ncpus=4\nmem=2G\ngrace=5\nconfig=@head=0\n");
	/* a job's steps have its groups, and not the variable that lost */
	sbatch(t, LIST("sbatch", option, "job.sh"), LIST("VMSTEP_MEM=2G"));
	assert_null(played_env(&t->job, 0, "VMSTEP_MEM"));
	unlink(path);
	srun_in_job(t, LIST("srun", "--vm-cpus=@head:2", "true"));
	assert_step(t,
		    "image=file\ncpus=0:2\nmem=4G\nmem=0:8G\nconfig=@head=0\n");
	refused(t, LIST("srun", option, "true"), NULL, "No such file");
	refused(t, LIST("srun", "--vm-image=a", "--vm-mem=@head:1G", "true"),
		NULL, "there is no group 'head'");
}

static void test_loser_is_removed(void **state)
{
	struct test *t = *state;

	sbatch(t, LIST("sbatch", "--vm-image=a", "job.sh"),
	       LIST("VMSTEP_IMAGE=b", "VMSTEP_MEM=1G"));
	assert_null(played_env(&t->job, 0, "VMSTEP_IMAGE"));
	assert_string_equal(played_env(&t->job, 0, "VMSTEP_MEM"), "1G");
	srun_in_job(t, LIST("srun", "true"));
	assert_step(t, "image=a\nmem=1G\n");
}

static void test_job_without(void **state)
{
	struct test *t = *state;

	sbatch(t, LIST("sbatch", "job.sh"), NULL);
	assert_null(played_env(&t->job, 0, INHERIT_ENV));
	srun_in_job(t, LIST("srun", "--vm-image=a", "true"));
	assert_step(t, "image=a\n");
}

static void test_job_in_job(void **state)
{
	struct test *t = *state;

	sbatch(t, LIST("salloc", "--vm-image=a", "--vm-cpus=2", "bash"), NULL);
	play_in_job(t->c, &t->job, LIST("sbatch", "--vm-cpus=1", "x"), &t->run);
	assert_int_equal(t->run.status, 0);
	assert_string_equal(played_env(&t->run, 0, INHERIT_ENV),
			    "image=a\ncpus=1\n");
	play_in_job(t->c, &t->job, LIST("sbatch", "--vm-image=none", "x"),
		    &t->run);
	assert_string_equal(played_env(&t->run, 0, INHERIT_ENV),
			    "image=none\ncpus=2\n");
}

/* -- PMIx ------------------------------------------------------------------ */

/* Slurm's plugins: a library whose name begins with select_, and mpi_pmix.so
 * beside it. */
static void install_mpi_pmix(struct test *t, bool pmix)
{
	static char select[128];
	char path[128];
	Dl_info info;

	if (!dladdr((void *)(uintptr_t)_cmocka_run_group_tests, &info))
		fail();
	snprintf(select, sizeof(select), "%s/select_tres.so", t->c->dir);
	assert_int_equal(symlink(info.dli_fname, select), 0);
	t->c->preload = select;
	snprintf(path, sizeof(path), "%s/mpi_pmix.so", t->c->dir);
	if (pmix)
		assert_int_equal(symlink(select, path), 0);
}

static const char *mpi_type(struct test *t, const char *const *argv,
			    const char *const *env)
{
	play(t->c, argv, env, &t->run);
	assert_int_equal(t->run.status, 0);
	return played_env(&t->run, 0, "SLURM_MPI_TYPE");
}

static void test_pmix(void **state)
{
	struct test *t = *state;

	install_mpi_pmix(t, true);
	assert_null(mpi_type(t, LIST("srun", "true"), NULL));
	assert_null(mpi_type(t, LIST("srun", "--vm-image=none", "true"),
			     LIST("VMSTEP_IMAGE=a")));
	assert_null(
		mpi_type(t, LIST("srun", "true"),
			 LIST("VMSTEP_IMAGE=none", INHERIT_ENV "=image=a\n")));
	assert_null(mpi_type(t, LIST("srun", "--vm-image=a", "true"),
			     LIST("SLURM_JOB_NUM_NODES=1")));
	assert_string_equal(mpi_type(t, LIST("srun", "--vm-image=a", "true"),
				     LIST("SLURM_MPI_TYPE=pmi2")),
			    "pmi2");
	assert_string_equal(
		mpi_type(t, LIST("srun", "--vm-image=a", "true"), NULL),
		"pmix");
	assert_string_equal(mpi_type(t,
				     LIST("srun", "--vm-image=a", "true",
					  "--vm-image=none"),
				     NULL),
			    "pmix");
	assert_null(mpi_type(t, LIST("srun", "true", "--vm-image=a"), NULL));
	assert_string_equal(mpi_type(t, LIST("srun", "--vm-im", "a", "true"),
				     LIST("SLURM_JOB_NUM_NODES=2")),
			    "pmix");
	assert_string_equal(
		mpi_type(t, LIST("srun", "true"), LIST("VMSTEP_IMAGE=a")),
		"pmix");
	assert_string_equal(mpi_type(t, LIST("srun", "true"),
				     LIST(INHERIT_ENV "=image=a\n")),
			    "pmix");
}

static void test_no_pmix(void **state)
{
	struct test *t = *state;

	install_mpi_pmix(t, false);
	assert_null(mpi_type(t, LIST("srun", "--vm-image=a", "true"), NULL));
}

/* -- symbols --------------------------------------------------------------- */

static void test_exports(void **state)
{
	FILE *f = popen("nm -D --defined-only " PLUGIN, "re");
	char line[256], type, name[200];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		assert_int_equal(sscanf(line, "%*x %c %199s", &type, name), 2);
		if (strncmp(name, "__", 2) == 0)
			continue; /* of the sanitizers, not ours */
		if (strncmp(name, "plugin_", 7) != 0 &&
		    strncmp(name, "slurm_spank_", 12) != 0)
			fail_msg("%s is exported", name);
		n++;
	}
	if (pclose(f) != 0)
		skip();
	assert_in_range(n, 4, 30);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a bad option ends srun and sbatch with 255",
		     test_bad_typed),
		TEST("so does a bad VMSTEP_ variable", test_bad_env),
		TEST("options without an image are refused",
		     test_without_image),
		TEST("a bad configuration refuses a VM step", test_bad_site),
		TEST("so is a user whom the site does not name",
		     test_not_allowed),
		TEST("more options than an environment holds are refused",
		     test_too_long),
		TEST("a damaged inheritance is refused", test_damaged_inherit),
		TEST("a required plugin refuses no less", test_required),
		TEST("a step without an image is left alone whatever is wrong",
		     test_no_image),
		TEST("what Slurm would replay, and an outer step's options, do not count",
		     test_replay_is_hidden),
		TEST("salloc's interactive step is left alone",
		     test_interactive),
		TEST("slurmd says what is wrong, and goes on", test_slurmd),
		TEST("the program becomes the helper, arguments stay",
		     test_program),
		TEST("command line, environment, inheritance, in this order",
		     test_precedence),
		TEST("a variable that is mistyped is told of, in VM steps",
		     test_nearly),
		TEST("repeats of a list all arrive, and replace what is inherited",
		     test_lists_add_up),
		TEST("options may be abbreviated", test_abbreviated),
		TEST("a flag needs no value, its variable does", test_flags),
		TEST("--export=NONE keeps all options", test_export_none),
		TEST("what --export names goes into the guests", test_exported),
		TEST("... for a component and those after it",
		     test_exported_het),
		TEST("a newline in a value cannot make another option",
		     test_nasty_values),
		TEST("--vm-image=none beats variable and inheritance",
		     test_image_none),
		TEST("--multi-prog keeps its file for the node to refuse",
		     test_multi_prog),
		TEST("components of a heterogeneous step have options of their own",
		     test_het_step),
		TEST("--het-group with two groups does not double lists",
		     test_het_groups),
		TEST("a job's steps inherit whole lists, override and switch off",
		     test_inherited),
		TEST("sbatch's arguments beat the lines of its script",
		     test_directives),
		TEST("inheritance survives sbatch --export=NONE",
		     test_inherited_export_none),
		TEST("a file of options: its place among the sources",
		     test_config),
		TEST("a variable that lost to sbatch's line is gone in the job",
		     test_loser_is_removed),
		TEST("a job without VMs hands on nothing", test_job_without),
		TEST("a job made in a job inherits too", test_job_in_job),
		TEST("PMIx is arranged for VM steps of more than one node",
		     test_pmix),
		TEST("PMIx is not arranged where Slurm has none", test_no_pmix),
		TEST("nothing but plugin_* and slurm_spank_* is exported",
		     test_exports),
	};

	return cmocka_run_group_tests_name("submit", tests, NULL, NULL);
}
