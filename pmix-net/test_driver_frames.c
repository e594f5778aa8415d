#include <config.h>

#include "test_driver_impl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int reap(struct dring *q)
{
	uint32_t len;
	int slot;

	while ((slot = dring_take(q, &len)) >= 0)
		dring_give_back(q, (unsigned int)slot);
	return slot == -EAGAIN ? 0 : slot;
}

int driver_room(struct driver *d, unsigned int pair, uint8_t **ret)
{
	struct dring *q = &d->rings[DRIVER_TX(pair)];
	int slot = dring_free_slot(q), r;

	if (slot < 0) {
		r = reap(q);
		if (r < 0)
			return r;
		slot = dring_free_slot(q);
	}
	if (slot < 0)
		return 0;
	*ret = dring_buffer(q, (unsigned int)slot) + DRIVER_HDR;
	return 1;
}

/* The header, then the frame in equal parts; none is empty. */
static void cut(struct vring_desc *desc, size_t len, unsigned int pieces)
{
	size_t part;

	desc[0].len = DRIVER_HDR;
	desc[0].flags |= VRING_DESC_F_NEXT;
	for (unsigned int i = 1; i < pieces; i++) {
		part = len / (pieces - i);
		desc[i].addr = desc[i - 1].addr + desc[i - 1].len;
		desc[i].len = (uint32_t)part;
		desc[i].flags = i + 1 < pieces ? VRING_DESC_F_NEXT : 0;
		len -= part;
	}
}

void driver_post(struct driver *d, unsigned int pair,
		 const struct virtio_net_hdr_v1 *hdr, size_t len,
		 unsigned int pieces)
{
	struct dring *q = &d->rings[DRIVER_TX(pair)];
	unsigned int slot = (unsigned int)dring_free_slot(q);
	struct vring_desc *desc = dring_descs(q, slot);
	uint8_t *buffer = dring_buffer(q, slot);

	assert(len >= pieces && len <= d->conf.tx_bytes &&
	       pieces <= d->conf.pieces);
	if (hdr)
		memcpy(buffer, hdr, DRIVER_HDR);
	else
		memset(buffer, 0, DRIVER_HDR);
	if (pieces > 1) {
		cut(desc, len, pieces);
	} else {
		desc->len = (uint32_t)(DRIVER_HDR + len);
		desc->flags = 0;
	}
	if (q->tables)
		q->ring.desc[slot].len = (uint32_t)(pieces * sizeof(*desc));
	dring_offer_free(q);
}

int driver_send(struct driver *d, unsigned int pair,
		const struct virtio_net_hdr_v1 *hdr, const void *frame,
		size_t len, unsigned int pieces)
{
	uint8_t *at;
	int r = driver_room(d, pair, &at);

	assert(len <= d->conf.tx_bytes);
	if (r <= 0)
		return r < 0 ? r : -EAGAIN;
	memcpy(at, frame, len);
	driver_post(d, pair, hdr, len, pieces);
	driver_publish(d, DRIVER_TX(pair));
	return 0;
}

unsigned int driver_pending(struct driver *d, unsigned int pair)
{
	struct dring *q = &d->rings[DRIVER_TX(pair)];

	return (uint16_t)(q->avail - q->used) - dring_ready(q);
}

/* A further buffer of the frame. */
static int take_buffer(struct dring *q, struct driver_frame *f, size_t min)
{
	uint32_t len;
	int slot = dring_take(q, &len);

	if (slot < 0)
		return slot;
	if (len < min)
		return -EPROTO;
	f->slot[f->n] = (uint16_t)slot;
	f->piece[f->n] =
		(struct iovec){ dring_buffer(q, (unsigned int)slot), len };
	f->len += len;
	f->n++;
	return 0;
}

int driver_recv(struct driver *d, unsigned int pair, struct driver_frame *ret)
{
	struct dring *q = &d->rings[DRIVER_RX(pair)];
	unsigned int n;
	int r;

	ret->n = 0;
	ret->len = 0;
	r = take_buffer(q, ret, DRIVER_HDR);
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	memcpy(&ret->hdr, ret->piece[0].iov_base, DRIVER_HDR);
	ret->piece[0].iov_base = (uint8_t *)ret->piece[0].iov_base + DRIVER_HDR;
	ret->piece[0].iov_len -= DRIVER_HDR;
	ret->len -= DRIVER_HDR;
	n = ret->hdr.num_buffers; /* there, also without MRG_RXBUF: 1 */
	if (n == 0 || n > DRIVER_BUFFERS_MAX ||
	    (n > 1 && !(d->features & DRIVER_BIT(VIRTIO_NET_F_MRG_RXBUF))))
		return -EPROTO;
	while (ret->n < n)
		if (take_buffer(q, ret, 1) < 0)
			return -EPROTO; /* they come all at once */
	return 1;
}

void driver_refill(struct driver *d, unsigned int pair,
		   const struct driver_frame *f)
{
	for (unsigned int i = 0; i < f->n; i++)
		dring_offer(&d->rings[DRIVER_RX(pair)], f->slot[i]);
}

size_t driver_frame_copy(const struct driver_frame *f, void *to, size_t size)
{
	size_t at = 0;

	for (unsigned int i = 0; i < f->n && at < size; i++) {
		size_t part = f->piece[i].iov_len;

		if (part > size - at)
			part = size - at;
		memcpy((uint8_t *)to + at, f->piece[i].iov_base, part);
		at += part;
	}
	return at;
}

/* -- notifications -------------------------------------------------------- */

void driver_kick(struct driver *d, unsigned int ring)
{
	uint64_t one = 1;

	if (write(d->rings[ring].kick, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* kicked often enough */
}

bool driver_publish(struct driver *d, unsigned int ring)
{
	if (!dring_publish(&d->rings[ring]))
		return false;
	driver_kick(d, ring);
	return true;
}

bool driver_arm(struct driver *d, unsigned int ring, unsigned int after)
{
	return dring_arm(&d->rings[ring], after);
}

int driver_call_fd(const struct driver *d, unsigned int ring)
{
	return d->rings[ring].call;
}

void driver_called(struct driver *d, unsigned int ring)
{
	uint64_t n;

	if (read(d->rings[ring].call, &n, sizeof(n)) < 0)
		assert(errno == EAGAIN);
	if (!d->rings[ring].event_idx)
		dring_disarm(&d->rings[ring]);
}

int driver_wait(struct driver *d, unsigned int ring, int ms)
{
	int r = 1;

	if (driver_arm(d, ring, 1))
		return 1;
	r = fe_wait(&d->fe, d->rings[ring].call, ms);
	driver_called(d, ring);
	return r < 0 ? r : dring_ready(&d->rings[ring]) > 0;
}
