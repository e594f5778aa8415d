#include <config.h>

#include "seal.h"

#include <errno.h>
#include <stdlib.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "gcm.h"

#define PRK_LEN 32
#define LABEL	"vmstep link keys"

static_assert(WIRE_TAG == GCM_TAG, "a message has a tag");

struct direction {
	const struct gcm_kind *kind;
	struct gcm *gcm;
	uint8_t role; /* enum auth_role, of who sends */
	uint8_t iv[GCM_NONCE];
	uint64_t number; /* of the next message */
};

struct seal {
	uint8_t prk[PRK_LEN];
	struct direction out, in;
};

struct expand_input {
	char label[17]; /* with its NUL */
	uint8_t role;
	uint8_t epoch[4];
};
static_assert(sizeof(struct expand_input) == 22, "no padding under HKDF");
static_assert(sizeof(LABEL) == 17, "the label is as seal.h says");

struct hellos {
	struct wire_hello dialler, acceptor;
};
static_assert(sizeof(struct hellos) == 2 * sizeof(struct wire_hello),
	      "no padding under HKDF");

/* -- keys ----------------------------------------------------------------- */

static OSSL_PARAM octets(const char *name, const void *data, size_t len)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)data,
						 len);
}

/* @salt or @info, as @mode has it. */
static int hkdf(int mode, const void *key, size_t key_len, const char *name,
		const void *data, size_t len, uint8_t *ret, size_t ret_len)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	char sha[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha, 0),
		octets(OSSL_KDF_PARAM_KEY, key, key_len),
		octets(name, data, len),
		OSSL_PARAM_construct_end(),
	};
	int r = ctx && EVP_KDF_derive(ctx, ret, ret_len, params) > 0 ? 0 : -EIO;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return r;
}

static int next_epoch(const struct seal *s, struct direction *d)
{
	uint64_t epoch = d->number / SEAL_EPOCH;
	struct expand_input info = { .label = LABEL, .role = d->role };
	uint8_t out[GCM_KEY + GCM_NONCE];
	int r;

	if (epoch > UINT32_MAX)
		return -EIO;
	wire_put32(info.epoch, (uint32_t)epoch);
	r = hkdf(EVP_KDF_HKDF_MODE_EXPAND_ONLY, s->prk, sizeof(s->prk),
		 OSSL_KDF_PARAM_INFO, &info, sizeof(info), out, sizeof(out));
	if (r == 0)
		r = d->kind->key(d->gcm, out);
	memcpy(d->iv, out + GCM_KEY, GCM_NONCE);
	OPENSSL_cleanse(out, sizeof(out));
	return r;
}

static int direction_init(struct direction *d, enum auth_role role, bool sends)
{
	d->role = (uint8_t)role;
	d->kind = gcm_kind();
	d->gcm = d->kind->create(sends);
	return d->gcm ? 0 : -ENOMEM;
}

static void direction_free(struct direction *d)
{
	if (d->kind)
		d->kind->destroy(d->gcm);
}

int seal_new(const struct auth *a, bool dialled,
	     const struct wire_hello *dialler,
	     const struct wire_hello *acceptor, struct seal **ret,
	     struct errmsg *err)
{
	const struct hellos salt = { *dialler, *acceptor };
	struct seal *s = calloc(1, sizeof(*s));
	int r = s ? 0 : -ENOMEM;

	if (r == 0)
		r = hkdf(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, a->key, sizeof(a->key),
			 OSSL_KDF_PARAM_SALT, &salt, sizeof(salt), s->prk,
			 sizeof(s->prk));
	if (r == 0)
		r = direction_init(
			&s->out, dialled ? AUTH_DIALLER : AUTH_ACCEPTOR, true);
	if (r == 0)
		r = direction_init(
			&s->in, dialled ? AUTH_ACCEPTOR : AUTH_DIALLER, false);
	if (r == 0)
		r = next_epoch(s, &s->out);
	if (r == 0)
		r = next_epoch(s, &s->in);
	if (r < 0) {
		seal_free(s);
		return errmsg_say(err, r,
				  "libcrypto cannot make keys for AES-GCM");
	}
	*ret = s;
	return 0;
}

void seal_free(struct seal *s)
{
	if (!s)
		return;
	direction_free(&s->out);
	direction_free(&s->in);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

/* -- messages ------------------------------------------------------------- */

/* The nonce of the next message, whose number is used up. */
static int next_nonce(const struct seal *s, struct direction *d,
		      uint8_t nonce[GCM_NONCE])
{
	uint64_t number = htobe64(d->number);

	if (d->number && d->number % SEAL_EPOCH == 0 && next_epoch(s, d) < 0)
		return -EIO;
	d->number++;
	memcpy(nonce, d->iv, GCM_NONCE);
	for (size_t i = 0; i < sizeof(number); i++)
		nonce[GCM_NONCE - sizeof(number) + i] ^=
			((uint8_t *)&number)[i];
	return 0;
}

int seal_close(struct seal *s, uint8_t *message, size_t len)
{
	uint8_t *payload = message + sizeof(struct wire_header);
	uint8_t nonce[GCM_NONCE];
	const struct gcm_text text = {
		.nonce = nonce,
		.clear = message,
		.clear_len = sizeof(struct wire_header),
		.from = payload,
		.to = payload,
		.len = len - sizeof(struct wire_header),
	};

	if (next_nonce(s, &s->out, nonce) < 0)
		return -EIO;
	return s->out.kind->encrypt(s->out.gcm, &text, message + len);
}

int seal_open(struct seal *s, const uint8_t header[sizeof(struct wire_header)],
	      const uint8_t *from, size_t len, uint8_t *to)
{
	uint8_t nonce[GCM_NONCE];
	const struct gcm_text text = {
		.nonce = nonce,
		.clear = header,
		.clear_len = sizeof(struct wire_header),
		.from = from,
		.to = to,
		.len = len,
	};

	if (next_nonce(s, &s->in, nonce) < 0)
		return -EBADMSG;
	return s->in.kind->decrypt(s->in.gcm, &text, from + len);
}
