#include <config.h>

#include "learn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Open addressing in short rows: an address may be in any of the WAYS places
 * of its row, so a look-up reads a few cache lines and nothing is ever moved.
 * The row is chosen by a seeded hash: a guest cannot aim at one.
 *
 * Shares are counted in buckets of owners. An owner whose bucket is full may
 * have old addresses in it still; they are swept at most once a second, so a
 * guest that invents an address a frame costs a look at one row a frame.
 */

#define WAYS	 8
#define ROWS	 (LEARN_MAX / WAYS)
#define BUCKETS	 1024
#define SWEEP_MS 1000

struct entry {
	int64_t seen_ms;
	struct learn_owner owner;
	uint8_t mac[ADDR_MAC_LEN];
	bool used;
};

struct learn {
	uint64_t seed;
	int64_t swept_ms;
	uint16_t shares[BUCKETS]; /* used entries of the bucket's owners */
	struct entry rows[ROWS][WAYS];
};

struct learn *learn_new(void)
{
	struct learn *l = calloc(1, sizeof(*l));

	if (l && getrandom(&l->seed, sizeof(l->seed), 0) != sizeof(l->seed)) {
		free(l);
		return NULL;
	}
	return l;
}

void learn_free(struct learn *l)
{
	free(l);
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15u;
	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9u;
	return x ^ x >> 32;
}

static size_t row_of(const struct learn *l, const uint8_t mac[ADDR_MAC_LEN])
{
	uint64_t x = 0;

	memcpy(&x, mac, ADDR_MAC_LEN);
	return mix(x ^ l->seed) % ROWS;
}

static uint16_t *share_of(struct learn *l, struct learn_owner owner)
{
	uint64_t x = (uint64_t)owner.is_node << 32 | owner.id;

	return &l->shares[mix(x) % BUCKETS];
}

static bool alive(const struct entry *e, int64_t now_ms)
{
	return e->used && now_ms - e->seen_ms < LEARN_AGE_MS;
}

static void forget(struct learn *l, struct entry *e)
{
	if (e->used)
		(*share_of(l, e->owner))--;
	e->used = false;
}

static void sweep(struct learn *l, int64_t now_ms)
{
	struct entry *e = &l->rows[0][0];

	if (now_ms - l->swept_ms < SWEEP_MS)
		return;
	l->swept_ms = now_ms;
	for (size_t i = 0; i < LEARN_MAX; i++)
		if (!alive(&e[i], now_ms))
			forget(l, &e[i]);
}

/* Its entry, or else one that may be taken for it; NULL: the row is full. */
static struct entry *place(struct learn *l, const uint8_t mac[ADDR_MAC_LEN],
			   int64_t now_ms)
{
	struct entry *row = l->rows[row_of(l, mac)], *vacant = NULL;

	for (size_t i = 0; i < WAYS; i++) {
		if (row[i].used && memcmp(row[i].mac, mac, ADDR_MAC_LEN) == 0)
			return &row[i];
		if (!alive(&row[i], now_ms))
			vacant = &row[i];
	}
	return vacant;
}

void learn_saw(struct learn *l, const uint8_t mac[ADDR_MAC_LEN],
	       struct learn_owner owner, int64_t now_ms)
{
	struct entry *e = place(l, mac, now_ms);

	if (!e)
		return;
	if (e->used && memcmp(e->mac, mac, ADDR_MAC_LEN) == 0 &&
	    e->owner.is_node == owner.is_node && e->owner.id == owner.id) {
		e->seen_ms = now_ms;
		return;
	}
	if (*share_of(l, owner) >= LEARN_PER_OWNER)
		sweep(l, now_ms);
	if (*share_of(l, owner) >= LEARN_PER_OWNER)
		return;
	forget(l, e);
	*e = (struct entry){ .seen_ms = now_ms, .owner = owner, .used = true };
	memcpy(e->mac, mac, ADDR_MAC_LEN);
	(*share_of(l, owner))++;
}

bool learn_find(const struct learn *l, const uint8_t mac[ADDR_MAC_LEN],
		int64_t now_ms, struct learn_owner *ret)
{
	const struct entry *row = l->rows[row_of(l, mac)];

	for (size_t i = 0; i < WAYS; i++)
		if (alive(&row[i], now_ms) &&
		    memcmp(row[i].mac, mac, ADDR_MAC_LEN) == 0) {
			*ret = row[i].owner;
			return true;
		}
	return false;
}
