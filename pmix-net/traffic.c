#include <config.h>

#include "traffic.h"

#include <errno.h>
#include <stdlib.h>

#define ROOM_LEAST 8

static_assert(TRAFFIC_BYTES_MAX <= 192 * 1024,
	      "a port is to stay under 256 KiB");

/* The slot of @rank, or the vacant one where it would be. */
static struct traffic_slot *probe(const struct traffic *t, uint32_t rank)
{
	uint32_t i = rank * 2654435761u; /* Knuth: 2^32 by the golden ratio */

	for (i >>= 7;; i++) {
		struct traffic_slot *s = &t->slots[i & (t->room - 1)];

		if (s->rank == rank || s->rank == TRAFFIC_NOBODY)
			return s;
	}
}

static int grow(struct traffic *t)
{
	uint32_t room = t->room ? 2 * t->room : ROOM_LEAST;
	struct traffic old = *t;

	if (room > TRAFFIC_SLOTS_MAX)
		return -ENOSPC;
	t->slots = calloc(room, sizeof(*t->slots));
	if (!t->slots) {
		t->slots = old.slots;
		return -ENOMEM;
	}
	t->room = room;
	t->last = NULL;
	for (uint32_t i = 0; i < room; i++)
		t->slots[i].rank = TRAFFIC_NOBODY;
	for (uint32_t i = 0; i < old.room; i++)
		if (old.slots[i].rank != TRAFFIC_NOBODY)
			*probe(t, old.slots[i].rank) = old.slots[i];
	free(old.slots);
	return 0;
}

struct netstats_sum *traffic_find(struct traffic *t, uint32_t rank)
{
	struct traffic_slot *s = t->room ? probe(t, rank) : NULL;

	if (rank == TRAFFIC_NOBODY)
		return &t->others;
	if (!s || s->rank != rank) {
		if (t->n == t->room / 4 * 3 && grow(t) < 0)
			return &t->others;
		s = probe(t, rank);
		s->rank = rank;
		t->n++;
	}
	t->last = s;
	return &s->sum;
}

void traffic_done(struct traffic *t)
{
	free(t->slots);
	*t = (struct traffic){ 0 };
}
