#include <config.h>

#include "rdma.h"

#include <glob.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"

static bool is_active(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char line[64];

	return f && fgets(line, sizeof(line), f) && strstr(line, "ACTIVE");
}

bool rdma_is_there(void)
{
	bool there = false;
	glob_t found;

	if (glob("/sys/class/infiniband/*/ports/*/state", 0, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc && !there; i++)
		there = is_active(found.gl_pathv[i]);
	globfree(&found);
	return there;
}

static bool is_same(const struct sockaddr *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

	if (!a || a->sa_family != b->ss_family)
		return false;
	if (a->sa_family == AF_INET)
		return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return a->sa_family == AF_INET6 &&
	       memcmp(&a6->sin6_addr, &b6->sin6_addr, 16) == 0;
}

static bool interface_of(int fd, char ret[IFNAMSIZ])
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	struct ifaddrs *all;
	bool found = false;

	if (getsockname(fd, (struct sockaddr *)&own, &len) < 0 ||
	    getifaddrs(&all) < 0)
		return false;
	for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		found = is_same(i->ifa_addr, &own);
		if (found)
			snprintf(ret, IFNAMSIZ, "%s", i->ifa_name);
	}
	freeifaddrs(all);
	return found;
}

/* The port's number is the interface's own, dev_port, from 0 on. */
static bool behind(const char *interface, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[128];
	unsigned int port = 0;
	glob_t found;

	snprintf(path, sizeof(path), "/sys/class/net/%s/dev_port", interface);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%u", &port) != 1)
		port = 0;
	snprintf(path, sizeof(path), "/sys/class/net/%s/device/infiniband/*",
		 interface);
	if (glob(path, 0, NULL, &found) != 0)
		return false;
	snprintf(ret, size, "%s:%u", strrchr(found.gl_pathv[0], '/') + 1,
		 port + 1);
	globfree(&found);
	return true;
}

bool rdma_device(int fd, bool rdma, char *ret, size_t size)
{
	char interface[IFNAMSIZ];

	if (!interface_of(fd, interface))
		return false;
	if (rdma)
		return behind(interface, ret, size);
	snprintf(ret, size, "%s", interface);
	return true;
}
