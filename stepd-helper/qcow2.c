#include <config.h>

#include "qcow2.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define QCOW2_MAGIC	 0x514649fb
#define QCOW2_EXT_FORMAT 0xe2792aca
#define QCOW2_DATA_FILE	 (1ull << 2) /* incompatible feature */
#define QCOW2_V2_LENGTH	 72
#define QCOW2_V3_MIN	 104

static uint32_t be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static int parse_backing(const uint8_t *b, size_t len, struct qcow2_header *h,
			 struct errmsg *err)
{
	uint64_t off = be64(b + 8);
	uint32_t n = be32(b + 16);

	if (off == 0)
		return 0;
	if (n >= sizeof(h->backing) || off > len || n > len - off)
		return errmsg_say(
			err, -EINVAL,
			"damaged qcow2 header: its backing file's name lies outside");
	memcpy(h->backing, b + off, n);
	h->backing[n] = '\0';
	if (strlen(h->backing) != n)
		return errmsg_say(
			err, -EINVAL,
			"damaged qcow2 header: its backing file's name has a NUL byte");
	return 0;
}

/* QEMU reads extensions up to the backing file's name, or the end of the first
 * cluster. What lies beyond would be believed here and not by QEMU. */
static size_t extensions_end(const uint8_t *b, size_t len)
{
	uint64_t backing = be64(b + 8);
	uint32_t cluster_bits = be32(b + 20);

	if (backing)
		return backing < len ? (size_t)backing : len;
	return cluster_bits < 16 && (1u << cluster_bits) < len
		       ? (size_t)1 << cluster_bits
		       : len;
}

static void parse_extensions(const uint8_t *b, size_t len, size_t at,
			     struct qcow2_header *h)
{
	while (at <= len && len - at >= 8) {
		uint32_t type = be32(b + at), n = be32(b + at + 4);

		at += 8;
		if (type == 0 || n > len - at)
			return;
		if (type == QCOW2_EXT_FORMAT && n < sizeof(h->backing_format)) {
			memcpy(h->backing_format, b + at, n);
			h->backing_format[n] = '\0';
		}
		at += ((size_t)n + 7) & ~(size_t)7;
	}
}

int qcow2_parse(const uint8_t *b, size_t len, struct qcow2_header *ret,
		struct errmsg *err)
{
	uint32_t version, header = QCOW2_V2_LENGTH;
	int r;

	*ret = (struct qcow2_header){ 0 };
	if (len < QCOW2_V2_LENGTH || be32(b) != QCOW2_MAGIC)
		return -EILSEQ;
	version = be32(b + 4);
	if (version != 2 && version != 3)
		return errmsg_say(err, -EINVAL, "qcow2 version %u is unknown",
				  version);
	if (version == 3) {
		if (len < QCOW2_V3_MIN)
			return errmsg_say(err, -EINVAL,
					  "damaged qcow2 header: cut short");
		header = be32(b + 100);
		ret->external_data = be64(b + 72) & QCOW2_DATA_FILE;
	}
	ret->size = be64(b + 24);
	ret->encrypted = be32(b + 32) != 0;
	r = parse_backing(b, len, ret, err);
	if (r == 0)
		parse_extensions(b, extensions_end(b, len), header, ret);
	return r;
}
