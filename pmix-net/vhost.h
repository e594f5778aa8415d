/* vhost.h - a vhost-user back end's control side
 *
 * QEMU (the front end) tells over a socket where the guest's memory and its
 * rings are, and what the guest's driver has agreed to. This module keeps that
 * state, checks all of it, and says which rings may be used. What goes through
 * them is port_vhost.c's business.
 *
 * Owns:    the socket, the mapped memory, the rings' descriptors.
 * Borrows: the loop.
 * Thread:  the loop's, which others stand still for while it hears messages;
 *          vhost_call() is for any.
 */
#ifndef VMSTEP_VHOST_H
#define VMSTEP_VHOST_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "guest_mem.h"
#include "loop.h"
#include "vhost_wire.h"
#include "virtqueue.h"

#define VHOST_PAIRS_MAX 8 /* receive ring 2i, transmit ring 2i + 1 */
#define VHOST_RINGS	(2 * VHOST_PAIRS_MAX)

struct vhost;

struct vhost_ring {
	struct virtqueue vq;
	unsigned int index;
	bool running; /* vq may be used */
	/* vhost.c's own */
	struct vhost *dev;
	struct vhost_addr addr;
	uint32_t size;
	uint16_t base;
	bool has_addr, enabled;
	int kick, call; /* eventfds; -1: none */
	struct loop_io *kick_io;
	uint64_t kicks, calls; /* received and made, while running */
};

struct vhost_ops {
	/* The ring may be used from now on. */
	void (*started)(struct vhost_ring *r, void *arg);
	/* It may not any more when this returns. */
	void (*stopping)(struct vhost_ring *r, void *arg);
	/* Memory comes or goes: publish now what was given back, keep no
	 * pointer into a chain. A ring that is stopped after this, with
	 * nothing new given back, may be gone from memory already. */
	void (*settle)(struct vhost_ring *r, void *arg);
	/* The driver has moved its avail index. */
	void (*kicked)(struct vhost_ring *r, void *arg);
	/* The front end hung up, broke the rules, or its memory is gone.
	 * Nothing follows; the device may be freed from here on. */
	void (*ended)(const char *why, void *arg);
};

struct vhost_conf {
	struct loop *loop;
	int fd;		   /* owned after success */
	unsigned int mtu;  /* offered to the guest */
	uint64_t features; /* VIRTIO_NET_F_*, as bits, that we can do */
	const struct vhost_ops *ops;
	void *arg;
};

int vhost_new(const struct vhost_conf *conf, struct vhost **ret,
	      struct errmsg *err);
void vhost_free(struct vhost *v); /* NULL is fine; stops no ring first */

/* What guest and front end agreed to. */
uint64_t vhost_features(const struct vhost *v);
const struct guest_mem *vhost_mem(const struct vhost *v);
/* Interrupt the driver: vq_publish() said so. */
void vhost_call(struct vhost_ring *r);

#endif
