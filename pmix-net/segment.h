/* segment.h - what a card does before it sends, in software
 *
 * Of a frame with work left to do, the frames that result: a packet cut into
 * segments, each with headers and checksums of its own, or the one frame with
 * its checksum filled in.
 *
 * Each byte of the payload is fetched once, and the checksum is that of what
 * was fetched: a guest that writes to it meanwhile gets its own bytes wrong,
 * and nothing else.
 *
 * Borrows: the packet's head and pieces, as long as it is used.
 */
#ifndef VMSTEP_SEGMENT_H
#define VMSTEP_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "link_wire.h"
#include "packet.h"

#define SEGMENT_MAX WIRE_FRAME_MAX

struct segment {
	struct packet packet; /* rest, n_rest: what has not been read; */
	size_t at;	      /* from here on, */
	size_t left;	      /* this many bytes */
	size_t step;	      /* of payload in each but the last */
	size_t ip;	      /* where the IP header is */
	uint16_t type;	      /* its EtherType */
	uint32_t index;	      /* of the next segment */
};

/* @p has passed offload_check() and is SEGMENT_MAX bytes long at most; it may
 * have nothing left to do, too. */
void segment_init(struct segment *s, const struct packet *p);

/* The next frame, @frame has room for SEGMENT_MAX bytes; returns its length,
 * 0 at the end. */
size_t segment_next(struct segment *s, uint8_t *frame);

/* Leave out @n frames, or all there are, at little cost: for a frame that is
 * taken up again. */
void segment_skip(struct segment *s, size_t n);

#endif
