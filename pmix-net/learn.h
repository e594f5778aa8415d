/* learn.h - where MAC addresses are that do not follow from a rank
 *
 * Guests that bridge or nest have such addresses. They are learnt from the
 * frames they send, forgotten LEARN_AGE_MS after the last one, and bounded: one
 * owner cannot push out what others' frames taught.
 */
#ifndef VMSTEP_LEARN_H
#define VMSTEP_LEARN_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

#define LEARN_MAX	4096 /* addresses; 24 bytes each */
#define LEARN_PER_OWNER 256
#define LEARN_AGE_MS	300000

struct learn;

/* A port or a node: which of the two is the caller's to say. */
struct learn_owner {
	bool is_node;
	uint32_t id; /* rank or node */
};

struct learn *learn_new(void); /* NULL without memory */
void learn_free(struct learn *l);

/* A frame from @mac came from @owner. Moves an address that was elsewhere;
 * does nothing when the table or the owner's share of it is full. */
void learn_saw(struct learn *l, const uint8_t mac[ADDR_MAC_LEN],
	       struct learn_owner owner, int64_t now_ms);
bool learn_find(const struct learn *l, const uint8_t mac[ADDR_MAC_LEN],
		int64_t now_ms, struct learn_owner *ret);

#endif
