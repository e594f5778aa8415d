/* frames.h - what the load generators send, and what they do with it */
#ifndef VMSTEP_BENCH_FRAMES_H
#define VMSTEP_BENCH_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "guest.h"

#define TSO_BYTES (14 + 20 + 20 + 45 * 1448) /* 45 segments, under 64 KiB */

/* Frames of one length from one rank to another. */
struct load {
	uint32_t from, to;
	size_t len;    /* TSO_BYTES: a TCP segment for the card to cut */
	uint64_t sent; /* so far */
};
size_t load_fill(uint8_t *at, size_t max, unsigned int pair,
		 struct virtio_net_hdr_v1 *hdr, void *load);

/* What was received of it. */
struct sink {
	uint64_t frames, bytes, digest;
};
void sink_take(const struct iovec *piece, unsigned int n, size_t len,
	       const struct virtio_net_hdr_v1 *hdr, void *sink);

/* Frames that can be told apart: of flow, sequence number and checksum, with
 * lengths and contents by chance. */
#define CHECKED_FLOWS 8 /* by queue pair of the sender */

struct checked {
	uint32_t from, to;
	size_t min, max; /* frame's length */
	uint64_t random;
	uint64_t sent[CHECKED_FLOWS], limit;
	uint64_t received[CHECKED_FLOWS];
	uint64_t lost, reordered, altered;
};
size_t checked_fill(uint8_t *at, size_t max, unsigned int pair,
		    struct virtio_net_hdr_v1 *hdr, void *checked);
void checked_take(const struct iovec *piece, unsigned int n, size_t len,
		  const struct virtio_net_hdr_v1 *hdr, void *checked);

#endif
