#include <config.h>

#include "sshkey.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>

#define SEED_LEN 32
#define PUB_LEN	 32
#define TYPE	 "ssh-ed25519"

static int hkdf(const uint8_t *key, size_t size, const char *purpose,
		uint8_t out[SEED_LEN])
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						 (char[]){ "SHA256" }, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
						  (void *)(uintptr_t)key, size),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
						  (void *)(uintptr_t)purpose,
						  strlen(purpose)),
		OSSL_PARAM_construct_end(),
	};
	int ok = ctx && EVP_KDF_derive(ctx, out, SEED_LEN, params) > 0;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok ? 0 : -EIO;
}

static int public_half(const uint8_t seed[SEED_LEN], uint8_t pub[PUB_LEN])
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
						      seed, SEED_LEN);
	size_t len = PUB_LEN;
	int ok = pkey && EVP_PKEY_get_raw_public_key(pkey, pub, &len) > 0;

	EVP_PKEY_free(pkey);
	return ok && len == PUB_LEN ? 0 : -EIO;
}

/* -- OpenSSH's formats (PROTOCOL.key of OpenSSH; RFC 4251 strings) --------- */

struct blob {
	uint8_t bytes[512];
	size_t len;
};

static void put(struct blob *b, const void *bytes, size_t len)
{
	assert(len <= sizeof(b->bytes) - b->len); /* sizes are fixed */
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

static void put_u32(struct blob *b, uint32_t v)
{
	v = htonl(v);
	put(b, &v, sizeof(v));
}

static void put_string(struct blob *b, const void *bytes, size_t len)
{
	put_u32(b, (uint32_t)len);
	put(b, bytes, len);
}

static void put_text(struct blob *b, const char *text)
{
	put_string(b, text, strlen(text));
}

static void public_blob(const uint8_t pub[PUB_LEN], struct blob *b)
{
	put_text(b, TYPE);
	put_string(b, pub, PUB_LEN);
}

static void private_blob(const uint8_t seed[SEED_LEN],
			 const uint8_t pub[PUB_LEN], struct blob *b)
{
	struct blob public = { .len = 0 }, secret = { .len = 0 };
	uint8_t both[SEED_LEN + PUB_LEN];
	uint32_t check;

	memcpy(both, seed, SEED_LEN);
	memcpy(both + SEED_LEN, pub, PUB_LEN);
	memcpy(&check, pub, sizeof(check)); /* any number, written twice */
	put_u32(&secret, check);
	put_u32(&secret, check);
	put_text(&secret, TYPE);
	put_string(&secret, pub, PUB_LEN);
	put_string(&secret, both, sizeof(both));
	put_text(&secret, "vmstep");
	for (uint8_t i = 1; secret.len % 8; i++)
		put(&secret, &i, 1);

	public_blob(pub, &public);
	put(b, "openssh-key-v1", 15); /* its NUL included */
	put_text(b, "none");	      /* cipher */
	put_text(b, "none");	      /* key derivation */
	put_text(b, "");
	put_u32(b, 1); /* one key */
	put_string(b, public.bytes, public.len);
	put_string(b, secret.bytes, secret.len);
	explicit_bzero(&secret, sizeof(secret));
	explicit_bzero(both, sizeof(both));
}

static void write_texts(const struct blob *public, const struct blob *private,
			struct sshkey *ret)
{
	char b64[sizeof(private->bytes) / 3 * 4 + 8];
	int n = EVP_EncodeBlock((unsigned char *)b64, public->bytes,
				(int)public->len);
	size_t at;

	assert(n > 0);
	snprintf(ret->pub, sizeof(ret->pub), TYPE " %.100s", b64);
	n = EVP_EncodeBlock((unsigned char *)b64, private->bytes,
			    (int)private->len);
	at = (size_t)snprintf(ret->priv, sizeof(ret->priv),
			      "-----BEGIN OPENSSH PRIVATE KEY-----\n");
	for (int i = 0; i < n; i += 70)
		at += (size_t)snprintf(ret->priv + at, sizeof(ret->priv) - at,
				       "%.70s\n", b64 + i);
	snprintf(ret->priv + at, sizeof(ret->priv) - at,
		 "-----END OPENSSH PRIVATE KEY-----\n");
	explicit_bzero(b64, sizeof(b64));
}

int sshkey_derive(const uint8_t *key, size_t size, const char *purpose,
		  struct sshkey *ret, struct errmsg *err)
{
	struct blob public = { .len = 0 }, private = { .len = 0 };
	uint8_t seed[SEED_LEN], pub[PUB_LEN];
	int r = hkdf(key, size, purpose, seed);

	if (r == 0)
		r = public_half(seed, pub);
	if (r < 0)
		return errmsg_say(err, r, "libcrypto makes no %s key", purpose);
	public_blob(pub, &public);
	private_blob(seed, pub, &private);
	write_texts(&public, &private, ret);
	explicit_bzero(seed, sizeof(seed));
	explicit_bzero(&private, sizeof(private));
	return 0;
}
