/* fuzz_tar.c - a tar archive from a stranger, and extents of a file; what they
 * make is made in a directory of its own, and nothing next to it.
 */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "filedata.h"
#include "tar.h"
#include "tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char outside[] = "/tmp/vmstep-fuzz-tar-XXXXXX";
static int input;

static void clean(void)
{
	char command[100];

	if (chdir("/") < 0)
		abort();
	snprintf(command, sizeof(command), "rm -rf %s", outside);
	if (system(command) != 0)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	input = memfd_create("input", MFD_CLOEXEC);
	if (input < 0 || !mkdtemp(outside) || chdir(outside) < 0)
		abort();
	atexit(clean);
	return 0;
}

/* Nothing but "in" may be there. */
static void check_outside(void)
{
	if (access("in", F_OK) < 0 || rename("in", "kept") < 0 ||
	    rmdir("kept") < 0)
		if (system("rm -rf kept") != 0)
			abort();
	if (chdir("..") < 0 || rmdir(outside) < 0)
		abort(); /* it is not empty: something was made next to it */
	if (mkdir(outside, 0700) < 0 || chdir(outside) < 0)
		abort();
}

static void rewind_to(const uint8_t *data, size_t size)
{
	if (ftruncate(input, 0) < 0 || pwrite(input, data, size, 0) < 0 ||
	    lseek(input, 0, SEEK_SET) < 0)
		abort();
}

static void take_tree(struct flow *in)
{
	const struct tree_options o = { .fresh = true };
	struct errmsg err = { "" };
	struct tree_counts n;
	int dir, r;

	if (mkdir("in", 0700) < 0)
		abort();
	dir = open("in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = tree_receive(dir, in, &o, &n, &err);
	if (r < 0 && !err.text[0])
		abort(); /* a refusal has its words */
	close(dir);
	check_outside();
}

/* All of it is read, and no file is made. */
static void take_entries(struct flow *in)
{
	struct tar_reader *t = tar_reader_new(in);
	const struct tar_entry *e;
	struct errmsg err = { "" };
	char buf[4096];
	uint64_t left;
	ssize_t n;

	while (tar_next(t, &e, &err) > 0)
		for (left = e->size; left; left -= (uint64_t)n) {
			n = tar_read(t, buf, sizeof(buf));
			if (n <= 0)
				break;
			if ((uint64_t)n > left)
				abort();
		}
	tar_reader_free(t);
}

static void take_extents(struct flow *in)
{
	const struct filedata_sink sink = {
		.fd = memfd_create("out", MFD_CLOEXEC), .fresh = true
	};
	struct errmsg err = { "" };
	uint64_t bytes;
	int r = filedata_receive(in, FILEDATA_EXTENTS, &sink, &bytes, &err);

	if (r < 0 && !err.text[0])
		abort();
	close(sink.fd);
}

/* Half of the inputs get the checksums that their headers should have, or
 * nothing behind them would ever be seen. */
static void mend(uint8_t *data, size_t size)
{
	for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
		uint8_t *h = data + at;
		unsigned int sum = 0;
		char text[8];

		if (memcmp(h + 257, "ustar", 5) != 0)
			continue;
		memset(h + 148, ' ', 8);
		for (size_t i = 0; i < TAR_BLOCK; i++)
			sum += h[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(h + 148, text, 7);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static void (*const takers[])(struct flow * in) = {
		take_tree,
		take_entries,
		take_extents,
	};
	uint8_t *data = malloc(size + 1);
	struct flow in;

	if (!data)
		abort();
	memcpy(data, bytes, size);
	if (size % 2 == 0)
		mend(data, size);
	for (size_t i = 0; i < sizeof(takers) / sizeof(takers[0]); i++) {
		rewind_to(data, size);
		if (flow_init(&in, input, DIGEST_NONE) < 0)
			abort();
		takers[i](&in);
		flow_done(&in);
	}
	free(data);
	return 0;
}
