/* test_dring.h - the driver's half of one split ring, for test_driver.c
 *
 * Slots: each a buffer and the descriptors for it, made in advance. Used slots
 * come back in any order. What a device may not do is -EPROTO.
 *
 * Borrows: the memory.
 */
#ifndef VMSTEP_TEST_DRING_H
#define VMSTEP_TEST_DRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_ring.h>

struct dring_conf {
	unsigned int num;	/* descriptors */
	unsigned int pieces;	/* of them for a slot, or in its table */
	bool indirect;		/* a slot is a table */
	bool writable;		/* by the device: a ring that receives */
	size_t headroom, bytes; /* of a slot's buffer */
};

struct dring {
	struct dring_conf conf;
	struct vring ring;
	bool event_idx;
	unsigned int slots, mask; /* of the queue of free ones */
	size_t stride;
	uint8_t *buffers;
	struct vring_desc *tables;
	uint16_t avail, published, used, used_seen;
	uint16_t *free; /* slots, oldest first */
	unsigned int head, tail;
	bool *posted; /* by slot: the device has it */
	int kick, call;
};

/* The memory that it needs: rings and tables, buffers. */
size_t dring_ring_bytes(const struct dring_conf *conf);
size_t dring_buffer_bytes(const struct dring_conf *conf);
/* Returns 0 or -errno. */
int dring_init(struct dring *q, const struct dring_conf *conf, uint8_t *ring,
	       uint8_t *buffers);
void dring_done(struct dring *q);
/* As at first: descriptors written, everything free. @gpa translates what the
 * guest's memory begins with at @base: it may have gaps. */
void dring_reset(struct dring *q, bool event_idx, bool indirect,
		 uint64_t (*gpa)(const void *p, const void *arg),
		 const void *arg);

static inline uint8_t *dring_buffer(const struct dring *q, unsigned int slot)
{
	return q->buffers + slot * q->stride + q->conf.headroom;
}

/* A free slot, which stays free; -1: there is none. */
static inline int dring_free_slot(const struct dring *q)
{
	return q->head == q->tail ? -1 : q->free[q->head & q->mask];
}

static inline struct vring_desc *dring_descs(const struct dring *q,
					     unsigned int slot)
{
	return q->tables ? q->tables + slot * q->conf.pieces
			 : q->ring.desc + slot * q->conf.pieces;
}

/* Offer the oldest free slot, or @slot, which was taken by dring_take(). */
void dring_offer_free(struct dring *q);
void dring_offer(struct dring *q, unsigned int slot);
/* What the device has used: the slot, and how many bytes it wrote; -EAGAIN,
 * -EPROTO. */
int dring_take(struct dring *q, uint32_t *len);
/* Entries used and not taken. */
unsigned int dring_ready(struct dring *q);
void dring_give_back(struct dring *q, unsigned int slot); /* now free */
bool dring_publish(struct dring *q);
bool dring_arm(struct dring *q, unsigned int after);
void dring_disarm(struct dring *q);

#endif
