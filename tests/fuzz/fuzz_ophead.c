/* fuzz_ophead.c - what an op of a kernel says of itself, from the beginning of
 * its file
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ophead.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size)
{
	if (strnlen(text, size) == size || strchr(text, '\n'))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* without a NUL behind it, for the sanitizer to see */
	char *text = malloc(size ? size : 1);
	struct errmsg err = { "" };
	struct ophead head;
	int r;

	if (!text)
		abort();
	memcpy(text, data, size);
	r = ophead_parse(text, size, &head, &err);
	if (r < 0 && !err.text[0])
		abort(); /* a refusal has its words */
	check_text(head.params, sizeof(head.params));
	check_text(head.help, sizeof(head.help));
	check_text(head.user, sizeof(head.user));
	if (head.timeout_ms < 0)
		abort();
	free(text);
	return 0;
}
