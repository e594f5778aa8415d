/* image.h - what --vm-image names: find it, and know what it is
 *
 * Kinds: a disk (qcow2 by its header; raw only where it is said to be, by
 * fmt=raw or a name that ends in .raw or .img, and then never probed), or a
 * bundle (directory with vm.conf: kernel, initrd, command line, disks).
 *
 * The header of a qcow2 can name other files. They are followed here, before
 * QEMU sees them: each must be a regular file that the user may read, with a
 * format that is written down, not guessed.
 */
#ifndef VMSTEP_IMAGE_H
#define VMSTEP_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "option.h"

enum image_kind { IMAGE_QCOW2, IMAGE_RAW, IMAGE_BUNDLE };

struct image {
	enum image_kind kind;
	char *path; /* absolute */
	/* of a bundle; absolute paths, NULL where vm.conf has none */
	char *kernel, *initrd, *append;
	struct strings disks;	/* paths */
	struct strings formats; /* of each: "raw", "qcow2" or "" */
	uint64_t mem_min;	/* bytes; 0: not said */
};

/* @spec as given to --vm-image for one task; @search: directories with ':'
 * between them, for names that are not a file here. */
int image_find(const char *spec, const char *search, struct image *ret,
	       struct errmsg *err);
/* The @i'th disk of a bundle. */
int image_bundle_disk(const struct image *bundle, size_t i, struct image *ret,
		      struct errmsg *err);
void image_done(struct image *im);

/* The parts of a qcow2 header that matter here. */
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
