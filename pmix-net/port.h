/* port.h - one guest's Ethernet port
 *
 * What every kind of port has in common; the kinds are port_stream.h,
 * port_dgram.h and port_vhost.h. A port gives its guest's frames to the
 * forwarder and takes what the forwarder has for the guest.
 *
 * Owns:    its descriptors and queue (PORT_QUEUE_BYTES at most).
 * Borrows: what is in struct port_env, and its entry in the forwarder.
 * Thread:  its worker's, or, while that stands, any; frames come to its outlet
 *          from any worker (flow.h).
 */
#ifndef VMSTEP_PORT_H
#define VMSTEP_PORT_H

#include <stdint.h>

#include "batches.h"
#include "buf.h"
#include "counters.h"
#include "flow.h"
#include "fwd.h"
#include "loop.h"
#include "round.h"
#include "spin.h"
#include "traffic.h"

#define PORT_QUEUE_BYTES (1024 * 1024) /* of frames for the guest */

struct port;

struct port_ops {
	const char *kind;
	void (*free)(struct port *p);
	/* What port_stats() does not know: kind, waits, queue_bytes in *ret;
	 * then its rings go to @s, behind *ret itself. */
	void (*stats)(const struct port *p, struct netstats_port *ret,
		      struct netstats *s);
};

/* The most frames and bytes within a second. */
struct peak {
	int64_t second;
	struct netstats_sum now, most;
};

struct port {
	const struct port_ops *ops;
	uint32_t rank;
	struct counters counts;
	struct outlet out; /* to the guest; inlets are the kind's own */
	struct traffic traffic;
	struct batches in_batches, out_batches;
	struct peak peak;
};

struct port_env {
	struct loop *loop;
	struct round *round;
	struct buf_pool *pool;
	struct flow *flow;
	struct fwd *fwd;
	struct spin *spin;
	unsigned int mtu;
	/* The guest's end is gone, or broke the rules: @why says which. The
	 * port does nothing any more and may be freed from here on. */
	void (*ended)(struct port *p, const char *why, void *arg);
	void *arg;
};

/* A frame of the guest's: see fwd_from_port(). */
static inline int port_offer(struct port *p, struct fwd *fwd, struct inlet *in,
			     const struct packet *packet)
{
	int r;

	/* before what answers it, and not each time that it is offered */
	if (p->out.capture && !in->shown)
		capture_frame(p->out.capture, packet);
	r = fwd_from_port(fwd, p->rank, in, packet);
	in->shown = r < 0;
	return r;
}

/* Frames that were taken from the guest at one look. */
void port_took(struct port *p, uint64_t frames, uint64_t bytes);

/* Leaves the forwarder first; NULL is fine. */
void port_free(struct port *p);

/* Its records. */
void port_stats(const struct port *p, struct netstats *s);

#endif
