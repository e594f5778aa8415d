/* qcow2.h - the header of a qcow2 image (docs/interop/qcow2.txt of QEMU)
 *
 * It can name other files, and may come from a stranger or a guest.
 */
#ifndef VMSTEP_QCOW2_H
#define VMSTEP_QCOW2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

/* What of it matters here. */
struct qcow2_header {
	uint64_t size;		 /* of the disk, bytes */
	char backing[1024];	 /* name of the file below; "" if none */
	char backing_format[16]; /* "" if not written down */
	bool external_data, encrypted;
};
/* Parse the first @len bytes of a file. -EILSEQ: no qcow2 at all; -EINVAL with
 * words: a damaged one. */
int qcow2_parse(const uint8_t *bytes, size_t len, struct qcow2_header *ret,
		struct errmsg *err);

#endif
