#include <config.h>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <slurm/slurm.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "test_plugin.h"

static const struct step step0 = { .job = 12 };

/* slurmstepd never fails: the node would be drained, other jobs suffer. */
static void stepd(struct test *t, unsigned int component,
		  const struct step *step)
{
	play_step(t->c, &t->srun, component, step, &t->run);
	assert_int_equal(t->run.status, 0);
	assert_null(played_failure(&t->run));
}

static void run_step(struct test *t, const char *const *argv,
		     const struct step *step)
{
	play(t->c, argv, NULL, &t->srun);
	assert_int_equal(t->srun.status, 0);
	stepd(t, 0, step);
}

/* The helper takes the task's place, with words for the user. */
static void assert_refused(struct test *t, const char *words)
{
	const char *refuse = played_desc(&t->run, 0, "refuse");

	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	assert_non_null(refuse);
	if (!strstr(refuse, words))
		fail_msg("'%s' has no '%s'", refuse, words);
	assert_null(played_desc(&t->run, 0, "opt.image"));
}

static void assert_on_host(struct test *t, const char *program)
{
	assert_string_equal(played_arg(&t->run, 0, 0), program);
	assert_null(played_env(&t->run, 0, DESC_FD_ENV));
	assert_int_not_equal(access(t->c->runtime, F_OK), 0);
}

/* The @n-th argument of the user's own, for whom the helper stands there. */
static const char *user_arg(struct test *t, unsigned int task, size_t n)
{
	const char *from = played_desc(&t->run, task, "argv_from");

	assert_non_null(from);
	return played_arg(&t->run, task, strtoul(from, NULL, 10) + n - 1);
}

/* What an srun without the plugin, or one of another version, hands over. */
static void stepd_with_env(struct test *t, const char *const *env,
			   const struct step *step)
{
	struct step with = *step;

	t->c->plugin_args = t->c->default_args;
	play(t->c, LIST("srun", "true"), NULL, &t->srun);
	with.env = env;
	stepd(t, 0, &with);
}

/* -- refused --------------------------------------------------------------- */

static void test_bad_config(void **state)
{
	struct test *t = *state;

	play(t->c, LIST("srun", "--vm-image=a", "true"), NULL, &t->srun);
	cluster_conf(t->c, "\n# colours\ncolour = red\n");
	stepd(t, 0, &step0);
	assert_refused(t, "vmstep.conf:4: unknown key 'colour'");
	cluster_conf(t->c, "default_mem = lots\n");
	stepd(t, 0, &step0);
	assert_refused(t, "default_mem: 'lots' is not a size");
	t->c->plugin_args = LIST("config=relative");
	stepd(t, 0, &step0);
	assert_refused(t, "unknown argument 'config=relative'");
	t->c->plugin_args = LIST("config=/nonexistent/vmstep.conf");
	stepd(t, 0, &step0);
	assert_refused(
		t,
		"config=/nonexistent/vmstep.conf in plugstack.conf: No such file");
}

static void test_version(void **state)
{
	struct test *t = *state;

	stepd_with_env(t, LIST(STEP_0 "=0.0.9\nimage=a\n"), &step0);
	assert_refused(t, "srun's plugin is version 0.0.9, this node's is");
	stepd_with_env(t, LIST(STEP_0 "=image=a"), &step0);
	assert_refused(t, "damaged");
	stepd_with_env(t, LIST(STEP_0 "=" HEAD "image=a\nteleport=yes\n"),
		       &step0);
	assert_refused(t, "damaged");
	stepd_with_env(t, LIST(STEP_0 "=" HEAD "image=a\nmem=lots\n"), &step0);
	assert_refused(t, "not a size");
}

static void test_no_plugin_in_srun(void **state)
{
	struct test *t = *state;

	stepd_with_env(t, LIST("VMSTEP_IMAGE=a"), &step0);
	assert_refused(t, "srun did not load the vmstep plugin");
}

static void test_not_allowed(void **state)
{
	struct test *t = *state;

	play(t->c, LIST("srun", "--vm-image=a", "true"), NULL, &t->srun);
	cluster_conf(t->c, "allow_users = nobody-here, nobody-there\n");
	stepd(t, 0, &step0);
	assert_refused(t, "may not run VMs here");
	cluster_conf(t->c, "allow_groups = no-such-group\n");
	stepd(t, 0, &step0);
	assert_refused(t, "may not run VMs here");
}

/* A slot of @n is another step's while *ret_fd is open. */
static void hold_slot(struct test *t, off_t n, int *ret_fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_start = n, .l_len = 1 };
	char path[160];

	snprintf(path, sizeof(path), "%s/slots", t->c->runtime);
	*ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(*ret_fd >= 0);
	assert_int_equal(fcntl(*ret_fd, F_OFD_SETLK, &l), 0);
}

static void test_slots(void **state)
{
	const struct step two = { .job = 12, .ranks = LIST("0", "1") };
	struct test *t = *state;
	char slots[160];
	int fd;

	snprintf(slots, sizeof(slots), "%s/slots", t->c->runtime);
	cluster_conf(t->c, "max_vms_per_node = 1\n");
	run_step(t, LIST("srun", "-n2", "--vm-image=a", "true"), &two);
	assert_refused(
		t, "the step has 2 VMs on this node, where 1 of the site's 1");
	cluster_conf(t->c, "max_vms_per_node = 2\n");
	for (int i = 0; i < 2; i++) { /* the first has given them back */
		stepd(t, 0, &two);
		assert_null(played_desc(&t->run, 0, "refuse"));
		assert_int_not_equal(access(slots, F_OK), 0);
	}
	hold_slot(t, 0, &fd);
	stepd(t, 0, &two);
	assert_refused(t, "has 2 VMs on this node, where 1 of the site's 2");
	assert_int_equal(access(slots, F_OK), 0); /* another's, too */
	close(fd);
	stepd(t, 0, &two);
	assert_null(played_desc(&t->run, 0, "refuse"));
	cluster_conf(t->c, "max_vms_per_node = 0\n");
	stepd(t, 0, &two);
	assert_refused(t, "max_vms_per_node");
}

static void test_multi_prog(void **state)
{
	struct test *t = *state;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/progs", t->c->dir);
	f = fopen(path, "we");
	fputs("0 hostname", f); /* one line, and that without its end */
	fclose(f);
	/* each task has arguments of its own: the plugin runs the helper */
	run_step(t, LIST("srun", "--vm-image=a", "--multi-prog", path, "x"),
		 &step0);
	assert_refused(t, "--multi-prog is not in this version");
	assert_null(played_arg(&t->run, 0, 1));
	cluster_conf(t->c, "colour = red\n");
	stepd(t, 0, &step0);
	assert_refused(t, "unknown key 'colour'");
	run_step(t, LIST("srun", "--multi-prog", path), &step0);
	assert_string_equal(played_arg(&t->run, 0, 0), path);
}

static void test_runtime_dir(void **state)
{
	struct test *t = *state;
	char path[128];

	play(t->c, LIST("srun", "--vm-image=a", "true"), NULL, &t->srun);
	assert_int_equal(symlink("/tmp", t->c->runtime), 0);
	stepd(t, 0, &step0);
	assert_refused(t, "runtime directory");
	unlink(t->c->runtime);
	mkdir(t->c->runtime, 0755);
	snprintf(path, sizeof(path), "%s/%u", t->c->runtime, getuid());
	assert_int_equal(symlink("/tmp", path), 0);
	stepd(t, 0, &step0);
	assert_refused(t, "step's directory");
	unlink(path);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%u/12.0", t->c->runtime, getuid());
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	stepd(t, 0, &step0);
	assert_refused(t, "step's directory");
}

static void test_no_helper(void **state)
{
	struct step s = { .job = 12, .no_helper = true };
	struct test *t = *state;

	run_step(t, LIST("srun", "--vm-image=a", "true"), &s);
	assert_true(played_said(&t->run, "vm[0]: " HELPER_PATH
					 " cannot be run: No such file"));
	assert_true(played_said(&t->run, "install vmstep on this node"));
	assert_null(played_arg(&t->run, 0, 0)); /* nothing is run */
	cluster_conf(t->c, "colour = red\n");
	stepd(t, 0, &s);
	assert_true(played_said(&t->run, "install vmstep on this node"));
	run_step(t, LIST("srun", "true"), &s);
	assert_string_equal(played_arg(&t->run, 0, 0), "true");
}

static void test_required(void **state)
{
	struct test *t = *state;

	t->c->required = true;
	play(t->c, LIST("srun", "--vm-image=a", "true"), NULL, &t->srun);
	cluster_conf(t->c, "colour = red\n");
	stepd(t, 0, &step0);
	assert_refused(t, "unknown key");
}

static void test_refused_says_where(void **state)
{
	struct test *t = *state;
	struct step s = { .job = 12, .ranks = LIST("2", "3"), .tasks = 4 };

	play(t->c, LIST("srun", "-n4", "--vm-image=a", "true"), NULL, &t->srun);
	cluster_conf(t->c, "colour = red\n");
	stepd(t, 0, &s);
	assert_refused(t, "colour");
	assert_string_equal(played_desc(&t->run, 1, "rank"), "3");
	assert_string_equal(played_desc(&t->run, 1, "ranks"), "4");
	assert_string_equal(played_desc(&t->run, 1, "local_ranks"), "2,3");
	assert_string_equal(played_desc(&t->run, 1, "node"), "node00");
	assert_null(played_desc(&t->run, 1, "step_dir")); /* there is none */
}

/* -- left alone ------------------------------------------------------------ */

static void test_no_image(void **state)
{
	struct test *t = *state;

	run_step(t, LIST("srun", "hostname"), &step0);
	assert_on_host(t, "hostname");
	cluster_conf(t->c, "colour = red\n");
	stepd(t, 0, &step0);
	assert_on_host(t, "hostname");
	t->c->plugin_args = LIST("nonsense");
	stepd(t, 0, &step0);
	assert_on_host(t, "hostname");
	assert_false(played_said(&t->run, ""));
}

static void test_image_none(void **state)
{
	struct test *t = *state;

	play(t->c, LIST("srun", "--vm-image=none", "hostname"),
	     LIST("VMSTEP_IMAGE=a"), &t->srun);
	stepd(t, 0, &step0);
	assert_on_host(t, "hostname");
	stepd_with_env(t, LIST("VMSTEP_IMAGE=none"), &step0);
	assert_on_host(t, "true");
	stepd_with_env(t, LIST("VMSTEP_IMAGE="), &step0);
	assert_on_host(t, "true");
}

static void test_other_steps(void **state)
{
	const char *const env[] = { STEP_0 "=" HEAD "image=a\n",
				    "VMSTEP_IMAGE=a", NULL };
	struct test *t = *state;
	struct step s = { .job = 12, .step = SLURM_BATCH_SCRIPT };

	stepd_with_env(t, env, &s);
	assert_on_host(t, "true");
	s.step = SLURM_INTERACTIVE_STEP;
	stepd_with_env(t, env, &s);
	assert_on_host(t, "true");
	s.step = SLURM_EXTERN_CONT;
	stepd_with_env(t, env, &s);
	assert_on_host(t, "true");
}

/* -- described ------------------------------------------------------------- */

static void test_description(void **state)
{
	struct test *t = *state;
	struct step s = {
		.job = 12,
		.step = 7,
		.ranks = LIST("2", "3"),
		.tasks = 4,
		.cpus = 2,
		.mem_mib = 4096,
		.run = "test -d $STEP_DIR && test $(stat -c %a $STEP_DIR) = 700",
	};
	const struct passwd *pw = getpwuid(getuid());
	char dir[160];

	cluster_conf(
		t->c,
		"mem_reserve = 128M\nmax_fam = 1G\nallow_tcg = no\nimage_path = /i:/j\n");
	run_step(t,
		 LIST("srun", "-n4", "--vm-image=a", "--vm-image=0:b",
		      "hostname", "-f"),
		 &s);
	assert_string_equal(played_arg(&t->run, 1, 0), HELPER_PATH);
	assert_string_equal(user_arg(t, 1, 1), "-f");
	assert_null(user_arg(t, 1, 2));
	assert_null(played_desc(&t->run, 1, "refuse"));
	assert_string_equal(played_desc(&t->run, 1, "version"),
			    PACKAGE_VERSION);
	assert_string_equal(played_desc(&t->run, 1, "argv0"), "hostname");
	assert_string_equal(played_desc(&t->run, 1, "step"), "12.7");
	assert_string_equal(played_desc(&t->run, 1, "job"), "12");
	assert_string_equal(played_desc(&t->run, 1, "stepid"), "7");
	assert_true(atoi(played_desc(&t->run, 1, "stepd")) > 1);
	assert_string_equal(played_desc(&t->run, 1, "user"),
			    pw ? pw->pw_name : "");
	assert_string_equal(played_desc(&t->run, 1, "cpus"), "2");
	assert_string_equal(played_desc(&t->run, 1, "step_mem_mib"), "4096");
	assert_string_equal(played_desc(&t->run, 1, "local_tasks"), "2");
	assert_string_equal(played_desc(&t->run, 1, "rank"), "3");
	assert_string_equal(played_desc(&t->run, 1, "ranks"), "4");
	assert_string_equal(played_desc(&t->run, 1, "local_id"), "1");
	assert_string_equal(played_desc(&t->run, 1, "local_ranks"), "2,3");
	assert_string_equal(played_desc(&t->run, 1, "node_id"), "0");
	assert_string_equal(played_desc(&t->run, 1, "node"), "node00");
	assert_string_equal(played_desc(&t->run, 1, "site.mem_reserve"),
			    "134217728");
	assert_string_equal(played_desc(&t->run, 1, "site.max_fam"),
			    "1073741824");
	assert_string_equal(played_desc(&t->run, 1, "site.allow_tcg"), "no");
	assert_string_equal(played_desc(&t->run, 1, "site.image_path"),
			    "/i:/j");
	assert_string_equal(played_desc(&t->run, 1, "opt.image"), "a");
	assert_string_equal(played_desc_at(&t->run, 1, "opt.image", 1), "0:b");
	snprintf(dir, sizeof(dir), "%s/%u/12.7", t->c->runtime, getuid());
	assert_string_equal(played_desc(&t->run, 1, "step_dir"), dir);
	assert_false(played_said(&t->run, ""));
}

static void test_sealed(void **state)
{
	struct test *t = *state;
	int seals;

	run_step(t, LIST("srun", "--vm-image=a", "true"), &step0);
	seals = atoi(played_get(&t->run, 0, "seals"));
	assert_int_equal(seals, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK |
					F_SEAL_SEAL);
	assert_string_equal(played_get(&t->run, 0, "cloexec"), "0");
	assert_true(atoi(played_get(&t->run, 0, "fd")) >= 10);
}

static void test_program_swapped_here(void **state)
{
	struct test *t = *state;
	struct step s = { .job = 12, .env = LIST(DESC_FD_ENV "=0") };

	/* as an srun does that could not change the program */
	stepd_with_env(t, LIST(STEP_0 "=" HEAD "image=a\n"), &step0);
	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	assert_string_equal(played_desc(&t->run, 0, "argv0"), "true");
	run_step(t, LIST("srun", "--vm-image=a", "date"), &s);
	assert_int_not_equal(atoi(played_env(&t->run, 0, DESC_FD_ENV)), 0);
}

/* An srun whose vmstep is installed under another prefix. */
static void test_other_prefix(void **state)
{
	struct test *t = *state;
	struct step s = { .job = 12 };

	s.env = LIST(STEP_0 "=" HEAD "image=a\n", ARGV0_ENV "=date");
	play(t->c, LIST("srun", "/opt/libexec/vmstep/vmstep-helper", "-u"),
	     NULL, &t->srun);
	stepd(t, 0, &s);
	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	assert_string_equal(user_arg(t, 0, 1), "-u");
	assert_string_equal(played_desc(&t->run, 0, "argv0"), "date");
}

static void test_site_defaults(void **state)
{
	struct test *t = *state;

	cluster_conf(t->c, "default_mem = 1G\ndefault_cpus = 3\n"
			   "boot_timeout = 60\ndefault_env = A\n");
	run_step(t, LIST("srun", "--vm-image=a", "--vm-mem=2G", "true"),
		 &step0);
	assert_string_equal(played_desc(&t->run, 0, "opt.mem"), "2G");
	assert_null(played_desc_at(&t->run, 0, "opt.mem", 1));
	assert_string_equal(played_desc(&t->run, 0, "opt.cpus"), "3");
	assert_string_equal(played_desc(&t->run, 0, "opt.boot-timeout"), "60");
	assert_string_equal(played_desc(&t->run, 0, "opt.env"), "A");
}

static void test_nasty_values(void **state)
{
	struct test *t = *state;

	run_step(t,
		 LIST("srun", "--vm-image=a b\nrefuse=no",
		      "--vm-append=%41 \x01\xc3\xa4", "true"),
		 &step0);
	assert_string_equal(played_desc(&t->run, 0, "opt.image"),
			    "a b\nrefuse=no");
	assert_string_equal(played_desc(&t->run, 0, "opt.append"),
			    "%41 \x01\xc3\xa4");
}

static void test_flag(void **state)
{
	struct test *t = *state;

	/* Slurm passes it on too, twice: as NULL, then as "" */
	run_step(t, LIST("srun", "--vm-image=a", "--vm-verbose", "true"),
		 &step0);
	assert_string_equal(played_desc(&t->run, 0, "opt.verbose"), "yes");
	assert_null(played_desc_at(&t->run, 0, "opt.verbose", 1));
	assert_false(played_said(&t->run, ""));
}

static void test_allowed(void **state)
{
	struct test *t = *state;
	const struct passwd *pw = getpwuid(getuid());
	const struct group *gr = getgrgid(getgid());
	char text[256];

	if (!pw || !gr)
		skip();
	snprintf(text, sizeof(text), "allow_users = xx,%s yy\n", pw->pw_name);
	cluster_conf(t->c, text);
	run_step(t, LIST("srun", "--vm-image=a", "true"), &step0);
	assert_null(played_desc(&t->run, 0, "refuse"));
	snprintf(text, sizeof(text), "allow_users = xx\nallow_groups = %s,yy\n",
		 gr->gr_name);
	cluster_conf(t->c, text);
	stepd(t, 0, &step0);
	assert_null(played_desc(&t->run, 0, "refuse"));
}

/* -- heterogeneous --------------------------------------------------------- */

static void test_het_step(void **state)
{
	struct test *t = *state;
	struct step second = { .job = 12, .het = "+1", .ranks = LIST("1") };
	struct step first = { .job = 12, .het = "+0" };

	run_step(t,
		 LIST("srun", "--vm-image=a", "one", ":", "--vm-image=b", "two",
		      "-x"),
		 &first);
	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	assert_string_equal(played_desc(&t->run, 0, "argv0"), "one");
	assert_string_equal(played_desc(&t->run, 0, "opt.image"), "a");
	assert_string_equal(played_desc(&t->run, 0, "step"), "12.0+0");
	stepd(t, 1, &second);
	assert_string_equal(played_arg(&t->run, 0, 0), HELPER_PATH);
	assert_string_equal(user_arg(t, 0, 1), "-x");
	assert_string_equal(played_desc(&t->run, 0, "argv0"), "two");
	assert_string_equal(played_desc(&t->run, 0, "opt.image"), "b");
	assert_string_equal(played_desc(&t->run, 0, "step"), "12.0+1");
}

static void test_het_job(void **state)
{
	struct test *t = *state;
	struct step second = { .job = 13, .leader = 12, .ranks = LIST("1") };

	run_step(
		t,
		LIST("srun", "--vm-image=a", "one", ":", "--vm-image=b", "two"),
		&second);
	assert_string_equal(played_desc(&t->run, 0, "opt.image"), "b");
	assert_string_equal(played_desc(&t->run, 0, "step"), "13.0+1");
}

static void test_het_mixed(void **state)
{
	struct test *t = *state;
	struct step first = { .job = 12, .het = "+0" };
	struct step second = { .job = 12, .het = "+1", .ranks = LIST("1") };

	run_step(t, LIST("srun", "--vm-image=a", "one", ":", "two"), &first);
	assert_refused(t, "some of its components");
	stepd(t, 1, &second);
	assert_string_equal(played_arg(&t->run, 0, 0), "two");
	run_step(t, LIST("srun", "one", ":", "--vm-image=a", "two"), &first);
	assert_string_equal(played_arg(&t->run, 0, 0), "one");
	stepd(t, 1, &second);
	assert_refused(t, "some of its components");
}

static void test_het_group(void **state)
{
	struct test *t = *state;
	struct step second = { .job = 13, .leader = 12, .ranks = LIST("1") };
	struct step third = { .job = 14, .leader = 12, .ranks = LIST("1") };

	run_step(t, LIST("srun", "--het-group=1", "--vm-image=a", "one"),
		 &second);
	assert_string_equal(played_desc(&t->run, 0, "opt.image"), "a");
	/* components 1 and 2 of the job are 0 and 1 of the step */
	run_step(t, LIST("srun", "--het-group=1,2", "--vm-image=a", "one"),
		 &third);
	assert_refused(t, "--het-group");
}

/* -- the end --------------------------------------------------------------- */

static void test_killed(void **state)
{
	struct test *t = *state;
	struct step s = { .job = 12,
			  .ranks = LIST("4", "5"),
			  .run = "kill -KILL $$" };

	run_step(t, LIST("srun", "-n6", "--vm-image=a", "true"), &s);
	assert_true(played_said(&t->run,
				"vm[5]: vmstep-helper was ended by signal 9"));
	s.run = "exit 3";
	stepd(t, 0, &s);
	assert_false(played_said(&t->run, ""));
	play(t->c, LIST("srun", "true"), NULL, &t->srun);
	s.run = "kill -KILL $$";
	stepd(t, 0, &s);
	assert_false(played_said(&t->run, ""));
}

static void test_as_root(void **state)
{
	struct test *t = *state;
	struct step s = {
		.job = 12,
		.uid = 65534,
		.run = "test $(stat -c %u:%a $STEP_DIR) = 65534:700 && test $(stat -c %u:%a $STEP_DIR/..) = 65534:700 && kill -TERM $$",
	};

	if (geteuid() != 0)
		skip();
	run_step(t, LIST("srun", "--vm-image=a", "true"), &s);
	assert_true(played_said(&t->run, "signal 15"));
}

/* Of root's, say, that all may write to: the user could have moved it there,
 * and would be its owner now. */
static void test_planted(void **state)
{
	struct step s = { .job = 12, .uid = 65534 };
	struct test *t = *state;
	char command[512];
	struct stat st;

	if (geteuid() != 0)
		skip();
	snprintf(
		command, sizeof(command),
		"cd %s && mkdir -p %s/65534/12.0 && chmod 777 %s/65534/12.0 && chown 65534 %s/65534",
		t->c->dir, t->c->runtime, t->c->runtime, t->c->runtime);
	assert_int_equal(system(command), 0);
	run_step(t, LIST("srun", "--vm-image=a", "true"), &s);
	assert_refused(t, "step's directory");
	snprintf(command, sizeof(command), "%s/65534/12.0", t->c->runtime);
	if (stat(command, &st) == 0) /* it is empty, and swept */
		assert_int_equal(st.st_uid, 0);
}

/* Nobody but root can put anything there; all the same it is not followed. */
static void test_slots_link(void **state)
{
	struct test *t = *state;
	char command[512], path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/precious", t->c->dir);
	snprintf(command, sizeof(command),
		 "mkdir %s && ln -s %s %s/slots && echo x >%s", t->c->runtime,
		 path, t->c->runtime, path);
	assert_int_equal(system(command), 0);
	cluster_conf(t->c, "max_vms_per_node = 2\n");
	run_step(t, LIST("srun", "--vm-image=a", "true"), &step0);
	assert_refused(t, "max_vms_per_node: slots");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a bad configuration becomes the task's last words",
		     test_bad_config),
		TEST("another version's and damaged options are refused",
		     test_version),
		TEST("VMSTEP_IMAGE without a plugin in srun is refused",
		     test_no_plugin_in_srun),
		TEST("who is not allowed is refused", test_not_allowed),
		TEST("so are more VMs than a node may have", test_slots),
		TEST("--multi-prog is refused, in the task", test_multi_prog),
		TEST("links and files where our directories should be are refused",
		     test_runtime_dir),
		TEST("so is a directory that is not the user's in place of the step's",
		     test_planted),
		TEST("a link in place of the file of slots is not followed",
		     test_slots_link),
		TEST("a helper that is missing is named, and nothing runs",
		     test_no_helper),
		TEST("a required plugin refuses no otherwise", test_required),
		TEST("a refused task knows its place", test_refused_says_where),
		TEST("a step without an image is left alone whatever is wrong",
		     test_no_image),
		TEST("so is one with --vm-image=none", test_image_none),
		TEST("so are batch script, interactive and extern step",
		     test_other_steps),
		TEST("the description has step, task, site and options",
		     test_description),
		TEST("it is sealed, kept by exec, and out of the way",
		     test_sealed),
		TEST("the program is changed here where srun could not",
		     test_program_swapped_here),
		TEST("... and the command is known where srun's vmstep lies elsewhere",
		     test_other_prefix),
		TEST("the site's defaults fill what is not given",
		     test_site_defaults),
		TEST("what Slurm itself passes on is not taken again",
		     test_flag),
		TEST("nasty bytes arrive as they were", test_nasty_values),
		TEST("users and groups that are named are allowed",
		     test_allowed),
		TEST("each component of a heterogeneous step gets its own",
		     test_het_step),
		TEST("so does each component of a heterogeneous job",
		     test_het_job),
		TEST("VMs in some components only are refused", test_het_mixed),
		TEST("--het-group finds its options, or is refused",
		     test_het_group),
		TEST("a helper that was killed is told of", test_killed),
		TEST("root gives the directories to the user", test_as_root),
	};

	return cmocka_run_group_tests_name("stepd", tests, NULL, NULL);
}
