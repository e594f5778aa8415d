/* tcp_socket.h - TCP sockets and their addresses as text
 *
 * "192.0.2.7:40123", "[2001:db8::7]:40123". All sockets are non-blocking and
 * close-on-exec.
 */
#ifndef VMSTEP_TCP_SOCKET_H
#define VMSTEP_TCP_SOCKET_H

#include <stdint.h>
#include <sys/socket.h>

#include "errmsg.h"

#define TCP_ADDRESS_MAX 160 /* bytes of an address's text, with the NUL */

struct port_range {
	uint16_t first, last; /* both 0: any */
};

/* Listen at @address, on the first free port of @ports; its text goes to
 * @ret_text. Returns the socket, -EADDRINUSE when no port is free, or another
 * -errno, both with words. */
int tcp_listen(const struct sockaddr_storage *address, struct port_range ports,
	       char ret_text[TCP_ADDRESS_MAX], struct errmsg *err);

/* @fd (borrowed) listens already, and may be shared with other processes; its
 * address goes to @ret_text. 0, or -EINVAL where it does not. */
int tcp_adopt(int fd, char ret_text[TCP_ADDRESS_MAX], struct errmsg *err);

/* Begin to connect to @address. Returns the socket, whose SO_ERROR has the
 * result once it is writable; -EINVAL where @address is none; else -errno. */
int tcp_connect(const char *address, struct errmsg *err);

/* What links want: no delay, and to learn within TCP_DEAD_MS that the other
 * end has gone silent. */
#define TCP_DEAD_MS 30000
void tcp_set_options(int fd);

/* The other end of @fd, for a message. */
void tcp_peer_text(int fd, char text[TCP_ADDRESS_MAX]);

#endif
