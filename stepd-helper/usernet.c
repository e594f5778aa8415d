#include <config.h>

#include "usernet.h"

#include <stdio.h>

#include "cleanup.h"

#define PREFIX 24

/* Of these the first that is apart from the step's network. */
static const uint32_t networks[] = {
	0xc0a87f00, /* 192.168.127.0 */
	0xac1f7f00, /* 172.31.127.0 */
	0x0a7f7f00, /* 10.127.127.0 */
};

/* As QEMU has them in its own default network. */
enum { HOST = 2, DNS = 3, GUEST = 15 };

static bool is_apart(uint32_t base, const struct addr_net *net)
{
	int prefix = net->prefix < PREFIX ? net->prefix : PREFIX;

	return prefix && (base ^ net->base) >> (32 - prefix);
}

static uint32_t choose(const struct spec *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++)
		if (s->net == NET_NONE || is_apart(networks[i], &s->cidr))
			return networks[i];
	return networks[0];
}

bool usernet_of(const struct task *t, const struct spec *s, struct usernet *ret)
{
	uint32_t base, rank = t->rank;

	if (!s->outbound && !s->tftp && !s->n_ports)
		return false;
	base = choose(s);
	*ret = (struct usernet){ .prefix = PREFIX };
	/* 52:54:00 is the step's network's */
	snprintf(ret->mac, sizeof(ret->mac), "52:54:01:%02x:%02x:%02x",
		 rank >> 16 & 0xff, rank >> 8 & 0xff, rank & 0xff);
	addr_ip_text(base + HOST, ret->host);
	addr_ip_text(base + DNS, ret->dns);
	addr_ip_text(base + GUEST, ret->guest);
	return true;
}

void usernet_args(struct args *a, const struct task *t, const struct spec *s)
{
	_cleanup_free_ char *tftp = s->tftp ? args_quoted(s->tftp) : NULL;
	char net[INET_ADDRSTRLEN];
	struct usernet u;

	if (!usernet_of(t, s, &u))
		return;
	addr_ip_text(choose(s), net);
	args_add(a, "-netdev");
	/* of IPv6 there would be a router, which may lead nowhere */
	args_add(
		a,
		"user,id=" USERNET_ID
		",ipv6=off,net=%s/%d,host=%s,dns=%s,dhcpstart=%s,restrict=%s%s%s",
		net, u.prefix, u.host, u.dns, u.guest,
		s->outbound ? "off" : "on", tftp ? ",tftp=" : "",
		tftp ? tftp : "");
	args_add(a, "-device");
	args_add(a,
		 "virtio-net-pci,netdev=" USERNET_ID ",mac=%s,romfile=", u.mac);
}
