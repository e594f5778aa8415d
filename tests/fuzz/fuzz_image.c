/* fuzz_image.c - the header of a qcow2 image, as a stranger may hand it over */
#include "image.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_header h;
	struct errmsg err;

	qcow2_parse(data, size, &h, &err);
	return 0;
}
