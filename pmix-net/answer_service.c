#include <config.h>

#include "answer_impl.h"

#include <string.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include "dhcp.h"
#include "dns.h"

/* The reply goes to the MAC address that asked, also where that belongs to a
 * machine behind the guest: it is on the same port. */

static_assert(INET_UDP_DATA + DHCP_MAX <= ANSWER_REPLY_MAX &&
		      INET_UDP_DATA + DNS_MAX <= ANSWER_REPLY_MAX,
	      "every reply fits");

enum answer answer_dhcp(struct ask *a, const struct inet_ip4 *ip,
			const struct inet_udp *udp)
{
	static const uint8_t broadcast[ADDR_MAC_LEN] = { 0xff, 0xff, 0xff,
							 0xff, 0xff, 0xff };
	struct inet_path path = { addr_service_mac, a->eth.src,
				  addr_service_ip(&a->conf->net), 0 };
	size_t len;

	if (!ip->whole)
		return ANSWER_SWALLOW;
	len = dhcp_answer(a->conf, a->rank, udp->data, udp->len,
			  a->reply + INET_UDP_DATA, &path.dst);
	if (!len)
		return ANSWER_SWALLOW;
	if (path.dst == INADDR_BROADCAST)
		path.dst_mac = broadcast;
	a->reply_len = inet_put_udp(a->reply, &path, PORT_DHCP_SERVER,
				    PORT_DHCP_CLIENT, len);
	return ANSWER_REPLY;
}

static enum answer answer_dns(struct ask *a, const struct inet_path *back,
			      const struct inet_udp *udp)
{
	size_t len = dns_answer(a->conf, udp->data, udp->len,
				a->reply + INET_UDP_DATA);

	if (!len)
		return ANSWER_SWALLOW;
	a->reply_len = inet_put_udp(a->reply, back, udp->dst, udp->src, len);
	return ANSWER_REPLY;
}

static enum answer answer_ping(struct ask *a, const struct inet_path *back,
			       const struct inet_ip4 *ip)
{
	uint8_t *icmp = a->reply + INET_IP4_DATA;

	if (ip->len < ICMP_MINLEN || ip->data[0] != ICMP_ECHO ||
	    ip->len > ANSWER_REPLY_MAX - INET_IP4_DATA ||
	    inet_checksum(inet_sum(0, ip->data, ip->len)) != 0)
		return ANSWER_SWALLOW;
	memcpy(icmp, ip->data, ip->len);
	icmp[0] = ICMP_ECHOREPLY;
	header_put16(icmp + 2, 0);
	header_put16(icmp + 2, inet_checksum(inet_sum(0, icmp, ip->len)));
	a->reply_len = inet_put_ip4(a->reply, back, IPPROTO_ICMP, ip->len);
	return ANSWER_REPLY;
}

enum answer answer_service(struct ask *a, const struct inet_ip4 *ip)
{
	const struct inet_path back = { addr_service_mac, a->eth.src, ip->dst,
					ip->src };
	struct inet_udp udp;

	if (!ip->whole || ip->dst != addr_service_ip(&a->conf->net))
		return ANSWER_SWALLOW;
	if (ip->protocol == IPPROTO_ICMP)
		return answer_ping(a, &back, ip);
	if (ip->protocol != IPPROTO_UDP ||
	    !inet_udp_parse(ip->data, ip->len, &udp))
		return ANSWER_SWALLOW;
	if (udp.dst == PORT_DHCP_SERVER)
		return answer_dhcp(a, ip, &udp);
	if (udp.dst == PORT_DNS)
		return answer_dns(a, &back, &udp);
	return ANSWER_SWALLOW;
}
