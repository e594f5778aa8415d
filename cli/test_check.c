/* The rows of vmstep check, and the settings in force, on a machine made of
 * scripts and files: what is broken there is found, and nothing else. */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <slurm/slurm_version.h>
#include <cmocka.h>

#include "check_impl.h"
#include "cleanup.h"

struct machine {
	char dir[64], libexec[80], root[80];
	struct settings s;
	struct checking c;
};

/* Of a file in the machine's directory; DIR in the text is that. */
static void put(struct machine *m, const char *name, mode_t mode,
		const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", m->dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	for (const char *at; (at = strstr(text, "DIR")); text = at + 3)
		fprintf(f, "%.*s%s", (int)(at - text), text, m->dir);
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

static void script(struct machine *m, const char *name, const char *text)
{
	char all[4096];

	snprintf(all, sizeof(all), "#!/bin/sh\n%s\n", text);
	put(m, name, 0755, all);
}

static void program(struct machine *m, const char *name, const char *version)
{
	char path[64], text[128];

	snprintf(path, sizeof(path), "libexec/%s", name);
	snprintf(text, sizeof(text), "echo '%s %s'", name, version);
	script(m, path, text);
}

#define SLURM_CONF                                              \
	"PluginDir               = DIR/none:DIR/slurm\n"        \
	"PlugStackConfig         = DIR/plugstack.conf\n"        \
	"ProctrackType           = proctrack/cgroup\n"          \
	"TaskPlugin              = task/affinity,task/cgroup\n" \
	"JobAcctGatherType       = jobacct_gather/linux\n"      \
	"JobAcctGatherParams     = NoOverMemoryKill,UsePss\n"   \
	"KillWait                = 30 sec\n"
#define QEMU_HELP                                                            \
	"case $3 in\n"                                                       \
	"'') echo QEMU emulator version 7.2.1;;\n"                           \
	"-device) for d in virtio-net-pci virtio-blk-pci virtio-serial-pci " \
	"virtserialport virtio-rng-pci ivshmem-plain virtio-9p-pci "         \
	"vhost-user-fs-pci virtio-scsi-pci vfio-pci; do\n"                   \
	"echo \"name \\\"$d\\\", bus PCI\"; done;;\n"                        \
	"-object) echo '  memory-backend-memfd';;\n"                         \
	"-netdev) printf '%s\\n' vhost-user stream dgram user;;\nesac"

static void put_slurm(struct machine *m)
{
	char version[80];

	snprintf(version, sizeof(version),
		 "SLURM_VERSION           = %d.%02d.8\n",
		 SLURM_VERSION_MAJOR(SLURM_VERSION_NUMBER),
		 SLURM_VERSION_MINOR(SLURM_VERSION_NUMBER));
	put(m, "version", 0644, version);
	put(m, "slurm.conf", 0644, SLURM_CONF);
	script(m, "bin/sinfo", "echo \"$(hostname) node7\"");
	put(m, "bin/scontrol", 0755,
	    "#!/bin/sh\nexec cat DIR/slurm.conf DIR/version\n");
	script(m, "bin/srun", "echo --vm-image=; echo pmix");
	put(m, "slurm/mpi_pmix.so", 0644, "");
}

static int setup(void **state)
{
	static const char *const dirs[] = { "",	       "/bin",	"/libexec",
					    "/slurm",  "/root", "/root/dev",
					    "/images", "/run",	"/root/dev/shm",
					    "/stack" };
	struct machine *m = calloc(1, sizeof(*m));
	char path[256];

	if (!m)
		return -1;
	snprintf(m->dir, sizeof(m->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(m->dir))
		return -1;
	for (size_t i = 1; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s%s", m->dir, dirs[i]);
		mkdir(path, 0755);
	}
	snprintf(m->libexec, sizeof(m->libexec), "%s/libexec", m->dir);
	snprintf(m->root, sizeof(m->root), "%s/root", m->dir);
	put_slurm(m);
	put(m, "plugstack.conf", 0644,
	    "# ours\ninclude stack/*.conf\noptional other.so\n");
	put(m, "stack/vmstep.conf", 0644,
	    "\noptional DIR/vmstep.so config=DIR/vmstep.conf # us\n");
	put(m, "vmstep.so", 0644, PLUGIN_RELEASE PACKAGE_VERSION);
	put(m, "vmstep.conf", 0644,
	    "image_path = DIR/images\nruntime_dir = DIR/run\nrundir = DIR\n"
	    "default_net_mtu = 1500\n");
	program(m, "vmstep-helper", PACKAGE_VERSION);
	program(m, "vmstep-net", PACKAGE_VERSION);
	program(m, "vmstep-agent", PACKAGE_VERSION);
	script(m, "bin/qemu-system-x86_64", QEMU_HELP);
	script(m, "bin/qemu-img", "");
	snprintf(path, sizeof(path), "%s/bin:/usr/bin:/bin", m->dir);
	setenv("PATH", path, 1);
	unsetenv("SLURMD_NODENAME");
	unsetenv("SLURM_JOB_ID");
	unsetenv("SLURM_CONF");
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;
	char command[96];

	settings_done(&m->s);
	json_decref(m->c.lines);
	snprintf(command, sizeof(command), "rm -rf %s", m->dir);
	free(m);
	return system(command);
}

static void look(struct machine *m)
{
	settings_done(&m->s);
	json_decref(m->c.lines);
	assert_int_equal(settings_load(NULL, &m->s), 0);
	m->c = (struct checking){ .s = &m->s,
				  .root = m->root,
				  .libexec = m->libexec,
				  .image = m->c.image,
				  .lines = json_array() };
	check_find_node(m->c.node, sizeof(m->c.node));
	check_rows(&m->c, check_table);
}

/* Is there such a line? A word of it is enough. */
static bool says(const struct machine *m, const char *subject,
		 const char *level, const char *word)
{
	json_t *o;
	size_t i;

	json_array_foreach (m->c.lines, i, o)
		if (strcmp(json_string_value(json_object_get(o, "subject")),
			   subject) == 0 &&
		    strcmp(json_string_value(json_object_get(o, "level")),
			   level) == 0 &&
		    strstr(json_string_value(json_object_get(o, "found")),
			   word))
			return true;
	return false;
}

static void expect(const struct machine *m, const char *subject,
		   const char *level, const char *word)
{
	if (says(m, subject, level, word))
		return;
	json_dumpf(m->c.lines, stderr, JSON_INDENT(1));
	fail_msg("no line '%s %s ...%s'", level, subject, word);
}

static void nothing_fails_where_all_is_there(void **state)
{
	struct machine *m = *state;

	look(m);
	if (m->c.counts[CHECK_FAILED])
		json_dumpf(m->c.lines, stderr, JSON_INDENT(1));
	assert_int_equal(m->c.counts[CHECK_FAILED], 0);
	assert_string_equal(m->c.node, "node7");
	expect(m, "plugstack.conf", "ok", "/stack/vmstep.conf:2");
	expect(m, "plugin", "ok", "vmstep.so");
	expect(m, "limits", "ok", "task/cgroup");
	expect(m, "accounting", "ok", "linux");
	expect(m, "grace", "ok", "20 s, within KillWait's 30");
	expect(m, "qemu", "ok", "version 7.2.1");
	expect(m, "programs", "ok", PACKAGE_VERSION);
	expect(m, "pmix", "ok", "/slurm/mpi_pmix.so");
	expect(m, "runtime_dir", "ok", "/run");
}

static void a_login_host_is_asked_no_more_than_it_has(void **state)
{
	struct machine *m = *state;

	script(m, "bin/sinfo", "echo elsewhere n1");
	look(m);
	assert_string_equal(m->c.node, "");
	assert_false(says(m, "qemu", "ok", ""));
	assert_true(says(m, "plugin", "ok", ""));
}

static void no_slurm_is_said_and_the_rest_goes_on(void **state)
{
	struct machine *m = *state;
	char conf[96];

	script(m, "bin/scontrol", "echo slurm_load: no >&2; exit 1");
	snprintf(conf, sizeof(conf), "%s/slurm.conf", m->dir);
	setenv("SLURM_CONF", conf, 1);
	look(m);
	expect(m, "slurm", "failed", "slurm_load: no");
	expect(m, "plugstack.conf", "ok", "/stack/vmstep.conf:2");
}

static void another_slurm_than_it_was_built_for(void **state)
{
	struct machine *m = *state;

	put(m, "version", 0644, "SLURM_VERSION           = 20.11.4\n");
	look(m);
	expect(m, "slurm", "failed", "this is Slurm 20.11.4, and vmstep");
}

static void lines_of_plugstack(void **state)
{
	struct machine *m = *state;

	put(m, "stack/vmstep.conf", 0644, "# optional DIR/vmstep.so\n");
	look(m);
	expect(m, "plugstack.conf", "failed", "has no line for vmstep.so");
	expect(m, "plugin", "failed", "nothing loads it");
	put(m, "stack/vmstep.conf", 0644, "required\tDIR/vmstep.so\n");
	look(m);
	expect(m, "plugstack.conf", "warning", "with 'required'");
	put(m, "stack/a.conf", 0644, "optional vmstep.so\n");
	look(m);
	expect(m, "plugstack.conf", "failed",
	       "2 lines load vmstep.so; the first is");
	expect(m, "plugin", "failed", "not in Slurm's PluginDir");
	put(m, "stack/a.conf", 0644, "optional vmstep.so confg=x\n");
	look(m);
	expect(m, "plugstack.conf", "failed", "unknown argument 'confg=x'");
	put(m, "stack/a.conf", 0644, "include a.conf\n");
	look(m);
	expect(m, "plugstack.conf", "failed", "it includes itself");
}

static void a_plugin_that_is_not_ours_or_does_not_load(void **state)
{
	struct machine *m = *state;

	put(m, "vmstep.so", 0644, PLUGIN_RELEASE "0.0.9");
	look(m);
	expect(m, "plugin", "failed", "is of version 0.0.9");
	put(m, "vmstep.so", 0644, "nothing");
	look(m);
	expect(m, "plugin", "failed", "is no vmstep.so");
	put(m, "vmstep.so", 0644, PLUGIN_RELEASE PACKAGE_VERSION);
	script(m, "bin/srun", "echo 'srun: error: cannot load' >&2");
	look(m);
	expect(m, "plugin", "failed", "srun: error: cannot load");
	expect(m, "pmix", "failed", "does not name pmix");
}

static void a_bad_vmstep_conf_stops_what_depends_on_it(void **state)
{
	struct machine *m = *state;

	put(m, "vmstep.conf", 0644, "colour = red\n");
	look(m);
	expect(m, "vmstep.conf", "failed",
	       "vmstep.conf:1: unknown key 'colour'");
	assert_false(says(m, "qemu", "ok", ""));
	expect(m, "programs", "ok", "");
}

static void programs_of_another_version(void **state)
{
	struct machine *m = *state;
	char path[128];

	program(m, "vmstep-net", "0.0.9");
	snprintf(path, sizeof(path), "%s/vmstep-agent", m->libexec);
	unlink(path);
	look(m);
	expect(m, "programs", "failed", "says 'vmstep-net 0.0.9'");
	expect(m, "programs", "failed", "vmstep-agent: No such file");
}

static void a_qemu_that_lacks_something(void **state)
{
	struct machine *m = *state;

	script(m, "bin/qemu-system-x86_64",
	       "case $3 in '') echo QEMU emulator version 7.1.9;; esac");
	look(m);
	expect(m, "qemu", "failed", "version 7.1, and 7.2 is the least");
	script(m, "bin/qemu-system-x86_64",
	       "case $3 in '') echo QEMU emulator version 10.0.1;;\n"
	       "-device) echo 'name \"virtio-blk-pci-x\"';; esac");
	script(m, "bin/qemu-img", "exit 1");
	look(m);
	expect(m, "qemu", "failed", "no device virtio-blk-pci");
	expect(m, "qemu", "failed", "no object memory-backend-memfd");
	expect(m, "qemu", "warning", "no device ivshmem-plain: no --vm-fam");
	expect(m, "qemu", "failed", "qemu-img");
	assert_false(says(m, "qemu", "ok", ""));
	put(m, "vmstep.conf", 0644, "qemu = DIR/none\n");
	look(m);
	expect(m, "qemu", "failed", "none): No such file");
}

static void what_the_site_says_and_the_node_lacks(void **state)
{
	struct machine *m = *state;

	put(m, "vmstep.conf", 0644,
	    "net_device = no-such0\nkernel = DIR/none\nrundir = DIR/none\n"
	    "image_path = DIR/none\ngrace = 40\nruntime_dir = DIR/vmstep.conf\n"
	    "allow_users = nobody-here\nallow_groups = root\n"
	    "virtiofsd = DIR/none\n");
	look(m);
	expect(m, "net", "failed", "'no-such0'");
	expect(m, "roots", "failed", "/none: No such file");
	expect(m, "rundir", "failed", "/none: No such file");
	expect(m, "images", "warning", "image_path: ");
	assert_false(says(m, "images", "ok", ""));
	expect(m, "grace", "warning", "40 s, and Slurm's KillWait");
	expect(m, "runtime_dir", "failed", "is no directory");
	expect(m, "vmstep.conf", "warning", "'nobody-here' is not known");
	if (geteuid() != 0) {
		expect(m, "user", "warning", "may not run VMs here");
		expect(m, "virtiofsd", "warning", "9p serves instead");
	}
	put(m, "vmstep.conf", 0644, "net_link = ucx\nallow_tcg = no\n");
	look(m);
	if (!says(m, "net", "failed", "no RDMA device"))
		expect(m, "net", "ok", "ucx");
	if (!says(m, "accelerator", "failed", "allow_tcg is no"))
		expect(m, "accelerator", "ok", "/dev/kvm");
}

static void slurm_without_limits(void **state)
{
	struct machine *m = *state;

	put(m, "slurm.conf", 0644,
	    "PlugStackConfig = DIR/plugstack.conf\n"
	    "ProctrackType           = proctrack/linuxproc\n"
	    "TaskPlugin              = (null)\n"
	    "JobAcctGatherType       = jobacct_gather/linux\n"
	    "JobAcctGatherParams     = (null)\n");
	look(m);
	expect(m, "limits", "warning", "proctrack/linuxproc, no TaskPlugin");
	expect(m, "accounting", "warning", "counts a guest's memory");
	expect(m, "pmix", "failed", "no mpi_pmix.so");
}

static void a_step_that_works_and_one_that_does_not(void **state)
{
	struct machine *m = *state;
	char said[192];

	m->c.image = "tiny";
	setenv("VMSTEP_MEM", "1T", 1);
	put(m, "bin/srun", 0755,
	    "#!/bin/sh\n[ $# -gt 2 ] || { echo --vm-image; exit; }\n"
	    "echo \"$* $VMSTEP_MEM\" >DIR/said\n"
	    "echo vmstep: guests run under TCG\necho 'the guest runs Linux 9'\n");
	look(m);
	expect(m, "full", "ok", "image tiny: Linux 9, ");
	expect(m, "full", "ok", ", without KVM");
	snprintf(said, sizeof(said),
		 "grep -q -e '--nodelist=node7 --vm-image=tiny sh -c' %s/said",
		 m->dir);
	assert_int_equal(system(said), 0);
	assert_null(getenv("VMSTEP_MEM"));
	put(m, "bin/srun", 0755,
	    "#!/bin/sh\necho a; echo 'x error: no image' >&2; echo c; exit 125\n");
	look(m);
	expect(m, "full", "failed", "ended with 125: error: no image");
}

static const struct setting *setting(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].name, name) == 0)
			return &s->v[i];
	fail_msg("no setting %s", name);
	return NULL;
}

static void settings_have_their_sources(void **state)
{
	struct machine *m = *state;
	struct errmsg err;
	char from[128];

	put(m, "vmstep.conf", 0644,
	    "net_workers = 2\nnet_workers = 3\ndefault_net_mtu = 1500\n");
	look(m);
	snprintf(from, sizeof(from), "%s/vmstep.conf:2", m->dir);
	assert_string_equal(setting(&m->s, "net_workers")->value, "3");
	assert_string_equal(setting(&m->s, "net_workers")->from, from);
	assert_string_equal(setting(&m->s, "rundir")->value, "/tmp");
	assert_string_equal(setting(&m->s, "rundir")->from, "default");
	assert_string_equal(setting(&m->s, "boot_timeout")->value, "300");
	assert_string_equal(setting(&m->s, "default_net_mtu")->value, "1500");
	snprintf(from, sizeof(from), "%s/stack/vmstep.conf:2", m->dir);
	assert_string_equal(m->s.from, from);
	setenv("VMSTEP_CPUS", "2", 1);
	setenv(INHERIT_ENV, "cpus=4\nmem=1G\n", 1);
	assert_int_equal(settings_add_options(&m->s, &err), 0);
	assert_string_equal(setting(&m->s, "--vm-cpus")->value, "2");
	assert_string_equal(setting(&m->s, "--vm-cpus")->from, "VMSTEP_CPUS");
	assert_string_equal(setting(&m->s, "--vm-mem")->from,
			    "sbatch or salloc");
	setenv("VMSTEP_CPUS", "x", 1);
	assert_int_equal(settings_add_options(&m->s, &err), -EINVAL);
	assert_non_null(strstr(err.text, "VMSTEP_CPUS"));
	unsetenv("VMSTEP_CPUS");
	unsetenv(INHERIT_ENV);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_fails_where_all_is_there),
		TEST(a_login_host_is_asked_no_more_than_it_has),
		TEST(no_slurm_is_said_and_the_rest_goes_on),
		TEST(another_slurm_than_it_was_built_for),
		TEST(lines_of_plugstack),
		TEST(a_plugin_that_is_not_ours_or_does_not_load),
		TEST(a_bad_vmstep_conf_stops_what_depends_on_it),
		TEST(programs_of_another_version),
		TEST(a_qemu_that_lacks_something),
		TEST(what_the_site_says_and_the_node_lacks),
		TEST(slurm_without_limits),
		TEST(a_step_that_works_and_one_that_does_not),
		TEST(settings_have_their_sources),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
