/* link_wire.h - what two vmstep-net say to each other (doc/net.md draws it)
 *
 * All numbers are big endian. First each side sends a hello and a proof that
 * it holds the step's key, then messages: a header and its payload, and a tag
 * where the hellos say WIRE_SEALED (see seal.h).
 */
#ifndef VMSTEP_LINK_WIRE_H
#define VMSTEP_LINK_WIRE_H

#include <assert.h>
#include <endian.h>
#include <stdint.h>
#include <string.h>

#define WIRE_VERSION   4
#define WIRE_MAGIC     "vmstepLK" /* 8 bytes, without the final NUL */
#define WIRE_NONCE     32
#define WIRE_PROOF     32
#define WIRE_NAME      64
#define WIRE_TAG       16
#define WIRE_FRAME_MIN 14    /* an Ethernet header */
#define WIRE_FRAME_MAX 65565 /* largest IP packet, tagged, virtio_net_hdr */
/* In a frame's length, what follows it: an offload, then an origin. */
#define WIRE_OFFLOADED 0x80000000u
#define WIRE_RELAYED   0x40000000u
/* A batch of one such frame. */
#define WIRE_PAYLOAD_MAX (4 + sizeof(struct wire_offload) + 4 + WIRE_FRAME_MAX)
#define WIRE_BATCH_BYTES (64 * 1024) /* a batch of several ends before this */

struct wire_hello {
	uint8_t magic[8];
	uint32_t version;
	uint32_t node, nnodes; /* who speaks, of how many */
	uint32_t payload_max;  /* the longest payload it takes */
	uint32_t flags; /* WIRE_SEALED, WIRE_UCX: the same at both ends */
	uint8_t nonce[WIRE_NONCE];
	char name[WIRE_NAME]; /* of its node, for messages; padded with NUL */
};
static_assert(sizeof(struct wire_hello) == 124, "as in doc/net.md");

#define WIRE_SEALED 1u /* messages are encrypted */
#define WIRE_UCX    2u /* and go over UCX: link_ucx.h */

enum wire_type {
	WIRE_OPEN = 1, /* empty; the dialler's first message */
	WIRE_FRAMES, /* a batch: u32 length, [offload, u32 origin,] frame ... */
	WIRE_STATE,  /* lines of text: see roll.h */
	WIRE_BYE,    /* WIRE_ALL_DONE or empty: this node leaves */
	WIRE_ACK,    /* empty: we keep what the BYE's sender knew */
	WIRE_GROUPS, /* which multicast groups its sender wants: groups.h */
	WIRE_REST,   /* empty: no more over this link, which was idle */
	WIRE_REPORT, /* a piece of what a node has counted: tally.h */
	WIRE_OPS,    /* records of messages between tasks: opmsg.h */
};

/* What the sender left for a card to do: struct offload of packet.h, and the
 * flow that the frame belongs to. */
struct wire_offload {
	uint8_t flags, gso;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, flow;
};
static_assert(sizeof(struct wire_offload) == 12, "as in doc/net.md");

#define WIRE_ALL_DONE "all done\n" /* and its sender's children know */

struct wire_header {
	uint32_t type; /* enum wire_type */
	uint32_t len;  /* of the payload, without its tag */
};
static_assert(sizeof(struct wire_header) == 8, "as in doc/net.md");

static inline uint32_t wire_get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline void wire_put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

#endif
