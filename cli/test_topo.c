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
#include "topo_here.h"

struct fixture {
	char proc[64];
	hwloc_topology_t topo;
	struct topo_vm vm;
	struct errmsg err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->proc, "/tmp/vmstep-topo-XXXXXX");
	*state = f;
	if (!mkdtemp(f->proc) || hwloc_topology_init(&f->topo) < 0 ||
	    hwloc_topology_set_synthetic(f->topo, "pack:2 core:2 pu:2") < 0 ||
	    hwloc_topology_set_type_filter(f->topo, HWLOC_OBJ_MISC,
					   HWLOC_TYPE_FILTER_KEEP_ALL) < 0)
		return -1;
	snprintf(f->vm.name, sizeof(f->vm.name), "vm[3] vm3");
	return hwloc_topology_load(f->topo);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	topo_vm_done(&f->vm);
	hwloc_topology_destroy(f->topo);
	snprintf(command, sizeof(command), "rm -r %s", f->proc);
	free(f);
	return system(command);
}

static void add_thread(struct fixture *f, int tid, const char *name,
		       const char *mask)
{
	char command[512];

	snprintf(
		command, sizeof(command),
		"d=%s/77/task/%d; mkdir -p $d; echo '%s' >$d/comm; printf 'Name:\\tx\\nCpus_allowed_list:\\t%s\\nMems_allowed:\\t1\\n' >$d/status",
		f->proc, tid, name, mask);
	assert_int_equal(system(command), 0);
}

/* "TEXT of TYPE CPUS" of each line, in order. */
static void assert_lines(struct fixture *f, const char *const *want)
{
	hwloc_obj_t o = NULL;

	assert_int_equal(topo_vm_look(f->proc, 77, &f->vm, &f->err), 0);
	assert_int_equal(topo_vm_add(f->topo, &f->vm), 0);
	while ((o = hwloc_get_next_obj_by_type(f->topo, HWLOC_OBJ_MISC, o))) {
		char cpus[64], text[512];

		hwloc_bitmap_list_snprintf(cpus, sizeof(cpus),
					   o->parent->cpuset);
		snprintf(text, sizeof(text), "%s of %s %s", o->name,
			 hwloc_obj_type_string(o->parent->type), cpus);
		if (!*want)
			fail_msg("more: %s", text);
		assert_string_equal(text, *want++);
	}
	assert_null(*want);
}

static void test_pinned(void **state)
{
	static const char *const want[] = { "vm[3] vm3: virtual CPU 0 of PU 2",
					    "vm[3] vm3: virtual CPU 1 of PU 3",
					    NULL };
	struct fixture *f = *state;

	add_thread(f, 77, "qemu-system-x86", "0-7");
	add_thread(f, 79, "CPU 1/KVM", "3");
	add_thread(f, 78, "CPU 0/KVM", "2");
	add_thread(f, 80, "IO mon_iothread", "0-7");
	assert_lines(f, want);
}

static void test_one(void **state)
{
	static const char *const want[] = { "vm[3] vm3: virtual CPU 0 of PU 5",
					    NULL };
	struct fixture *f = *state;

	add_thread(f, 77, "CPU 0/TCG", "5");
	assert_lines(f, want);
}

static void test_floating(void **state)
{
	static const char *const want[] = {
		"vm[3] vm3: 3 virtual CPUs of Package 4-7", NULL
	};
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		char name[32];

		snprintf(name, sizeof(name), "CPU %d/TCG", i);
		add_thread(f, 77 + i, name, "4-7,100");
	}
	assert_lines(f, want);
}

static void test_gone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(topo_vm_look(f->proc, 78, &f->vm, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "/78/task"));
}

#define TEST(name, fn)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("a QEMU that has ended is told of", test_gone),
		TEST("a virtual CPU is where its thread may run", test_pinned),
		TEST("... also where there is one", test_one),
		TEST("those of one place have one line", test_floating),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
