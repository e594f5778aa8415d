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
#include "configfile.h"
#include "group.h"

struct fixture {
	char dir[64], path[80], second[80];
	struct optset set;
	struct errmsg err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/vmstep-config-XXXXXX");
	*state = f;
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/a.conf", f->dir);
	snprintf(f->second, sizeof(f->second), "%s/b.conf", f->dir);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	optset_done(&f->set);
	unlink(f->path);
	unlink(f->second);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void give(struct fixture *f, enum option_id id, const char *text)
{
	assert_int_equal(optset_add(&f->set, id, text, "--vm", NULL), 0);
}

/* "a;b" of a list */
static void assert_values(struct fixture *f, enum option_id id, uint32_t rank,
			  const char *want)
{
	struct strings vals = { 0 };
	char text[512] = "";

	assert_int_equal(option_values(&f->set, id, rank, &vals, &f->err), 0);
	for (size_t i = 0; i < vals.n; i++) {
		size_t n = strlen(text);

		snprintf(text + n, sizeof(text) - n, "%s%s", i ? ";" : "",
			 vals.v[i]);
	}
	if (strcmp(text, want) != 0)
		fail_msg("%s of %u is '%s', not '%s'", option_defs[id].name,
			 rank, text, want);
	strings_done(&vals);
}

static void test_file(void **state)
{
	struct fixture *f = *state;

	put(f->path, "# what the job is made of\n"
		     "\n"
		     "image = debian.qcow2,ctl=c\n"
		     "  mem=2G\t\n"
		     "net_mtu = 1500\n"
		     "verbose = yes\n"
		     "hugepages =\n"
		     "append = a = b # no comment\n"
		     "[groups]\n"
		     "head = 0\n"
		     "workers = 1-3,7\n"
		     "[@head]\n"
		     "mem = 16G\n"
		     "capture = frames-%t.pcap\n"
		     "[ 2- ]\n"
		     "scratch = 1G\n"
		     "[@workers]\n"
		     "cpus = 1,2,3,4\n"
		     "qemu-arg = a:b\n");
	give(f, OPT_CONFIG, f->path);
	assert_int_equal(configfile_take(&f->set, &f->err), 0);
	assert_int_equal(group_resolve(&f->set, &f->err), 0);
	assert_values(f, OPT_IMAGE, 5, "debian.qcow2,ctl=c");
	assert_values(f, OPT_MEM, 0, "16G");
	assert_values(f, OPT_MEM, 1, "2G");
	assert_values(f, OPT_NET_MTU, 1, "1500");
	assert_values(f, OPT_VERBOSE, 1, "yes");
	assert_values(f, OPT_HUGEPAGES, 0, "");
	assert_values(f, OPT_APPEND, 0, "a = b # no comment");
	assert_values(f, OPT_CAPTURE, 0, "frames-%t.pcap");
	assert_values(f, OPT_CAPTURE, 1, "");
	assert_values(f, OPT_SCRATCH, 1, "");
	assert_values(f, OPT_SCRATCH, 2, "1G");
	assert_values(f, OPT_CPUS, 7, "4"); /* the fourth of the group */
	assert_values(f, OPT_QEMU_ARG, 1, "a:b");
	/* the file is not handed on, its groups are */
	assert_values(f, OPT_CONFIG, 0, "@head=0;@workers=1-3,7");
}

static void test_bad_lines(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "mem", ":1: 'mem' is neither name = value nor [RANKS]" },
		{ "\nmem = 4X", ":2: mem: '4X' is not a size" },
		{ "memory = 4G", ":1: memory: there is no option --vm-memory" },
		{ "allow_images = /",
		  ":1: allow_images: there is no option --vm-allow-images" },
		{ "config = x", ":1: config: a file names no other files" },
		{ "[1,x]", ":1: [1,x] is neither [groups], nor ranks" },
		{ "[head]", ":1: [head] is neither" },
		{ "[@]", ":1: [@] is neither" },
		{ "[]", ":1: [] is neither" },
		{ "[0]\nmem = 1X", ":2: mem: '1X' is not a size" },
		{ "[0]\nnet = none", ":2: net: is the same for all tasks" },
		{ "[groups]\nhead = first", ":2: head: @head: 'first'" },
		{ "[groups]\na b = 1", ":2: a b: '@a b=1' is no group" },
		{ "[groups]\n= 1", ":2: : '@=1' is no group" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char want[512];

		put(f->path, rows[i].text);
		snprintf(want, sizeof(want), "%s%s", f->path, rows[i].words);
		assert_int_equal(configfile_load(f->path, &f->set, &f->err),
				 -EINVAL);
		if (strncmp(f->err.text, want, strlen(want)) != 0)
			fail_msg("'%s', not '%s'", f->err.text, want);
		optset_done(&f->set);
	}
}

static void test_no_file(void **state)
{
	struct fixture *f = *state;
	FILE *file;

	assert_int_equal(configfile_load(f->path, &f->set, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "--vm-config=/tmp/"));
	assert_int_equal(configfile_load(f->dir, &f->set, &f->err), -EIO);
	file = fopen(f->path, "w");
	fwrite("mem = \0\n", 1, 8, file);
	fclose(file);
	assert_int_equal(configfile_load(f->path, &f->set, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, ":1: is no text"));
}

/* What a source says itself comes before its files, of which the last does. */
static void test_precedence(void **state)
{
	struct fixture *f = *state;

	put(f->path, "mem = 1G\ncpus = 1\nscratch = 1G\n"
		     "[groups]\na = 1\nb = 1\n");
	put(f->second, "cpus = 2\n[groups]\na = 2\n");
	give(f, OPT_MEM, "4G");
	give(f, OPT_CONFIG, f->path);
	give(f, OPT_CONFIG, f->second);
	give(f, OPT_CONFIG, "@c=3");
	give(f, OPT_SCRATCH, "@a:2G");
	assert_int_equal(configfile_take(&f->set, &f->err), 0);
	assert_int_equal(group_resolve(&f->set, &f->err), 0);
	assert_values(f, OPT_MEM, 0, "4G");
	assert_values(f, OPT_CPUS, 0, "2");
	assert_values(f, OPT_SCRATCH, 2, "2G");
	assert_values(f, OPT_SCRATCH, 1, "");
	assert_string_equal(group_find(&f->set, "b", 1), "1");
	assert_string_equal(group_find(&f->set, "c", 1), "3");
	assert_null(group_find(&f->set, "d", 1));
}

static void test_saved(void **state)
{
	struct fixture *f = *state;
	char command[512], path[128];

	assert_int_equal(configfile_take_saved(&f->set, &f->err), 0);
	snprintf(path, sizeof(path), "%s.saved", f->path);
	give(f, OPT_RESTORE, path);
	assert_int_equal(configfile_take_saved(&f->set, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, ".saved/options: No such file"));
	snprintf(command, sizeof(command),
		 "mkdir %s && printf 'image=a\\nmem=2G\\n' >%s/options", path,
		 path);
	assert_int_equal(system(command), 0);
	give(f, OPT_MEM, "4G");
	assert_int_equal(configfile_take_saved(&f->set, &f->err), 0);
	assert_values(f, OPT_IMAGE, 0, "a");
	assert_values(f, OPT_MEM, 0, "4G");
	snprintf(command, sizeof(command), "echo nonsense >%s/options", path);
	assert_int_equal(system(command), 0);
	assert_int_equal(configfile_take_saved(&f->set, &f->err), -EINVAL);
	snprintf(command, sizeof(command), "rm %s/options && mkfifo %s/options",
		 path, path);
	assert_int_equal(system(command), 0); /* which nobody ever opens */
	assert_int_equal(configfile_take_saved(&f->set, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "has no options of a step"));
	snprintf(command, sizeof(command), "rm -r %s", path);
	assert_int_equal(system(command), 0);
}

/* They could mount the user's files in a guest of the stranger's. */
static void test_strangers(void **state)
{
	struct fixture *f = *state;
	char command[512], path[128];

	if (geteuid() != 0)
		skip();
	snprintf(path, sizeof(path), "%s.saved", f->path);
	give(f, OPT_RESTORE, path);
	snprintf(
		command, sizeof(command),
		"mkdir %s && echo image=a >%s/options && chown 65534 %s/options",
		path, path, path);
	assert_int_equal(system(command), 0);
	assert_int_equal(configfile_take_saved(&f->set, &f->err), -EPERM);
	assert_non_null(strstr(f->err.text, "belongs to user 65534"));
	assert_values(f, OPT_IMAGE, 0, "");
	snprintf(command, sizeof(command), "rm -r %s", path);
	assert_int_equal(system(command), 0);
}

static void test_no_group(void **state)
{
	struct fixture *f = *state;
	struct strings vals = { 0 };

	give(f, OPT_MEM, "@head:4G");
	assert_int_equal(option_values(&f->set, OPT_MEM, 0, &vals, &f->err),
			 -EINVAL);
	assert_non_null(strstr(f->err.text, "--vm-mem=@head:4G: that names"));
	assert_int_equal(group_resolve(&f->set, &f->err), -EINVAL);
	assert_non_null(strstr(
		f->err.text,
		"--vm-mem=@head:4G: there is no group 'head': name it in [groups]"));
	strings_done(&vals);
}

#define TEST(name, fn)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("a bad line is named with its file", test_bad_lines),
		TEST("a file that is none is told of", test_no_file),
		TEST("a group that nobody named is told of", test_no_group),
		TEST("options for all, for ranks and for groups", test_file),
		TEST("a source comes before its files", test_precedence),
		TEST("a saved step's options come last", test_saved),
		TEST("those of a stranger's are refused", test_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
