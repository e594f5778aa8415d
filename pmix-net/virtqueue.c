#include <config.h>

#include "virtqueue.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Memory of the driver's is read and written through these: once each, and in
 * the order of the text where it matters. */
#define LOAD(p)		    __atomic_load_n(p, __ATOMIC_RELAXED)
#define STORE(p, v)	    __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p)	    __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE_RELEASE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

/* Behind the entries of avail and used: when to be told (EVENT_IDX). */
static const uint16_t *used_event(const struct virtqueue *r)
{
	return (const uint16_t *)&r->avail->ring[r->size];
}

static uint16_t *avail_event(const struct virtqueue *r)
{
	return (uint16_t *)&r->used->ring[r->size];
}

static int bad(struct virtqueue *r, const char *why)
{
	r->bad = why;
	return -EPROTO;
}

/* -- where it is ----------------------------------------------------------- */

static bool aligned(uint64_t address, unsigned int to)
{
	return address % to == 0;
}

int vq_map(struct virtqueue *r, const struct guest_mem *mem,
	   const struct vhost_addr *addr, uint32_t size, struct errmsg *err)
{
	if (size == 0 || size > VQ_SIZE_MAX || (size & (size - 1)))
		return errmsg_say(
			err, -EINVAL,
			"a ring of %u entries: it takes a power of two up to %d",
			size, VQ_SIZE_MAX);
	if (!aligned(addr->desc, 16) || !aligned(addr->avail, 2) ||
	    !aligned(addr->used, 4))
		return errmsg_say(err, -EINVAL, "a ring is not aligned");
	r->desc = guest_mem_user(mem, addr->desc, 16ull * size);
	r->avail = guest_mem_user(mem, addr->avail, 6 + 2ull * size);
	r->used = guest_mem_user(mem, addr->used, 6 + 8ull * size);
	if (!r->desc || !r->avail || !r->used)
		return errmsg_say(err, -EFAULT,
				  "a ring is not in the guest's memory");
	r->mem = mem;
	r->size = (uint16_t)size;
	r->log_used = addr->flags & VHOST_ADDR_LOG;
	r->log_at = addr->log;
	return 0;
}

void vq_start(struct virtqueue *r, uint16_t base)
{
	r->taken = r->seen = base;
	r->given = r->published = le16toh(LOAD(&r->used->idx));
	r->bad = NULL;
}

/* -- taking ---------------------------------------------------------------- */

static uint16_t look(struct virtqueue *r)
{
	/* acquire: pairs with the driver's barrier before it moves the index,
	 * so that the entries up to it are there */
	r->seen = le16toh(LOAD_ACQUIRE(&r->avail->idx));
	return (uint16_t)(r->seen - r->taken);
}

int vq_count(struct virtqueue *r)
{
	uint16_t n = look(r);

	if (n > r->size)
		return bad(r, "more entries are available than the ring has");
	return n;
}

/* @at may be odd: nothing is said of where an indirect table begins. */
static struct vring_desc load_desc(const uint8_t *at)
{
	struct vring_desc d;

	memcpy(&d, at, sizeof(d));
	/* from here on it is ours: the compiler may not fetch it again */
	__asm__ volatile("" : "+m"(d));
	return (struct vring_desc){
		.addr = le64toh(d.addr),
		.len = le32toh(d.len),
		.flags = le16toh(d.flags),
		.next = le16toh(d.next),
	};
}

static int add_pieces(struct virtqueue *r, struct vq_chain *c,
		      const struct vring_desc *d)
{
	uint64_t at = d->addr, left = d->len, len;
	unsigned int n;

	if (!left)
		return bad(r, "an empty descriptor");
	for (; left; at += len, left -= len) {
		void *host;

		n = c->n_out + c->n_in;
		len = left;
		host = guest_mem_at(r->mem, at, &len);
		if (!host)
			return bad(r,
				   "a descriptor outside the guest's memory");
		if (n == VQ_CHAIN_MAX)
			return bad(r, "a chain of too many pieces");
		c->iov[n] = (struct iovec){ host, len };
		if (d->flags & VRING_DESC_F_WRITE)
			c->n_in++;
		else
			c->n_out++;
	}
	if (d->flags & VRING_DESC_F_WRITE)
		c->in_len += d->len;
	else if (c->n_in)
		return bad(r, "a readable descriptor after a writable one");
	else
		c->out_len += d->len;
	return 0;
}

struct table {
	const uint8_t *desc; /* of struct vring_desc */
	uint32_t size;
	bool indirect;
};

static int enter_indirect(struct virtqueue *r, struct table *t,
			  const struct vring_desc *d)
{
	uint64_t len = d->len;

	if (!r->indirect)
		return bad(r, "an indirect table that was not negotiated");
	if (t->indirect || (d->flags & VRING_DESC_F_NEXT))
		return bad(r, "an indirect table within or before others");
	if (!len || len % sizeof(*d) || len / sizeof(*d) > VQ_SIZE_MAX)
		return bad(r, "an indirect table of an impossible size");
	t->desc = guest_mem_at(r->mem, d->addr, &len);
	if (!t->desc || len < d->len)
		return bad(r, "an indirect table outside the guest's memory");
	t->size = d->len / sizeof(*d);
	t->indirect = true;
	return 0;
}

static int walk(struct virtqueue *r, struct vq_chain *c)
{
	struct table t = { (const uint8_t *)r->desc, r->size, false };
	struct vring_desc d = { .next = c->head };
	uint32_t n = 0;
	int e;

	do {
		if (d.next >= t.size)
			return bad(r, "a descriptor that the table has not");
		if (n++ == t.size)
			return bad(r, "a chain that never ends");
		d = load_desc(t.desc + sizeof(d) * d.next);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			e = enter_indirect(r, &t, &d);
			d = (struct vring_desc){ .flags = VRING_DESC_F_NEXT };
			n = 0;
		} else {
			e = add_pieces(r, c, &d);
		}
		if (e < 0)
			return e;
	} while (d.flags & VRING_DESC_F_NEXT);
	return 0;
}

int vq_take(struct virtqueue *r, struct vq_chain *c)
{
	int e;

	if (r->seen == r->taken) {
		e = vq_count(r);
		if (e <= 0)
			return e;
	}
	c->head = le16toh(LOAD(&r->avail->ring[r->taken & (r->size - 1)]));
	c->n_out = c->n_in = 0;
	c->out_len = c->in_len = 0;
	e = walk(r, c);
	if (e < 0)
		return e;
	r->taken++;
	return 1;
}

/* -- giving back ----------------------------------------------------------- */

void vq_give(struct virtqueue *r, uint16_t head, uint32_t len)
{
	uint16_t at = r->given & (r->size - 1);
	struct vring_used_elem *e = &r->used->ring[at];

	STORE(&e->id, htole32(head));
	STORE(&e->len, htole32(len));
	r->given++;
	if (r->log_used)
		guest_mem_mark(r->mem,
			       r->log_at + 4 + sizeof(*e) * (uint64_t)at,
			       sizeof(*e));
}

bool vq_publish(struct virtqueue *r)
{
	uint16_t old = r->published;

	if (r->given == old)
		return false;
	r->published = r->given;
	/* release: the entries are there before the index says so */
	STORE_RELEASE(&r->used->idx, htole16(r->given));
	if (r->log_used)
		guest_mem_mark(r->mem, r->log_at + 2, 2);
	/* The driver moves its event index, then looks at ours; we moved ours
	 * and look at its. One of the two must see the other's. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!r->event_idx)
		return !(le16toh(LOAD(&r->avail->flags)) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(le16toh(LOAD(used_event(r))), r->given, old);
}

/* -- looking on ------------------------------------------------------------ */

uint16_t vq_available(const struct virtqueue *r)
{
	uint16_t n = (uint16_t)(le16toh(LOAD(&r->avail->idx)) - r->taken);

	return n < r->size ? n : r->size;
}

uint16_t vq_event(const struct virtqueue *r)
{
	return r->event_idx ? le16toh(LOAD(used_event(r))) : 0;
}

/* -- kicks ----------------------------------------------------------------- */

bool vq_arm(struct virtqueue *r, uint16_t more)
{
	if (r->event_idx)
		STORE(avail_event(r), htole16((uint16_t)(r->taken + more - 1)));
	else
		STORE(&r->used->flags, 0);
	/* as in vq_publish(), the other way round */
	atomic_thread_fence(memory_order_seq_cst);
	return look(r) >= more;
}

void vq_disarm(struct virtqueue *r)
{
	/* With an event index, the one that has passed is not met again. */
	if (!r->event_idx)
		STORE(&r->used->flags, htole16(VRING_USED_F_NO_NOTIFY));
}
