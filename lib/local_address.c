#include <config.h>

#include "local_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct subnet {
	int family;
	uint8_t bytes[16];
	unsigned int prefix;
};

static bool parse_subnet(const char *text, struct subnet *ret)
{
	const char *slash = strchr(text, '/');
	char address[64], *end;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	ret->family = strchr(address, ':') ? AF_INET6 : AF_INET;
	ret->prefix = (unsigned int)strtoul(slash + 1, &end, 10);
	return end != slash + 1 && !*end &&
	       ret->prefix <= (ret->family == AF_INET6 ? 128 : 32) &&
	       inet_pton(ret->family, address, ret->bytes) == 1;
}

static const uint8_t *address_bytes(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET6)
		return ((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr;
	return (const uint8_t *)&((const struct sockaddr_in *)sa)->sin_addr;
}

static bool in_subnet(const struct subnet *net, const struct sockaddr *sa)
{
	const uint8_t *bytes = address_bytes(sa);
	unsigned int whole = net->prefix / 8, bits = net->prefix % 8;

	if (sa->sa_family != net->family ||
	    memcmp(bytes, net->bytes, whole) != 0)
		return false;
	return !bits || (bytes[whole] ^ net->bytes[whole]) >> (8 - bits) == 0;
}

static bool is_usable(const struct ifaddrs *ifa)
{
	const struct sockaddr *sa = ifa->ifa_addr;

	if (!sa || !(ifa->ifa_flags & IFF_UP))
		return false;
	if (sa->sa_family == AF_INET6)
		return !IN6_IS_ADDR_LINKLOCAL(
			&((const struct sockaddr_in6 *)sa)->sin6_addr);
	return sa->sa_family == AF_INET;
}

static void keep(struct sockaddr_storage *ret, const struct sockaddr *sa)
{
	memcpy(ret, sa,
	       sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					 : sizeof(struct sockaddr_in));
}

static int of_device(const char *device, struct sockaddr_storage *ret,
		     struct errmsg *err)
{
	struct ifaddrs *all, *found = NULL;
	struct subnet net;
	bool by_subnet = parse_subnet(device, &net);

	if (!by_subnet && strchr(device, '/'))
		return errmsg_say(
			err, -EINVAL,
			"'%s' is neither an interface nor a subnet as in 192.0.2.0/24",
			device);
	if (getifaddrs(&all) < 0)
		return errmsg_set(err, -errno, "this machine's addresses");
	for (struct ifaddrs *ifa = all; ifa; ifa = ifa->ifa_next) {
		if (!is_usable(ifa) ||
		    !(by_subnet ? in_subnet(&net, ifa->ifa_addr)
				: strcmp(ifa->ifa_name, device) == 0))
			continue;
		if (!found || (found->ifa_addr->sa_family == AF_INET6 &&
			       ifa->ifa_addr->sa_family == AF_INET))
			found = ifa;
	}
	if (found)
		keep(ret, found->ifa_addr);
	freeifaddrs(all);
	if (!found)
		return errmsg_say(
			err, -EINVAL,
			"this machine has no address at '%s': see net_device in vmstep.conf",
			device);
	return 0;
}

static int of_name(const char *name, int flags, const char *cure,
		   struct sockaddr_storage *ret, struct errmsg *err)
{
	const struct addrinfo hints = {
		.ai_flags = flags,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai = NULL;
	int r;

	r = getaddrinfo(name, NULL, &hints, &ai);
	if (r != 0)
		return errmsg_say(err, -EINVAL, "'%s': %s: %s", name,
				  gai_strerror(r), cure);
	keep(ret, ai->ai_addr);
	freeaddrinfo(ai);
	return 0;
}

int local_address(const char *device, const char *bind, const char *node,
		  struct sockaddr_storage *ret, struct errmsg *err)
{
	*ret = (struct sockaddr_storage){ 0 };
	if (device)
		return of_device(device, ret, err);
	if (bind)
		return of_name(bind, AI_NUMERICHOST,
			       "give --bind an address as in 192.0.2.7", ret,
			       err);
	if (node)
		return of_name(node, AI_ADDRCONFIG,
			       "name the interface: net_device in vmstep.conf",
			       ret, err);
	return errmsg_say(err, -EINVAL,
			  "no address to listen at: give --device or --bind");
}
