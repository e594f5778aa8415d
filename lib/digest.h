/* digest.h - a checksum of bytes that pass by
 *
 * SHA-256 is libcrypto's: by its plain functions, deprecated as they are,
 * which cost a static program 24 KiB where EVP costs it 4 MiB. XXH64 is
 * libxxhash's, from its header: the sum of what is copied, which needs no
 * instructions that a guest under TCG would have to do without (CRC-32C by
 * table is a tenth as fast there). xxhsum(1) prints the same.
 */
#ifndef VMSTEP_DIGEST_H
#define VMSTEP_DIGEST_H

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum digest_kind { DIGEST_NONE, DIGEST_XXH64, DIGEST_SHA256 };

/* "none", "xxh64", "sha256"; NULL at the end. */
extern const char *const digest_names[];

#define DIGEST_TEXT 65 /* of the longest, in hex, with its NUL */

struct digest {
	enum digest_kind kind;
	XXH64_state_t xxh;
	SHA256_CTX sha;
};

void digest_init(struct digest *d, enum digest_kind kind);
void digest_add(struct digest *d, const void *p, size_t n);
uint64_t digest_xxh64(const struct digest *d); /* of that kind */
/* In hex; "" of DIGEST_NONE. */
void digest_text(struct digest *d, char ret[DIGEST_TEXT]);

#endif
