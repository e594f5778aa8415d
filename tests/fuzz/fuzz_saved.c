/* fuzz_saved.c - what a directory says of a saved VM, as a stranger may hand it
 * over: task.json
 */
#include "restore.h"
#include "statefile.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/vmstep-fuzz-XXXXXX";
static char task_json[64];

static void remove_dir(void)
{
	char step_json[64];

	snprintf(step_json, sizeof(step_json), "%s/step.json", dir);
	unlink(step_json);
	unlink(task_json);
	rmdir(dir);
}

static void put(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0)
		abort();
}

static void make_dir(void)
{
	static const char step[] = "{\"format\": 1, \"tasks\": 1}";
	char path[64];

	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/step.json", dir);
	snprintf(task_json, sizeof(task_json), "%s/task.json.0", dir);
	put(path, step, sizeof(step) - 1);
	atexit(remove_dir);
}

/* A machine with one disk, which is its own. */
static void use(const struct restore *rs, const struct task *t,
		const struct spec *s)
{
	enum image_kind kind = IMAGE_QCOW2;
	struct qemu_plan plan;
	struct errmsg err;
	char *path = NULL;

	qemu_plan_init(&plan);
	plan.task = t;
	plan.spec = s;
	plan.n_disks = 1;
	plan.disk[0].format = "qcow2";
	restore_check(rs, &plan, &err);
	if (restore_disk(rs, 0, &kind, &path, &err) == 0 &&
	    strncmp(path, dir, strlen(dir)) != 0)
		abort(); /* it leads nowhere else */
	free(path);
	json_string_value(json_object_get(restore_command(rs), "state"));
	restore_key(rs);
	qemu_plan_done(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct task task = { .step = "1.0", .ranks = 1 };
	struct spec spec = { .restore = dir,
			     .machine = (char *)(uintptr_t) "q35",
			     .hostname = (char *)(uintptr_t) "vm0",
			     .cpus = 1,
			     .net = NET_NONE,
			     .mem_bytes = 128 << 20 };
	struct restore *rs = NULL;
	struct errmsg err;

	if (!task_json[0])
		make_dir();
	put(task_json, data, size);
	if (restore_new(&task, &spec, &rs, &err) == 0)
		use(rs, &task, &spec);
	restore_free(rs);
	return 0;
}
