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
#include "restore.h"
#include "savedir.h"
#include "statefile.h"

struct fixture {
	char dir[64];
	struct task t;
	struct spec s;
	struct qemu_plan plan;
	struct errmsg err;
};

static void sh(const char *command)
{
	assert_int_equal(system(command), 0);
}

/* Rank 1 of 2, with an overlay above a raw image. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0)
		return -1;
	sh("mkdir step && echo BASE >base");
	f->t = (struct task){ .step = "12.0",
			      .user = "alice",
			      .node = "n1",
			      .rank = 1,
			      .ranks = 2,
			      .step_dir = "step" };
	f->s.cpus = 1;
	f->s.mem_bytes = 128 << 20;
	f->s.machine = strdup("pc-q35-7.1");
	f->s.hostname = strdup("vm1");
	f->s.net = NET_NONE;
	f->s.restore = strdup("saved");
	qemu_plan_init(&f->plan);
	f->plan.task = &f->t;
	f->plan.spec = &f->s;
	f->plan.n_disks = 1;
	f->plan.disk[0].format = "qcow2";
	f->plan.disk[0].base = realpath("base", NULL);
	f->plan.disk[0].base_kind = IMAGE_RAW;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	qemu_plan_done(&f->plan);
	spec_done(&f->s);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	sh(command);
	free(f);
	return 0;
}

/* -- what cannot be saved -------------------------------------------------- */

static void refused(struct fixture *f, const char *words)
{
	assert_int_equal(statefile_check(&f->plan, &f->err), -EOPNOTSUPP);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' in: %s", words, f->err.text);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct qemu_disk *d = &f->plan.disk[0];
	char *base = d->base;

	assert_int_equal(statefile_check(&f->plan, &f->err), 0);
	d->base_goes = true;
	refused(f, "leave c, d and D out of ctl=");
	d->base_goes = false;
	d->base = NULL;
	d->path = strdup("/images/own");
	refused(f,
		"--vm-image: /images/own: a VM that has this cannot be saved; the image itself is written");
	d->read_only = true;
	assert_int_equal(statefile_check(&f->plan, &f->err), 0);
	d->drive = strdup("file=x");
	refused(f, "file=x");
	free(TAKE_PTR(d->drive));
	free(TAKE_PTR(d->path));
	d->base = base;
	strings_add(&f->plan.devices, "0000:01:00.0", 12);
	refused(f, "--gres: 0000:01:00.0");
	strings_done(&f->plan.devices);
	f->s.fam.bytes = 1 << 20;
	refused(f, "--vm-fam");
	f->s.fam.bytes = 0;
	data_items_add(&f->plan.data, DATA_MOUNT, "/home", "/home", &f->err)
		->by = BY_9P;
	refused(f, "--vm-mounts: /home");
	f->plan.data.v[0].by = BY_DISK;
	assert_int_equal(statefile_check(&f->plan, &f->err), 0);
}

/* -- the machine ----------------------------------------------------------- */

static void compared(struct fixture *f, const json_t *saved, const char *words)
{
	json_t *now = statefile_describe(&f->plan);
	int r = statefile_compare(saved, now, &f->err);

	assert_int_equal(r, words ? -EINVAL : 0);
	if (words && !strstr(f->err.text, words))
		fail_msg("'%s' in: %s", words, f->err.text);
	json_decref(now);
}

static void test_compare(void **state)
{
	struct fixture *f = *state;
	json_t *saved = statefile_describe(&f->plan);

	compared(f, saved, NULL);
	/* what is the node's own business */
	free(f->s.hostname);
	f->s.hostname = strdup("other");
	f->t.mem_reserve = 1 << 30;
	f->plan.disk[0].format = "raw";
	compared(f, saved, NULL);
	f->s.mem_bytes *= 2;
	compared(f, saved,
		 "memory of \"128M\", this one would have \"256M\": --vm-mem");
	f->s.mem_bytes /= 2;
	f->s.cpus = 2;
	compared(f, saved, "--vm-cpus");
	f->s.cpus = 1;
	f->plan.kvm = true;
	compared(f, saved, "--vm-accel");
	f->plan.kvm = false;
	f->plan.disk[0].serial = strdup("other");
	compared(f, saved, "serial=disk0");
	free(TAKE_PTR(f->plan.disk[0].serial));
	f->plan.n_disks = 0;
	compared(f, saved, "virtio-blk-pci");
	f->plan.n_disks = 1;
	json_object_del(saved, "args");
	compared(f, saved, "the saved VM has the argument of QEMU nothing");
	json_decref(saved);
}

/* An input, or a root: the guest goes on with what it knows of it. */
static void test_read_only_images(void **state)
{
	struct fixture *f = *state;
	struct qemu_disk *d = &f->plan.disk[1];
	json_t *saved;

	sh("echo a >input; echo a >other");
	*d = (struct qemu_disk){ .read_only = true, .path = strdup("input") };
	f->plan.n_disks = 2;
	saved = statefile_images(&f->plan, &f->err);
	assert_non_null(saved);
	assert_int_equal(statefile_check_read_only(saved, &f->plan, &f->err),
			 0);
	free(d->path);
	d->path = strdup("other");
	assert_int_equal(statefile_check_read_only(saved, &f->plan, &f->err),
			 -EINVAL);
	assert_non_null(strstr(f->err.text, "other is none of the images"));
	json_decref(saved);
}

static void test_images(void **state)
{
	struct fixture *f = *state;
	json_t *saved = statefile_images(&f->plan, &f->err);
	json_t *bad = json_pack("[{s:i}]", "bytes", 1);

	assert_int_equal(json_array_size(saved), 1);
	assert_int_equal(statefile_check_images(saved, &f->err), 0);
	assert_int_equal(statefile_check_images(bad, &f->err), -EINVAL);
	sh("echo MORE >>base");
	assert_int_equal(statefile_check_images(saved, &f->err), -ESTALE);
	assert_non_null(strstr(f->err.text, "base has changed since"));
	sh("rm base");
	assert_int_equal(statefile_check_images(saved, &f->err), -ENOENT);
	json_decref(bad);
	json_decref(saved);
}

/* -- the directory --------------------------------------------------------- */

static int n_made(void)
{
	return system("ls step | grep -q made") == 0;
}

static void test_directory(void **state)
{
	struct fixture *f = *state;
	struct savedir *d = NULL;
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/saved/", f->dir);
	assert_int_equal(savedir_new(path, &f->t, &d, &f->err), 0);
	assert_true(n_made());
	assert_int_equal(stat(savedir_temp(d), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_not_equal(access("saved", F_OK), 0);
	assert_int_equal(savedir_finish(d, &f->t, &f->err), 0);
	assert_int_equal(access("saved/step.json", F_OK), 0);
	assert_int_equal(access("saved/options", F_OK), 0);
	assert_false(n_made());
	savedir_drop(d); /* not what has its name */
	assert_int_equal(access("saved/step.json", F_OK), 0);
	savedir_free(d);
	d = NULL;
	assert_int_equal(savedir_new(path, &f->t, &d, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "is there already"));
	assert_int_equal(savedir_new("/", &f->t, &d, &f->err), -EINVAL);
	snprintf(path, sizeof(path), "%s/nowhere/saved", f->dir);
	assert_int_equal(savedir_new(path, &f->t, &d, &f->err), -ENOENT);
	assert_false(n_made());
}

static void test_dropped(void **state)
{
	struct fixture *f = *state;
	struct savedir *d = NULL;
	char path[128];

	sh("mkdir saved"); /* an empty one will do */
	snprintf(path, sizeof(path), "%s/saved", f->dir);
	assert_int_equal(savedir_new(path, &f->t, &d, &f->err), 0);
	sh("echo x >$(echo .vmstep-save-*)/memory.0");
	savedir_drop(d);
	assert_int_not_equal(access(savedir_temp(d), F_OK), 0);
	assert_false(n_made());
	savedir_free(d);
}

/* -- starting from it ------------------------------------------------------ */

static void cannot(struct fixture *f, const char *words)
{
	struct restore *rs = NULL;

	assert_true(restore_new(&f->t, &f->s, &rs, &f->err) < 0);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' in: %s", words, f->err.text);
}

static void test_restore_errors(void **state)
{
	struct fixture *f = *state;

	cannot(f, "--vm-restore: saved: No such file");
	sh("mkdir saved");
	cannot(f, "step.json: No such file");
	sh("mkfifo saved/step.json"); /* which nobody ever opens */
	cannot(f, "is no description");
	sh("rm saved/step.json");
	sh("echo '{' >saved/step.json");
	cannot(f, "is damaged");
	sh("echo '{\"format\": 9, \"tasks\": 2}' >saved/step.json");
	cannot(f, "has format 9");
	sh("echo '{\"format\": 1, \"tasks\": 4}' >saved/step.json");
	cannot(f, "is a step of 4 tasks, this one has 2: start it with -n4");
	sh("echo '{\"format\": 1, \"tasks\": 2}' >saved/step.json");
	cannot(f, "task.json.1: No such file");
	sh("truncate -s 2M saved/task.json.1");
	cannot(f, "is no description");
	sh("echo '{\"key\": \"xyz\"}' >saved/task.json.1");
	cannot(f, "the key is damaged");
	if (geteuid() == 0) {
		sh("chown 65534 saved");
		cannot(f, "belongs to user 65534: QEMU trusts what it loads");
	}
}

static void test_restore(void **state)
{
	struct fixture *f = *state;
	enum image_kind kind = IMAGE_QCOW2;
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct restore *rs = NULL;
	json_t *o;

	o = json_pack("{s:o, s:o, s:[{s:s}, n], s:s, s:{s:s}}", "machine",
		      statefile_describe(&f->plan), "images",
		      statefile_images(&f->plan, &f->err), "disks", "format",
		      "raw", "key",
		      "000102030405060708090a0b0c0d0e0f"
		      "101112131415161718191a1b1c1d1e1f",
		      "command", "state", "vmboot");
	text = json_dumps(o, 0);
	json_decref(o);
	sh("mkdir saved && echo '{\"format\": 1, \"tasks\": 2}' >saved/step.json");
	assert_int_equal(statefile_write("saved/task.json.1", text, &f->err),
			 0);
	assert_int_equal(restore_new(&f->t, &f->s, &rs, &f->err), 0);
	assert_int_equal(restore_check(rs, &f->plan, &f->err), 0);
	assert_int_equal(restore_key(rs)[31], 0x1f);
	assert_int_equal(restore_disk(rs, 0, &kind, &path, &f->err), 0);
	assert_int_equal(kind, IMAGE_RAW);
	assert_non_null(strstr(path, "/saved/disk0.1"));
	assert_int_equal(restore_disk(rs, 1, &kind, &path, &f->err), -EINVAL);
	assert_int_equal(restore_disk(rs, 2, &kind, &path, &f->err), -EINVAL);
	assert_int_equal(restore_open(rs, "memory", &f->err), -ENOENT);
	sh("mkdir saved/memory.1");
	assert_int_equal(restore_open(rs, "memory", &f->err), -EINVAL);
	sh("rmdir saved/memory.1 && mkfifo saved/memory.1");
	assert_int_equal(restore_open(rs, "memory", &f->err), -EINVAL);
	f->s.mem_bytes *= 2;
	assert_int_equal(restore_check(rs, &f->plan, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "--vm-restore: /tmp/"));
	restore_free(rs);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("what cannot be saved is refused by name", test_refused),
		TEST("another machine is told from the saved one",
		     test_compare),
		TEST("images have to stay as they were", test_images),
		TEST("others than those are refused", test_read_only_images),
		TEST("the directory is there when it is whole", test_directory),
		TEST("or else is gone", test_dropped),
		TEST("what cannot be started from says why",
		     test_restore_errors),
		TEST("what was saved is found", test_restore),
	};

	return cmocka_run_group_tests_name("statefile", tests, NULL, NULL);
}
