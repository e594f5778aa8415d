/* fuzz_netstats.c - a node's statistics, which may come from another node */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = size / sizeof(uint64_t);
	uint64_t *words = malloc(n * sizeof(uint64_t) + 1);
	struct errmsg err = { "" };

	if (!words)
		abort();
	memcpy(words, data, n * sizeof(uint64_t));
	check(netjson_stats(words, n, &err), &err);
	check(netjson_peers(words, n, &err), &err);
	check(netjson_report("1.0", words, n, &err), &err);
	free(words);
	return 0;
}
