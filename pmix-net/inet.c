#include <config.h>

#include "inet.h"

#include <string.h>
#include <net/ethernet.h>

#define IP4_HEADER 20
#define UDP_HEADER 8
#define IP4_DF	   0x4000
#define IP4_MF	   0x2000
#define IP4_OFFSET 0x1fff
#define TTL	   64

static_assert(INET_IP4_DATA == sizeof(struct inet_eth) + IP4_HEADER, "IPv4");
static_assert(INET_UDP_DATA == INET_IP4_DATA + UDP_HEADER, "UDP");

uint32_t inet_sum(uint32_t sum, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	size_t i;

	for (i = 0; i + 1 < len; i += 2)
		sum += inet_get16(p + i);
	if (i < len)
		sum += (uint32_t)p[i] << 8;
	return (sum & 0xffff) + (sum >> 16); /* never wraps, frames are short */
}

uint16_t inet_checksum(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

bool inet_ip4_parse(const uint8_t *packet, size_t len, struct inet_ip4 *ret)
{
	size_t header, total;
	uint16_t frag;

	if (len < IP4_HEADER || packet[0] >> 4 != 4)
		return false;
	header = (size_t)(packet[0] & 15) * 4;
	if (header < IP4_HEADER || header > len)
		return false;
	total = inet_get16(packet + 2);
	frag = inet_get16(packet + 6);
	*ret = (struct inet_ip4){
		.src = inet_get32(packet + 12),
		.dst = inet_get32(packet + 16),
		.protocol = packet[9],
		.later = frag & IP4_OFFSET,
		.whole = total >= header && total <= len &&
			 !(frag & (IP4_MF | IP4_OFFSET)),
		.data = packet + header,
	};
	/* what comes after it is padding */
	ret->len = (ret->whole ? total : len) - header;
	return true;
}

bool inet_udp_parse(const uint8_t *data, size_t len, struct inet_udp *ret)
{
	size_t total;

	if (len < UDP_HEADER)
		return false;
	total = inet_get16(data + 4);
	*ret = (struct inet_udp){
		.src = inet_get16(data),
		.dst = inet_get16(data + 2),
		.data = data + UDP_HEADER,
	};
	if (total > UDP_HEADER && total <= len)
		ret->len = total - UDP_HEADER;
	return true;
}

void inet_put_eth(uint8_t *frame, const uint8_t dst[ADDR_MAC_LEN],
		  const uint8_t src[ADDR_MAC_LEN], uint16_t type)
{
	struct inet_eth eth;

	memcpy(eth.dst, dst, ADDR_MAC_LEN);
	memcpy(eth.src, src, ADDR_MAC_LEN);
	inet_put16(eth.type, type);
	memcpy(frame, &eth, sizeof(eth));
}

size_t inet_put_ip4(uint8_t *frame, const struct inet_path *path,
		    uint8_t protocol, size_t len)
{
	uint8_t *ip = frame + sizeof(struct inet_eth);
	size_t end = INET_IP4_DATA + len;

	inet_put_eth(frame, path->dst_mac, path->src_mac, ETHERTYPE_IP);
	memset(ip, 0, IP4_HEADER);
	ip[0] = 0x45;
	inet_put16(ip + 2, (uint16_t)(IP4_HEADER + len));
	inet_put16(ip + 6, IP4_DF);
	ip[8] = TTL;
	ip[9] = protocol;
	inet_put32(ip + 12, path->src);
	inet_put32(ip + 16, path->dst);
	inet_put16(ip + 10, inet_checksum(inet_sum(0, ip, IP4_HEADER)));
	if (end >= INET_FRAME_MIN)
		return end;
	memset(frame + end, 0, INET_FRAME_MIN - end);
	return INET_FRAME_MIN;
}

size_t inet_put_udp(uint8_t *frame, const struct inet_path *path,
		    uint16_t src_port, uint16_t dst_port, size_t len)
{
	uint8_t *udp = frame + INET_IP4_DATA;
	size_t frame_len;
	uint32_t sum;
	uint16_t check;

	len += UDP_HEADER;
	frame_len = inet_put_ip4(frame, path, IPPROTO_UDP, len);
	inet_put16(udp, src_port);
	inet_put16(udp + 2, dst_port);
	inet_put16(udp + 4, (uint16_t)len);
	inet_put16(udp + 6, 0);
	/* the pseudo header: addresses, protocol, length */
	sum = inet_sum(IPPROTO_UDP + (uint32_t)len, udp - 8, 8);
	check = inet_checksum(inet_sum(sum, udp, len));
	inet_put16(udp + 6, check ? check : 0xffff); /* 0: there is none */
	return frame_len;
}
