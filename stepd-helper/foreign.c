#include <config.h>

#include "foreign.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool begins(const uint8_t *b, size_t len, size_t at, const char *text)
{
	size_t n = strlen(text);

	return at <= len && len - at >= n && memcmp(b + at, text, n) == 0;
}

static int not_one(enum image_kind kind, struct errmsg *err)
{
	return errmsg_say(err, -EINVAL, "has no %s header",
			  image_format_name(kind));
}

/* -- vmdk: a descriptor is text, and names its extents and its parent -------
 */

#define VMDK_CAPACITY 12 /* where in the header; 0: see the descriptor */
#define VMDK_HEADER   79

static int check_vmdk(const uint8_t *b, size_t len, struct errmsg *err)
{
	static const char parent[] = "parentFileNameHint";
	uint64_t capacity;

	if (begins(b, len, 0, "# Disk DescriptorFile"))
		return errmsg_say(
			err, -EPERM,
			"names other files that hold its data: refused; make one file of it by qemu-img convert");
	if (begins(b, len, 0, "COWD"))
		return errmsg_say(
			err, -ENOTSUP,
			"is an ESX disk of the old kind: convert it by qemu-img convert");
	if (!begins(b, len, 0, "KDMV") || len < VMDK_HEADER)
		return not_one(IMAGE_VMDK, err);
	memcpy(&capacity, b + VMDK_CAPACITY, sizeof(capacity));
	if (capacity == 0)
		return errmsg_say(
			err, -EPERM,
			"keeps its data in other files: refused; make one file of it by qemu-img convert");
	/* QEMU looks for it in the embedded descriptor, which is in here */
	if (memmem(b, len, parent, strlen(parent)))
		return errmsg_say(
			err, -EPERM,
			"has a parent, which is another file: refused; make one file of both by qemu-img convert");
	return 0;
}

/* -- vdi ------------------------------------------------------------------- */

#define VDI_SIGNATURE_AT 0x40
#define VDI_SIGNATURE	 "\x7f\x10\xda\xbe"

static int check_vdi(const uint8_t *b, size_t len, struct errmsg *err)
{
	if (!begins(b, len, VDI_SIGNATURE_AT, VDI_SIGNATURE))
		return not_one(IMAGE_VDI, err);
	return 0; /* QEMU itself refuses one with a parent */
}

/* -- vpc: a footer, a copy of which may come first --------------------------
 */

#define VPC_TYPE	 60 /* where in the footer */
#define VPC_DIFFERENCING 4

static int check_footer(const uint8_t *footer, struct errmsg *err)
{
	uint32_t type;

	memcpy(&type, footer + VPC_TYPE, sizeof(type));
	if (be32toh(type) == VPC_DIFFERENCING)
		return errmsg_say(
			err, -EPERM,
			"has a parent, which is another file: refused; make one file of both by qemu-img convert");
	return 0;
}

static int check_vpc(const uint8_t *b, size_t len, const uint8_t *tail,
		     struct errmsg *err)
{
	bool first = len >= FOREIGN_TAIL && begins(b, len, 0, "conectix");
	bool last = tail && begins(tail, FOREIGN_TAIL, 0, "conectix");
	int r = first || last ? 0 : not_one(IMAGE_VPC, err);

	if (r == 0 && first)
		r = check_footer(b, err);
	if (r == 0 && last)
		r = check_footer(tail, err);
	return r;
}

int foreign_check(enum image_kind kind, const uint8_t *head, size_t len,
		  const uint8_t *tail, struct errmsg *err)
{
	switch (kind) {
	case IMAGE_VMDK:
		return check_vmdk(head, len, err);
	case IMAGE_VDI:
		return check_vdi(head, len, err);
	case IMAGE_VPC:
		return check_vpc(head, len, tail, err);
	default:
		return errmsg_say(err, -EINVAL, "is of no format known here");
	}
}
