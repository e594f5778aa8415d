#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "oom.h"

struct fixture {
	char root[64], proc[80];
	struct oom o;
	uint64_t limit;
};

static void put(const char *root, const char *path, const char *text)
{
	char name[512], command[600];
	FILE *f;

	snprintf(name, sizeof(name), "%s/%s", root, path);
	snprintf(command, sizeof(command), "mkdir -p $(dirname %s)", name);
	assert_int_equal(system(command), 0);
	f = fopen(name, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->root, "/tmp/vmstep-oom-XXXXXX");
	*state = f;
	if (!mkdtemp(f->root))
		return -1;
	snprintf(f->proc, sizeof(f->proc), "%s/self", f->root);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", f->root);
	free(f);
	return system(command);
}

static void test_v1(void **state)
{
	struct fixture *f = *state;

	put(f->root, "self",
	    "9:name=systemd:/\n5:blkio,memory:/slurm/job_1/step_0\n0::/\n");
	put(f->root, "memory/slurm/job_1/step_0/memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	put(f->root, "memory/slurm/job_1/step_0/memory.limit_in_bytes",
	    "9223372036854771712\n");
	put(f->root, "memory/slurm/job_1/memory.limit_in_bytes", "536870912\n");
	oom_look(&f->o, f->proc, f->root);
	assert_int_equal(f->o.kills, 3);
	assert_false(oom_struck(&f->o, &f->limit));
	put(f->root, "memory/slurm/job_1/step_0/memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
	assert_true(oom_struck(&f->o, &f->limit));
	assert_int_equal(f->limit, 512 << 20); /* the job's */
}

static void test_v2(void **state)
{
	struct fixture *f = *state;

	put(f->root, "self", "0::/slurm/step_0/user/task_0\n");
	put(f->root, "slurm/step_0/user/task_0/memory.events",
	    "low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\n");
	put(f->root, "slurm/step_0/user/task_0/memory.max", "max\n");
	put(f->root, "slurm/step_0/memory.max", "268435456\n");
	oom_look(&f->o, f->proc, f->root);
	assert_false(oom_struck(&f->o, &f->limit));
	put(f->root, "slurm/step_0/user/task_0/memory.events",
	    "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n");
	assert_true(oom_struck(&f->o, &f->limit));
	assert_int_equal(f->limit, 256 << 20);
}

static void test_unseen(void **state)
{
	struct fixture *f = *state;

	oom_look(&f->o, f->proc, f->root);
	assert_false(oom_struck(&f->o, &f->limit));
	put(f->root, "self", "4:cpu:/x\n3:memory-ish:/y\nnonsense\n0::/\n");
	oom_look(&f->o, f->proc, f->root);
	assert_false(oom_struck(&f->o, &f->limit));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "where nothing is to be seen nothing is said", test_unseen,
		  setup, teardown, NULL },
		{ "cgroup v1: a kill, and the limit above", test_v1, setup,
		  teardown, NULL },
		{ "cgroup v2: the same", test_v2, setup, teardown, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
