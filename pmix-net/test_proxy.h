/* test_proxy.h - a wire between two nodes that a test can cut
 *
 * A process that passes on what comes over TCP at its address.
 */
#ifndef VMSTEP_TEST_PROXY_H
#define VMSTEP_TEST_PROXY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tcp_socket.h"

struct proxy {
	pid_t pid;
	int orders;		       /* to it */
	char address[TCP_ADDRESS_MAX]; /* where it listens */
	struct proxy_tape *tape;       /* shared with it */
};

/* In front of what listens at @address. */
void proxy_start(struct proxy *p, const char *address);
/* All connections are closed; new ones are accepted. */
void proxy_break(struct proxy *p);
/* Nothing passes in either direction, nothing is closed, until proxy_mend(). */
void proxy_hold(struct proxy *p);
void proxy_mend(struct proxy *p);
/* What has passed so far, both ways, up to @size bytes. */
size_t proxy_seen(const struct proxy *p, uint8_t *data, size_t size);
void proxy_end(struct proxy *p);

#endif
