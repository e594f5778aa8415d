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
#include <cmocka.h>

#include "cleanup.h"
#include "site.h"

/* A directory with vmstep.conf and vmstep.conf.d/ in it. */
struct fixture {
	char dir[64], conf[96];
	struct site site;
	struct errmsg err;
};

static void write_file(struct fixture *f, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->conf, sizeof(f->conf), "%s/vmstep.conf", f->dir);
	snprintf(path, sizeof(path), "%s/vmstep.conf.d", f->dir);
	*state = f;
	return mkdir(path, 0700);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	site_done(&f->site);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	free(f);
	return system(command);
}

static int load(struct fixture *f, const char *text)
{
	write_file(f, "vmstep.conf", text);
	site_done(&f->site);
	f->err.text[0] = '\0';
	return site_load(f->conf, true, &f->site, &f->err);
}

static void refused(struct fixture *f, const char *text, int code,
		    const char *words)
{
	assert_int_equal(load(f, text), code);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
	assert_null(f->site.runtime_dir); /* nothing is left half loaded */
}

static void test_missing(void **state)
{
	struct fixture *f = *state;
	char words[160];

	assert_int_equal(site_load(f->conf, true, &f->site, &f->err), -ENOENT);
	snprintf(words, sizeof(words),
		 "config=%s in plugstack.conf: No such file", f->conf);
	assert_non_null(strstr(f->err.text, words));
	assert_int_equal(site_load(f->dir, true, &f->site, &f->err), -EIO);
}

static void test_unreadable(void **state)
{
	struct fixture *f = *state;

	if (geteuid() == 0)
		skip();
	write_file(f, "vmstep.conf", "");
	chmod(f->conf, 0);
	/* also where it need not exist: what it says is not known */
	assert_int_equal(site_load(f->conf, false, &f->site, &f->err), -EACCES);
}

/* As in slurmstepd; in srun it is no more than words for the user. */
static void test_owner(void **state)
{
	struct fixture *f = *state;
	char dropin[128];

	if (geteuid() != 0)
		skip();
	snprintf(dropin, sizeof(dropin), "%s/vmstep.conf.d/10.conf", f->dir);
	assert_int_equal(load(f, ""), 0);
	assert_int_equal(chown(f->conf, 65534, 0), 0);
	refused(f, "", -EPERM, "vmstep.conf belongs to user 65534");
	assert_int_equal(chown(f->conf, 0, 65534), 0);
	assert_int_equal(chmod(f->conf, 0664), 0);
	refused(f, "", -EPERM, "vmstep.conf can be written by others");
	assert_int_equal(chown(f->conf, 0, 0), 0);
	assert_int_equal(load(f, ""), 0);
	assert_int_equal(chmod(f->conf, 0646), 0);
	refused(f, "", -EPERM, "chmod go-w /tmp/");
	assert_int_equal(chmod(f->conf, 0644), 0);
	write_file(f, "vmstep.conf.d/10.conf", "allow_qmp = yes\n");
	assert_int_equal(load(f, ""), 0);
	assert_int_equal(chown(dropin, 65534, 0), 0);
	refused(f, "", -EPERM, "10.conf belongs to user 65534");
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(site_load(f->conf, true, &f->site, &f->err), 0);
	assert_int_equal(seteuid(0), 0);
}

static void test_bad_lines(void **state)
{
	struct fixture *f = *state;

	refused(f, "runtime_dir", -EINVAL, "'runtime_dir' is not of the form");
	refused(f, "\n# x\n  colour = red\n", -EINVAL,
		"vmstep.conf:3: unknown key 'colour'");
	refused(f, "= x\n", -EINVAL, "unknown key ''");
	refused(f, "Qemu = x\n", -EINVAL, "unknown key 'Qemu'");
	refused(f, "mem_reserve = much\n", -EINVAL, "'much' is not a size");
	refused(f, "mem_reserve = 0\n", -EINVAL, "'0' is not a size");
	refused(f, "lost_after = 0\n", -EINVAL, "lost_after: ");
	refused(f, "sandbox = auto\n", -EINVAL,
		"sandbox: 'auto' is not yes, no or require");
	refused(f, "net_workers = 0\n", -EINVAL, "net_workers: ");
	refused(f, "net_workers = 17\n", -EINVAL, "net_workers: ");
	refused(f, "net_link = udp\n", -EINVAL,
		"net_link: 'udp' is not auto, tcp or ucx");
	refused(f, "net_port_range = 40000\n", -EINVAL,
		"net_port_range: '40000' is not a range of ports");
	refused(f, "net_port_range = 2-1\n", -EINVAL, "net_port_range: '2-1'");
	refused(f, "allow_tcg = perhaps\n", -EINVAL, "neither yes nor no");
	refused(f, "boot_timeout = 5m\n", -EINVAL, "boot_timeout: '5m'");
	refused(f, "grace = 0\n", -EINVAL, "grace: '0'");
}

static void test_relative(void **state)
{
	struct fixture *f = *state;

	refused(f, "\nruntime_dir = relative\n", -EINVAL,
		"vmstep.conf:2: runtime_dir: 'relative' is not an absolute path");
	refused(f, "runtime_dir =\n", -EINVAL,
		"runtime_dir: '' is not an absolute path");
	refused(f, "rundir = %u\n", -EINVAL, "rundir: '%u' is not");
	refused(f, "image_path = /a::/b:c\n", -EINVAL,
		"image_path: 'c' is not");
	refused(f, "qemu = bin/qemu\n", -EINVAL, "qemu: 'bin/qemu' is not");
	refused(f, "qemu =\n", -EINVAL, "qemu: '' is not");
	assert_int_equal(load(f, "rundir = /%u\nimage_path = /a::/b:\n"
				 "qemu = qemu-kvm\n"),
			 0);
	assert_string_equal(f->site.image_path, "/a::/b:");
	assert_string_equal(f->site.qemu, "qemu-kvm");
	assert_int_equal(load(f, "image_path =\nqemu = /q\n"), 0);
}

struct told {
	char text[512];
};

static void on_told(const char *key, const char *value, const char *file,
		    unsigned int line, void *arg)
{
	struct told *t = arg;
	size_t len = strlen(t->text);

	snprintf(t->text + len, sizeof(t->text) - len, "%s:%u %s=%s\n",
		 strrchr(file, '/') + 1, line, key, value);
}

static void test_told(void **state)
{
	struct fixture *f = *state;
	struct told t = { "" };
	const struct site_listener listener = { on_told, &t };

	write_file(f, "vmstep.conf",
		   "# x\n  qemu =  q  \n\ndefault_cpus = 2\nqemu = r\n");
	write_file(f, "vmstep.conf.d/a.conf", "net_workers = 2\ngrace = x\n");
	assert_int_equal(
		site_load_told(f->conf, true, &listener, &f->site, &f->err),
		-EINVAL);
	/* what was not understood is not told */
	assert_string_equal(t.text, "vmstep.conf:2 qemu=q\n"
				    "vmstep.conf:4 default_cpus=2\n"
				    "vmstep.conf:5 qemu=r\n"
				    "a.conf:1 net_workers=2\n");
}

static void test_args(void **state)
{
	char a[] = "config=/a", b[] = "config=/b", wrong[] = "config=a";
	char *good[] = { a, b }, *bad[] = { wrong };
	struct errmsg err;
	const char *path;
	bool given;

	assert_int_equal(site_args(0, NULL, &path, &given, &err), 0);
	assert_string_equal(path, SITE_DEFAULT_PATH);
	assert_false(given);
	assert_int_equal(site_args(2, good, &path, &given, &err), 0);
	assert_string_equal(path, "/b");
	assert_true(given);
	assert_int_equal(site_args(1, bad, &path, &given, &err), -EINVAL);
	assert_non_null(strstr(err.text, "'config=a'"));
}

static void test_bad_defaults(void **state)
{
	struct fixture *f = *state;

	refused(f, "default_colour = red\n", -EINVAL,
		"there is no option --vm-colour");
	refused(f, "default_ = red\n", -EINVAL, "unknown key 'default_'");
	refused(f, "default_image = a\n", -EINVAL, "every step");
	refused(f, "default_config = a\n", -EINVAL,
		"stand here, as default_NAME");
	refused(f, "default_mem = lots\n", -EINVAL, "default_mem: 'lots'");
	refused(f, "default_restore = d\n", -EINVAL, "every step");
	refused(f, "default_install = d\n", -EINVAL, "every step");
}

static void test_bad_dropin(void **state)
{
	struct fixture *f = *state;

	write_file(f, "vmstep.conf.d/50-x.conf", "\ncolour = red\n");
	refused(f, "qemu = /q\n", -EINVAL, "50-x.conf:2: unknown key 'colour'");
}

static void test_table(void **state)
{
	for (size_t i = 0; i < n_site_keys; i++) {
		assert_non_null(site_keys[i].name);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(site_keys[i].name,
						site_keys[j].name);
		assert_true(strlen(site_keys[i].help) > 5);
		assert_true(site_keys[i].dflt ||
			    site_keys[i].kind == SITE_OPTION);
	}
}

static void test_defaults(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(site_load(f->conf, false, &f->site, &f->err), 0);
	assert_string_equal(f->site.runtime_dir, "/run/vmstep");
	assert_string_equal(f->site.qemu, "qemu-system-x86_64");
	assert_string_equal(f->site.allow_users, "");
	assert_true(f->site.allow_tcg);
	assert_string_equal(f->site.sandbox, "yes");
	assert_int_equal(f->site.mem_reserve, 0); /* auto */
	for (int i = 0; i < OPT_COUNT; i++)
		assert_false(optset_has(&f->site.defaults, (enum option_id)i));
}

static void test_values(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "  runtime_dir=/a b \t\n\n"
				 "qemu = /q=1 # no comment\r\n"
				 "#qemu = /x\n"
				 "allow_users =\n"
				 "allow_tcg = off\n"
				 "mem_reserve = 1G\n"
				 "default_net_mtu = 1500\n"
				 "net_encrypt = yes\n"
				 "net_workers = 16\n"
				 "net_link = tcp\n"
				 "sandbox = off\n"
				 "sandbox_paths = /opt:/sw\n"
				 "net_port_range = 1-2"),
			 0);
	assert_string_equal(f->site.runtime_dir, "/a b");
	assert_string_equal(f->site.qemu, "/q=1 # no comment");
	assert_string_equal(f->site.allow_users, "");
	assert_false(f->site.allow_tcg);
	assert_int_equal(f->site.mem_reserve, 1 << 30);
	assert_string_equal(f->site.net_port_range, "1-2");
	assert_true(f->site.net_encrypt);
	assert_int_equal(f->site.net_workers, 16);
	assert_string_equal(f->site.net_link, "tcp");
	assert_string_equal(f->site.sandbox, "no");
	assert_string_equal(f->site.sandbox_paths, "/opt:/sw");
	assert_string_equal(f->site.defaults.opt[OPT_NET_MTU].v[0], "1500");
}

static void test_again(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "qemu = /a\nqemu = /b\nboot_timeout = 5\n"
				 "boot_timeout = 6\ndefault_env = A\n"
				 "default_env = B\n"),
			 0);
	assert_string_equal(f->site.qemu, "/b");
	assert_int_equal(f->site.defaults.opt[OPT_BOOT_TIMEOUT].n, 1);
	assert_string_equal(f->site.defaults.opt[OPT_BOOT_TIMEOUT].v[0], "6");
	assert_int_equal(f->site.defaults.opt[OPT_ENV].n, 2);
}

static void test_dropins(void **state)
{
	struct fixture *f = *state;

	write_file(f, "vmstep.conf.d/20-b.conf", "qemu = /20\n");
	write_file(f, "vmstep.conf.d/10-a.conf", "qemu = /10\nrundir = /10\n");
	write_file(f, "vmstep.conf.d/30-c.conf.rpmsave", "colour = red\n");
	assert_int_equal(load(f, "qemu = /main\nrundir = /main\n"), 0);
	assert_string_equal(f->site.qemu, "/20");
	assert_string_equal(f->site.rundir, "/10");
	site_done(&f->site);
	unlink(f->conf);
	assert_int_equal(site_load(f->conf, false, &f->site, &f->err), 0);
	assert_string_equal(f->site.qemu, "/20");
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a file that is named must be there", test_missing),
		TEST("a file that cannot be read is never passed over",
		     test_unreadable),
		TEST("root believes no file that others can write", test_owner),
		TEST("bad lines are refused with file, line and cure",
		     test_bad_lines),
		TEST("so are paths that depend on where the reader is",
		     test_relative),
		TEST("so are defaults of options that cannot be",
		     test_bad_defaults),
		TEST("a bad line of a drop-in names the drop-in",
		     test_bad_dropin),
		TEST("lines that are understood are told of, in order",
		     test_told),
		TEST("plugstack.conf's arguments", test_args),
		TEST("each row of the table is filled", test_table),
		TEST("without a file the defaults hold", test_defaults),
		TEST("values of every kind", test_values),
		TEST("the last of a key counts, lists add up", test_again),
		TEST("drop-ins come after the file, in order", test_dropins),
	};

	return cmocka_run_group_tests_name("site", tests, NULL, NULL);
}
