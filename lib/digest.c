#include <config.h>

#include "digest.h"

#include <inttypes.h>
#include <stdio.h>

const char *const digest_names[] = { "none", "xxh64", "sha256", NULL };

void digest_init(struct digest *d, enum digest_kind kind)
{
	d->kind = kind;
	if (kind == DIGEST_XXH64)
		XXH64_reset(&d->xxh, 0);
	else if (kind == DIGEST_SHA256)
		SHA256_Init(&d->sha);
}

void digest_add(struct digest *d, const void *p, size_t n)
{
	if (d->kind == DIGEST_XXH64)
		XXH64_update(&d->xxh, p, n);
	else if (d->kind == DIGEST_SHA256)
		SHA256_Update(&d->sha, p, n);
}

uint64_t digest_xxh64(const struct digest *d)
{
	return XXH64_digest(&d->xxh);
}

void digest_text(struct digest *d, char ret[DIGEST_TEXT])
{
	uint8_t sha[SHA256_DIGEST_LENGTH];

	ret[0] = '\0';
	if (d->kind == DIGEST_XXH64) {
		snprintf(ret, DIGEST_TEXT, "%016" PRIx64, digest_xxh64(d));
	} else if (d->kind == DIGEST_SHA256) {
		SHA256_Final(sha, &d->sha);
		for (size_t i = 0; i < sizeof(sha); i++)
			snprintf(ret + 2 * i, 3, "%02x", sha[i]);
	}
}
