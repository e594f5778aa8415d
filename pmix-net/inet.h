/* inet.h - headers of Ethernet, IPv4 and UDP: taken apart and written
 *
 * What is taken apart is a copy of a guest's frame that nobody changes
 * meanwhile, but for the rest not trusted. UDP checksums are written, and not
 * looked at: a guest leaves them to its card, and there is none.
 */
#ifndef VMSTEP_INET_H
#define VMSTEP_INET_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "headers.h"

#define INET_FRAME_MIN 60 /* what is shorter is padded */
#define INET_IP4_DATA  34 /* where data begins in a frame that we write */
#define INET_UDP_DATA  42

/* The Internet checksum: add up, pieces of even length before others, then
 * inet_checksum() the sum. Over a packet with its checksum that is 0. */
uint32_t inet_sum(uint32_t sum, const void *bytes, size_t len);
uint16_t inet_checksum(uint32_t sum);

/* That of an ICMPv6 message of @len bytes at @icmp, in the packet at @ip6. */
uint16_t inet_icmp6_checksum(const uint8_t *ip6, const void *icmp, size_t len);

struct inet_eth {
	uint8_t dst[ADDR_MAC_LEN], src[ADDR_MAC_LEN];
	uint8_t type[2];
};
static_assert(sizeof(struct inet_eth) == 14, "an Ethernet header");

struct inet_ip4 {
	uint32_t src, dst;
	uint8_t protocol;
	bool later;	     /* a fragment without the data's header */
	bool whole;	     /* no fragment, and of the length it says */
	const uint8_t *data; /* in the packet, and as much as there is of it */
	size_t len;
};
/* False where it is not IPv4, or its header is cut. */
bool inet_ip4_parse(const uint8_t *packet, size_t len, struct inet_ip4 *ret);

struct inet_udp {
	uint16_t src, dst;
	const uint8_t *data;
	size_t len; /* 0 where it is not the one it says */
};
bool inet_udp_parse(const uint8_t *data, size_t len, struct inet_udp *ret);

struct inet_path {
	const uint8_t *src_mac, *dst_mac;
	uint32_t src, dst; /* IPv4 */
};
void inet_put_eth(uint8_t *frame, const uint8_t dst[ADDR_MAC_LEN],
		  const uint8_t src[ADDR_MAC_LEN], uint16_t type);
/* Headers, and padding, around @len bytes that lie at INET_IP4_DATA or
 * INET_UDP_DATA of @frame, which has INET_FRAME_MIN bytes at least. Returns
 * the frame's length. */
size_t inet_put_ip4(uint8_t *frame, const struct inet_path *path,
		    uint8_t protocol, size_t len);
size_t inet_put_udp(uint8_t *frame, const struct inet_path *path,
		    uint16_t src_port, uint16_t dst_port, size_t len);

#endif
