/* mem.c - a program of a guest that uses vmfam.h, for t0351-mem.t and the bench
 *
 *	mem all RANK TASKS N
 *
 * Each task adds 1 to one counter on node 0 N times, says the sum when all
 * have, and takes part in what is put and got between nodes.
 *
 *	mem speed MIB
 *
 * Puts MIB MiB to task 0's node, gets them, says how many MB/s each had.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vmfam.h>

#define MIB  (1024 * 1024)
#define DATA (8 * MIB)

enum { SUM = 0, ADDED = 64, PUT = 128, WORDS = 4096 };

static struct vmfam *f;

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, strerror(-r),
		f ? vmfam_words(f) : vmfam_words(NULL));
	exit(1);
}

/* Of task 0's node; who is first makes it. */
static struct vmfam_item find(const char *name, uint64_t size)
{
	struct vmfam_region g;
	struct vmfam_item i;
	int r = vmfam_region_create(f, name, size, 0666, 0, &g);

	if (r == 0)
		must(vmfam_alloc(f, &g, name, size, 0666, &i), "alloc");
	else if (r != -EEXIST)
		must(r, "region_create");
	do
		r = vmfam_lookup(f, name, name, &i);
	while (r == -ENOENT); /* made, and not yet whole */
	must(r, "lookup");
	return i;
}

/* Until @n have come there. */
static void meet(const struct vmfam_item *words, uint64_t at, uint64_t n)
{
	uint64_t came;

	must(vmfam_fetch_add_u64(f, words, at, 1, &came), "fetch_add");
	while (came < n)
		must(vmfam_fetch_u64(f, words, at, &came), "fetch");
}

static void add(uint64_t tasks, uint64_t n)
{
	struct vmfam_item words = find("words", WORDS);
	uint64_t sum;

	for (uint64_t i = 0; i < n; i++)
		must(vmfam_add_u64(f, &words, SUM, 1), "add");
	must(vmfam_quiet(f), "quiet");
	meet(&words, ADDED, tasks);
	must(vmfam_fetch_u64(f, &words, SUM, &sum), "fetch");
	printf("sum %llu %s\n", (unsigned long long)sum,
	       words.here ? "here" : "far");
}

static uint8_t value(size_t i)
{
	return (uint8_t)(i * 31 + i / 4096);
}

/* The last puts; the others see it, by a map on node 0. */
static void exchange(uint64_t rank, uint64_t tasks)
{
	struct vmfam_item words = find("words", WORDS);
	struct vmfam_item data = find("data", DATA);
	uint8_t *mine = malloc(DATA), *is = mine;
	size_t wrong = 0;

	must(mine ? 0 : -ENOMEM, "malloc");
	for (size_t i = 0; i < DATA; i++)
		mine[i] = value(i);
	if (rank == tasks - 1)
		must(vmfam_put(f, &data, 0, mine, DATA), "put");
	meet(&words, PUT, tasks);
	if (data.here)
		is = vmfam_map(f, &data);
	else
		must(vmfam_get(f, &data, 0, memset(mine, 0, DATA), DATA),
		     "get");
	for (size_t i = 0; i < DATA; i++)
		wrong += is[i] != value(i);
	printf("data %s, %zu wrong\n", data.here ? "mapped" : "got", wrong);
	free(mine);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void speed(size_t mib)
{
	struct vmfam_item data = find("speed", 16 * MIB);
	uint8_t *mine = calloc(16, MIB);
	double begin = now(), put;

	must(mine ? 0 : -ENOMEM, "calloc");
	memset(mine, 7, 16 * MIB);
	for (size_t i = 0; i < mib; i += 16)
		must(vmfam_put_nb(f, &data, 0, mine, 16 * MIB), "put");
	must(vmfam_quiet(f), "quiet");
	put = now();
	for (size_t i = 0; i < mib; i += 16)
		must(vmfam_get_nb(f, &data, 0, mine, 16 * MIB), "get");
	must(vmfam_quiet(f), "quiet");
	printf("%.1f %.1f\n", (double)mib * 1.048576 / (put - begin),
	       (double)mib * 1.048576 / (now() - put));
	free(mine);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	must(vmfam_open(&f), "open");
	if (strcmp(what, "all") == 0 && argc == 5) {
		add(strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
		exchange(strtoull(argv[2], NULL, 10),
			 strtoull(argv[3], NULL, 10));
	} else if (strcmp(what, "speed") == 0 && argc == 3) {
		speed(strtoull(argv[2], NULL, 10));
	} else {
		fprintf(stderr, "usage: see the top of mem.c\n");
		return 2;
	}
	vmfam_close(f);
	return 0;
}
