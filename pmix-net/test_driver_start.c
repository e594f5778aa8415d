#include <config.h>

#include "test_driver_impl.h"

#include <errno.h>
#include <string.h>

static int negotiate_protocol(struct driver *d)
{
	const uint64_t wanted =
		DRIVER_BIT(FE_PROTOCOL_MQ) | DRIVER_BIT(FE_PROTOCOL_MTU) |
		DRIVER_BIT(FE_PROTOCOL_LOG_SHMFD) |
		(d->conf.no_ack ? 0 : DRIVER_BIT(FE_PROTOCOL_REPLY_ACK)) |
		DRIVER_BIT(FE_PROTOCOL_CONFIGURE_MEM_SLOTS);
	int r;

	r = fe_ask_u64(&d->fe, FE_GET_PROTOCOL_FEATURES, &d->protocol);
	if (r < 0)
		return r;
	d->protocol &= wanted;
	if (!d->conf.mem_slots)
		d->protocol &= ~DRIVER_BIT(FE_PROTOCOL_CONFIGURE_MEM_SLOTS);
	r = fe_tell_u64(&d->fe, FE_SET_PROTOCOL_FEATURES, d->protocol);
	d->fe.ack = d->protocol & DRIVER_BIT(FE_PROTOCOL_REPLY_ACK);
	return r;
}

static int check_pairs(struct driver *d, struct errmsg *err)
{
	uint64_t pairs = 1;
	int r = 0;

	if (d->protocol & DRIVER_BIT(FE_PROTOCOL_MQ))
		r = fe_ask_u64(&d->fe, FE_GET_QUEUE_NUM, &pairs);
	if (r < 0)
		return errmsg_set(err, r, "number of queues");
	if (pairs < d->conf.pairs)
		return errmsg_say(err, -ENOTSUP,
				  "the device has %u pairs of rings, not %u",
				  (unsigned int)pairs, d->conf.pairs);
	return 0;
}

/* A guest's driver takes of what is offered what it knows. */
static int set_features(struct driver *d, uint64_t offered, struct errmsg *err)
{
	uint64_t wanted = d->conf.features | DRIVER_BIT(VIRTIO_F_VERSION_1);
	uint64_t protocol = offered & DRIVER_BIT(FE_F_PROTOCOL_FEATURES);
	int r = 0;

	if (d->conf.pairs > 1)
		wanted |= DRIVER_BIT(VIRTIO_NET_F_MQ);
	if (d->conf.mtu)
		wanted |= DRIVER_BIT(VIRTIO_NET_F_MTU);
	d->features = wanted & offered;
	if (!(d->features & DRIVER_BIT(VIRTIO_F_VERSION_1)))
		return errmsg_say(err, -ENOTSUP, "a device before virtio 1.0");
	if (d->conf.mtu && (d->protocol & DRIVER_BIT(FE_PROTOCOL_MTU)))
		r = fe_tell_u64(&d->fe, FE_NET_SET_MTU, d->conf.mtu);
	if (r == 0)
		r = fe_tell_u64(&d->fe, FE_SET_FEATURES,
				d->features | protocol);
	driver_reset(d); /* now that it knows how */
	return r < 0 ? errmsg_set(err, r, "features") : 0;
}

static int become_owner(struct driver *d)
{
	int r = fe_tell(&d->fe, &(struct fe_msg){ 0 }, FE_SET_OWNER, 0, NULL,
			0);

	for (unsigned int i = 0; r == 0 && i < driver_n_rings(d); i++) {
		r = fe_tell_fd(&d->fe, FE_SET_VRING_CALL, i, d->rings[i].call);
		if (r == 0)
			r = fe_tell_fd(&d->fe, FE_SET_VRING_ERR, i, d->err_fd);
	}
	return r;
}

int driver_negotiate(struct driver *d, struct errmsg *err)
{
	uint64_t offered = 0;
	int r;

	r = fe_ask_u64(&d->fe, FE_GET_FEATURES, &offered);
	if (r == 0 && (offered & DRIVER_BIT(FE_F_PROTOCOL_FEATURES)))
		r = negotiate_protocol(d);
	if (r < 0)
		return errmsg_set(err, r, "what the device offers");
	r = check_pairs(d, err);
	if (r < 0)
		return r;
	r = become_owner(d);
	if (r < 0)
		return errmsg_set(err, r, "owner and calls");
	return set_features(d, offered, err);
}

static int add_regions(struct driver *d)
{
	struct fe_msg msg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->n_regions; i++) {
		msg = (struct fe_msg){ .mem_reg = { 0, d->regions[i] } };
		r = fe_tell(&d->fe, &msg, FE_ADD_MEM_REG, sizeof(msg.mem_reg),
			    &d->memfd, 1);
	}
	return r;
}

int driver_share_memory(struct driver *d, struct errmsg *err)
{
	struct fe_msg msg = { .memory = { .n = (uint32_t)d->n_regions } };
	int fds[3] = { d->memfd, d->memfd, d->memfd }, r;

	memcpy(msg.memory.regions, d->regions,
	       d->n_regions * sizeof(d->regions[0]));
	if (d->protocol & DRIVER_BIT(FE_PROTOCOL_CONFIGURE_MEM_SLOTS))
		r = add_regions(d);
	else
		r = fe_tell(&d->fe, &msg, FE_SET_MEM_TABLE,
			    8 + d->n_regions * sizeof(d->regions[0]), fds,
			    d->n_regions);
	return r < 0 ? errmsg_set(err, r, "the guest's memory") : 0;
}

int driver_set_ring(struct driver *d, unsigned int ring, struct errmsg *err)
{
	struct dring *q = &d->rings[ring];
	struct fe_msg msg = { .addr = {
				      .index = ring,
				      .desc_user_addr = (uintptr_t)q->ring.desc,
				      .avail_user_addr =
					      (uintptr_t)q->ring.avail,
				      .used_user_addr = (uintptr_t)q->ring.used,
			      } };
	int r;

	r = fe_tell_state(&d->fe, FE_SET_VRING_NUM, ring, q->conf.num);
	if (r == 0)
		r = fe_tell_state(&d->fe, FE_SET_VRING_BASE, ring,
				  d->base[ring]);
	if (r == 0)
		r = fe_tell(&d->fe, &msg, FE_SET_VRING_ADDR, sizeof(msg.addr),
			    NULL, 0);
	if (r == 0)
		r = fe_tell_fd(&d->fe, FE_SET_VRING_KICK, ring, q->kick);
	if (r == 0)
		r = fe_tell_fd(&d->fe, FE_SET_VRING_CALL, ring, q->call);
	return r < 0 ? errmsg_set(err, r, "ring %u", ring) : 0;
}

int driver_enable(struct driver *d, unsigned int ring, bool on)
{
	return fe_tell_state(&d->fe, FE_SET_VRING_ENABLE, ring, on);
}

int driver_start(struct driver *d, struct errmsg *err)
{
	uint64_t features;
	int r;

	r = driver_negotiate(d, err);
	if (r == 0)
		r = driver_share_memory(d, err);
	for (unsigned int i = 0; r == 0 && i < driver_n_rings(d); i++)
		r = driver_set_ring(d, i, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; r == 0 && i < driver_n_rings(d); i++)
		r = driver_enable(d, i, true);
	if (r == 0) /* it has heard all that came before */
		r = fe_ask_u64(&d->fe, FE_GET_FEATURES, &features);
	return r < 0 ? errmsg_set(err, r, "enable the rings") : 0;
}

int driver_stop_ring(struct driver *d, unsigned int ring, uint16_t *ret)
{
	struct fe_msg msg = { .state = { .index = ring } };
	int r;

	r = fe_ask(&d->fe, &msg, FE_GET_VRING_BASE, sizeof(msg.state));
	if (r < 0)
		return r;
	if (msg.state.index != ring || msg.state.num > UINT16_MAX)
		return -EPROTO;
	d->base[ring] = *ret = (uint16_t)msg.state.num;
	return 0;
}
