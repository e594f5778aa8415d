#include <config.h>

#include "tcp_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "value.h"

#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_STEP_S 5
#define KEEPALIVE_PROBES 3

void tcp_set_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_STEP_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_DEAD_MS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		setsockopt(fd, options[i].level, options[i].name,
			   &options[i].value, sizeof(options[i].value));
}

void tcp_peer_text(int fd, char text[TCP_ADDRESS_MAX])
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	char host[64], port[16];

	if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0 &&
	    getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(text, TCP_ADDRESS_MAX, "%s port %s", host, port);
	else
		snprintf(text, TCP_ADDRESS_MAX, "a peer that is gone");
}

static int parse_address(const char *text, struct sockaddr_storage *ret,
			 socklen_t *ret_len, struct errmsg *err)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM,
	};
	char host[TCP_ADDRESS_MAX], *colon;
	const char *name = host;
	struct addrinfo *ai = NULL;
	unsigned long port;

	snprintf(host, sizeof(host), "%s", text);
	colon = strrchr(host, ':');
	/* getaddrinfo() takes any number for a port, modulo 65536 */
	if (!colon || value_uint(colon + 1, 1, UINT16_MAX, &port, NULL) < 0)
		return errmsg_say(err, -EINVAL, "'%s' is not ADDRESS:PORT",
				  text);
	*colon = '\0';
	if (host[0] == '[' && colon > host + 1 && colon[-1] == ']') {
		colon[-1] = '\0';
		name++;
	}
	if (getaddrinfo(name, colon + 1, &hints, &ai) != 0)
		return errmsg_say(err, -EINVAL, "'%s' is not ADDRESS:PORT",
				  text);
	memcpy(ret, ai->ai_addr, ai->ai_addrlen);
	*ret_len = ai->ai_addrlen;
	freeaddrinfo(ai);
	return 0;
}

int tcp_connect(const char *address, struct errmsg *err)
{
	struct sockaddr_storage sa = { 0 };
	_cleanup_close_ int fd = -1;
	socklen_t len = 0;
	int r;

	r = parse_address(address, &sa, &len, err);
	if (r < 0)
		return r;
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return errmsg_set(err, -errno, "socket for a link");
	if (connect(fd, (struct sockaddr *)&sa, len) < 0 &&
	    errno != EINPROGRESS)
		return errmsg_set(err, -errno, "connect to %s", address);
	return TAKE_FD(fd);
}

static void set_port(struct sockaddr_storage *sa, uint16_t port)
{
	if (sa->ss_family == AF_INET6)
		((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)sa)->sin_port = htons(port);
}

static int bind_in_range(int fd, struct sockaddr_storage sa,
			 struct port_range ports, struct errmsg *err)
{
	socklen_t len = sa.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						 : sizeof(struct sockaddr_in);

	for (uint32_t port = ports.first; port <= ports.last; port++) {
		set_port(&sa, (uint16_t)port);
		if (bind(fd, (struct sockaddr *)&sa, len) == 0 &&
		    listen(fd, SOMAXCONN) == 0)
			return 0;
		if (errno != EADDRINUSE)
			return errmsg_set(err, -errno,
					  "cannot listen for other nodes");
	}
	return errmsg_say(err, -EADDRINUSE,
			  "all ports %u to %u are in use: widen net_port_range",
			  ports.first, ports.last);
}

static int say_address(int fd, char text[TCP_ADDRESS_MAX], struct errmsg *err)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	char host[64], port[16];

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return errmsg_set(err, -errno, "address of the listener");
	if (getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return errmsg_say(err, -EIO, "address of the listener");
	snprintf(text, TCP_ADDRESS_MAX,
		 sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return 0;
}

int tcp_listen(const struct sockaddr_storage *address, struct port_range ports,
	       char ret_text[TCP_ADDRESS_MAX], struct errmsg *err)
{
	_cleanup_close_ int fd =
		socket(address->ss_family,
		       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return errmsg_set(err, -errno, "socket for links");
	r = bind_in_range(fd, *address, ports, err);
	if (r == 0)
		r = say_address(fd, ret_text, err);
	return r < 0 ? r : TAKE_FD(fd);
}

int tcp_adopt(int fd, char ret_text[TCP_ADDRESS_MAX], struct errmsg *err)
{
	int protocol = 0, listens = 0, flags = fcntl(fd, F_GETFL);
	socklen_t len = sizeof(int);

	if (flags < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 ||
	    protocol != IPPROTO_TCP || !listens ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return errmsg_say(err, -EINVAL,
				  "descriptor %d is not a listening TCP socket",
				  fd);
	return say_address(fd, ret_text, err);
}
