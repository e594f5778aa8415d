/* guest.h - a load generator that plays one guest and its QEMU
 *
 * What it sends it has just written, every byte; what it receives it reads,
 * every byte. A vhost-user guest is pmix-net/test_driver.h; a stream guest
 * does as QEMU's -netdev stream: one system call a frame sent, up to 64 KiB a
 * read.
 *
 * Thread: one at a time.
 */
#ifndef VMSTEP_BENCH_GUEST_H
#define VMSTEP_BENCH_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netctl.h"
#include "nodes.h"
#include "test_driver.h"

struct guest_conf {
	uint32_t rank;
	enum netctl_port kind;
	struct driver_conf driver;
};

struct guest;

/* Write a frame of at most @max bytes to @at; returns its length. @hdr is all
 * 0 before. */
typedef size_t (*guest_fill_fn)(uint8_t *at, size_t max, unsigned int pair,
				struct virtio_net_hdr_v1 *hdr, void *arg);
/* Take a frame: its bytes lie in @n pieces. */
typedef void (*guest_take_fn)(const struct iovec *piece, unsigned int n,
			      size_t len, const struct virtio_net_hdr_v1 *hdr,
			      void *arg);

/* Join @s and get ready for frames. */
struct guest *guest_new(const struct guest_conf *conf, struct nodes *s);
void guest_free(struct guest *g);
/* NULL for a stream. */
struct driver *guest_driver(struct guest *g);

/* Send up to @max frames on @pair, as many as there is room for; returns how
 * many. */
unsigned int guest_send(struct guest *g, unsigned int pair, unsigned int max,
			guest_fill_fn fill, void *arg);
/* Has all that was sent left the guest? Only a stream may have a rest. */
bool guest_flush(struct guest *g);
/* Take up to @max frames that are there, on all pairs. */
unsigned int guest_recv(struct guest *g, unsigned int max, guest_take_fn take,
			void *arg);

enum guest_wait {
	GUEST_FRAME, /* until there is a frame */
	GUEST_ROOM,  /* until there is room for some */
};
/* Sleep, up to @ms. */
void guest_wait(struct guest *g, enum guest_wait what, int ms);

#endif
