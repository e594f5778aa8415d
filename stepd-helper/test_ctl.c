#include <config.h>

#include <errno.h>
#include <limits.h>
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
#include "log.h"
#include "plan.h"
#include "plan_disk.h"

/* All sets of ctl= flags, 2^10 of them, against what interface and manual say
 * that each flag means. */

#define JOB  12
#define RANK 3

struct fixture {
	char dir[64], rundir[80];
	struct task t;
	struct spec s;
	char text[64]; /* of --vm-image */
	char flags[16];
	struct qemu_plan plan;
	struct errmsg err;
};

static bool flag(const struct fixture *f, char c)
{
	return strchr(f->flags, c);
}

static void touch(const char *name)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	fputs("disk", f);
	fclose(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_setup("test", STDERR_FILENO, LOG_LEVEL_ERR);
	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0)
		return -1;
	snprintf(f->rundir, sizeof(f->rundir), "%s/run", f->dir);
	mkdir("run", 0700);
	touch("a.raw");
	touch("a.raw.12");
	touch("a.raw.3");
	touch("a.raw.12.3");
	f->t = (struct task){ .step_dir = f->dir,
			      .step = "12.0",
			      .job = JOB,
			      .rank = RANK,
			      .ranks = 4,
			      .image_path = "",
			      .allow_images = "",
			      .qemu = "qemu-system-x86_64" };
	f->s = (struct spec){ .rundir = f->rundir, .dry_run = true };
	qemu_plan_init(&f->plan);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	qemu_plan_done(&f->plan);
	strings_done(&f->s.images);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	free(f);
	return system(command);
}

static int plan_flags(struct fixture *f, unsigned int set)
{
	size_t n = 0;

	for (int i = 0; i < 10; i++)
		if (set & 1u << i)
			f->flags[n++] = "cjrdJRDpsw"[i];
	f->flags[n] = '\0';
	snprintf(f->text, sizeof(f->text), "a.raw,ctl=%s", f->flags);
	qemu_plan_done(&f->plan);
	strings_done(&f->s.images);
	strings_add(&f->s.images, f->text, strlen(f->text));
	return plan_prepare(&f->t, &f->s, &f->plan, &f->err);
}

/* -- what a set of flags means --------------------------------------------- */

static bool is_refused(const struct fixture *f)
{
	bool of_copy = flag(f, 'j') || flag(f, 'r') || flag(f, 'd');

	return (of_copy && !flag(f, 'c')) ||
	       (flag(f, 'w') && (flag(f, 'c') || flag(f, 'p') || flag(f, 's')));
}

static void tail(bool job, bool rank, char *to)
{
	if (job)
		to += sprintf(to, ".%d", JOB);
	if (rank)
		sprintf(to, ".%d", RANK);
}

/* What is opened by QEMU, or lies below what it opens. */
static void file_of(const struct fixture *f, char *image, char *file)
{
	int n = snprintf(image, PATH_MAX, "%s/a.raw", f->dir);

	tail(flag(f, 'J'), flag(f, 'R'), image + n);
	strcpy(file, image);
	if (!flag(f, 'c'))
		return;
	n = snprintf(file, PATH_MAX, "%s/run%s", f->dir, strrchr(image, '/'));
	tail(flag(f, 'j'), flag(f, 'r'), file + n);
}

static void check_disk(const struct fixture *f, const char *file)
{
	const struct qemu_disk *d = &f->plan.disk[0];
	bool written = !flag(f, 's') && (flag(f, 'w') || flag(f, 'r'));
	bool itself = flag(f, 'p') || written;

	assert_int_equal(f->plan.n_disks, 1);
	assert_int_equal(d->read_only, flag(f, 'p'));
	assert_string_equal(itself ? d->path : d->base, file);
	assert_null(itself ? d->base : d->path);
	assert_string_equal(d->format, itself ? "raw" : "qcow2");
	/* what another step finds has to reach the disk */
	assert_int_equal(d->lasts, written && !flag(f, 'p') && !flag(f, 'd'));
}

static void check_files(const struct fixture *f, const char *image,
			const char *file)
{
	const struct diskcopy *c = &f->plan.copy[0];

	assert_int_equal(f->plan.n_copies, flag(f, 'c'));
	assert_int_equal(f->plan.to_remove.n, flag(f, 'D'));
	if (flag(f, 'D'))
		assert_string_equal(f->plan.to_remove.v[0], image);
	if (!flag(f, 'c'))
		return;
	assert_string_equal(c->from, image);
	assert_string_equal(c->to, file);
	assert_int_equal(c->removed, flag(f, 'd'));
	assert_int_equal(c->own,
			 flag(f, 'r') && !flag(f, 'p') && !flag(f, 's'));
}

static void test_all(void **state)
{
	struct fixture *f = *state;
	char image[PATH_MAX], file[PATH_MAX];
	int n_refused = 0;

	for (unsigned int set = 0; set < 1u << 10; set++) {
		int r = plan_flags(f, set);

		if (is_refused(f)) {
			assert_int_equal(r, -EINVAL);
			assert_non_null(strstr(f->err.text, "ctl="));
			n_refused++;
			continue;
		}
		if (r < 0)
			fail_msg("%s: %s", f->text, f->err.text);
		file_of(f, image, file);
		check_disk(f, file);
		check_files(f, image, file);
	}
	/* without c those with j, r or d, and of the rest 24 with w and p or
	 * s; with c those with w */
	assert_int_equal(n_refused, 448 + 24 + 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "each set of ctl= flags does what its flags say, or is refused",
		  test_all, setup, teardown, NULL },
	};

	return cmocka_run_group_tests_name("ctl", tests, NULL, NULL);
}
