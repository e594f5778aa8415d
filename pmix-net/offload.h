/* offload.h - work that the sender of a frame left for a card
 *
 * A guest's virtio driver may leave the checksum to us, and the cutting of a
 * long packet into segments (virtio 1.2, 5.1.6.2 "Packet Transmission"). Who
 * can do that itself gets such a frame as it is; for others segment.h does it.
 *
 * Pure: no state, any thread.
 */
#ifndef VMSTEP_OFFLOAD_H
#define VMSTEP_OFFLOAD_H

#include "packet.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* virtio 1.2; Linux 6.2 */
#endif

/* A frame becomes this many at most: one descriptor must not keep us busy for
 * long. Linux sends fewer, for its smallest segment (tcp_min_snd_mss) is 48
 * bytes with TCP's options, and of UDP it puts 128 into a frame. */
#define OFFLOAD_SEGMENTS_MAX 2048

/* What a receiver can take, and what a frame needs; to be or-ed. */
enum {
	OFFLOAD_CSUM = 1 << 0, /* a checksum that is not filled in */
	OFFLOAD_TSO4 = 1 << 1, /* TCP in IPv4, to be cut */
	OFFLOAD_TSO6 = 1 << 2, /* TCP in IPv6, to be cut */
	OFFLOAD_ECN = 1 << 3,  /* of these, such with CWR */
	OFFLOAD_USO = 1 << 4,  /* UDP in either, to be cut */
	OFFLOAD_ALL = (1 << 5) - 1,
};

/* Of an offload that was checked. */
unsigned int offload_needs(const struct offload *o);

/* Is what a guest left to do possible, and does it fit its frame? To be called
 * before anything else looks at p->offload; reads p->head only.
 *
 * 0: p->offload is made to say the truth: hdr_len, ECN, no flag but NEEDS_CSUM
 * (csum_start lies in the head, behind an IP header), and 0 in what has no
 * meaning. A frame that needs cutting (gso) has at least two segments, all of
 * its headers in the head's first PACKET_HEAD bytes, and right lengths there.
 * -EINVAL: the frame is to be dropped. */
int offload_check(struct packet *p);

/* Length of the longest frame that comes of it: what an MTU is to be compared
 * with. */
static inline size_t offload_longest(const struct packet *p)
{
	const struct offload *o = &p->offload;

	return o->gso ? (size_t)o->hdr_len + o->gso_size : p->len;
}

#endif
