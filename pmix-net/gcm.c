#include <config.h>

#include "gcm.h"

#include <errno.h>
#include <stdlib.h>
#include <openssl/evp.h>

struct gcm {
	EVP_CIPHER_CTX *cipher;
	bool encrypts;
};

static struct gcm *create(bool encrypts)
{
	struct gcm *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->encrypts = encrypts;
	g->cipher = EVP_CIPHER_CTX_new();
	if (!g->cipher) {
		free(g);
		return NULL;
	}
	return g;
}

static void destroy(struct gcm *g)
{
	if (!g)
		return;
	EVP_CIPHER_CTX_free(g->cipher); /* wipes it */
	free(g);
}

static int set_key(struct gcm *g, const uint8_t *key)
{
	return EVP_CipherInit_ex(g->cipher, EVP_aes_128_gcm(), NULL, key, NULL,
				 g->encrypts)
		       ? 0
		       : -EIO;
}

static bool run(struct gcm *g, const struct gcm_text *t)
{
	int n;

	return EVP_CipherInit_ex(g->cipher, NULL, NULL, NULL, t->nonce,
				 g->encrypts) &&
	       EVP_CipherUpdate(g->cipher, NULL, &n, t->clear,
				(int)t->clear_len) &&
	       (!t->len ||
		EVP_CipherUpdate(g->cipher, t->to, &n, t->from, (int)t->len));
}

static int encrypt(struct gcm *g, const struct gcm_text *t, uint8_t *tag)
{
	uint8_t none[GCM_TAG];
	int n;

	if (!run(g, t) || !EVP_CipherFinal_ex(g->cipher, none, &n) ||
	    !EVP_CIPHER_CTX_ctrl(g->cipher, EVP_CTRL_AEAD_GET_TAG, GCM_TAG,
				 tag))
		return -EIO;
	return 0;
}

static int decrypt(struct gcm *g, const struct gcm_text *t, const uint8_t *tag)
{
	uint8_t none[GCM_TAG];
	int n;

	if (!run(g, t) ||
	    !EVP_CIPHER_CTX_ctrl(g->cipher, EVP_CTRL_AEAD_SET_TAG, GCM_TAG,
				 (void *)(uintptr_t)tag) ||
	    EVP_CipherFinal_ex(g->cipher, none, &n) <= 0)
		return -EBADMSG;
	return 0;
}

const struct gcm_kind gcm_libcrypto = {
	.name = "libcrypto",
	.create = create,
	.destroy = destroy,
	.key = set_key,
	.encrypt = encrypt,
	.decrypt = decrypt,
};

const struct gcm_kind *gcm_kind(void)
{
	const struct gcm_kind *k = NULL;

#ifdef HAVE_IPSEC_MB
	k = gcm_ipsec_mb();
#endif
	return k ? k : &gcm_libcrypto;
}
