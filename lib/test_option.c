#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "option.h"
#include "value.h"

/* What each option takes and refuses, as one task's value. */
struct example {
	const char *good[8], *bad[10];
};

static const struct example examples[OPT_COUNT] = {
	[OPT_IMAGE] = { { "a,fmt=raw", "/a/b.qcow2,ctl=cjrd", "none",
			  "a,,b,mvpctl=s", "file=a,format=raw",
			  "a,if=ide,media=cdrom,serial=x" },
			{ "", ",fmt=raw", "a,fmt=rawhide", "a,ctl=z", "a,b",
			  "a,ctl=d", "a,ctl=cw", "a,colour=red" } },
	[OPT_RUNDIR] = { { "/tmp", "%j" }, { "" } },
	[OPT_SAVE] = { { "a", "/b/c-%t.qcow2,full", "a,b" }, { "", ",full" } },
	[OPT_INPUT] = { { "a", "/b/c.sqsh", "d,e;f" }, { "" } },
	[OPT_OUTPUT] = { { "out-%t", "/b,/c" }, { "" } },
	[OPT_MOUNTS] = { { "/a:/b", "a:/b:ro", "/a:/b:rw,c:/d" },
			 { "", "a", "/a:b", "/a:/", "/a:/b/../c", "/a:/b:rx",
			   ":/b", "/a:/b,", "/a:/b:ro:x" } },
	[OPT_MOUNT_HOME] = { { "yes", "no" }, { "", "maybe" } },
	[OPT_SCRATCH] = { { "1G", "4096" }, { "", "0", "50%", "big" } },
	[OPT_CLOUD_INIT] = { { "auto", "none", "/dir", "./auto" }, { "" } },
	[OPT_KERNEL] = { { "/boot/vmlinuz" }, { "" } },
	[OPT_INITRD] = { { "initrd.img" }, { "" } },
	[OPT_APPEND] = { { "quiet", "", "a=1,2;3:4 % @" }, { NULL } },
	[OPT_QEMU_ARG] = { { "-device", "a,b" }, { "" } },
	[OPT_FIRMWARE] = { { "bios", "uefi" }, { "", "efi", "UEFI" } },
	[OPT_INSTALL] = { { "a.iso", "a,b.iso,unattended=/dir" },
			  { "", ",unattended=/dir", "a.iso,unattended=" } },
	[OPT_CPUS] = { { "1", "4096" },
		       { "", "0", "4097", "2.5", "-1", "all" } },
	[OPT_IO_CPUS] = { { "0", "1", "4096" },
			  { "", "4097", "0.5", "-1", "all" } },
	[OPT_MEM] = { { "4G", "512", "80%", "1%", "64M" },
		      { "", "0", "0%", "101%", "4Z", "63M" } },
	[OPT_ACCEL] = { { "auto", "kvm", "tcg" },
			{ "", "hvf", "KVM", "!kvm" } },
	[OPT_CPU] = { { "host", "max", "qemu64,+vmx" }, { "" } },
	[OPT_MACHINE] = { { "q35", "pc-q35-7.2" }, { "" } },
	[OPT_FAM] = { { "1M", "1G,file=/dev/shm/a,b" },
		      { "", "0", "3G", "512K", "1G,size=2", "1G,file=" } },
	[OPT_BIND] = { { "cores", "numa", "none" }, { "", "!numa" } },
	[OPT_DISPLAY] = { { "vnc", "none" }, { "", "gtk" } },
	[OPT_QEMU] = { { "/opt/qemu" }, { "" } },
	[OPT_OUTBOUND] = { { "user", "none" }, { "", "tap" } },
	[OPT_TFTP] = { { "/srv/tftp" }, { "" } },
	[OPT_PUBLISH] = { { "22", "0:22=8022,53/udp" }, { "", "22=80" } },
	[OPT_CONFIG] = { { "job.conf", "@workers=1-7" },
			 { "", "@a", "@a=x", "@=1", "@a b=1" } },
	[OPT_NUMA] = { { "mirror", "flat" }, { "", "none" } },
	[OPT_HUGEPAGES] = { { "", "2M", "1G" }, { "4K", "3M", "x" } },
	[OPT_NET] = { { "vhost-user", "stream", "dgram", "none" },
		      { "", "!dgram", "tap" } },
	[OPT_NET_CIDR] = { { "10.0.0.0/8", "192.168.0.0/24" },
			   { "", "10.0.0.1/8", "10.0.0.0", "10.0.0.0/31",
			     " 10.0.0.0/8", "10.0.0.0/ 8", "010.0.0.0/8" } },
	[OPT_NET_MTU] = { { "68", "1500", "65521" },
			  { "", "67", "65522", "9k" } },
	[OPT_HOSTNAME] = { { "vm%t", "a", "%u-%j", "%J" },
			   { "", "a_b", "%N", "%%", "vm%", "a b" } },
	[OPT_DOMAIN] = { { "a", "example.org" }, { "", ".", "a_b", "a." } },
	[OPT_USER] = { { "root", "alice", "me" }, { "", "a:b", "a b" } },
	[OPT_RUN] = { { "all", "head" }, { "", "tail" } },
	[OPT_LINGER] = { { "all", "none" }, { "", "some" } },
	[OPT_WAIT] = { { "all", "net", "agent" }, { "", "none" } },
	[OPT_EXEC] = { { "auto", "agent", "qga", "none" }, { "", "ssh" } },
	[OPT_WORKDIR] = { { "/work/%t" }, { "" } },
	[OPT_ENV] = { { "A", "HOME,_x1,b" },
		      { "", ",", "A,", ",A", "A,,B", "1A", "A=1", "A B" } },
	[OPT_BOOT_TIMEOUT] = { { "1", "300" }, { "", "0", "2592001", "5m" } },
	[OPT_GRACE] = { { "1", "20" }, { "", "0", "-5" } },
	[OPT_CAPTURE] = { { "frames-%t.pcap" }, { "" } },
	[OPT_STATS] = { { "stats-%j.json" }, { "" } },
	[OPT_CONSOLE] = { { "stdout", "off", "con.%t" }, { "" } },
	[OPT_LOG] = { { "log", "log.%t,debug", "a,b,err" },
		      { "", ",err", "log,loud", "log," } },
	[OPT_VERBOSE] = { { "yes", "0", "on" }, { "", "maybe" } },
	[OPT_RESTORE] = { { "saved" }, { "" } },
	[OPT_DRY_RUN] = { { "yes", "off" }, { "", "2" } },
};

static int try(enum option_id id, const char *text, struct errmsg *err)
{
	struct optset set = { 0 };
	int r = optset_add(&set, id, text, "--vm-x", err);

	assert_int_equal(optset_has(&set, id), r == 0);
	optset_done(&set);
	return r;
}

static void add(struct optset *set, enum option_id id, const char *text)
{
	struct errmsg err;

	if (optset_add(set, id, text, "--vm-x", &err) < 0)
		fail_msg("%s", err.text);
}

/* -- refused --------------------------------------------------------------- */

static void test_bad_values(void **state)
{
	for (int i = 0; i < OPT_COUNT; i++)
		for (const char *const *v = examples[i].bad; *v; v++) {
			struct errmsg err = { "" };

			if (try((enum option_id)i, *v, &err) >= 0)
				fail_msg("--vm-%s takes '%s'",
					 option_defs[i].name, *v);
			assert_non_null(strstr(err.text, "--vm-x: "));
		}
}

static void test_bad_env(void **state)
{
	for (int i = 0; i < OPT_COUNT; i++)
		for (const char *const *v = examples[i].bad; *v; v++) {
			struct optset set = { 0 };
			struct errmsg err = { "" };
			char name[64];

			option_env_name((enum option_id)i, name);
			setenv(name, *v, 1);
			assert_true(optset_add_env(&set, &err) < 0);
			assert_int_equal(strncmp(err.text, name, strlen(name)),
					 0);
			unsetenv(name);
			optset_done(&set);
		}
}

static void test_bad_ranks(void **state)
{
	struct errmsg err;

	assert_int_equal(try(OPT_MEM, "3-1:4G", &err), -EINVAL);
	assert_non_null(strstr(err.text, "'3-1' is not a set of ranks"));
	assert_int_equal(try(OPT_MEM, "1,:4G", NULL), -EINVAL);
	assert_int_equal(try(OPT_MEM, "-:4G", NULL), -EINVAL);
	assert_int_equal(try(OPT_MEM, "99999999:4G", NULL), -EINVAL);
	assert_int_equal(try(OPT_MEM, "@head:4X", &err), -EINVAL);
	assert_non_null(strstr(err.text, "'4X' is not a size"));
	assert_int_equal(try(OPT_MEM, "0:", NULL), -EINVAL);
	assert_int_equal(try(OPT_MEM, "x:4G", NULL), -EINVAL);
	assert_int_equal(try(OPT_NET_MTU, "0:1500", NULL), -EINVAL);
}

static void test_bad_lists(void **state)
{
	assert_int_equal(try(OPT_CPUS, "1,", NULL), -EINVAL);
	assert_int_equal(try(OPT_CPUS, ",1", NULL), -EINVAL);
	assert_int_equal(try(OPT_CPUS, "1,0", NULL), -EINVAL);
	assert_int_equal(try(OPT_IMAGE, "a;;b", NULL), -EINVAL);
	assert_int_equal(try(OPT_IMAGE, "a;b,ctl=z", NULL), -EINVAL);
	assert_int_equal(try(OPT_GRACE, "1,2", NULL), -EINVAL);
}

static void test_long_list(void **state)
{
	_cleanup_free_ char *text = malloc(100001);

	for (int i = 0; i < 100000; i += 2)
		memcpy(text + i, "1,", 2);
	text[99999] = '\0';
	assert_int_equal(try(OPT_CPUS, text, NULL), 0);
}

static int check(const char *image, const char *image2, enum option_id id,
		 const char *value, struct errmsg *err)
{
	struct optset set = { 0 };
	int r;

	if (image)
		add(&set, OPT_IMAGE, image);
	if (image2)
		add(&set, OPT_IMAGE, image2);
	if (value)
		add(&set, id, value);
	r = optset_check(&set, err);
	optset_done(&set);
	return r;
}

static void test_check(void **state)
{
	struct errmsg err;

	assert_int_equal(check(NULL, NULL, OPT_MEM, "1G", &err), -EINVAL);
	assert_non_null(strstr(err.text, "--vm-mem needs --vm-image"));
	assert_int_equal(check("none", "a", 0, NULL, &err), -EINVAL);
	assert_int_equal(check("a", "none", 0, NULL, &err), -EINVAL);
	assert_int_equal(check("none", "none", 0, NULL, &err), -EINVAL);
	assert_int_equal(check("0:none", NULL, 0, NULL, &err), -EINVAL);
	assert_int_equal(check("a;none", NULL, 0, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "whole step"));
	assert_int_equal(check("a", NULL, OPT_INITRD, "i", &err), -EINVAL);
	assert_non_null(strstr(err.text, "--vm-initrd needs --vm-kernel"));
	assert_int_equal(check(NULL, NULL, 0, NULL, NULL), 0);
	assert_int_equal(check("none", NULL, OPT_MEM, "1G", NULL), 0);
	assert_int_equal(check(":none", "nonesuch;b", OPT_KERNEL, "k", NULL),
			 0);
}

static void test_check_env(void **state)
{
	struct optset env = { 0 }, typed = { 0 };
	struct errmsg err;

	setenv("VMSTEP_MEM", "1G", 1);
	assert_int_equal(optset_add_env(&env, &err), 0);
	unsetenv("VMSTEP_MEM");
	assert_int_equal(optset_inherit(&typed, &env, &err), 0);
	assert_int_equal(optset_check(&typed, &err), -EINVAL);
	assert_non_null(strstr(err.text, "VMSTEP_MEM is set"));
	assert_non_null(
		strstr(err.text, "unset VMSTEP_MEM, or say --vm-image=none"));
	add(&typed, OPT_IMAGE, "none");
	assert_int_equal(optset_check(&typed, &err), 0);
	optset_done(&typed);
	add(&typed, OPT_MEM, "2G");
	assert_int_equal(optset_inherit(&typed, &env, &err), 0);
	assert_int_equal(optset_check(&typed, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--vm-mem needs"));
	optset_done(&typed);
	optset_done(&env);
}

static void test_decode_damaged(void **state)
{
	static const char *const bad[] = {
		"image",       "image\n",    "=a\n",	    "teleport=a\n",
		"image=%\n",   "image=%4\n", "image=%zz\n", "image=%00\n",
		"image=a\n\n", "mem=lots\n", "install=\n",  "IMAGE=a\n",
		"image=%+1\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct optset set = { 0 };

		if (optset_decode(&set, bad[i], NULL) >= 0)
			fail_msg("'%s' is taken for options", bad[i]);
		optset_done(&set);
	}
}

/* -- the table ------------------------------------------------------------- */

static void test_table_is_full(void **state)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		const struct option_def *d = &option_defs[i];

		assert_non_null(d->name);
		assert_true(d->help && strlen(d->help) > 5);
		assert_null(strchr(d->help, '\n'));
		assert_int_equal(!d->arginfo, !!(d->flags & OPTF_FLAG));
		assert_false(d->check && d->words);
		assert_false(d->flags & OPTF_SEMI && !(d->flags & OPTF_TASKS));
		assert_true(strspn(d->name, "abcdefghijklmnopqrstuvwxyz-") ==
			    strlen(d->name));
		assert_int_equal(option_find(d->name), i);
	}
	assert_int_equal(option_find("teleport"), -1);
	assert_int_equal(option_find(""), -1);
}

/* getopt_long() takes an abbreviation that fits one option only, or one that
 * is an option's whole name; such names must not come to mean another. */
static void test_names(void **state)
{
	static const char *const known[][2] = {
		{ "cpu", "cpus" },    { "net", "net-cidr" },
		{ "net", "net-mtu" }, { "qemu", "qemu-arg" },
		{ "run", "rundir" },
	};

	for (int i = 0; i < OPT_COUNT; i++)
		for (int j = 0; j < OPT_COUNT; j++) {
			const char *a = option_defs[i].name;
			const char *b = option_defs[j].name;
			bool fine = false;

			if (i == j)
				continue;
			assert_string_not_equal(a, b);
			if (strncmp(a, b, strlen(a)) != 0)
				continue;
			for (size_t k = 0; k < ARRAY_SIZE(known); k++)
				fine |= strcmp(known[k][0], a) == 0 &&
					strcmp(known[k][1], b) == 0;
			if (!fine)
				fail_msg("--vm-%s begins as --vm-%s", b, a);
		}
}

static void test_defaults_parse(void **state)
{
	int word;

	for (int i = 0; i < OPT_COUNT; i++)
		if (option_defs[i].words)
			assert_int_equal(value_word(option_defs[i].dflt,
						    option_defs[i].words, &word,
						    NULL),
					 0);
}

static void test_env_names(void **state)
{
	char name[64];

	option_env_name(OPT_NET_MTU, name);
	assert_string_equal(name, "VMSTEP_NET_MTU");
	option_env_name(OPT_IMAGE, name);
	assert_string_equal(name, "VMSTEP_IMAGE");
}

/* -- values ---------------------------------------------------------------- */

static void test_env_nearly(void **state)
{
	static const struct {
		const char *name;
		int id;
	} names[] = {
		{ "VMSTEP_NETMTU", OPT_NET_MTU },
		{ "VMSTEP_NET_MTUS", OPT_NET_MTU },
		{ "VMSTEP_BOOT_TIMOUT", OPT_BOOT_TIMEOUT },
		{ "VMSTEP_IMAGF", OPT_IMAGE },
		{ "VMSTEP_", -1 },
		{ "VMSTEP_RANK", -1 },
		{ "VMSTEP_RANKS", -1 },
		{ "VMSTEP_STEP", -1 },
		{ "VMSTEP_NODE", -1 },
		{ "VMSTEP_IP", -1 },
		{ "VMSTEP_CACHE", -1 },
		{ "HOME", -1 },
		{ "", -1 },
	};
	char name[64], longer[66];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(
			option_env_nearly(names[i].name, strlen(names[i].name)),
			names[i].id);
	for (int i = 0; i < OPT_COUNT; i++) {
		option_env_name((enum option_id)i, name);
		assert_int_equal(option_env_nearly(name, strlen(name)), -1);
		snprintf(longer, sizeof(longer), "%s=", name);
		assert_int_equal(option_env_nearly(longer, strlen(name)), -1);
	}
	memset(longer, 'V', sizeof(longer));
	assert_int_equal(option_env_nearly(longer, sizeof(longer)), -1);
}

static void test_good_values(void **state)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		assert_non_null(examples[i].good[0]);
		for (const char *const *v = examples[i].good; *v; v++) {
			struct errmsg err;

			if (try((enum option_id)i, *v, &err) < 0)
				fail_msg("%s", err.text);
		}
	}
}

static void test_good_env(void **state)
{
	for (int i = 0; i < OPT_COUNT; i++)
		for (const char *const *v = examples[i].good; *v; v++) {
			struct optset set = { 0 };
			char name[64];

			option_env_name((enum option_id)i, name);
			setenv(name, *v, 1);
			assert_int_equal(optset_add_env(&set, NULL), 0);
			assert_int_equal(set.opt[i].n, 1);
			assert_string_equal(set.opt[i].v[0], *v);
			unsetenv(name);
			optset_done(&set);
		}
}

static void test_flags(void **state)
{
	struct optset set = { 0 };

	add(&set, OPT_VERBOSE, NULL);
	add(&set, OPT_VERBOSE, "no");
	assert_string_equal(set.opt[OPT_VERBOSE].v[0], "yes");
	assert_string_equal(set.opt[OPT_VERBOSE].v[1], "no");
	optset_clear(&set, OPT_VERBOSE);
	assert_false(optset_has(&set, OPT_VERBOSE));
	optset_done(&set);
}

/* -- for one rank ---------------------------------------------------------- */

/* The values for @rank, joined by '|'. */
static const char *values(const struct optset *set, enum option_id id,
			  uint32_t rank)
{
	static char text[256];
	struct strings s = { 0 };
	size_t len = 0;

	assert_int_equal(option_values(set, id, rank, &s, NULL), 0);
	text[0] = '\0';
	for (size_t i = 0; i < s.n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
					i ? "|" : "", s.v[i]);
	strings_done(&s);
	return text;
}

static void test_ranks(void **state)
{
	struct optset set = { 0 };

	add(&set, OPT_MEM, "1G");
	add(&set, OPT_MEM, "0,3-4:2G");
	add(&set, OPT_MEM, "6-:3G");
	add(&set, OPT_MEM, "-0:4G");
	assert_string_equal(values(&set, OPT_MEM, 0), "4G");
	assert_string_equal(values(&set, OPT_MEM, 1), "1G");
	assert_string_equal(values(&set, OPT_MEM, 3), "2G");
	assert_string_equal(values(&set, OPT_MEM, 6), "3G");
	assert_string_equal(values(&set, OPT_MEM, 1000000), "3G");
	assert_string_equal(values(&set, OPT_CPUS, 0), "");
	optset_done(&set);
}

static void test_no_rank_left(void **state)
{
	struct optset set = { 0 };

	add(&set, OPT_IMAGE, "0-1:a");
	assert_string_equal(values(&set, OPT_IMAGE, 2), "");
	optset_done(&set);
}

static void test_idle(void **state)
{
	struct optset set = { 0 };

	add(&set, OPT_MEM, "5-7:1G");
	add(&set, OPT_MEM, "0,9:1G");
	add(&set, OPT_MEM, "5-:1G");
	add(&set, OPT_MEM, "1G");
	assert_true(option_is_idle(&set, OPT_MEM, 0, 5));
	assert_false(option_is_idle(&set, OPT_MEM, 0, 6));
	for (size_t i = 1; i < 4; i++)
		assert_false(option_is_idle(&set, OPT_MEM, i, 1));
	add(&set, OPT_APPEND, "5:a"); /* takes no ranks */
	assert_false(option_is_idle(&set, OPT_APPEND, 0, 1));
	optset_done(&set);
}

static void test_colons(void **state)
{
	struct optset set = { 0 };

	add(&set, OPT_IMAGE, "::x");
	add(&set, OPT_IMAGE, ":0:a");
	add(&set, OPT_IMAGE, "c:d");
	add(&set, OPT_IMAGE, "0:1:b");
	add(&set, OPT_IMAGE, "./0:e");
	add(&set, OPT_IMAGE, "@dir/f:g");
	assert_string_equal(values(&set, OPT_IMAGE, 0),
			    ":x|0:a|c:d|1:b|./0:e|@dir/f:g");
	optset_done(&set);
}

static void test_lists_by_task(void **state)
{
	struct optset set = { 0 };

	add(&set, OPT_CPUS, "1,2;3");
	assert_string_equal(values(&set, OPT_CPUS, 0), "1");
	assert_string_equal(values(&set, OPT_CPUS, 1), "2");
	assert_string_equal(values(&set, OPT_CPUS, 2), "3");
	assert_string_equal(values(&set, OPT_CPUS, 4000000), "3");
	add(&set, OPT_IMAGE, "a,fmt=raw;b");
	assert_string_equal(values(&set, OPT_IMAGE, 0), "a,fmt=raw");
	assert_string_equal(values(&set, OPT_IMAGE, 1), "b");
	/* no list by task: its separators are text */
	add(&set, OPT_CONSOLE, "a;b,c");
	assert_string_equal(values(&set, OPT_CONSOLE, 1), "a;b,c");
	optset_done(&set);
}

static void test_lists_of_ranks(void **state)
{
	struct optset set = { 0 };

	/* a rank's place is counted among the ranks that are named */
	add(&set, OPT_CPUS, "9");
	add(&set, OPT_CPUS, "2,5,8-:1,2,3,4");
	assert_string_equal(values(&set, OPT_CPUS, 0), "9");
	assert_string_equal(values(&set, OPT_CPUS, 2), "1");
	assert_string_equal(values(&set, OPT_CPUS, 5), "2");
	assert_string_equal(values(&set, OPT_CPUS, 8), "3");
	assert_string_equal(values(&set, OPT_CPUS, 9), "4");
	assert_string_equal(values(&set, OPT_CPUS, 10), "4");
	optset_done(&set);
}

static void test_adds(void **state)
{
	struct optset set = { 0 };

	add(&set, OPT_IMAGE, "a;b");
	add(&set, OPT_IMAGE, "1:c");
	add(&set, OPT_IMAGE, "d");
	add(&set, OPT_ENV, "A,B");
	add(&set, OPT_ENV, "C");
	assert_string_equal(values(&set, OPT_IMAGE, 0), "a|d");
	assert_string_equal(values(&set, OPT_IMAGE, 1), "b|c|d");
	assert_string_equal(values(&set, OPT_ENV, 0), "A,B|C");
	optset_done(&set);
}

/* -- sets ------------------------------------------------------------------ */

static void test_wants_vm(void **state)
{
	struct optset set = { 0 };

	assert_false(optset_wants_vm(&set));
	add(&set, OPT_MEM, "1G");
	assert_false(optset_wants_vm(&set));
	add(&set, OPT_IMAGE, "none");
	assert_false(optset_wants_vm(&set));
	optset_clear(&set, OPT_IMAGE);
	add(&set, OPT_IMAGE, ":none");
	assert_true(optset_wants_vm(&set));
	optset_done(&set);
}

static void test_inherit(void **state)
{
	struct optset high = { 0 }, low = { 0 };

	add(&high, OPT_IMAGE, "a");
	add(&high, OPT_CPUS, "1");
	add(&low, OPT_IMAGE, "b");
	add(&low, OPT_IMAGE, "c");
	add(&low, OPT_ENV, "A");
	add(&low, OPT_ENV, "B");
	assert_int_equal(optset_inherit(&high, &low, NULL), 0);
	optset_done(&low);
	assert_string_equal(values(&high, OPT_IMAGE, 0), "a");
	assert_string_equal(values(&high, OPT_ENV, 0), "A|B");
	assert_string_equal(values(&high, OPT_CPUS, 0), "1");
	optset_done(&high);
}

static void test_round(void **state)
{
	static const char nasty[] = "%\n=;\x01\x1f\x7f \xc3\xa4%41\t:";
	struct optset set = { 0 }, back = { 0 };
	_cleanup_free_ char *text = NULL, *again = NULL;

	add(&set, OPT_APPEND, nasty);
	add(&set, OPT_APPEND, "");
	for (int i = 0; i < OPT_COUNT; i++)
		for (const char *const *v = examples[i].good; *v; v++)
			add(&set, (enum option_id)i, *v);
	text = optset_encode(&set);
	assert_int_equal(optset_decode(&back, text, NULL), 0);
	again = optset_encode(&back);
	assert_string_equal(text, again);
	assert_string_equal(back.opt[OPT_APPEND].v[0], nasty);
	assert_string_equal(back.opt[OPT_APPEND].v[1], "");
	for (const char *p = text; *p; p++) /* fit for the environment */
		assert_true(*p == '\n' || (unsigned char)*p >= ' ');
	optset_done(&set);
	optset_done(&back);
}

static void test_empty(void **state)
{
	struct optset set = { 0 };
	_cleanup_free_ char *text = optset_encode(&set);

	assert_string_equal(text, "");
	assert_int_equal(optset_decode(&set, text, NULL), 0);
	assert_int_equal(optset_decode(&set, "mem=1G", NULL), 0);
	assert_string_equal(values(&set, OPT_MEM, 0), "1G");
	optset_done(&set);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "every option refuses what it cannot be", test_bad_values,
		  NULL, NULL, NULL },
		{ "so does its variable, which the message names", test_bad_env,
		  NULL, NULL, NULL },
		{ "bad ranks before a value are refused", test_bad_ranks, NULL,
		  NULL, NULL },
		{ "one bad value makes a bad list", test_bad_lists, NULL, NULL,
		  NULL },
		{ "a list of 50000 is checked at once", test_long_list, NULL,
		  NULL, NULL },
		{ "a variable that needs an image is named, with the cure",
		  test_check_env, NULL, NULL, NULL },
		{ "options that do not go together are refused", test_check,
		  NULL, NULL, NULL },
		{ "damaged encodings are refused", test_decode_damaged, NULL,
		  NULL, NULL },
		{ "each row of the table is filled", test_table_is_full, NULL,
		  NULL, NULL },
		{ "no name is another's beginning, but those we know",
		  test_names, NULL, NULL, NULL },
		{ "the default is one of the words", test_defaults_parse, NULL,
		  NULL, NULL },
		{ "names in the environment", test_env_names, NULL, NULL,
		  NULL },
		{ "what is nearly one of them is told from what is not",
		  test_env_nearly, NULL, NULL, NULL },
		{ "every option takes what it may be", test_good_values, NULL,
		  NULL, NULL },
		{ "so does its variable", test_good_env, NULL, NULL, NULL },
		{ "a flag needs no value", test_flags, NULL, NULL, NULL },
		{ "the last value whose ranks fit counts", test_ranks, NULL,
		  NULL, NULL },
		{ "a rank that nobody names has no value", test_no_rank_left,
		  NULL, NULL, NULL },
		{ "a value for no task of the step is known", test_idle, NULL,
		  NULL, NULL },
		{ "a value that looks like ranks is written :VALUE",
		  test_colons, NULL, NULL, NULL },
		{ "lists by task: the last repeats", test_lists_by_task, NULL,
		  NULL, NULL },
		{ "lists by task among ranks that are named",
		  test_lists_of_ranks, NULL, NULL, NULL },
		{ "where repeats add up, all that fit count, in order",
		  test_adds, NULL, NULL, NULL },
		{ "what asks for VMs", test_wants_vm, NULL, NULL, NULL },
		{ "a higher source replaces the whole list", test_inherit, NULL,
		  NULL, NULL },
		{ "encoding keeps every byte, and no control byte", test_round,
		  NULL, NULL, NULL },
		{ "an empty encoding, and one without its last newline",
		  test_empty, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
