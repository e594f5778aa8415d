/* headers.h - what lies where in a frame's headers
 *
 * Offsets in bytes from the start of each header. Ethernet and its tags: IEEE
 * 802.3, 802.1Q; IPv4: RFC 791; IPv6: RFC 8200; TCP: RFC 9293; UDP: RFC 768.
 */
#ifndef VMSTEP_HEADERS_H
#define VMSTEP_HEADERS_H

#include <stddef.h>
#include <stdint.h>

#define ETH_TYPE       12
#define ETH_TYPE_IP4   0x0800
#define ETH_TYPE_IP6   0x86dd
#define ETH_TYPE_TAG   0x8100 /* 802.1Q */
#define ETH_TYPE_S_TAG 0x88a8 /* 802.1ad */
#define ETH_TAG_BYTES  4
#define ETH_TAGS_MAX   2

#define IP4_LENGTH   2 /* with the header */
#define IP4_ID	     4
#define IP4_FRAGMENT 6
#define IP4_TTL	     8
#define IP4_PROTO    9
#define IP4_CHECKSUM 10
#define IP4_SRC	     12
#define IP4_DST	     16
#define IP4_BYTES    20 /* without options */

#define IP6_LENGTH 4 /* without the header, with extensions */
#define IP6_NEXT   6
#define IP6_HOPS   7
#define IP6_SRC	   8
#define IP6_DST	   24
#define IP6_BYTES  40

#define TCP_SEQ	     4
#define TCP_OFFSET   12 /* length of the header in words, in the upper half */
#define TCP_FLAGS    13
#define TCP_CHECKSUM 16
#define TCP_BYTES    20 /* without options */
#define TCP_FIN	     0x01
#define TCP_PSH	     0x08
#define TCP_CWR	     0x80

#define UDP_LENGTH   4 /* with the header */
#define UDP_CHECKSUM 6
#define UDP_BYTES    8

static inline uint16_t header_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void header_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t header_get32(const uint8_t *p)
{
	return (uint32_t)header_get16(p) << 16 | header_get16(p + 2);
}

static inline void header_put32(uint8_t *p, uint32_t v)
{
	header_put16(p, (uint16_t)(v >> 16));
	header_put16(p + 2, (uint16_t)v);
}

/* Where the packet of a frame starts whose first @len bytes are @head, behind
 * up to two tags, and of which EtherType it is. 0: not within the head. */
static inline size_t header_packet(const uint8_t *head, size_t len,
				   uint16_t *type)
{
	size_t at = ETH_TYPE;

	for (int tags = 0; len >= at + 2; tags++) {
		*type = header_get16(head + at);
		if (tags == ETH_TAGS_MAX ||
		    (*type != ETH_TYPE_TAG && *type != ETH_TYPE_S_TAG))
			return at + 2;
		at += ETH_TAG_BYTES;
	}
	return 0;
}

#endif
