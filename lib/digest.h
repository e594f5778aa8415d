/* digest.h - a checksum of bytes that pass by
 *
 * SHA-256 is libcrypto's: by its plain functions, deprecated as they are,
 * which cost a static program 24 KiB where EVP costs it 4 MiB.
 */
#ifndef VMSTEP_DIGEST_H
#define VMSTEP_DIGEST_H

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

enum digest_kind { DIGEST_NONE, DIGEST_CRC32C, DIGEST_SHA256 };

/* "none", "crc32c", "sha256"; NULL at the end. */
extern const char *const digest_names[];

#define DIGEST_TEXT 65 /* of the longest, in hex, with its NUL */

struct digest {
	enum digest_kind kind;
	uint32_t crc;
	SHA256_CTX sha;
};

void digest_init(struct digest *d, enum digest_kind kind);
void digest_add(struct digest *d, const void *p, size_t n);
/* In hex; "" of DIGEST_NONE. */
void digest_text(struct digest *d, char ret[DIGEST_TEXT]);

#endif
