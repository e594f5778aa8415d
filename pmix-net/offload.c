#include <config.h>

#include "offload.h"

#include <errno.h>
#include <stdbool.h>
#include <netinet/in.h>

#include "headers.h"
#include "link_wire.h"

/* Who forwards a frame decides by its head, and this work changes bytes behind
 * his back: a checksum is written wherever the sender says. So what is written
 * must lie where nobody looked: behind an IP header, which also keeps ARP and
 * the Ethernet addresses, checked for spoofing, as they are.
 *
 * What is demanded is what Linux and Windows (NetKVM) send; that of a packet to
 * be cut, the virtio specification and Linux's receiving driver demand, too.
 */

static const struct kind {
	uint16_t type; /* EtherType; 0: either IP */
	uint8_t proto, csum_offset;
	unsigned int needs;
} kinds[] = {
	[VIRTIO_NET_HDR_GSO_TCPV4] = { ETH_TYPE_IP4, IPPROTO_TCP, TCP_CHECKSUM,
				       OFFLOAD_TSO4 },
	[VIRTIO_NET_HDR_GSO_TCPV6] = { ETH_TYPE_IP6, IPPROTO_TCP, TCP_CHECKSUM,
				       OFFLOAD_TSO6 },
	[VIRTIO_NET_HDR_GSO_UDP_L4] = { 0, IPPROTO_UDP, UDP_CHECKSUM,
					OFFLOAD_USO },
};

/* NULL: not to be cut, or in no way we know. UFO, that is fragments made of a
 * datagram, is one of these: no guest is offered it. */
static const struct kind *kind_of(uint8_t gso)
{
	const struct kind *k;

	gso &= (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	if (gso >= sizeof(kinds) / sizeof(kinds[0]))
		return NULL;
	k = &kinds[gso];
	return k->proto ? k : NULL;
}

unsigned int offload_needs(const struct offload *o)
{
	const struct kind *k = kind_of(o->gso);
	unsigned int needs = 0;

	if (o->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		needs |= OFFLOAD_CSUM;
	if (k)
		needs |= k->needs;
	if (o->gso & VIRTIO_NET_HDR_GSO_ECN)
		needs |= OFFLOAD_ECN;
	return needs;
}

/* -- headers -------------------------------------------------------------- */

struct ip {
	size_t at;     /* in the head, all of it */
	size_t bytes;  /* IPv6: without extensions */
	uint16_t type; /* EtherType */
};

static bool find_ip(const struct packet *p, struct ip *ret)
{
	const uint8_t *ip;
	size_t have;

	ret->at = header_packet(p->head, p->head_len, &ret->type);
	if (!ret->at || p->head_len <= ret->at)
		return false;
	ip = p->head + ret->at;
	have = p->head_len - ret->at;
	if (ret->type == ETH_TYPE_IP4 && ip[0] >> 4 == 4)
		ret->bytes = (size_t)(ip[0] & 15) * 4;
	else if (ret->type == ETH_TYPE_IP6 && ip[0] >> 4 == 6)
		ret->bytes = IP6_BYTES;
	else
		return false;
	return ret->bytes >= IP4_BYTES && ret->bytes <= have;
}

/* Where the packet's TCP or UDP header starts, and which it is. 0: it is a
 * fragment, or its length is not right. There are no jumbograms (RFC 2675, or
 * Linux's with a length of 0): frames are not that long. */
static size_t find_l4_ip4(const struct packet *p, const struct ip *ip,
			  uint8_t *proto)
{
	const uint8_t *header = p->head + ip->at;

	/* more fragments (0x2000) follow, or it is a later one */
	if (header_get16(header + IP4_LENGTH) != p->len - ip->at ||
	    header_get16(header + IP4_FRAGMENT) & 0x3fff)
		return 0;
	*proto = header[IP4_PROTO];
	return ip->at + ip->bytes;
}

/* Likewise; behind extensions that every segment may have (RFC 8200, 4): not
 * those of a fragment, nor of IPsec, whose proof would not hold. */
static size_t find_l4_ip6(const struct packet *p, const struct ip *ip,
			  uint8_t *proto)
{
	size_t at = ip->at + IP6_BYTES;

	if (header_get16(p->head + ip->at + IP6_LENGTH) != p->len - at)
		return 0;
	*proto = p->head[ip->at + IP6_NEXT];
	while (*proto == IPPROTO_HOPOPTS || *proto == IPPROTO_ROUTING ||
	       *proto == IPPROTO_DSTOPTS) {
		if (at > p->head_len - 2)
			return 0;
		*proto = p->head[at];
		at += 8 + (size_t)p->head[at + 1] * 8;
	}
	return at;
}

/* Length of the TCP or UDP header that starts at @at, in the head; 0: it does
 * not end there, or is not right. */
static size_t l4_bytes(const struct packet *p, size_t at, uint8_t proto)
{
	const uint8_t *l4 = p->head + at;
	size_t have = p->head_len - at, bytes;

	if (proto == IPPROTO_UDP) {
		if (have < UDP_BYTES ||
		    header_get16(l4 + UDP_LENGTH) != p->len - at)
			return 0;
		return UDP_BYTES;
	}
	if (have < TCP_BYTES)
		return 0;
	bytes = (size_t)(l4[TCP_OFFSET] >> 4) * 4;
	return bytes >= TCP_BYTES && bytes <= have ? bytes : 0;
}

/* -- checks --------------------------------------------------------------- */

static int check_csum(const struct packet *p, const struct ip *ip)
{
	const struct offload *o = &p->offload;
	size_t end = (size_t)o->csum_start + o->csum_offset + 2;

	if (o->csum_start < ip->at + ip->bytes ||
	    o->csum_start >= p->head_len || end > p->len)
		return -EINVAL;
	return 0;
}

/* The header's end in *ret, if it is the one that @k is about and its checksum
 * is the one to be filled in. */
static int check_headers(const struct packet *p, const struct ip *ip,
			 const struct kind *k, size_t *ret)
{
	const struct offload *o = &p->offload;
	size_t l4, bytes;
	uint8_t proto;

	if (k->type && k->type != ip->type)
		return -EINVAL;
	l4 = ip->type == ETH_TYPE_IP4 ? find_l4_ip4(p, ip, &proto)
				      : find_l4_ip6(p, ip, &proto);
	/* check_csum() has seen that csum_start is in the head */
	if (!l4 || proto != k->proto || o->csum_start != l4 ||
	    o->csum_offset != k->csum_offset)
		return -EINVAL;
	bytes = l4_bytes(p, l4, proto);
	if (!bytes || l4 + bytes > PACKET_HEAD) /* also if more is there */
		return -EINVAL;
	*ret = l4 + bytes;
	return 0;
}

static void no_gso(struct offload *o)
{
	o->gso = VIRTIO_NET_HDR_GSO_NONE;
	o->gso_size = o->hdr_len = 0;
}

/* CWR is what the bit is about, and cutting needs to know (RFC 3168, 6.1.2). */
static void set_ecn(const struct packet *p, struct offload *o)
{
	if (p->head[o->csum_start + TCP_FLAGS] & TCP_CWR)
		o->gso |= VIRTIO_NET_HDR_GSO_ECN;
	else
		o->gso &= (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
}

static int check_gso(struct packet *p, const struct ip *ip)
{
	struct offload *o = &p->offload;
	const struct kind *k = kind_of(o->gso);
	size_t header;

	if (!k || o->gso_size == 0 ||
	    (k->proto != IPPROTO_TCP && o->gso & VIRTIO_NET_HDR_GSO_ECN) ||
	    check_headers(p, ip, k, &header) < 0)
		return -EINVAL;
	if (p->len - header <= o->gso_size) {
		no_gso(o);
		return 0;
	}
	if ((p->len - header - 1) / o->gso_size >= OFFLOAD_SEGMENTS_MAX)
		return -EINVAL;
	o->hdr_len = (uint16_t)header;
	if (k->proto == IPPROTO_TCP)
		set_ecn(p, o);
	return 0;
}

/* Flags but NEEDS_CSUM are taken away: a device "MUST ignore" those it does not
 * know, and a driver "MUST NOT set" DATA_VALID and RSC_INFO (virtio 1.2,
 * 5.1.6.2.1 and .2). DATA_VALID would have the receiver believe a checksum that
 * nobody but the sender looked at, where it would check: who sends a wrong one
 * must not get it through. With NEEDS_CSUM there is none yet to be wrong. */
int offload_check(struct packet *p)
{
	struct offload *o = &p->offload;
	struct ip ip;

	o->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (!o->flags && o->gso == VIRTIO_NET_HDR_GSO_NONE) {
		*o = (struct offload){ 0 };
		return 0;
	}
	if (!o->flags || p->len > WIRE_FRAME_MAX || !find_ip(p, &ip) ||
	    check_csum(p, &ip) < 0)
		return -EINVAL;
	if (o->gso != VIRTIO_NET_HDR_GSO_NONE)
		return check_gso(p, &ip);
	no_gso(o);
	return 0;
}
