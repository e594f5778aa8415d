/* fuzz_mem.c - what other helpers say of fabric-attached memory
 *
 * The input is messages: a length in 16 bits, then as many bytes. The helper
 * keeps a window with one region and, in its midst, one item; whatever is
 * asked, nothing beside the item changes.
 */
#include <config.h>

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "memkeep.h"
#include "memlink.h"
#include "memwire.h"

#define WINDOW (1024 * 1024)
#define ITEM   1000

static char dir[] = "/tmp/fuzz-mem-XXXXXX", file[64];
static struct task task = {
	.rank = 0, .ranks = 2, .local_tasks = 1, .step = "1.0", .node = "here"
};
static struct spec spec = { .net = NET_NONE, .fam.bytes = WINDOW };

static void remove_all(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/fam", dir);
	unlink(path);
	unlink(file);
	rmdir(dir);
}

static void begin(void)
{
	log_setup("fuzz", STDERR_FILENO, LOG_LEVEL_ERR);
	assert(mkdtemp(dir));
	snprintf(file, sizeof(file), "/dev/shm/fuzz-mem.%d", getpid());
	task.step_dir = dir;
	spec.fam.file = file;
	assert(rankset_add(&task.local_ranks, 0, 0) == 0);
	atexit(remove_all);
}

/* Item 1 of region 1, in its middle. */
static struct item *make_item(struct memkeep *k)
{
	struct memdir *d;
	struct region *g;
	struct item *before, *item;
	struct errmsg err;
	int r;

	d = memkeep_dir(k, &r, &err);
	assert(d);
	r = memdir_region_new(d, "r", WINDOW / 4 * 3, 0666, MEMDIR_USER, &g,
			      &err);
	assert(r == 0);
	r = memdir_item_new(d, g, "", 4096, 64, 0666, 1, &before, &err);
	assert(r == 0);
	r = memdir_item_new(d, g, "", ITEM, 64, 0666, 1, &item, &err);
	assert(r == 0);
	memdir_item_free(d, before);
	return item;
}

static void check(struct memkeep *k, const struct item *item)
{
	uint64_t at = item->region->at + item->offset;
	static uint8_t all[WINDOW];
	struct errmsg err;

	window_read(memkeep_window(k, NULL, &err), 0, all, 8192);
	for (uint64_t i = 0; i < 8192; i++)
		assert(!all[i] || (i >= at && i < at + ITEM));
	memset(all, 0, ITEM);
	window_write(memkeep_window(k, NULL, &err), at, all, ITEM);
}

static void say(struct memkeep *k, const uint8_t *data, size_t size)
{
	struct memwire_answer a;
	struct errmsg err;

	while (size >= 2) {
		size_t len = (size_t)(data[0] | data[1] << 8);

		data += 2;
		size -= 2;
		len = len < size ? len : size;
		memwire_take_answer((const char *)data, len, &a, &err);
		memkeep_request(k, 1, (const char *)data, len);
		data += len;
		size -= len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loop *loop;
	struct ops *ops = ops_new();
	struct peers *peers;
	struct memkeep *k;
	struct item *item;
	int r;

	if (!task.step_dir)
		begin();
	r = loop_new(&loop, NULL);
	assert(r == 0);
	r = peers_new(loop, &task, &spec, ops, &peers, NULL);
	assert(r == 0);
	k = memkeep_new(&task, &spec, peers);
	item = make_item(k);
	say(k, data, size);
	check(k, item);
	memkeep_free(k);
	peers_free(peers);
	ops_free(ops);
	loop_free(loop);
	return 0;
}
