/* gcm.h - AES-128-GCM, a message at a time
 *
 * By libcrypto; or, where that is older than 3.1 and the CPU has AVX-512 and
 * VAES, by libIPSec_MB, which knows these: 4.9 and 12.6 GB/s (of one CPU, AMD
 * EPYC, messages of 64 KiB, 3.0.19 and 1.3). What comes out is the same. When
 * libcrypto 3.1 is the oldest there is, gcm_ipsec_mb.c can go.
 *
 * Who calls counts: under one key no nonce may come twice (seal.h).
 *
 * Owns:    the key, which is wiped at the end.
 * Thread:  one at a time for each struct gcm.
 */
#ifndef VMSTEP_GCM_H
#define VMSTEP_GCM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GCM_KEY	  16 /* bytes, as what follows */
#define GCM_NONCE 12
#define GCM_TAG	  16

struct gcm;

struct gcm_text {
	const uint8_t *nonce;
	const uint8_t *clear; /* authenticated, not encrypted */
	size_t clear_len;
	const uint8_t *from; /* @len bytes, to @to, which may be @from */
	uint8_t *to;
	size_t len;
};

struct gcm_kind {
	const char *name;
	/* For one direction, without a key. NULL: no memory. */
	struct gcm *(*create)(bool encrypts);
	void (*destroy)(struct gcm *g); /* NULL is fine */
	/* From now on. 0, or -EIO: there is no AES-GCM. */
	int (*key)(struct gcm *g, const uint8_t *key);
	/* 0 and the tag, or -EIO. */
	int (*encrypt)(struct gcm *g, const struct gcm_text *t, uint8_t *tag);
	/* 0, or -EBADMSG: it is not this tag's, and what is at @t->to is
	 * nothing. */
	int (*decrypt)(struct gcm *g, const struct gcm_text *t,
		       const uint8_t *tag);
};

/* The faster one of this machine. */
const struct gcm_kind *gcm_kind(void);

extern const struct gcm_kind gcm_libcrypto;
/* NULL: it would be no faster here. Only where configure found it. */
const struct gcm_kind *gcm_ipsec_mb(void);

#endif
