/* fuzz_image.c - the header of a disk image, as a stranger may hand it over */
#include "foreign.h"
#include "qcow2.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_header h;
	struct errmsg err;

	const uint8_t *tail =
		size >= FOREIGN_TAIL ? data + size - FOREIGN_TAIL : NULL;

	qcow2_parse(data, size, &h, &err);
	for (enum image_kind k = IMAGE_VMDK; k <= IMAGE_VPC; k++)
		foreign_check(k, data, size, tail, &err);
	return 0;
}
