#include <config.h>

#include "auth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#define LABEL "vmstep link v1" /* 14 bytes: no other use of the key says so */

struct proof_input {
	char label[15];
	uint8_t role;
	struct wire_hello dialler, acceptor;
};
static_assert(sizeof(struct proof_input) == 16 + 2 * sizeof(struct wire_hello),
	      "no padding under the HMAC");

int auth_hello(const struct auth *a, struct wire_hello *ret, struct errmsg *err)
{
	struct wire_hello h = {
		.version = htobe32(WIRE_VERSION),
		.node = htobe32(a->node),
		.nnodes = htobe32(a->nnodes),
		.payload_max = htobe32(WIRE_PAYLOAD_MAX),
		.flags = htobe32(a->flags),
	};

	memcpy(h.magic, WIRE_MAGIC, sizeof(h.magic));
	snprintf(h.name, sizeof(h.name), "%s", a->name);
	if (getrandom(h.nonce, sizeof(h.nonce), 0) != sizeof(h.nonce))
		return errmsg_set(err, -EIO, "random bytes for a link");
	*ret = h;
	return 0;
}

static int check_flags(const struct auth *a, uint32_t said, struct errmsg *err)
{
	uint32_t differ = said ^ a->flags;

	if (differ & WIRE_SEALED)
		return errmsg_say(
			err, -EPROTO,
			"%s its links and this node %s: net_encrypt in vmstep.conf must be the same on all nodes",
			said & WIRE_SEALED ? "encrypts" : "does not encrypt",
			a->flags & WIRE_SEALED ? "does" : "does not");
	if (differ & WIRE_UCX)
		return errmsg_say(
			err, -EPROTO,
			"has links over %s and this node over %s: net_link in vmstep.conf must be the same on all nodes",
			said & WIRE_UCX ? "ucx" : "tcp",
			a->flags & WIRE_UCX ? "ucx" : "tcp");
	if (differ)
		return errmsg_say(err, -EPROTO,
				  "wants links of kind %#" PRIx32
				  ", ours are %#" PRIx32,
				  said, a->flags);
	return 0;
}

int auth_check_hello(const struct auth *a, const struct wire_hello *h,
		     uint32_t node, struct errmsg *err)
{
	uint32_t said = be32toh(h->node);

	if (memcmp(h->magic, WIRE_MAGIC, sizeof(h->magic)) != 0)
		return errmsg_say(err, -EPROTO,
				  "does not speak vmstep's link protocol");
	if (be32toh(h->version) != WIRE_VERSION)
		return errmsg_say(
			err, -EPROTO,
			"speaks version %" PRIu32
			" of the link protocol, we speak %d: install the same vmstep on all nodes",
			be32toh(h->version), WIRE_VERSION);
	if (be32toh(h->nnodes) != a->nnodes || said >= a->nnodes ||
	    said == a->node || (node != AUTH_ANY && said != node))
		return errmsg_say(err, -EPROTO,
				  "calls itself node %" PRIu32 " of %" PRIu32,
				  said, be32toh(h->nnodes));
	if (be32toh(h->payload_max) < WIRE_PAYLOAD_MAX)
		return errmsg_say(err, -EPROTO,
				  "takes messages up to %" PRIu32 " bytes only",
				  be32toh(h->payload_max));
	return check_flags(a, be32toh(h->flags), err);
}

int auth_proof(const struct auth *a, enum auth_role role,
	       const struct wire_hello *dialler,
	       const struct wire_hello *acceptor, uint8_t ret[WIRE_PROOF],
	       struct errmsg *err)
{
	struct proof_input in = {
		.label = LABEL,
		.role = (uint8_t)role,
		.dialler = *dialler,
		.acceptor = *acceptor,
	};
	size_t len = 0;

	if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, a->key,
		       sizeof(a->key), (const unsigned char *)&in, sizeof(in),
		       ret, WIRE_PROOF, &len) ||
	    len != WIRE_PROOF)
		return errmsg_say(err, -EIO,
				  "libcrypto cannot compute HMAC-SHA256");
	return 0;
}

bool auth_same(const uint8_t x[WIRE_PROOF], const uint8_t y[WIRE_PROOF])
{
	return CRYPTO_memcmp(x, y, WIRE_PROOF) == 0;
}

void auth_forget(struct auth *a)
{
	OPENSSL_cleanse(a->key, sizeof(a->key));
}
