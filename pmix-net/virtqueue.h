/* virtqueue.h - a split virtqueue, from the device's side
 *
 * After the virtio specification 1.2, section 2.7. The driver is a guest and
 * not trusted: whatever lies in its memory is read once, and checked before it
 * is used. A ring that breaks the rules says why in `bad`, and is used no more.
 *
 * Chains are given back in the order in which they were taken, so a ring can
 * be taken up again from its used index, by us or by another process.
 *
 * Owns:    nothing. Borrows the guest's memory.
 * Thread:  one at a time; the driver is on the other side.
 */
#ifndef VMSTEP_VIRTQUEUE_H
#define VMSTEP_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_ring.h>
#include <sys/uio.h>

#include "errmsg.h"
#include "guest_mem.h"
#include "vhost_wire.h"

#define VQ_SIZE_MAX  32768 /* entries: virtio 1.2, 2.7 */
#define VQ_CHAIN_MAX 256   /* pieces of one chain */

struct virtqueue {
	const struct guest_mem *mem;
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size;	    /* a power of two */
	uint16_t taken;	    /* entries of avail taken so far */
	uint16_t seen;	    /* avail's index when last looked at */
	uint16_t given;	    /* entries of used written so far */
	uint16_t published; /* of these, those that the driver was told of */
	bool event_idx, indirect; /* features */
	bool log_used;		  /* mark writes to used, at this address */
	uint64_t log_at;
	const char *bad; /* the rule that was broken; NULL: none */
};

struct vq_chain {
	uint16_t head;
	unsigned int n_out,
		n_in; /* pieces we read, behind them those we write */
	size_t out_len, in_len;
	struct iovec iov[VQ_CHAIN_MAX];
};

/* Find the ring at @addr in the front end's memory. -EINVAL, -EFAULT. */
int vq_map(struct virtqueue *r, const struct guest_mem *mem,
	   const struct vhost_addr *addr, uint32_t size, struct errmsg *err);
/* Start at avail index @base; used goes on where it is. */
void vq_start(struct virtqueue *r, uint16_t base);

/* Chains that are there to be taken; < 0: the ring is bad. */
int vq_count(struct virtqueue *r);
/* The next chain: 1; 0: there is none; -EPROTO: the ring is bad. */
int vq_take(struct virtqueue *r, struct vq_chain *c);
/* The last @n chains taken were not taken. */
static inline void vq_untake(struct virtqueue *r, uint16_t n)
{
	r->taken = (uint16_t)(r->taken - n);
}

/* Give back the chain @head, @len bytes of it written. Not seen by the driver
 * before vq_publish(). */
void vq_give(struct virtqueue *r, uint16_t head, uint32_t len);
/* The last @n given were not given. */
static inline void vq_ungive(struct virtqueue *r, uint16_t n)
{
	r->given = (uint16_t)(r->given - n);
}
/* Tell the driver. True: it wants an interrupt. */
bool vq_publish(struct virtqueue *r);

/* What a person may see of it; changes nothing. How many chains are there to be
 * taken, and where the driver wants to be interrupted (0 without EVENT_IDX). */
uint16_t vq_available(const struct virtqueue *r);
uint16_t vq_event(const struct virtqueue *r);

/* Ask for a kick once @more further chains are there than were taken so far.
 * True: they are already, and no kick may come. */
bool vq_arm(struct virtqueue *r, uint16_t more);
/* No kicks, please; one may still come. */
void vq_disarm(struct virtqueue *r);

#endif
