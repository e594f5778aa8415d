/* netstats.h - what vmstep-net has counted, as one piece of memory
 *
 * vmstep-net writes it (pmix-net/stats.c), helpers read it (netjson.h), and
 * vmstep-net of other nodes send it on. A sequence of records, each a header
 * and a struct of 64-bit words; a record may be followed by others that belong
 * to it:
 *
 *	NODE                  once, first
 *	PORT  RING ...        each guest's port, and its rings
 *	LINK                  each node that was talked to
 *	PEERS PEER ...        of one port, where they were asked for
 *
 * A report of the whole step (pmix-net/tally.h) has several nodes, and peers
 * of each port.
 *
 * Within a node it is in the host's byte order, on a link big endian.
 */
#ifndef VMSTEP_NETSTATS_H
#define VMSTEP_NETSTATS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "counters.h"

/* Batches by powers of two: bucket i counts those of 2^i to 2^(i+1) - 1, the
 * last one all that are larger. */
#define BATCHES_FRAMES 13
#define BATCHES_BYTES  21

struct batches {
	uint64_t frames[BATCHES_FRAMES];
	uint64_t bytes[BATCHES_BYTES];
};

enum netstats_type {
	NETSTATS_NODE = 1,
	NETSTATS_PORT,
	NETSTATS_RING,
	NETSTATS_LINK,
	NETSTATS_PEERS,
	NETSTATS_PEER,
	NETSTATS_TYPES
};

#define NETSTATS_NAME 64 /* bytes, with the NUL */

struct netstats_name {
	uint64_t words[NETSTATS_NAME / 8]; /* netstats_name_set(), _get() */
};

struct netstats_node {
	struct netstats_name name;
	uint64_t node, nnodes; /* 0 of 1 before the others are known */
	uint64_t nranks;       /* of the step */
	uint64_t up_ms;	       /* since this vmstep-net started */
	uint64_t counts[COUNT_N];
};

struct netstats_port {
	uint64_t rank;
	uint64_t kind;	      /* enum netctl_port */
	uint64_t waits;	      /* its sender waits for a receiver now: 0, 1 */
	uint64_t queue_bytes; /* of frames for the guest */
	uint64_t peak_frames; /* most that the guest sent within a second */
	uint64_t peak_bytes;
	uint64_t counts[COUNT_N];
	struct batches in, out;
};

struct netstats_ring {
	uint64_t index;	    /* receive ring 2i, transmit ring 2i + 1 */
	uint64_t size;	    /* entries */
	uint64_t available; /* of these, those the guest has put there for us */
	uint64_t event_idx; /* negotiated: 0, 1 */
	uint64_t event;	    /* where the guest wants to be interrupted */
	uint64_t position;  /* how far we are: the used index */
	uint64_t kicks, calls;
};

struct netstats_link {
	struct netstats_name name; /* empty: never met */
	uint64_t node;
	uint64_t state; /* enum netstats_link_state */
	uint64_t queue_bytes;
	uint64_t counts[COUNT_N];
	struct batches in, out;
};

enum netstats_link_state {
	NETSTATS_LINK_IDLE,
	NETSTATS_LINK_OPENING,
	NETSTATS_LINK_UP,
	NETSTATS_LINK_AWAY,
	NETSTATS_LINK_GONE,
	NETSTATS_LINK_STATES
};

struct netstats_sum {
	uint64_t frames, bytes;
};

struct netstats_peers {
	uint64_t rank;
	struct netstats_sum to_all; /* broadcast and multicast */
	struct netstats_sum others; /* beyond the table, or no rank */
};

struct netstats_peer {
	uint64_t rank;
	struct netstats_sum sum;
};

/* -- writing --------------------------------------------------------------- */

struct netstats {
	uint64_t *words; /* owned */
	size_t n, room;
	bool failed; /* out of memory: what follows is left out */
};

/* @record is of the type's struct. */
void netstats_add(struct netstats *s, enum netstats_type type,
		  const void *record);
/* All of @more's. */
void netstats_append(struct netstats *s, const struct netstats *more);
void netstats_done(struct netstats *s);

void netstats_name_set(struct netstats_name *name, const char *text);
void netstats_name_get(const struct netstats_name *name,
		       char text[NETSTATS_NAME]);

/* Host order to big endian, and back: the same. */
void netstats_swap(uint64_t *words, size_t n);

/* -- reading --------------------------------------------------------------- */

#define NETSTATS_BYTES_MAX (64 * 1024 * 1024)

/* All of the memfd @fd (borrowed), to be freed. -EPROTO: it cannot be ours;
 * -ENOMEM; -errno. */
int netstats_read(int fd, uint64_t **ret_words, size_t *ret_n);

struct netstats_reader {
	const uint64_t *words; /* borrowed */
	size_t n, at;
};

/* The next record's type, *ret its struct, within @r->words; 0 at the end;
 * -EPROTO: this is none of ours. */
int netstats_next(struct netstats_reader *r, const void **ret);
/* The type of the next record, which stays; 0, -EPROTO as above. */
int netstats_peek(const struct netstats_reader *r);

#endif
