/* seal.h - AES-128-GCM for what a link carries
 *
 * Of each connection's keys none was used before and none will be again, also
 * after a reconnect or when vmstep-net was started anew: they come from the
 * step's key and from both hellos, in each of which is a nonce of 32 random
 * bytes. With HKDF-SHA256 (RFC 5869):
 *
 *	prk    = extract(salt = dialler's hello acceptor's hello, step's key)
 *	key iv = expand(prk, "vmstep link keys" 00 role epoch), 16 and 12 bytes
 *
 * Each direction has its own: role 0 is what the dialler sends, 1 what the
 * acceptor sends. Messages are counted in each from 0 on; a message's nonce is
 * the iv with its number, 64 bits, big endian, XORed into the last eight
 * bytes. After SEAL_EPOCH messages (64 GiB of full batches, far below where
 * GCM wears out) the epoch, 32 bits, big endian, is one more, and with it the
 * key another. After the last epoch the link ends. The header of a message is
 * authenticated, its payload encrypted, too; the tag follows.
 *
 * Whoever learns the step's key and has recorded its links can read them.
 *
 * Owns:    keys and cipher contexts, both directions.
 * Thread:  the link's.
 */
#ifndef VMSTEP_SEAL_H
#define VMSTEP_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth.h"
#include "errmsg.h"
#include "link_wire.h"

#define SEAL_EPOCH (1u << 20) /* messages */

struct seal;

/* For the end that dialled, or the one that accepted. 0; -ENOMEM; -EIO where
 * libcrypto has no HKDF or AES-GCM. */
int seal_new(const struct auth *a, bool dialled,
	     const struct wire_hello *dialler,
	     const struct wire_hello *acceptor, struct seal **ret,
	     struct errmsg *err);
void seal_free(struct seal *s); /* NULL is fine; wipes the keys */

/* The next message that we send, header and payload, @len bytes in all: the
 * payload is encrypted where it is, and WIRE_TAG bytes are written behind it.
 * 0 or -EIO: nothing may be sent any more. */
int seal_close(struct seal *s, uint8_t *message, size_t len);
/* The next message that came: @len bytes of payload at @from, the tag behind
 * them, are decrypted to @to, which may be @from. 0; -EBADMSG: someone changed
 * it, or it is another one, and what is at @to is nothing. */
int seal_open(struct seal *s, const uint8_t header[sizeof(struct wire_header)],
	      const uint8_t *from, size_t len, uint8_t *to);

#endif
