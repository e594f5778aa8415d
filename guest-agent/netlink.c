#include <config.h>

#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

/* -- requests -------------------------------------------------------------- */

struct request {
	struct nlmsghdr header;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
		struct rtmsg route;
	};
	char attrs[64];
};

static void add_attr(struct request *r, unsigned short type, const void *data,
		     size_t len)
{
	struct rtattr *a =
		(void *)((char *)r + NLMSG_ALIGN(r->header.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	r->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->header.nlmsg_len) +
					 RTA_ALIGN(a->rta_len));
}

static int ask(struct request *r)
{
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char more[256];
	} reply;
	ssize_t n;

	if (fd < 0)
		return -errno;
	r->header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(fd, r, r->header.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, &reply, sizeof(reply), 0);
	if (n < 0)
		return -errno;
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(reply.error)) ||
	    reply.header.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return reply.error.error; /* 0 is the acknowledgement */
}

int netlink_set_link(unsigned int ifindex, unsigned int mtu)
{
	struct request r = {
		.header.nlmsg_type = RTM_NEWLINK,
		.header.nlmsg_len = NLMSG_LENGTH(sizeof(r.link)),
		.link = { .ifi_family = AF_UNSPEC,
			  .ifi_index = (int)ifindex,
			  .ifi_flags = IFF_UP,
			  .ifi_change = IFF_UP },
	};

	if (mtu)
		add_attr(&r, IFLA_MTU, &mtu, sizeof(mtu));
	return ask(&r);
}

int netlink_add_address(unsigned int ifindex, struct in_addr ip, int prefix)
{
	uint32_t host = prefix ? ~0u >> (prefix - 1) >> 1 : ~0u;
	struct in_addr broadcast = { ip.s_addr | htonl(host) };
	struct request r = {
		.header.nlmsg_type = RTM_NEWADDR,
		.header.nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE,
		.header.nlmsg_len = NLMSG_LENGTH(sizeof(r.addr)),
		.addr = { .ifa_family = AF_INET,
			  .ifa_prefixlen = (uint8_t)prefix,
			  .ifa_index = ifindex },
	};

	add_attr(&r, IFA_LOCAL, &ip, sizeof(ip));
	add_attr(&r, IFA_ADDRESS, &ip, sizeof(ip));
	if (prefix < 31)
		add_attr(&r, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	return ask(&r);
}

#define LAST_METRIC 4096 /* DHCP clients give theirs lower ones */

int netlink_add_gateway(unsigned int ifindex, struct in_addr ip)
{
	const uint32_t metric = LAST_METRIC;
	struct request r = {
		.header.nlmsg_type = RTM_NEWROUTE,
		.header.nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE,
		.header.nlmsg_len = NLMSG_LENGTH(sizeof(r.route)),
		.route = { .rtm_family = AF_INET,
			   .rtm_table = RT_TABLE_MAIN,
			   .rtm_protocol = RTPROT_STATIC,
			   .rtm_scope = RT_SCOPE_UNIVERSE,
			   .rtm_type = RTN_UNICAST },
	};

	add_attr(&r, RTA_GATEWAY, &ip, sizeof(ip));
	add_attr(&r, RTA_OIF, &ifindex, sizeof(ifindex));
	add_attr(&r, RTA_PRIORITY, &metric, sizeof(metric));
	return ask(&r);
}

int netlink_watch_links(void)
{
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       NETLINK_ROUTE);
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK,
				  .nl_groups = RTMGRP_LINK };

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* -- what there is --------------------------------------------------------- */

static void freeifaddrsp(struct ifaddrs **list)
{
	if (*list)
		freeifaddrs(*list);
}

static unsigned int mtu_of(const char *name)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { 0 };

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	return fd >= 0 && ioctl(fd, SIOCGIFMTU, &req) == 0
		       ? (unsigned int)req.ifr_mtu
		       : 0;
}

/* Is @ifa the link of an Ethernet interface? Then *ret is filled. */
static bool take_link(const struct ifaddrs *ifa, struct netlink_if *ret)
{
	const struct sockaddr_ll *ll = (const void *)ifa->ifa_addr;

	if (!ll || ll->sll_family != AF_PACKET || ll->sll_halen != 6 ||
	    ll->sll_hatype != ARPHRD_ETHER)
		return false;
	snprintf(ret->name, sizeof(ret->name), "%s", ifa->ifa_name);
	ret->index = (unsigned int)ll->sll_ifindex;
	ret->mtu = mtu_of(ifa->ifa_name);
	memcpy(ret->mac, ll->sll_addr, 6);
	ret->up = ifa->ifa_flags & IFF_UP;
	return true;
}

static int prefix_of(const struct sockaddr *mask)
{
	const struct sockaddr_in *in = (const void *)mask;
	const struct sockaddr_in6 *in6 = (const void *)mask;
	const uint8_t *p;
	size_t len;
	int n = 0;

	if (!mask)
		return 0;
	p = mask->sa_family == AF_INET ? (const uint8_t *)&in->sin_addr
				       : in6->sin6_addr.s6_addr;
	len = mask->sa_family == AF_INET ? 4 : 16;
	for (size_t i = 0; i < len; i++)
		n += __builtin_popcount(p[i]);
	return n;
}

static bool has_address(const struct ifaddrs *list, const char *name,
			struct in_addr ip, int prefix)
{
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		const struct sockaddr_in *in = (const void *)i->ifa_addr;

		if (in && in->sin_family == AF_INET &&
		    strcmp(i->ifa_name, name) == 0 &&
		    in->sin_addr.s_addr == ip.s_addr &&
		    prefix_of(i->ifa_netmask) == prefix)
			return true;
	}
	return false;
}

int netlink_find(const uint8_t mac[6], struct in_addr ip, int prefix,
		 struct netlink_if *ret, bool *ret_has)
{
	_cleanup_(freeifaddrsp) struct ifaddrs *list = NULL;
	struct netlink_if found;
	bool any = false, has;

	if (getifaddrs(&list) < 0)
		return -errno;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!take_link(i, &found) || memcmp(found.mac, mac, 6) != 0)
			continue;
		has = has_address(list, found.name, ip, prefix);
		if (any && !has)
			continue;
		any = true;
		*ret = found;
		*ret_has = has;
		if (has)
			break;
	}
	return any ? 0 : -ENOENT;
}

int netlink_each(netlink_if_fn fn, void *arg)
{
	_cleanup_(freeifaddrsp) struct ifaddrs *list = NULL;
	struct netlink_if found;

	if (getifaddrs(&list) < 0)
		return -errno;
	for (struct ifaddrs *i = list; i; i = i->ifa_next)
		if (take_link(i, &found))
			fn(&found, arg);
	return 0;
}

int netlink_each_ip(const char *ifname, netlink_ip_fn fn, void *arg)
{
	_cleanup_(freeifaddrsp) struct ifaddrs *list = NULL;
	char ip[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 12];

	if (getifaddrs(&list) < 0)
		return -errno;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		const struct sockaddr_in *in = (const void *)i->ifa_addr;
		const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;

		if (!in || strcmp(i->ifa_name, ifname) != 0 ||
		    (in->sin_family != AF_INET && in->sin_family != AF_INET6))
			continue;
		inet_ntop(in->sin_family,
			  in->sin_family == AF_INET
				  ? (const void *)&in->sin_addr
				  : (const void *)&in6->sin6_addr,
			  ip, sizeof(ip));
		snprintf(text, sizeof(text), "%s/%d", ip,
			 prefix_of(i->ifa_netmask));
		fn(text, arg);
	}
	return 0;
}
