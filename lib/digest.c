#include <config.h>

#include "digest.h"

#include <stdio.h>

#include "crc32c.h"

const char *const digest_names[] = { "none", "crc32c", "sha256", NULL };

void digest_init(struct digest *d, enum digest_kind kind)
{
	d->kind = kind;
	d->crc = 0;
	if (kind == DIGEST_SHA256)
		SHA256_Init(&d->sha);
}

void digest_add(struct digest *d, const void *p, size_t n)
{
	if (d->kind == DIGEST_CRC32C)
		d->crc = crc32c(d->crc, p, n);
	else if (d->kind == DIGEST_SHA256)
		SHA256_Update(&d->sha, p, n);
}

void digest_text(struct digest *d, char ret[DIGEST_TEXT])
{
	uint8_t sha[SHA256_DIGEST_LENGTH];

	ret[0] = '\0';
	if (d->kind == DIGEST_CRC32C) {
		snprintf(ret, DIGEST_TEXT, "%08x", d->crc);
	} else if (d->kind == DIGEST_SHA256) {
		SHA256_Final(sha, &d->sha);
		for (size_t i = 0; i < sizeof(sha); i++)
			snprintf(ret + 2 * i, 3, "%02x", sha[i]);
	}
}
