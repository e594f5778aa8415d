/* image_info.h - what an image is, as --vm-image would see it */
#ifndef VMSTEP_CLI_IMAGE_INFO_H
#define VMSTEP_CLI_IMAGE_INFO_H

#include <jansson.h>

#include "../stepd-helper/image.h"
#include "errmsg.h"

/* {"path", "kind": disk, bundle or root, and of a disk "format", "size",
 * "used", "files", ...}; a new reference. @qemu: whose qemu-img is asked.
 * @allow: the site's allow_images. */
int image_info(const struct image *im, const char *qemu, const char *allow,
	       json_t **ret, struct errmsg *err);
/* The same for a person. */
void image_info_print(const json_t *info);

#endif
