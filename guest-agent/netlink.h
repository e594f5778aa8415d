/* netlink.h - what the agent asks of rtnetlink
 *
 * Each call opens a socket, waits for the kernel's answer, which comes at
 * once, and returns 0 or -errno.
 */
#ifndef VMSTEP_NETLINK_H
#define VMSTEP_NETLINK_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* Set the MTU (0: leave it) and bring the interface up. */
int netlink_set_link(unsigned int ifindex, unsigned int mtu);
int netlink_add_address(unsigned int ifindex, struct in_addr ip, int prefix);
/* Where packets go that have no other way; after any such way that the guest
 * has already. */
int netlink_add_gateway(unsigned int ifindex, struct in_addr ip);

/* A non-blocking socket that becomes readable when any link changes; or
 * -errno. */
int netlink_watch_links(void);

struct netlink_if {
	char name[IF_NAMESIZE];
	unsigned int index, mtu;
	uint8_t mac[6];
	bool up;
};

/* The interface with @mac; where several have it (a bridge takes its port's),
 * the one that has @ip with @prefix, else the first. Returns whether it has
 * exactly that address in *ret_has. -ENOENT where there is none. */
int netlink_find(const uint8_t mac[6], struct in_addr ip, int prefix,
		 struct netlink_if *ret, bool *ret_has);

/* Each Ethernet interface, in the kernel's order. */
typedef void (*netlink_if_fn)(const struct netlink_if *i, void *arg);
int netlink_each(netlink_if_fn fn, void *arg);
/* Each IPv4 and IPv6 address of @ifindex as text with its prefix. */
typedef void (*netlink_ip_fn)(const char *text, void *arg);
int netlink_each_ip(const char *ifname, netlink_ip_fn fn, void *arg);

#endif
