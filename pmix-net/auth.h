/* auth.h - the proof that both ends of a link hold the step's key
 *
 *   dialler                          acceptor
 *      | hello(nonce, node, limits)     |
 *      |------------------------------->|
 *      |     hello(nonce, node, limits) |
 *      |<-------------------------------|
 *      | proof                          |   HMAC-SHA256(key, label, role,
 *      |------------------------------->|     dialler's hello, acceptor's)
 *      |                          proof |
 *      |<-------------------------------|
 *
 * The acceptor says nothing before it saw a well-formed hello, and proves
 * nothing before it checked the dialler's proof. Pure functions: the kinds of
 * link carry the bytes.
 */
#ifndef VMSTEP_AUTH_H
#define VMSTEP_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "link_wire.h"

#define AUTH_KEY_LEN 32
#define AUTH_ANY     UINT32_MAX

enum auth_role { AUTH_DIALLER, AUTH_ACCEPTOR };

struct auth {
	uint8_t key[AUTH_KEY_LEN];
	uint32_t node, nnodes;
	char name[WIRE_NAME];
	uint32_t flags; /* WIRE_SEALED: what our links are like */
};

/* Our hello, with a fresh nonce. Returns 0 or -errno. */
int auth_hello(const struct auth *a, struct wire_hello *ret,
	       struct errmsg *err);

/* Is @h one that we can talk to? @node is whom we expect, or AUTH_ANY. This
 * believes nothing yet. -EPROTO with words where not. */
int auth_check_hello(const struct auth *a, const struct wire_hello *h,
		     uint32_t node, struct errmsg *err);

/* What @role has to send, given both hellos as they were on the wire. */
int auth_proof(const struct auth *a, enum auth_role role,
	       const struct wire_hello *dialler,
	       const struct wire_hello *acceptor, uint8_t ret[WIRE_PROOF],
	       struct errmsg *err);

/* In constant time. */
bool auth_same(const uint8_t x[WIRE_PROOF], const uint8_t y[WIRE_PROOF]);

void auth_forget(struct auth *a); /* wipes the key */

#endif
