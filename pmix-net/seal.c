#include <config.h>

#include "seal.h"

#include <errno.h>
#include <stdlib.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#define KEY_LEN 16
#define IV_LEN	12
#define PRK_LEN 32
#define LABEL	"vmstep link keys"

struct direction {
	EVP_CIPHER_CTX *cipher;
	uint8_t role; /* enum auth_role, of who sends */
	bool sends;
	uint8_t iv[IV_LEN];
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
	uint8_t out[KEY_LEN + IV_LEN];
	int r;

	if (epoch > UINT32_MAX)
		return -EIO;
	wire_put32(info.epoch, (uint32_t)epoch);
	r = hkdf(EVP_KDF_HKDF_MODE_EXPAND_ONLY, s->prk, sizeof(s->prk),
		 OSSL_KDF_PARAM_INFO, &info, sizeof(info), out, sizeof(out));
	if (r == 0 && !EVP_CipherInit_ex(d->cipher, EVP_aes_128_gcm(), NULL,
					 out, NULL, d->sends))
		r = -EIO;
	memcpy(d->iv, out + KEY_LEN, IV_LEN);
	OPENSSL_cleanse(out, sizeof(out));
	return r;
}

static int direction_init(struct direction *d, enum auth_role role, bool sends)
{
	d->role = (uint8_t)role;
	d->sends = sends;
	d->cipher = EVP_CIPHER_CTX_new();
	return d->cipher ? 0 : -ENOMEM;
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
	EVP_CIPHER_CTX_free(s->out.cipher);
	EVP_CIPHER_CTX_free(s->in.cipher);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

/* -- messages ------------------------------------------------------------- */

/* The nonce of the next message, whose number is used up. */
static int begin_message(struct seal *s, struct direction *d,
			 const uint8_t *header)
{
	uint64_t number = htobe64(d->number);
	uint8_t nonce[IV_LEN];
	int n;

	if (d->number && d->number % SEAL_EPOCH == 0 && next_epoch(s, d) < 0)
		return -EIO;
	d->number++;
	memcpy(nonce, d->iv, IV_LEN);
	for (size_t i = 0; i < sizeof(number); i++)
		nonce[IV_LEN - sizeof(number) + i] ^= ((uint8_t *)&number)[i];
	if (!EVP_CipherInit_ex(d->cipher, NULL, NULL, NULL, nonce, d->sends) ||
	    !EVP_CipherUpdate(d->cipher, NULL, &n, header,
			      sizeof(struct wire_header)))
		return -EIO;
	return 0;
}

int seal_close(struct seal *s, uint8_t *message, size_t len)
{
	uint8_t *payload = message + sizeof(struct wire_header);
	EVP_CIPHER_CTX *c = s->out.cipher;
	uint8_t none[WIRE_TAG];
	int n = (int)(len - sizeof(struct wire_header));

	if (begin_message(s, &s->out, message) < 0 ||
	    (n && !EVP_CipherUpdate(c, payload, &n, payload, n)) ||
	    !EVP_CipherFinal_ex(c, none, &n) ||
	    !EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, WIRE_TAG,
				 message + len))
		return -EIO;
	return 0;
}

int seal_open(struct seal *s, const uint8_t header[sizeof(struct wire_header)],
	      const uint8_t *from, size_t len, uint8_t *to)
{
	EVP_CIPHER_CTX *c = s->in.cipher;
	uint8_t tag[WIRE_TAG], none[WIRE_TAG];
	int n = (int)len;

	memcpy(tag, from + len, sizeof(tag));
	if (begin_message(s, &s->in, header) < 0 ||
	    (n && !EVP_CipherUpdate(c, to, &n, from, n)) ||
	    !EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, WIRE_TAG, tag) ||
	    EVP_CipherFinal_ex(c, none, &n) <= 0)
		return -EBADMSG;
	return 0;
}
