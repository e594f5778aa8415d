/* fuzz_copyhead.c - what a copy between two vmsteps begins with */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "copyhead.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct errmsg err = { "" };
	struct copyhead h;
	char *place;

	if (copyhead_parse((const char *)data, size, &h, &err) < 0) {
		if (!err.text[0])
			abort(); /* a refusal has its words */
		return 0;
	}
	place = copyhead_place(&h, "/dir", true);
	if (!place || strncmp(place, "/dir/", 5) != 0 ||
	    strchr(place + 5, '/') || strcmp(place + 5, ".") == 0 ||
	    strcmp(place + 5, "..") == 0)
		abort(); /* it would go somewhere else */
	free(place);
	copyhead_done(&h);
	return 0;
}
