/* fuzz_netstats.c - a node's statistics, which may come from another node
 *
 * Begins with "raw": words as they are. Else records whose type and words are
 * the fuzzer's, as many as there are, of which the last may be cut.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "netjson.h"
#include "netstats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(json_t *o, const struct errmsg *err)
{
	char *text;

	if (!o) {
		if (!err->text[0])
			abort(); /* a refusal has its words */
		return;
	}
	text = json_dumps(o, 0);
	if (!text)
		abort();
	free(text);
	json_decref(o);
}

static void check_all(const uint64_t *words, size_t n)
{
	struct errmsg err = { "" };

	check(netjson_stats(words, n, &err), &err);
	check(netjson_peers(words, n, &err), &err);
	check(netjson_report("1.0", words, n, &err), &err);
}

static void check_raw(const uint8_t *data, size_t size)
{
	size_t n = size / sizeof(uint64_t);
	uint64_t *words = malloc(n * sizeof(uint64_t) + 1);

	if (!words)
		abort();
	memcpy(words, data, n * sizeof(uint64_t));
	check_all(words, n);
	free(words);
}

/* A byte for the type, one for each of some words, which are small or all
 * ones. */
static void check_records(const uint8_t *data, size_t size)
{
	struct netstats s = { 0 };
	uint64_t record[256] = { 0 };
	size_t cut = 0;

	while (size >= 8) {
		enum netstats_type type = (enum netstats_type)(
			1 + data[0] % (NETSTATS_TYPES - 1));

		cut = data[0] >= 0xf0 ? data[0] & 0xf : 0;
		for (size_t i = 0; i < 256; i++)
			record[i] = data[1 + i % 7] == 0xff ? UINT64_MAX
							    : data[1 + i % 7];
		netstats_add(&s, type, record);
		data += 8;
		size -= 8;
	}
	check_all(s.words, s.n > cut ? s.n - cut : s.n);
	netstats_done(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size >= 3 && memcmp(data, "raw", 3) == 0)
		check_raw(data + 3, size - 3);
	else
		check_records(data, size);
	return 0;
}
