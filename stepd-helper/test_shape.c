#include <config.h>

#include <errno.h>
#include <fcntl.h>
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
#include "hugepages.h"
#include "pin.h"
#include "qemu.h"
#include "shape.h"

/* Four sockets of two nodes each: 4 * 2 * 2 cores of 2 threads. */
#define FOUR_SOCKETS "pack:4 numa:2(memory=8589934592) core:2 pu:2"

#define GIB (1ull << 30)

struct asked {
	const char *machine, *mask;
	unsigned int cpus, io, local_id, local_tasks;
	bool by_node, flat;
	uint64_t mem_bytes, page_bytes;
};

/* The places that pin.c chooses on @a->machine, in what shape.c makes. */
static int make(const struct asked *a, struct shape *ret)
{
	const struct pin_want want = { .cpus = a->cpus,
				       .io = a->io,
				       .local_id = a->local_id,
				       .local_tasks = a->local_tasks
							      ? a->local_tasks
							      : 1,
				       .by_node = a->by_node };
	struct shape_want w = {
		.threads = !a->by_node,
		.nodes = !a->flat,
		.mem_bytes = a->mem_bytes ? a->mem_bytes : 4 * GIB,
		.page_bytes = a->page_bytes ? a->page_bytes : 1 << 20
	};
	struct shape_cpu cpus[64];
	struct pin *p;
	int r;

	setenv("HWLOC_SYNTHETIC", a->machine, 1);
	assert_int_equal(pin_new(&p, NULL), 0);
	unsetenv("HWLOC_SYNTHETIC");
	if (a->mask)
		assert_int_equal(pin_set_mask(p, a->mask), 0);
	r = pin_plan(p, &want, NULL);
	for (unsigned int i = 0; r > 0 && i < a->cpus; i++)
		pin_place(p, i, &cpus[i]);
	w.host_nodes = pin_host_nodes(p);
	if (r > 0)
		shape_make(cpus, a->cpus, &w, ret);
	pin_free(p);
	return r;
}

static void assert_smp(const struct asked *a, unsigned int sockets,
		       unsigned int cores, unsigned int threads)
{
	struct shape s;

	assert_int_equal(make(a, &s), 1);
	if (s.sockets != sockets || s.cores != cores || s.threads != threads)
		fail_msg("%s of %s: %u*%u*%u, not %u*%u*%u",
			 a->mask ? a->mask : "all", a->machine, s.sockets,
			 s.cores, s.threads, sockets, cores, threads);
}

static void test_cpus(void **state)
{
	static const struct {
		struct asked asked;
		unsigned int sockets, cores, threads;
	} rows[] = {
		/* all of the node */
		{ { .machine = FOUR_SOCKETS, .cpus = 32 }, 4, 4, 2 },
		/* a socket, two sockets, a core, a thread */
		{ { .machine = FOUR_SOCKETS, .mask = "8-15", .cpus = 8 },
		  1,
		  4,
		  2 },
		{ { .machine = FOUR_SOCKETS, .mask = "8-23", .cpus = 16 },
		  2,
		  4,
		  2 },
		{ { .machine = FOUR_SOCKETS, .mask = "2-3", .cpus = 2 },
		  1,
		  1,
		  2 },
		{ { .machine = FOUR_SOCKETS, .mask = "5", .cpus = 1 },
		  1,
		  1,
		  1 },
		/* one thread of each core */
		{ { .machine = FOUR_SOCKETS, .mask = "0,2,4,6", .cpus = 4 },
		  1,
		  4,
		  1 },
		/* a core of each socket */
		{ { .machine = FOUR_SOCKETS,
		    .mask = "0-1,8-9,16-17,24-25",
		    .cpus = 8 },
		  4,
		  1,
		  2 },
		/* packages of unequal shares; cores of unequal shares */
		{ { .machine = FOUR_SOCKETS, .mask = "0-3,8-9", .cpus = 6 },
		  1,
		  3,
		  2 },
		{ { .machine = FOUR_SOCKETS, .mask = "0-2", .cpus = 3 },
		  1,
		  3,
		  1 },
		/* fewer virtual CPUs than the task has: its first */
		{ { .machine = FOUR_SOCKETS, .mask = "0-15", .cpus = 4 },
		  1,
		  2,
		  2 },
		/* a mask that all tasks share: the second one's part */
		{ { .machine = FOUR_SOCKETS,
		    .cpus = 16,
		    .local_id = 1,
		    .local_tasks = 2 },
		  2,
		  4,
		  2 },
		/* kept ones are no virtual CPUs */
		{ { .machine = FOUR_SOCKETS,
		    .mask = "0-7",
		    .cpus = 6,
		    .io = 2 },
		  1,
		  3,
		  2 },
		/* any CPU of its node will do: no threads to be told of */
		{ { .machine = FOUR_SOCKETS, .cpus = 32, .by_node = true },
		  4,
		  8,
		  1 },
		{ { .machine = "pack:1 core:2 pu:1", .cpus = 2 }, 1, 2, 1 },
		{ { .machine = "pu:4", .cpus = 4 }, 1, 4, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_smp(&rows[i].asked, rows[i].sockets, rows[i].cores,
			   rows[i].threads);
}

static void test_too_few(void **state)
{
	const struct asked a = { .machine = FOUR_SOCKETS,
				 .mask = "0-3",
				 .cpus = 5 };
	struct shape s;

	assert_int_equal(make(&a, &s), 0);
}

static void assert_node(const struct shape *s, unsigned int i,
			unsigned int host, unsigned int first, unsigned int n,
			uint64_t mem_bytes)
{
	assert_true(i < s->n_nodes);
	assert_int_equal(s->node[i].host, host);
	assert_int_equal(s->node[i].first, first);
	assert_int_equal(s->node[i].n, n);
	assert_int_equal(s->node[i].mem_bytes, mem_bytes);
}

static void test_nodes(void **state)
{
	struct asked a = { .machine = FOUR_SOCKETS,
			   .mask = "12-23",
			   .cpus = 12,
			   .mem_bytes = 3 * GIB };
	struct shape s;

	assert_int_equal(make(&a, &s), 1);
	assert_int_equal(s.n_nodes, 3);
	assert_true(s.bound);
	assert_node(&s, 0, 3, 0, 4, GIB);
	assert_node(&s, 1, 4, 4, 4, GIB);
	assert_node(&s, 2, 5, 8, 4, GIB);

	a.flat = true;
	assert_int_equal(make(&a, &s), 1);
	assert_int_equal(s.n_nodes, 0);
	assert_false(s.bound);

	/* in one node: the guest sees one, and has its memory from there */
	a = (struct asked){ .machine = FOUR_SOCKETS,
			    .mask = "12-15",
			    .cpus = 4 };
	assert_int_equal(make(&a, &s), 1);
	assert_int_equal(s.n_nodes, 1);
	assert_true(s.bound);
	assert_node(&s, 0, 3, 0, 4, 4 * GIB);
}

static void test_shares(void **state)
{
	struct asked a = { .machine = FOUR_SOCKETS,
			   .mask = "0-4",
			   .cpus = 5,
			   .mem_bytes = 5 * GIB + 2097152 };
	struct shape s;

	/* unequal ones; whole pages; nothing is lost */
	a.page_bytes = 2 << 20;
	assert_int_equal(make(&a, &s), 1);
	assert_int_equal(s.n_nodes, 2);
	assert_int_equal(s.node[0].mem_bytes % a.page_bytes, 0);
	assert_int_equal(s.node[0].mem_bytes, 4 * GIB);
	assert_int_equal(s.node[1].mem_bytes, GIB + 2097152);

	/* pages too large for a node of its own */
	a.page_bytes = GIB;
	a.mem_bytes = GIB;
	assert_int_equal(make(&a, &s), 1);
	assert_int_equal(s.n_nodes, 0);

	/* more than the nodes have: not bound, or the guest would be killed */
	a.page_bytes = 1 << 20;
	a.mem_bytes = 12 * GIB;
	assert_int_equal(make(&a, &s), 1);
	assert_int_equal(s.n_nodes, 2);
	assert_false(s.bound);
}

static void test_one_node(void **state)
{
	const struct asked a = { .machine = "pack:2 core:2 pu:1", .cpus = 4 };
	struct shape s;

	assert_int_equal(make(&a, &s), 1);
	assert_int_equal(s.sockets, 2);
	assert_int_equal(s.n_nodes, 0);
}

/* -- QEMU's arguments ------------------------------------------------------ */

struct fixture {
	struct task t;
	struct spec s;
	struct qemu_plan p;
	struct strings args;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->s.machine = (char *)(uintptr_t) "q35";
	f->s.hostname = (char *)(uintptr_t) "vm0";
	f->s.mtu = 9000;
	qemu_plan_init(&f->p);
	f->p.task = &f->t;
	f->p.spec = &f->s;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qemu_plan_done(&f->p);
	strings_done(&f->args);
	free(f);
	return 0;
}

static void args_of(struct fixture *f, const struct asked *a)
{
	assert_int_equal(make(a, &f->p.shape), 1);
	f->s.cpus = a->cpus;
	f->s.mem_bytes = a->mem_bytes;
	f->s.hugepage_bytes = a->page_bytes;
	strings_done(&f->args);
	assert_int_equal(qemu_args(&f->p, "qemu", &f->args), 0);
}

static void assert_has(struct fixture *f, const char *option, const char *value)
{
	for (size_t i = 0; i + 1 < f->args.n; i++)
		if (strcmp(f->args.v[i], option) == 0 &&
		    strcmp(f->args.v[i + 1], value) == 0)
			return;
	fail_msg("no %s %s", option, value);
}

static int mentions(struct fixture *f, const char *text)
{
	int n = 0;

	for (size_t i = 0; i < f->args.n; i++)
		n += strstr(f->args.v[i], text) != NULL;
	return n;
}

static void test_args(void **state)
{
	struct fixture *f = *state;
	struct asked a = { .machine = FOUR_SOCKETS,
			   .mask = "8-23",
			   .cpus = 16,
			   .mem_bytes = 4 * GIB };

	f->s.net = NET_VHOST_USER;
	args_of(f, &a);
	assert_has(f, "-machine", "q35");
	assert_has(f, "-smp", "16,sockets=2,cores=4,threads=2");
	assert_has(f, "-m", "4096M");
	assert_has(
		f, "-object",
		"memory-backend-memfd,id=mem0,size=1024M,share=on,host-nodes=2,policy=bind");
	assert_has(f, "-numa", "node,nodeid=0,cpus=0-3,memdev=mem0");
	assert_has(
		f, "-object",
		"memory-backend-memfd,id=mem3,size=1024M,share=on,host-nodes=5,policy=bind");
	assert_has(f, "-numa", "node,nodeid=3,cpus=12-15,memdev=mem3");
	assert_int_equal(mentions(f, "memory-backend=mem"), 0);

	f->s.net = NET_STREAM;
	args_of(f, &a);
	assert_has(
		f, "-object",
		"memory-backend-ram,id=mem0,size=1024M,host-nodes=2,policy=bind");

	a.page_bytes = 2 << 20;
	args_of(f, &a);
	assert_has(
		f, "-object",
		"memory-backend-memfd,id=mem1,size=1024M,hugetlb=on,hugetlbsize=2M,prealloc=on,host-nodes=3,policy=bind");

	a.mask = "4-7";
	a.cpus = 4;
	a.page_bytes = 0;
	args_of(f, &a);
	assert_has(f, "-machine", "q35,memory-backend=mem");
	assert_has(
		f, "-object",
		"memory-backend-ram,id=mem,size=4096M,host-nodes=1,policy=bind");
	assert_int_equal(mentions(f, "nodeid="), 0);

	a.flat = true;
	args_of(f, &a);
	assert_has(f, "-machine", "q35");
	assert_int_equal(mentions(f, "memory-backend"), 0);
	assert_int_equal(mentions(f, "policy"), 0);
}

/* -- huge pages ------------------------------------------------------------ */

static void put(const char *sys, const char *pool, const char *pages)
{
	char dir[4096], file[4096 + 64], text[16];
	FILE *f;

	snprintf(dir, sizeof(dir), "mkdir -p %s/%s", sys, pool);
	assert_int_equal(system(dir), 0);
	snprintf(file, sizeof(file), "%s/%s/free_hugepages", sys, pool);
	f = fopen(file, "w");
	assert_non_null(f);
	snprintf(text, sizeof(text), "%s\n", pages);
	fputs(text, f);
	fclose(f);
}

static void test_hugepages(void **state)
{
	struct shape s = { 0 };
	char sys[] = "/tmp/vmstep-shape-XXXXXX", rm[128];
	struct errmsg err;

	assert_non_null(mkdtemp(sys));
	assert_int_equal(hugepages_check(sys, "n1", 2 << 20, GIB, &s, &err),
			 -ENOTSUP);
	assert_non_null(strstr(err.text, "the kernel of n1 has no huge pages"));
	put(sys, "kernel/mm/hugepages/hugepages-2048kB", "512");
	assert_int_equal(hugepages_check(sys, "n1", 2 << 20, GIB, &s, &err), 0);
	assert_int_equal(hugepages_check(sys, "n1", GIB, GIB, &s, &err),
			 -ENOTSUP);
	assert_string_equal(
		err.text,
		"--vm-hugepages=1G: n1 has no pages of that size, but 2M");
	assert_int_equal(hugepages_check(sys, "n1", 2 << 20, 2 * GIB, &s, &err),
			 -ENOMEM);
	assert_non_null(strstr(
		err.text,
		"--vm-hugepages=2M: the VM needs 1024 pages, n1 has 512 free"));

	/* bound: of each node */
	s = (struct shape){ .n_nodes = 2,
			    .bound = true,
			    .node = { { .host = 0, .mem_bytes = GIB / 2 },
				      { .host = 3, .mem_bytes = GIB / 2 } } };
	put(sys, "devices/system/node/node0/hugepages/hugepages-2048kB", "512");
	put(sys, "devices/system/node/node3/hugepages/hugepages-2048kB", "9");
	assert_int_equal(hugepages_check(sys, "n1", 2 << 20, GIB, &s, &err),
			 -ENOMEM);
	assert_non_null(
		strstr(err.text, "256 pages, NUMA node 3 of n1 has 9 free"));
	snprintf(rm, sizeof(rm), "rm -r %s", sys);
	assert_int_equal(system(rm), 0);
}

#define TEST(name, fn)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("sockets, cores and threads are the task's", test_cpus),
		TEST("too few CPUs: nothing is chosen", test_too_few),
		TEST("NUMA nodes are mirrored, and memory bound", test_nodes),
		TEST("each node has its share in whole pages", test_shares),
		TEST("a machine of one node needs none of it", test_one_node),
		TEST("QEMU's arguments for a four-socket node", test_args),
		TEST("huge pages that are not there are told of",
		     test_hugepages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
