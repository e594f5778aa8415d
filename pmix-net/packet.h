/* packet.h - one Ethernet frame on its way through the forwarder
 *
 * A frame from a guest's ring lies in that guest's memory, which may change
 * while we look. So its first bytes are copied once: all decisions follow from
 * that copy, and it is what the receiver gets. The rest is copied from where it
 * lies, straight to where it goes, and never looked at twice.
 *
 * Owns: nothing. What it points to stays until the call it was given to
 * returns.
 */
#ifndef VMSTEP_PACKET_H
#define VMSTEP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_net.h> /* VIRTIO_NET_HDR_F_*, VIRTIO_NET_HDR_GSO_* */
#include <sys/uio.h>

/* Bytes that are copied first: Ethernet, two VLAN tags, IPv6 with some
 * extensions or IPv4 with options, TCP with options. */
#define PACKET_HEAD 192

/* What the sender left for a card to do, as in the virtio specification
 * (5.1.6.2), but in the host's byte order. All 0: nothing. */
struct offload {
	uint8_t flags; /* VIRTIO_NET_HDR_F_NEEDS_CSUM or _DATA_VALID */
	uint8_t gso;   /* VIRTIO_NET_HDR_GSO_TCPV4, ..., maybe with _ECN */
	uint16_t hdr_len;
	uint16_t gso_size; /* payload of each segment */
	uint16_t csum_start, csum_offset;
};

struct packet {
	const uint8_t *head; /* private; PACKET_HEAD bytes at least, or all */
	size_t head_len;
	const struct iovec *rest; /* what follows; never of length 0 */
	unsigned int n_rest;
	size_t len; /* of head and rest */
	struct offload offload;
	uint16_t flow;	 /* frames of one flow have the same */
	bool relayed;	 /* another node than the one it came from sent it: */
	uint32_t origin; /* this one */
};

/* A frame that lies in one piece in memory of ours. */
static inline struct packet packet_flat(const uint8_t *frame, size_t len)
{
	return (struct packet){ .head = frame, .head_len = len, .len = len };
}

/* Copy @len bytes from offset @at on; they are there. */
void packet_read(const struct packet *p, size_t at, void *to, size_t len);

#endif
