/* counters.h - what happened to the frames, by reason
 *
 * vmstep-net counts (pmix-net/); names are for whoever shows it.
 * One set for each port and each link to a node, and one for the program. A
 * dropped frame is counted where it came from, except "full", "down" and
 * "too_big", which are counted where it should have gone.
 */
#ifndef VMSTEP_COUNTERS_H
#define VMSTEP_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum counter {
	COUNT_IN_FRAMES, /* taken from the guest, or from the node */
	COUNT_IN_BYTES,
	COUNT_OUT_FRAMES, /* given to it */
	COUNT_OUT_BYTES,
	COUNT_WAITED,	   /* its frame waited for a full receiver */
	COUNT_ANSWERED,	   /* a question, answered at the port */
	COUNT_SWALLOWED,   /* it concerns nobody */
	COUNT_RUNT,	   /* dropped: shorter than an Ethernet header */
	COUNT_OVERSIZE,	   /* longer than the network's MTU allows */
	COUNT_SPOOFED,	   /* it claims another one's address or office */
	COUNT_SELF,	   /* for the sender itself */
	COUNT_UNKNOWN,	   /* nobody has that address */
	COUNT_NO_MEMBERS,  /* for a multicast group that nobody has joined */
	COUNT_NO_PORT,	   /* a task of this node without a port */
	COUNT_NO_TABLE,	   /* the other nodes are not known yet */
	COUNT_NODE_GONE,   /* its node has left, or cannot be reached */
	COUNT_FULL,	   /* did not fit, and waiting did not help */
	COUNT_DOWN,	   /* its guest has no network up, or its link broke */
	COUNT_TOO_BIG,	   /* longer than what its guest has buffers for */
	COUNT_BAD_OFFLOAD, /* asks for what it cannot have */
	COUNT_MEMORY_GONE, /* ports ended: guest memory went away under us */
	COUNT_UNCAPTURED,  /* the capture had no room for it */
	COUNT_STRANGER,	   /* connections that did not prove the key */
	COUNT_BAD_LINK,	   /* links ended by a bad message */
	COUNT_BAD_TAG,	   /* links ended by one that was changed on its way */
	COUNT_N
};

struct counters {
	uint64_t n[COUNT_N];
};

static inline void count(struct counters *c, enum counter what)
{
	c->n[what]++;
}

/* "in_frames", "full", ... */
const char *counter_name(enum counter what);
/* Does it count frames that were dropped? */
bool counter_is_drop(enum counter what);

/* "in_frames=12 in_bytes=3400 spoofed=1": those that are not 0, cut where
 * @size ends; "nothing" when all are. Returns @text. */
char *counters_text(const struct counters *c, char *text, size_t size);

#endif
