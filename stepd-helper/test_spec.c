#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "hosts.h"
#include "spec.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

struct fixture {
	struct task t;
	struct spec s;
	struct errmsg err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->t = (struct task){
		.step = "12.0",
		.step_dir = "/run/vmstep/1000/12.0",
		.user = "alice",
		.node = "node07",
		.argv0 = "hostname",
		.job = 12,
		.rank = 3,
		.ranks = 8,
		.local_id = 1,
		.local_tasks = 2,
		.node_id = 1,
		.cpus = 4,
		.mem_bytes = 2 * GIB,
		.image_path = "/images",
		.rundir = "/scratch/%u",
		.qemu = "qemu-system-x86_64",
		.net_device = "",
		.net_port_range = "",
		.net_link = "tcp",
		.allow_tcg = true,
		.mem_reserve = 256 * MIB,
		.max_fam = 4 * GIB,
	};
	*state = f;
	return optset_add(&f->t.options, OPT_IMAGE, "debian", "--vm-image",
			  NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	spec_done(&f->s);
	optset_done(&f->t.options);
	free(f);
	return 0;
}

static void give(struct fixture *f, enum option_id id, const char *text)
{
	optset_clear(&f->t.options, id);
	assert_int_equal(optset_add(&f->t.options, id, text, "--vm-x", NULL),
			 0);
}

static void resolve(struct fixture *f)
{
	spec_done(&f->s);
	if (spec_resolve(&f->t, &f->s, &f->err) < 0)
		fail_msg("%s", f->err.text);
}

static void refused(struct fixture *f, int code, const char *words)
{
	spec_done(&f->s);
	assert_int_equal(spec_resolve(&f->t, &f->s, &f->err), code);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
	assert_null(f->s.machine); /* nothing is left half resolved */
}

/* -- descriptions that the plugin has not written -------------------------- */

static void forged(const char *fd_text, const char *bytes, size_t len,
		   const char *words)
{
	int fd = memfd_create("description", MFD_CLOEXEC);
	char number[16];
	struct errmsg err;
	struct task t;

	assert_int_equal(write(fd, bytes, len), len);
	snprintf(number, sizeof(number), "%d", fd);
	setenv(DESC_FD_ENV, fd_text ? fd_text : number, 1);
	assert_true(task_load(&t, &err) < 0);
	if (!strstr(err.text, words))
		fail_msg("'%s' has no '%s'", err.text, words);
	task_done(&t);
	unsetenv(DESC_FD_ENV);
	if (fd_text)
		close(fd);
}

/* Whoever edits environment and descriptors of his own task; it runs as him,
 * whatever it says. */
static void test_forged(void **state)
{
#define HEAD		  "version=" PACKAGE_VERSION "\0"
#define ROW(bytes, words) forged(NULL, bytes, sizeof(bytes) - 1, words)
	struct errmsg err;
	struct task t;

	unsetenv(DESC_FD_ENV);
	assert_true(task_load(&t, &err) < 0);
	assert_non_null(strstr(err.text, "has no description of a VM"));
	task_done(&t);
	forged("x", "", 0, DESC_FD_ENV);
	forged("0", "", 0, DESC_FD_ENV);
	forged("-1", "", 0, DESC_FD_ENV);
	forged("9999", "", 0, "description of the VM: Bad file descriptor");
	ROW("", "description of the VM has 0 bytes");
	ROW("version=0.0.1\0", "the plugin is version 0.0.1, vmstep-helper is");
	ROW("step=12.0\0", "the plugin is version (unknown)");
	ROW("version=0.0.1", "is cut short");
	ROW(HEAD "refuse=no\0", "no");
	ROW(HEAD, "lacks '");
#undef ROW
#undef HEAD
}

/* -- refused --------------------------------------------------------------- */

static void test_no_image(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_IMAGE, "0-2:debian");
	refused(f, -EINVAL, "no image for task 3");
}

static void test_too_many_cpus(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_CPUS, "5");
	refused(f, -ERANGE, "--vm-cpus=5: the task has 4; ask for fewer");
}

static void test_io_cpus(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_IO_CPUS, "4");
	refused(f, -ERANGE,
		"--vm-io-cpus=4: the task has 4 CPUs, and its VM needs one of its own");
	give(f, OPT_IO_CPUS, "1");
	give(f, OPT_CPUS, "4");
	refused(f, -ERANGE,
		"--vm-cpus=4 with --vm-io-cpus=1: the task has 4 CPUs");
	give(f, OPT_CPUS, "2");
	give(f, OPT_BIND, "none");
	refused(f, -EINVAL, "--vm-io-cpus=1: with --vm-bind=none");
	give(f, OPT_BIND, "cores");
	resolve(f);
	assert_int_equal(f->s.cpus, 2);
	assert_int_equal(f->s.io_cpus, 1);
}

static void test_vm_gets_the_other_cpus(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_IO_CPUS, "1");
	resolve(f);
	assert_int_equal(f->s.cpus, 3);
}

static void test_too_much_memory(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_MEM, "2G");
	refused(f, -ERANGE, "--vm-mem=2G: the task has 2G on node07");
	assert_non_null(strstr(f->err.text, "1.8G or less"));
	give(f, OPT_MEM, "100%");
	refused(f, -ERANGE, "--vm-mem=2G");
	give(f, OPT_MEM, "1%");
	refused(f, -ERANGE, "--vm-mem=20M: a VM needs 64M at the least");
	f->t.mem_bytes = 300 * MIB;
	optset_clear(&f->t.options, OPT_MEM);
	refused(f, -ERANGE,
		"the task has 300M of memory on node07, too little");
	assert_non_null(strstr(f->err.text, "give each task 320M or more"));
	f->t.mem_reserve = 1ull << 61;
	refused(f, -ERANGE, "too little");
	f->t.mem_bytes = 0;
	f->t.node_mem_bytes = 4 * GIB;
	give(f, OPT_MEM, "9T");
	refused(f, -ERANGE, "--vm-mem=9T: node07 has 4G; ask for less");
	give(f, OPT_MEM, "4G");
	resolve(f);
}

static void test_fabric_attached_memory(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_FAM, "1G"); /* half of it from each task of the node */
	resolve(f);
	assert_true(f->s.fam.bytes == GIB);
	assert_null(f->s.fam.file);
	assert_true(f->s.mem_bytes == 2 * GIB - 256 * MIB - GIB / 2);
	give(f, OPT_MEM, "1500M");
	refused(f, -ERANGE,
		"the site for QEMU and --vm-fam for its share keep 768M back; ask for 1.2G or less");
	optset_clear(&f->t.options, OPT_MEM);
	give(f, OPT_FAM, "4G");
	refused(f, -ERANGE,
		"too little for a VM and the 2.2G that the site for QEMU and --vm-fam");
	give(f, OPT_FAM, "4G,file=/dev/shm/%u.%N");
	resolve(f);
	assert_string_equal(f->s.fam.file, "/dev/shm/alice.node07");
	assert_true(f->s.mem_bytes == 2 * GIB - 256 * MIB);
	f->t.max_fam = GIB;
	refused(f, -EPERM, "--vm-fam=4G: the site allows 1G on a node");
	give(f, OPT_FAM, "1G,file=x.%t");
	refused(f, -EINVAL, "x.%t: the VMs of a node share it: leave %t out");
}

static void test_small_network(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_NET_CIDR, "10.0.0.0/29");
	refused(f, -ERANGE,
		"--vm-net-cidr=10.0.0.0/29 has room for 5 guests, the step has 8");
	f->t.ranks = 5;
	resolve(f);
	give(f, OPT_NET_CIDR, "10.0.0.0/8");
	f->t.ranks = RANK_MAX + 2;
	refused(f, -ERANGE, "name a larger network");
}

static void test_bad_names(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_HOSTNAME, "one");
	refused(f, -EINVAL, "--vm-hostname=one gives 8 guests one name");
	f->t.user = "a_b";
	give(f, OPT_HOSTNAME, "%u-%t");
	refused(f, -EINVAL, "--vm-hostname=%u-%t: 'a_b-3' is not a host name");
	f->t.step = "12.0+1";
	give(f, OPT_HOSTNAME, "%J-%t");
	refused(f, -EINVAL, "is not a host name");
}

static void test_bad_words(void **state)
{
	struct fixture *f = *state;
	static const enum option_id expanded[] = {
		OPT_RUNDIR, OPT_KERNEL, OPT_WORKDIR, OPT_CONSOLE, OPT_LOG,
	};

	for (size_t i = 0; i < sizeof(expanded) / sizeof(*expanded); i++) {
		char words[64];

		give(f, expanded[i], "a%x");
		snprintf(words, sizeof(words), "--vm-%s: 'a%%x'",
			 option_defs[expanded[i]].name);
		refused(f, -EINVAL, words);
		give(f, expanded[i], "a%");
		refused(f, -EINVAL, "% is followed by one of");
		optset_clear(&f->t.options, expanded[i]);
	}
	give(f, OPT_IMAGE, "a%x");
	refused(f, -EINVAL, "--vm-image: 'a%x'");
}

/* -- resolved -------------------------------------------------------------- */

static void test_defaults(void **state)
{
	struct fixture *f = *state;

	resolve(f);
	assert_int_equal(f->s.images.n, 1);
	assert_string_equal(f->s.images.v[0], "debian");
	assert_string_equal(f->s.rundir, "/scratch/alice");
	assert_true(f->s.cloud_init);
	assert_null(f->s.kernel);
	assert_int_equal(f->s.cpus, 4);
	assert_true(f->s.mem_bytes == 1792 * MIB);
	assert_false(f->s.mem_given);
	assert_int_equal(f->s.accel, ACCEL_AUTO);
	assert_null(f->s.cpu);
	assert_string_equal(f->s.machine, "pc-q35-7.1");
	assert_int_equal(f->s.bind, BIND_CORES);
	assert_int_equal(f->s.numa, NUMA_MIRROR);
	assert_true(f->s.hugepage_bytes == 0);
	assert_int_equal(f->s.net, NET_VHOST_USER);
	assert_int_equal(f->s.cidr.base, 0x0a000000);
	assert_int_equal(f->s.mtu, 9000);
	assert_string_equal(f->s.hostname, "vm3");
	assert_string_equal(f->s.hostname_pattern, "vm%t");
	assert_non_null(f->s.domain);
	assert_string_equal(f->s.guest_user, "root");
	assert_false(f->s.run_head);
	assert_true(f->s.linger);
	assert_int_equal(f->s.wait, WAIT_ALL);
	assert_null(f->s.workdir);
	assert_int_equal(f->s.boot_timeout_s, 300);
	assert_int_equal(f->s.grace_s, 20);
	assert_null(f->s.console);
	assert_null(f->s.log);
	assert_false(f->s.verbose || f->s.dry_run);
}

static void test_given(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_IMAGE, "3:a;b");
	give(f, OPT_CPUS, "1,2,3,4");
	give(f, OPT_MEM, "25%");
	give(f, OPT_ACCEL, "tcg");
	give(f, OPT_BIND, "none");
	give(f, OPT_NET, "none");
	give(f, OPT_HOSTNAME, "%u-%j-%t");
	give(f, OPT_DOMAIN, "example.org");
	give(f, OPT_RUN, "head");
	give(f, OPT_LINGER, "none");
	give(f, OPT_WAIT, "agent");
	give(f, OPT_WORKDIR, "/w/%t%%%N%n%s%J");
	give(f, OPT_CONSOLE, "2:x");
	give(f, OPT_LOG, "l,%t,warn");
	give(f, OPT_VERBOSE, "yes");
	give(f, OPT_CLOUD_INIT, "none");
	resolve(f);
	assert_string_equal(f->s.images.v[0], "a");
	assert_int_equal(f->s.cpus, 4);
	assert_true(f->s.mem_bytes == 512 * MIB);
	assert_true(f->s.mem_given);
	assert_int_equal(f->s.accel, ACCEL_TCG);
	assert_int_equal(f->s.bind, BIND_NONE);
	assert_int_equal(f->s.net, NET_NONE);
	assert_string_equal(f->s.hostname, "alice-12-3");
	assert_string_equal(f->s.hostname_pattern, "alice-12-%t");
	assert_string_equal(f->s.domain, "example.org");
	assert_true(f->s.run_head);
	assert_false(f->s.linger);
	assert_int_equal(f->s.wait, WAIT_AGENT);
	assert_string_equal(f->s.workdir, "/w/3%node071012.0");
	assert_null(f->s.console); /* rank 2's */
	assert_string_equal(f->s.log, "l,3");
	assert_int_equal(f->s.log_level, 1);
	assert_true(f->s.verbose);
	assert_false(f->s.cloud_init);
}

static void test_ports(void **state)
{
	struct fixture *f = *state;

	f->t.publish_first = 1024;
	f->t.publish_last = 65535;
	give(f, OPT_PUBLISH, "22=8022,53/udp");
	optset_add(&f->t.options, OPT_PUBLISH, "0:80", "", NULL);
	optset_add(&f->t.options, OPT_PUBLISH, "3:81", "", NULL);
	resolve(f);
	assert_int_equal(f->s.n_ports, 3);
	assert_int_equal(f->s.ports[0].host, 8025); /* of rank 3 */
	assert_int_equal(f->s.ports[1].host, 0);
	assert_int_equal(f->s.ports[2].guest, 81);
	spec_done(&f->s);

	f->t.publish_first = 8000;
	f->t.publish_last = 8024;
	assert_int_equal(spec_resolve(&f->t, &f->s, &f->err), -EPERM);
	assert_non_null(strstr(
		f->err.text,
		"--vm-publish=22=8022: task 3's port 8025 is not among those that the site allows (allow_publish): 8000-8024"));
	give(f, OPT_PUBLISH, "3:82=65535");
	f->t.publish_last = 65535;
	assert_int_equal(spec_resolve(&f->t, &f->s, &f->err), -ERANGE);
	assert_non_null(strstr(f->err.text, "task 3 would have port 65538"));
}

static void test_ways(void **state)
{
	struct fixture *f = *state;

	resolve(f);
	assert_false(f->s.vnc || f->s.outbound || f->s.tftp || f->s.qemu);
	spec_done(&f->s);
	give(f, OPT_DISPLAY, "vnc");
	give(f, OPT_OUTBOUND, "user");
	give(f, OPT_TFTP, "/tmp");
	give(f, OPT_QEMU, "/opt/%N/qemu");
	resolve(f);
	assert_true(f->s.vnc && f->s.outbound);
	assert_string_equal(f->s.tftp, "/tmp");
	assert_string_equal(f->s.qemu, "/opt/node07/qemu");
	spec_done(&f->s);
	give(f, OPT_TFTP, "/nonexistent");
	assert_int_equal(spec_resolve(&f->t, &f->s, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "--vm-tftp=/nonexistent: No such"));
}

static void test_hugepages(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_HUGEPAGES, "");
	give(f, OPT_MEM, "301M");
	give(f, OPT_NUMA, "flat");
	resolve(f);
	assert_true(f->s.hugepage_bytes == 2 * MIB);
	assert_true(f->s.mem_bytes == 300 * MIB);
	assert_int_equal(f->s.numa, NUMA_FLAT);
	spec_done(&f->s);

	give(f, OPT_HUGEPAGES, "1G");
	assert_int_equal(spec_resolve(&f->t, &f->s, &f->err), -ERANGE);
	assert_non_null(strstr(
		f->err.text,
		"--vm-hugepages=1G: the VM has 301M of memory, less than one"));
}

/* -- data ------------------------------------------------------------------ */

static void test_data(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_INPUT, "a-%t");
	assert_int_equal(
		optset_add(&f->t.options, OPT_INPUT, "x,y", "--vm-input", NULL),
		0);
	give(f, OPT_OUTPUT, "3:out-%j");
	give(f, OPT_MOUNTS, "/a:/b:ro,/c/%u:/d");
	assert_int_equal(optset_add(&f->t.options, OPT_MOUNTS, "0-2:/e:/f",
				    "--vm-mounts", NULL),
			 0);
	resolve(f);
	assert_int_equal(f->s.inputs.n, 2);
	assert_string_equal(f->s.inputs.v[0], "a-3");
	assert_string_equal(f->s.inputs.v[1], "y");
	assert_int_equal(f->s.outputs.n, 1);
	assert_string_equal(f->s.outputs.v[0], "out-12");
	assert_int_equal(f->s.mounts.n, 2);
	assert_string_equal(f->s.mounts.v[0].src, "/a");
	assert_string_equal(f->s.mounts.v[0].dst, "/b");
	assert_true(f->s.mounts.v[0].ro);
	assert_string_equal(f->s.mounts.v[1].src, "/c/alice");
	assert_false(f->s.mounts.v[1].ro);
}

/* What is mounted has the working directory, and so has what is above it. */
static void test_workdir(void **state)
{
	struct fixture *f = *state;
	char dir[] = "/tmp/vmstep-spec-XXXXXX", cwd[4096], text[64];

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	snprintf(text, sizeof(text), "%s:/w", dir);
	give(f, OPT_MOUNTS, text);
	resolve(f);
	assert_string_equal(f->s.workdir, "/w");
	assert_false(f->s.workdir_given);
	snprintf(text, sizeof(text), "%sx:/v,/:/host", dir);
	give(f, OPT_MOUNTS, text);
	resolve(f);
	snprintf(text, sizeof(text), "/host%s", dir);
	assert_string_equal(f->s.workdir, text);
	give(f, OPT_WORKDIR, "/given");
	resolve(f);
	assert_string_equal(f->s.workdir, "/given");
	assert_true(f->s.workdir_given);
	assert_int_equal(chdir(cwd), 0);
	rmdir(dir);
}

static void test_me(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_USER, "me");
	resolve(f);
	assert_string_equal(f->s.guest_user, "alice");
	assert_int_equal(f->s.user_is_me, getuid() != 0);
	f->t.user = "";
	spec_done(&f->s);
	assert_true(spec_resolve(&f->t, &f->s, &f->err) < 0);
	assert_non_null(strstr(f->err.text, "--vm-user=me"));
}

static void test_images(void **state)
{
	struct fixture *f = *state;

	give(f, OPT_IMAGE, "%u-%t.img,fmt=raw");
	assert_int_equal(optset_add(&f->t.options, OPT_IMAGE, "100%%",
				    "--vm-image", NULL),
			 0);
	resolve(f);
	assert_int_equal(f->s.images.n, 2);
	assert_string_equal(f->s.images.v[0], "alice-3.img,fmt=raw");
	assert_string_equal(f->s.images.v[1], "100%");
}

static void test_memory(void **state)
{
	struct fixture *f = *state;

	/* whole MiB, as QEMU counts */
	f->t.mem_bytes = GIB + 12345;
	resolve(f);
	assert_true(f->s.mem_bytes == 768 * MIB);
	/* where Slurm does not count, a guest gets 1 GiB, or what it asks */
	f->t.mem_bytes = 0;
	resolve(f);
	assert_true(f->s.mem_bytes == GIB);
	give(f, OPT_MEM, "9T");
	resolve(f);
	assert_true(f->s.mem_bytes == 9ull << 40);
	give(f, OPT_MEM, "50%");
	resolve(f);
	assert_true(f->s.mem_bytes == 512 * MIB);
}

static void test_one_rank_any_name(void **state)
{
	struct fixture *f = *state;

	f->t.rank = 0;
	f->t.ranks = 1;
	give(f, OPT_HOSTNAME, "one");
	resolve(f);
	assert_string_equal(f->s.hostname, "one");
}

static void test_env_names(void **state)
{
	struct fixture *f = *state;

	optset_add(&f->t.options, OPT_ENV, "A,B", "--vm-env", NULL);
	optset_add(&f->t.options, OPT_ENV, "C", "--vm-env", NULL);
	resolve(f);
	assert_int_equal(f->s.env.n, 3);
	assert_string_equal(f->s.env.v[1], "B");
	assert_string_equal(f->s.env.v[2], "C");
}

/* -- the guest's environment ----------------------------------------------- */

static bool has(const struct strings *env, const char *entry)
{
	size_t name = strcspn(entry, "=");

	for (size_t i = 0; i < env->n; i++)
		if (entry[name] ? strcmp(env->v[i], entry) == 0
				: strncmp(env->v[i], entry, name) == 0 &&
					  env->v[i][name] == '=')
			return true;
	return false;
}

static void test_guest_env(void **state)
{
	struct fixture *f = *state;
	struct strings env = { 0 };

	setenv("NAMED", "e=1 ,x", 1);
	setenv("EMPTY", "", 1);
	setenv("SLURM_JOB_ID", "12", 1);
	setenv("PMIX_SERVER_URI", "x", 1);
	give(f, OPT_ENV, "NAMED,EMPTY,MISSING");
	resolve(f);
	assert_int_equal(spec_guest_env(&f->t, &f->s, &env), 0);
	assert_true(has(&env, "NAMED=e=1 ,x"));
	assert_true(has(&env, "EMPTY="));
	assert_true(has(&env, "SLURM_PROCID=3"));
	assert_true(has(&env, "SLURM_NPROCS=8"));
	assert_true(has(&env, "SLURM_LOCALID=1"));
	assert_true(has(&env, "SLURM_NODEID=1"));
	assert_true(has(&env, "SLURM_JOB_ID=12"));
	assert_true(has(&env, "SLURM_STEP_ID=0"));
	assert_true(has(&env, "VMSTEP_RANK=3"));
	assert_true(has(&env, "VMSTEP_RANKS=8"));
	assert_true(has(&env, "VMSTEP_IP=10.0.0.4"));
	assert_true(has(&env, "VMSTEP_NODE=node07"));
	assert_false(has(&env, "PATH"));
	assert_false(has(&env, "PMIX_SERVER_URI"));
	assert_false(has(&env, "MISSING"));
	strings_done(&env);
	give(f, OPT_NET, "none");
	resolve(f);
	assert_int_equal(spec_guest_env(&f->t, &f->s, &env), 0);
	assert_false(has(&env, "VMSTEP_IP"));
	strings_done(&env);
}

static void test_hosts(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *plain = NULL, *full = NULL;

	f->t.ranks = HOSTS_MAX + 1;
	resolve(f);
	assert_int_equal(hosts_text(&f->t, &f->s, &plain), -E2BIG);
	assert_null(plain);
	f->t.ranks = 2;
	f->t.rank = 1;
	give(f, OPT_DOMAIN, "example.org");
	resolve(f);
	assert_int_equal(hosts_text(&f->t, &f->s, &full), 0);
	assert_string_equal(full, "10.0.0.1\tvm0.example.org vm0\n"
				  "10.0.0.2\tvm1.example.org vm1\n");
	*f->s.domain = '\0';
	assert_int_equal(hosts_text(&f->t, &f->s, &plain), 0);
	assert_string_equal(plain, "10.0.0.1\tvm0\n10.0.0.2\tvm1\n");
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("published ports: counted on from a named one",
		     test_ports),
		TEST("display, outbound, tftp, another QEMU", test_ways),
		TEST("huge pages: whole ones of them", test_hugepages),
		TEST("a description that the plugin has not written is refused",
		     test_forged),
		TEST("a task that no image is named for is refused",
		     test_no_image),
		TEST("more CPUs than the task has are refused",
		     test_too_many_cpus),
		TEST("so is keeping more than its VM can spare", test_io_cpus),
		TEST("what is not kept is the VM's",
		     test_vm_gets_the_other_cpus),
		TEST("so is more memory, or too little of it",
		     test_too_much_memory),
		TEST("memory that the VMs of a node share is of the tasks' own",
		     test_fabric_attached_memory),
		TEST("a network too small for the step is refused",
		     test_small_network),
		TEST("names that are none, or all guests', are refused",
		     test_bad_names),
		TEST("unknown %-words are refused", test_bad_words),
		TEST("what is not said has its default", test_defaults),
		TEST("what is said counts, for this rank", test_given),
		TEST("data: what this rank is given, its words replaced",
		     test_data),
		TEST("the working directory is the host's where it is mounted",
		     test_workdir),
		TEST("'me' is the caller", test_me),
		TEST("images may be named by rank", test_images),
		TEST("memory: whole MiB, counted by Slurm or not", test_memory),
		TEST("one guest may have any name", test_one_rank_any_name),
		TEST("lists of variables become one list", test_env_names),
		TEST("the guest sees what is named, and not the host's PATH",
		     test_guest_env),
		TEST("all guests are in the hosts file, unless they are too many",
		     test_hosts),
	};

	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
