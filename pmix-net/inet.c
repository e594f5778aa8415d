#include <config.h>

#include "inet.h"

#include <string.h>
#include <net/ethernet.h>

#include "checksum.h"

#define IP4_DF	   0x4000
#define IP4_MF	   0x2000
#define IP4_OFFSET 0x1fff
#define TTL	   64

static_assert(INET_IP4_DATA == sizeof(struct inet_eth) + IP4_BYTES, "IPv4");
static_assert(INET_UDP_DATA == INET_IP4_DATA + UDP_BYTES, "UDP");

uint32_t inet_sum(uint32_t sum, const void *bytes, size_t len)
{
	return sum + checksum_sum(bytes, len); /* cannot wrap */
}

uint16_t inet_checksum(uint32_t sum)
{
	return (uint16_t)~checksum_fold(sum);
}

uint16_t inet_icmp6_checksum(const uint8_t *ip6, const void *icmp, size_t len)
{
	/* the pseudo header: addresses, length, protocol */
	uint32_t sum = inet_sum(IPPROTO_ICMPV6 + (uint32_t)len, ip6 + IP6_SRC,
				IP6_BYTES - IP6_SRC);

	return inet_checksum(inet_sum(sum, icmp, len));
}

bool inet_ip4_parse(const uint8_t *packet, size_t len, struct inet_ip4 *ret)
{
	size_t header, total;
	uint16_t frag;

	if (len < IP4_BYTES || packet[0] >> 4 != 4)
		return false;
	header = (size_t)(packet[0] & 15) * 4;
	if (header < IP4_BYTES || header > len)
		return false;
	total = header_get16(packet + IP4_LENGTH);
	frag = header_get16(packet + IP4_FRAGMENT);
	*ret = (struct inet_ip4){
		.src = header_get32(packet + IP4_SRC),
		.dst = header_get32(packet + IP4_DST),
		.protocol = packet[IP4_PROTO],
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

	if (len < UDP_BYTES)
		return false;
	total = header_get16(data + UDP_LENGTH);
	*ret = (struct inet_udp){
		.src = header_get16(data),
		.dst = header_get16(data + 2),
		.data = data + UDP_BYTES,
	};
	if (total > UDP_BYTES && total <= len)
		ret->len = total - UDP_BYTES;
	return true;
}

void inet_put_eth(uint8_t *frame, const uint8_t dst[ADDR_MAC_LEN],
		  const uint8_t src[ADDR_MAC_LEN], uint16_t type)
{
	struct inet_eth eth;

	memcpy(eth.dst, dst, ADDR_MAC_LEN);
	memcpy(eth.src, src, ADDR_MAC_LEN);
	header_put16(eth.type, type);
	memcpy(frame, &eth, sizeof(eth));
}

size_t inet_put_ip4(uint8_t *frame, const struct inet_path *path,
		    uint8_t protocol, size_t len)
{
	uint8_t *ip = frame + sizeof(struct inet_eth);
	size_t end = INET_IP4_DATA + len;

	inet_put_eth(frame, path->dst_mac, path->src_mac, ETHERTYPE_IP);
	memset(ip, 0, IP4_BYTES);
	ip[0] = 0x45;
	header_put16(ip + IP4_LENGTH, (uint16_t)(IP4_BYTES + len));
	header_put16(ip + IP4_FRAGMENT, IP4_DF);
	ip[IP4_TTL] = TTL;
	ip[IP4_PROTO] = protocol;
	header_put32(ip + IP4_SRC, path->src);
	header_put32(ip + IP4_DST, path->dst);
	header_put16(ip + IP4_CHECKSUM,
		     inet_checksum(inet_sum(0, ip, IP4_BYTES)));
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

	len += UDP_BYTES;
	frame_len = inet_put_ip4(frame, path, IPPROTO_UDP, len);
	header_put16(udp, src_port);
	header_put16(udp + 2, dst_port);
	header_put16(udp + UDP_LENGTH, (uint16_t)len);
	header_put16(udp + UDP_CHECKSUM, 0);
	/* the pseudo header: addresses, protocol, length */
	sum = inet_sum(IPPROTO_UDP + (uint32_t)len, udp - 8, 8);
	check = inet_checksum(inet_sum(sum, udp, len));
	header_put16(udp + UDP_CHECKSUM,
		     check ? check : 0xffff); /* 0: there is none */
	return frame_len;
}
