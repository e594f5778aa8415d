#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "qemu.h"
#include "vfio.h"

struct fixture {
	char root[64], sys[80], dev[80];
	struct vfio_ask ask;
	struct strings found;
	struct errmsg err;
};

/* printf() into a shell. */
static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

static void add_device(struct fixture *f, int group, const char *address,
		       const char *class, const char *driver)
{
	sh("d=%s/bus/pci/devices/%s; mkdir -p $d %s/kernel/iommu_groups/%d/devices/%s && echo %s >$d/class && ln -s ../../drivers/%s $d/driver",
	   f->sys, address, f->sys, group, address, class, driver);
	sh("mkdir -p %s/vfio; touch %s/vfio/%d", f->dev, f->dev, group);
}

/* Group 12: a card of two functions behind a bridge; 13 and 14: one each. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->root, "/tmp/vmstep-vfio-XXXXXX");
	*state = f;
	if (!mkdtemp(f->root))
		return -1;
	snprintf(f->sys, sizeof(f->sys), "%s/sys", f->root);
	snprintf(f->dev, sizeof(f->dev), "%s/dev", f->root);
	add_device(f, 12, "0000:3b:00.1", "0x040300", "vfio-pci");
	add_device(f, 12, "0000:3b:00.0", "0x030200", "vfio-pci");
	add_device(f, 12, "0000:3a:00.0", "0x060400", "pcieport");
	add_device(f, 13, "0000:af:00.0", "0x030200", "vfio-pci");
	add_device(f, 14, "0000:d8:00.0", "0x030200", "nvidia");
	f->ask = (struct vfio_ask){ .sys = f->sys,
				    .dev = f->dev,
				    .node = "n1",
				    .allowed = "all",
				    .lock_bytes = UINT64_MAX,
				    .local_tasks = 1 };
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sh("rm -r %s", f->root);
	strings_done(&f->found);
	free(f);
	return 0;
}

static void assert_found(struct fixture *f, const char *given, const char *want)
{
	char text[256] = "";

	strings_done(&f->found);
	f->ask.given = given;
	if (vfio_devices(&f->ask, &f->found, &f->err) < 0)
		fail_msg("%s", f->err.text);
	for (size_t i = 0; i < f->found.n; i++) {
		size_t n = strlen(text);

		snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "",
			 f->found.v[i]);
	}
	assert_string_equal(text, want);
}

static void assert_refused(struct fixture *f, const char *given, int code,
			   const char *words)
{
	strings_done(&f->found);
	f->ask.given = given;
	assert_int_equal(vfio_devices(&f->ask, &f->found, &f->err), code);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' lacks '%s'", f->err.text, words);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;

	f->ask.allowed = "";
	assert_refused(
		f, "13", -EPERM,
		"PCI device 0000:af:00.0 of n1, which the site does not pass to VMs (allow_devices); take it out of the step by --gres=none");
	f->ask.allowed = "0000:3B:00.0, 0000:af:00.0";
	assert_refused(f, "12", -EPERM, "PCI device 0000:3b:00.1 of n1");
	assert_found(f, "13", "0000:af:00.0");
	f->ask.allowed = "all";
	assert_refused(
		f, "14", -EBUSY,
		"0000:d8:00.0 of n1, whose driver is nvidia and not vfio-pci");
	assert_refused(f, "0", -ENODEV,
		       "device 0 of n1, which is no IOMMU group there");
	assert_refused(f, "GPU-1", -EINVAL, "SLURM_STEP_GPUS=GPU-1");
	assert_refused(f, "13,", 0, "");
	sh("rm %s/vfio/13", f->dev);
	assert_refused(f, "13", -ENOENT, "may not open");
}

static void test_groups(void **state)
{
	struct fixture *f = *state;

	assert_found(f, NULL, "");
	assert_found(f, "", "");
	assert_found(f, "12", "0000:3b:00.0 0000:3b:00.1");
	assert_found(f, "13,12", "0000:af:00.0 0000:3b:00.0 0000:3b:00.1");
}

static void test_tasks(void **state)
{
	struct fixture *f = *state;

	/* bound by Slurm: what it says is this task's */
	f->ask.local_tasks = 2;
	f->ask.local_id = 1;
	f->ask.on_node = "2";
	assert_found(f, "12", "0000:3b:00.0 0000:3b:00.1");
	/* not bound: dealt out */
	assert_found(f, "12,13", "0000:af:00.0");
	f->ask.local_id = 0;
	assert_found(f, "12,13", "0000:3b:00.0 0000:3b:00.1");
	/* fewer than tasks */
	f->ask.local_tasks = 3;
	f->ask.local_id = 2;
	assert_found(f, "12,13", "");
}

static void test_lock(void **state)
{
	struct fixture *f = *state;

	f->ask.mem_bytes = 4ull << 30;
	f->ask.lock_bytes = 8 << 20;
	assert_refused(
		f, "13", -EPERM,
		"for which 4.1G of memory have to be locked, and n1 lets it lock 8M");
	f->ask.given = NULL;
	assert_found(f, "", "");
	f->ask.lock_bytes = 5ull << 30;
	assert_found(f, "13", "0000:af:00.0");
}

static void test_args(void **state)
{
	struct fixture *f = *state;
	struct task t = { 0 };
	struct spec s = { .cpus = 1,
			  .mem_bytes = 512 << 20,
			  .net = NET_NONE,
			  .machine = (char *)(uintptr_t) "q35",
			  .hostname = (char *)(uintptr_t) "vm0" };
	struct strings args = { 0 };
	struct qemu_plan p;
	int n = 0;

	qemu_plan_init(&p);
	p.task = &t;
	p.spec = &s;
	f->ask.given = "12";
	assert_int_equal(vfio_devices(&f->ask, &p.devices, &f->err), 0);
	assert_int_equal(qemu_args(&p, "qemu", &args), 0);
	for (size_t i = 0; i + 1 < args.n; i++)
		if (strcmp(args.v[i], "-device") == 0)
			n += strcmp(args.v[i + 1],
				    "vfio-pci,host=0000:3b:00.0") == 0 ||
			     strcmp(args.v[i + 1],
				    "vfio-pci,host=0000:3b:00.1") == 0;
	assert_int_equal(n, 2);
	strings_done(&args);
	qemu_plan_done(&p);
}

#define TEST(name, fn)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("what cannot be passed is refused by name", test_refused),
		TEST("a group is passed whole, but for bridges", test_groups),
		TEST("each task has its own", test_tasks),
		TEST("QEMU is given them", test_args),
		TEST("memory that cannot be locked is told of", test_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
