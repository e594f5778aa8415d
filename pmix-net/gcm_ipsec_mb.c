/* AES-GCM by libIPSec_MB. Its functions for this CPU need nothing of the
 * manager that says which they are. */
#include <config.h>

#include "gcm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#define WANTED \
	(IMB_FEATURE_AVX512_SKX | IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ)

struct gcm {
	_Alignas(64) struct gcm_key_data key; /* as its header has it */
};

static struct {
	aes_gcm_pre_t key;
	aes_gcm_enc_dec_t encrypt, decrypt;
} functions;

static struct gcm *create(bool encrypts)
{
	struct gcm *g = aligned_alloc(_Alignof(struct gcm), sizeof(*g));

	if (g)
		memset(g, 0, sizeof(*g));
	return g;
}

static void destroy(struct gcm *g)
{
	if (g)
		OPENSSL_cleanse(g, sizeof(*g));
	free(g);
}

static int set_key(struct gcm *g, const uint8_t *key)
{
	functions.key(key, &g->key);
	return 0;
}

static void run(aes_gcm_enc_dec_t fn, const struct gcm *g,
		const struct gcm_text *t, uint8_t *tag)
{
	struct gcm_context_data state;

	fn(&g->key, &state, t->to, t->from, t->len, t->nonce, t->clear,
	   t->clear_len, tag, GCM_TAG);
}

static int encrypt(struct gcm *g, const struct gcm_text *t, uint8_t *tag)
{
	run(functions.encrypt, g, t, tag);
	return 0;
}

static int decrypt(struct gcm *g, const struct gcm_text *t, const uint8_t *tag)
{
	uint8_t found[GCM_TAG];

	run(functions.decrypt, g, t, found);
	return CRYPTO_memcmp(found, tag, GCM_TAG) ? -EBADMSG : 0;
}

static const struct gcm_kind kind = {
	.name = "libIPSec_MB",
	.create = create,
	.destroy = destroy,
	.key = set_key,
	.encrypt = encrypt,
	.decrypt = decrypt,
};

static void find_functions(void)
{
	IMB_MGR *m = alloc_mb_mgr(0);

	if (!m)
		return;
	init_mb_mgr_auto(m, NULL);
	if ((m->features & WANTED) == WANTED) {
		functions.key = m->gcm128_pre;
		functions.encrypt = m->gcm128_enc;
		functions.decrypt = m->gcm128_dec;
	}
	free_mb_mgr(m);
}

const struct gcm_kind *gcm_ipsec_mb(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_functions);
	return functions.key ? &kind : NULL;
}
