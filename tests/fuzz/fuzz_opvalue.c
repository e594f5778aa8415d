/* fuzz_opvalue.c - what an op of a kernel, or code, in a guest has written: its
 * result, or output and a value behind a mark
 */
#include <config.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "op_code.h"
#include "op_kernel.h"

#define MARK "p0123"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(json_t *value, const struct errmsg *err)
{
	if (!value && !err->text[0])
		abort(); /* a refusal has its words */
	json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *out = malloc(size ? size : 1);
	struct errmsg err = { "" };
	size_t len;

	if (!out)
		abort();
	memcpy(out, data, size);
	check(op_kernel_value(out, size, &err), &err);
	for (int text = 0; text < 2; text++) {
		err.text[0] = '\0';
		check(op_code_value(out, size, MARK, text, &len, &err), &err);
		if (len > size)
			abort();
	}
	free(out);
	return 0;
}
