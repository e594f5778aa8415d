/* image.h - what --vm-image names: find it, and know what it is
 *
 * Kinds: a disk (qcow2 by its header; another format only where it is said to
 * be, raw also by a name that ends in .raw or .img, and then never probed), a
 * bundle (directory with vm.conf: kernel, initrd, command line, disks), or a
 * root file system (SquashFS by a name that ends in .sqsh, or a directory).
 *
 * The header of a disk can name other files. They are followed here, before
 * QEMU sees them (chain.h).
 */
#ifndef VMSTEP_IMAGE_H
#define VMSTEP_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "imagespec.h"
#include "option.h"

struct image {
	enum image_kind kind;
	char *path;	      /* absolute */
	struct strings files; /* of a disk: it and all below it */
	bool root; /* a root file system: IMAGE_RAW of SquashFS, or IMAGE_DIR */
	/* of a bundle; absolute paths, NULL where vm.conf has none */
	char *kernel, *initrd, *append;
	struct imagespec *disks; /* named by paths */
	size_t n_disks;
	uint64_t mem_min; /* bytes; 0: not said */
};

/* Where to look, and whose image it is. */
struct image_place {
	const char *search; /* directories with ':' between them, for names
			       that are not a file here */
	const char *allow;  /* as in chain_check() */
	uint32_t job, rank; /* for ctl=J and R */
};

/* The path of @name, which is a path, or a name in a directory of @search with
 * one of @suffixes (NULL at the end); @tail comes after it. NULL: none. To be
 * freed. */
char *image_search(const char *name, const char *search,
		   const char *const *suffixes, const char *tail);

/* The path that @spec's name leads to, as it is written; NULL: none. To be
 * freed. */
char *image_look_up(const struct imagespec *spec,
		    const struct image_place *place);

/* @spec has a name. */
int image_find(const struct imagespec *spec, const struct image_place *place,
	       struct image *ret, struct errmsg *err);
/* The @i'th disk of a bundle. */
int image_bundle_disk(const struct image *bundle, size_t i,
		      const struct image_place *place, struct image *ret,
		      struct errmsg *err);
void image_done(struct image *im);

#endif
