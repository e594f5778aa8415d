#include <config.h>

#include "port_vhost.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "netctl.h"
#include "offload.h"
#include "vhost.h"

/* Transmit: a kick, or a look at the ring while we spin, has run_tx() take up
 * to TX_FRAMES chains and offer each to the forwarder. A frame that has to wait
 * stays where it is in the ring, and the ring is left alone until resume(). A
 * ring with more in it goes on in the next round, behind the others; one that
 * is empty is looked at again, or asks for a kick and sleeps.
 *
 * Receive: frames are copied into buffers as they come. The driver is told
 * after every PUBLISH_FRAMES of them, so that it works while we do, and at the
 * end of the round (flow.h). Without buffers the frame waits at its sender, and
 * a kick says when there are more.
 *
 * A ring that breaks the rules ends its port, but not at once: another port's
 * frame may be on its way into it. The end of the round sees to it. So does
 * memory that goes away under us: whoever has used it has a look.
 *
 * Who sends writes into the receive rings himself, in whatever thread, and so
 * that is under the outlet's lock; transmit rings are our own thread's. What
 * the front end says is heard while all others stand.
 */

#define BIT(n) (1ull << (n))

#define TX_FRAMES      128 /* a round, so that one port cannot starve others */
#define TX_BYTES       (512 * 1024)
#define PUBLISH_FRAMES 32
#define RX_CHAINS_MAX  256 /* of one frame; Linux needs 43 of 1.5 KB */

/* USO: virtio 1.2, 5.1.3; not in the headers of Linux before 6.2. */
#define NET_F_GUEST_USO4 54
#define NET_F_GUEST_USO6 55
#define NET_F_HOST_USO	 56

#define FEATURES                                                      \
	(BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_MTU) |        \
	 BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |    \
	 BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |      \
	 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |  \
	 BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_TSO4) |  \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) | \
	 BIT(NET_F_GUEST_USO4) | BIT(NET_F_GUEST_USO6) | BIT(NET_F_HOST_USO))

struct pair {
	struct vport *vp;
	unsigned int n;
	struct vhost_ring *rx, *tx; /* NULL: does not run */
	struct inlet in;
	struct round_job run_tx;
	bool asleep; /* tx asks for a kick */
	/* under the outlet's lock: */
	bool starved; /* rx asks for one: somebody waits for buffers */
};

struct vport {
	struct port port;
	struct port_env env;
	struct vhost *dev;
	struct pair pairs[VHOST_PAIRS_MAX];
	struct pair *takers[VHOST_PAIRS_MAX]; /* those whose rx runs */
	unsigned int n_takers;
	size_t header;		  /* bytes before each frame in the rings */
	struct netstats_sum told; /* frames for the guest that it knows of */
	bool mergeable;
	struct round_job end_job;
	_Atomic(const char *) why; /* it is to end; NULL: it is not */
	uint8_t head[PACKET_HEAD];
	struct vq_chain tx_chain;
	struct vq_chain rx_chain; /* under the outlet's lock */
};

static struct vport *of_port(struct port *p)
{
	return (struct vport *)((char *)p - offsetof(struct vport, port));
}

static struct vport *of_outlet(struct outlet *out)
{
	return of_port(
		(struct port *)((char *)out - offsetof(struct port, out)));
}

static bool is_gone(const struct vport *vp)
{
	return guest_mem_gone(vhost_mem(vp->dev));
}

static bool is_ending(const struct vport *vp)
{
	/* relaxed: what it stands for is the end job's business */
	return atomic_load_explicit(&vp->why, memory_order_relaxed);
}

/* From any thread. */
static void end_soon(struct vport *vp, const char *why)
{
	const char *none = NULL;

	if (is_gone(vp))
		why = GUEST_MEM_GONE;
	if (!is_ending(vp) &&
	    atomic_compare_exchange_strong(&vp->why, &none, why))
		round_post(vp->env.round, &vp->end_job);
}

static void end(struct vport *vp, const char *why)
{
	if (is_gone(vp))
		count(&vp->port.counts, COUNT_MEMORY_GONE);
	vp->env.ended(&vp->port, why, vp->env.arg);
}

static void on_end_job(struct round_job *job)
{
	struct vport *vp =
		(struct vport *)((char *)job - offsetof(struct vport, end_job));

	end(vp, vp->why);
}

/* After its memory was used. */
static void look_after(struct vport *vp)
{
	if (is_gone(vp))
		end_soon(vp, GUEST_MEM_GONE);
}

static void publish(struct vport *vp, struct vhost_ring *r)
{
	if (vq_publish(&r->vq))
		vhost_call(r);
	look_after(vp);
}

/* The receive ring's. What has gone into any of them since the last time is
 * known without counting each frame once more; the one that is on its way
 * counts with the next. */
static void publish_rx(struct pair *q)
{
	struct vport *vp = q->vp;
	const uint64_t *n = vp->port.counts.n;

	if (n[COUNT_OUT_FRAMES] != vp->told.frames)
		batches_add(&vp->port.out_batches,
			    n[COUNT_OUT_FRAMES] - vp->told.frames,
			    n[COUNT_OUT_BYTES] - vp->told.bytes);
	vp->told.frames = n[COUNT_OUT_FRAMES];
	vp->told.bytes = n[COUNT_OUT_BYTES];
	publish(vp, q->rx);
}

/* -- from the guest -------------------------------------------------------- */

/* Take @len bytes from the front of @c's readable pieces, which have them. */
static void take_front(struct vq_chain *c, unsigned int *at, void *to,
		       size_t len)
{
	uint8_t *out = to;

	while (len) {
		struct iovec *io = &c->iov[*at];
		size_t n = len < io->iov_len ? len : io->iov_len;

		memcpy(out, io->iov_base, n);
		io->iov_base = (uint8_t *)io->iov_base + n;
		io->iov_len -= n;
		out += n;
		len -= n;
		*at += io->iov_len == 0;
	}
}

static struct offload host_order(const struct virtio_net_hdr *h)
{
	return (struct offload){
		.flags = h->flags,
		.gso = h->gso_type,
		.hdr_len = le16toh((uint16_t)h->hdr_len),
		.gso_size = le16toh((uint16_t)h->gso_size),
		.csum_start = le16toh((uint16_t)h->csum_start),
		.csum_offset = le16toh((uint16_t)h->csum_offset),
	};
}

/* The frame in vp->tx_chain, its first bytes copied to vp->head. */
static int make_packet(struct vport *vp, struct packet *p)
{
	struct vq_chain *c = &vp->tx_chain;
	struct virtio_net_hdr_v1 header;
	unsigned int at = 0;

	if (c->out_len <= vp->header || c->n_in)
		return -EPROTO;
	take_front(c, &at, &header, vp->header);
	p->len = c->out_len - vp->header;
	p->head = vp->head;
	p->head_len = p->len < PACKET_HEAD ? p->len : PACKET_HEAD;
	take_front(c, &at, vp->head, p->head_len);
	p->rest = &c->iov[at];
	p->n_rest = c->n_out - at;
	p->offload = host_order((const struct virtio_net_hdr *)&header);
	return 0;
}

/* 0: the chain is done with; -EAGAIN: it waits; -EPROTO: the port is bad. */
static int forward(struct pair *q)
{
	struct vport *vp = q->vp;
	struct packet p = { .flow = (uint16_t)q->n };

	if (make_packet(vp, &p) < 0) {
		end_soon(vp, "a transmit chain that holds no frame");
		return -EPROTO;
	}
	if (offload_check(&p) < 0) {
		count(&vp->port.counts, COUNT_BAD_OFFLOAD);
		return 0;
	}
	return port_offer(&vp->port, vp->env.fwd, &q->in, &p);
}

/* Nothing is left in the ring: look again later, or sleep. */
static void rest(struct pair *q)
{
	if (spin_on(q->vp->env.spin)) {
		round_want(q->vp->env.round, &q->run_tx);
	} else if (vq_arm(&q->tx->vq, 1)) {
		vq_disarm(&q->tx->vq);
		round_want(q->vp->env.round, &q->run_tx);
	} else {
		q->asleep = true;
		spin_slept(q->vp->env.spin);
	}
}

static void run_tx(struct pair *q)
{
	struct vport *vp = q->vp;
	struct virtqueue *vq = &q->tx->vq;
	size_t bytes = 0, headers;
	int n = 0, r = 1;

	while (n < TX_FRAMES && bytes < TX_BYTES) {
		r = vq_take(vq, &vp->tx_chain);
		if (r <= 0)
			break;
		r = forward(q);
		if (r < 0) {
			vq_untake(vq, 1);
			break;
		}
		vq_give(vq, vp->tx_chain.head, 0);
		bytes += vp->tx_chain.out_len;
		if (++n % PUBLISH_FRAMES == 0)
			publish(vp, q->tx);
		r = 1;
	}
	publish(vp, q->tx);
	headers = (size_t)n * vp->header;
	port_took(&vp->port, (uint64_t)n,
		  bytes > headers ? bytes - headers : 0);
	if (n)
		spin_worked(vp->env.spin);
	if (vq->bad)
		end_soon(vp, vq->bad);
	else if (r == 0)
		rest(q);
	else if (r > 0)
		round_want(vp->env.round, &q->run_tx);
	/* else: resume(), or the end */
	look_after(vp);
}

static void on_run_tx(struct round_job *job)
{
	struct pair *q =
		(struct pair *)((char *)job - offsetof(struct pair, run_tx));

	if (q->tx && !q->in.awaits && !is_ending(q->vp))
		run_tx(q);
}

static void resume(struct inlet *in)
{
	struct pair *q =
		(struct pair *)((char *)in - offsetof(struct pair, in));

	on_run_tx(&q->run_tx);
}

/* -- to the guest ---------------------------------------------------------- */

/* What is still to be copied of a frame. */
struct cursor {
	const uint8_t *at;
	size_t left; /* in this piece */
	const struct iovec *next;
};

static void copy_some(struct cursor *c, uint8_t *to, size_t len)
{
	while (len) {
		size_t n;

		if (!c->left) {
			c->at = c->next->iov_base;
			c->left = c->next->iov_len;
			c->next++;
		}
		n = len < c->left ? len : c->left;
		memcpy(to, c->at, n);
		to += n;
		c->at += n;
		c->left -= n;
		len -= n;
	}
}

/* Into the chain, behind its first @skip bytes; returns how much. */
static size_t fill(const struct vport *vp, const struct vq_chain *c,
		   size_t skip, struct cursor *from, size_t len)
{
	const struct guest_mem *mem = vhost_mem(vp->dev);
	size_t done = 0;

	for (unsigned int i = 0; i < c->n_in && done < len; i++) {
		uint8_t *to = c->iov[i].iov_base;
		size_t room = c->iov[i].iov_len;

		if (skip >= room) {
			skip -= room;
			continue;
		}
		to += skip;
		room -= skip;
		skip = 0;
		if (room > len - done)
			room = len - done;
		copy_some(from, to, room);
		if (mem->log)
			guest_mem_mark_host(mem, to, room);
		done += room;
	}
	return done;
}

static void put_header(const struct vport *vp, uint8_t *at,
		       const struct offload *o, uint16_t chains)
{
	const struct virtio_net_hdr_v1 h = {
		.flags = o->flags,
		.gso_type = o->gso,
		.hdr_len = htole16(o->hdr_len),
		.gso_size = htole16(o->gso_size),
		.csum_start = htole16(o->csum_start),
		.csum_offset = htole16(o->csum_offset),
		.num_buffers = htole16(chains),
	};
	const struct guest_mem *mem = vhost_mem(vp->dev);

	memcpy(at, &h, vp->header);
	if (mem->log)
		guest_mem_mark_host(mem, at, vp->header);
}

static bool is_receive_chain(const struct vport *vp, const struct vq_chain *c,
			     bool first)
{
	return !c->n_out && (!first || c->iov[0].iov_len >= vp->header);
}

/* How many more chains like the @n that took @done bytes are needed. */
static uint16_t chains_for(size_t left, size_t done, uint16_t n)
{
	size_t each = n ? done / n : left;

	return (uint16_t)(each && left > each ? (left + each - 1) / each : 1);
}

/* 0; -EAGAIN and in *need the chains that it takes; -EMSGSIZE; -EPROTO. */
static int put(struct vport *vp, struct virtqueue *vq, const struct packet *p,
	       uint16_t *need)
{
	struct cursor from = { p->head, p->head_len, p->rest };
	struct vq_chain *c = &vp->rx_chain;
	size_t done = 0, part, skip = vp->header;
	uint8_t *header = NULL;
	uint16_t n = 0;
	int r;

	do {
		r = vq_take(vq, c);
		if (r == 0)
			r = -EAGAIN;
		else if (r > 0 && !is_receive_chain(vp, c, n == 0))
			vq->bad = "a receive chain without room for a header";
		if (r < 0 || vq->bad)
			break;
		if (n++ == 0)
			header = c->iov[0].iov_base;
		part = fill(vp, c, skip, &from, p->len - done);
		vq_give(vq, c->head, (uint32_t)(skip + part));
		done += part;
		skip = 0;
	} while (done < p->len && vp->mergeable && n < RX_CHAINS_MAX);

	if (!vq->bad && done == p->len) {
		put_header(vp, header, &p->offload, n);
		return 0;
	}
	*need = (uint16_t)(n + chains_for(p->len - done, done, n));
	vq_ungive(vq, n);
	vq_untake(vq, n);
	if (vq->bad)
		return -EPROTO;
	return r > 0 || *need > vq->size || *need > RX_CHAINS_MAX ? -EMSGSIZE
								  : -EAGAIN;
}

/* Queues share a sender's frames by who sends them, and by which of its own
 * queues they came. */
static struct pair *pick(const struct vport *vp, const struct packet *p)
{
	if (vp->n_takers < 2)
		return vp->n_takers ? vp->takers[0] : NULL;
	return vp->takers[(p->head[11] + p->flow) % vp->n_takers];
}

static int vhost_send(struct outlet *out, const struct packet *p)
{
	struct vport *vp = of_outlet(out);
	struct pair *q = pick(vp, p);
	struct virtqueue *vq;
	uint16_t need = 1;
	int r;

	if (!q || is_ending(vp))
		return -ENOTCONN;
	vq = &q->rx->vq;
	/* Who is starved has been promised a kick. To ask again for each frame
	 * that is dropped meanwhile would make each wait, at a barrier, for all
	 * that was copied before it to reach other guests' memory. */
	do
		r = put(vp, vq, p, &need);
	while (r == -EAGAIN && !q->starved && vq_arm(vq, need));
	if (vq->bad)
		end_soon(vp, vq->bad);
	if (r == -EAGAIN) {
		q->starved = true;
		publish_rx(q);
	} else if ((uint16_t)(vq->given - vq->published) >= PUBLISH_FRAMES) {
		publish_rx(q);
	}
	return r == -EPROTO ? -ENOTCONN : r;
}

static void vhost_flush(struct outlet *out)
{
	struct vport *vp = of_outlet(out);

	for (unsigned int i = 0; i < vp->n_takers; i++)
		publish_rx(vp->takers[i]);
}

static void fed_locked(struct pair *q)
{
	if (!q->starved)
		return;
	q->starved = false;
	if (q->rx)
		vq_disarm(&q->rx->vq);
	look_after(q->vp);
	flow_drained(q->vp->env.flow, &q->vp->port.out);
}

static void fed(struct pair *q)
{
	outlet_lock(&q->vp->port.out);
	fed_locked(q);
	outlet_unlock(&q->vp->port.out);
}

/* -- what the control side reports ----------------------------------------- */

static bool is_tx(const struct vhost_ring *r)
{
	return r->index & 1;
}

static struct pair *pair_of(struct vport *vp, const struct vhost_ring *r)
{
	return &vp->pairs[r->index / 2];
}

static void list_takers(struct vport *vp)
{
	vp->n_takers = 0;
	for (unsigned int i = 0; i < VHOST_PAIRS_MAX; i++)
		if (vp->pairs[i].rx)
			vp->takers[vp->n_takers++] = &vp->pairs[i];
}

/* What the guest takes as it is. Segments only where it takes sums, too. */
static unsigned int guest_takes(uint64_t f)
{
	unsigned int takes = OFFLOAD_CSUM;

	if (!(f & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		return 0;
	if (f & BIT(VIRTIO_NET_F_GUEST_TSO4))
		takes |= OFFLOAD_TSO4;
	if (f & BIT(VIRTIO_NET_F_GUEST_TSO6))
		takes |= OFFLOAD_TSO6;
	if (f & BIT(VIRTIO_NET_F_GUEST_ECN))
		takes |= OFFLOAD_ECN;
	if ((f & BIT(NET_F_GUEST_USO4)) && (f & BIT(NET_F_GUEST_USO6)))
		takes |= OFFLOAD_USO;
	return takes;
}

static void learn_features(struct vport *vp)
{
	uint64_t f = vhost_features(vp->dev);

	vp->mergeable = f & BIT(VIRTIO_NET_F_MRG_RXBUF);
	vp->header = vp->mergeable || (f & BIT(VIRTIO_F_VERSION_1))
			     ? sizeof(struct virtio_net_hdr_v1)
			     : sizeof(struct virtio_net_hdr);
	vp->port.out.takes = guest_takes(f);
}

static void on_started(struct vhost_ring *r, void *arg)
{
	struct vport *vp = arg;
	struct pair *q = pair_of(vp, r);

	learn_features(vp);
	vq_disarm(&r->vq);
	if (is_tx(r)) {
		q->tx = r;
		q->asleep = false;
		round_want(vp->env.round, &q->run_tx);
	} else {
		q->rx = r;
		list_takers(vp);
		if (vp->n_takers == 1)
			fwd_port_started(vp->env.fwd, vp->port.rank);
	}
	look_after(vp);
}

static void on_settle(struct vhost_ring *r, void *arg)
{
	publish(arg, r);
}

static void on_stopping(struct vhost_ring *r, void *arg)
{
	struct vport *vp = arg;
	struct pair *q = pair_of(vp, r);

	publish(vp, r);
	if (is_tx(r)) {
		flow_forget_inlet(vp->env.flow, &q->in);
		round_forget(vp->env.round, &q->run_tx);
		q->tx = NULL;
	} else {
		q->rx = NULL;
		list_takers(vp);
		fed(q); /* who waited finds another queue, or none */
	}
}

static void on_kicked(struct vhost_ring *r, void *arg)
{
	struct pair *q = pair_of(arg, r);

	if (!is_tx(r)) {
		fed(q);
		return;
	}
	if (q->asleep) {
		q->asleep = false;
		vq_disarm(&r->vq);
		spin_woke(q->vp->env.spin);
	}
	on_run_tx(&q->run_tx);
}

static void on_ended(const char *why, void *arg)
{
	struct vport *vp = arg;

	end(vp, why);
}

static const struct vhost_ops vhost_ops = {
	.started = on_started,
	.stopping = on_stopping,
	.settle = on_settle,
	.kicked = on_kicked,
	.ended = on_ended,
};

/* -- life ------------------------------------------------------------------ */

static void vport_free(struct port *p)
{
	struct vport *vp = of_port(p);

	fwd_remove_port(vp->env.fwd, p->rank);
	for (unsigned int i = 0; i < VHOST_PAIRS_MAX; i++) {
		struct pair *q = &vp->pairs[i];

		if (q->rx && !q->rx->vq.bad)
			publish(vp,
				q->rx); /* frames that were taken from others */
		flow_forget_inlet(vp->env.flow, &q->in);
		round_forget(vp->env.round, &q->run_tx);
	}
	round_forget(vp->env.round, &vp->end_job);
	vhost_free(vp->dev);
	lock_done(&vp->port.out.lock);
	free(vp);
}

static void ring_stats(const struct vhost_ring *r, struct netstats *s)
{
	const struct netstats_ring ring = {
		.index = r->index,
		.size = r->vq.size,
		.available = vq_available(&r->vq),
		.event_idx = r->vq.event_idx,
		.event = vq_event(&r->vq),
		.position = r->vq.published,
		.kicks = r->kicks,
		.calls = r->calls,
	};

	netstats_add(s, NETSTATS_RING, &ring);
}

static void vport_stats(const struct port *p, struct netstats_port *ret,
			struct netstats *s)
{
	const struct vport *vp =
		(const struct vport *)((const char *)p -
				       offsetof(struct vport, port));

	ret->kind = NETCTL_VHOST_USER;
	for (unsigned int i = 0; i < VHOST_PAIRS_MAX; i++)
		ret->waits |= vp->pairs[i].in.awaits != NULL;
	netstats_add(s, NETSTATS_PORT, ret);
	for (unsigned int i = 0; i < VHOST_PAIRS_MAX; i++) {
		if (vp->pairs[i].rx)
			ring_stats(vp->pairs[i].rx, s);
		if (vp->pairs[i].tx)
			ring_stats(vp->pairs[i].tx, s);
	}
}

static const struct port_ops ops = { .kind = "vhost-user",
				     .free = vport_free,
				     .stats = vport_stats };

static void init_pairs(struct vport *vp)
{
	for (unsigned int i = 0; i < VHOST_PAIRS_MAX; i++) {
		struct pair *q = &vp->pairs[i];

		q->vp = vp;
		q->n = i;
		q->in = (struct inlet){ resume, &vp->port.counts, vp->env.flow,
					.traffic = &vp->port.traffic };
		q->run_tx.fn = on_run_tx;
	}
}

int port_vhost_new(const struct port_env *env, uint32_t rank, int fd,
		   struct port **ret, struct errmsg *err)
{
	_cleanup_close_ int own_fd = fd;
	_cleanup_free_ struct vport *vp = calloc(1, sizeof(*vp));
	const struct vhost_conf conf = {
		.loop = env->loop,
		.fd = fd,
		.mtu = env->mtu,
		.features = FEATURES,
		.ops = &vhost_ops,
		.arg = vp,
	};
	int r;

	if (!vp)
		return errmsg_set(err, -ENOMEM, "port");
	vp->port.ops = &ops;
	vp->port.rank = rank;
	vp->port.out =
		(struct outlet){ vhost_send, &vp->port.counts, FLOW_PORT_MS };
	vp->port.out.flush = vhost_flush;
	flow_outlet(env->flow, &vp->port.out);
	vp->env = *env;
	vp->end_job.fn = on_end_job;
	init_pairs(vp);
	r = vhost_new(&conf, &vp->dev, err);
	if (r < 0)
		return r;
	TAKE_FD(own_fd);
	r = fwd_add_port(env->fwd, rank, &vp->port.out);
	if (r < 0) {
		vhost_free(vp->dev);
		return errmsg_set(err, r, "port of rank %" PRIu32, rank);
	}
	*ret = &TAKE_PTR(vp)->port;
	return 0;
}
