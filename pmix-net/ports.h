/* ports.h - the ports of this node's guests
 *
 * Spreads them over the workers. Others stand still while one comes or goes.
 *
 * Owns:    the ports. Borrows what is in struct ports_env.
 * Thread:  worker 0's.
 */
#ifndef VMSTEP_PORTS_H
#define VMSTEP_PORTS_H

#include "errmsg.h"
#include "netctl.h"
#include "port.h"
#include "workers.h"

struct ports;

struct ports_env {
	struct workers *workers;
	struct buf_pool *pool;
	struct fwd *fwd;
	struct counters *counts; /* of captures */
	unsigned int mtu;
	/* A port closes, for the log; "" where its helper wanted it to. */
	void (*closing)(const struct port *p, const char *why, void *arg);
	void *arg;
};

/* Room for @max of them. */
int ports_new(const struct ports_env *env, size_t max, struct ports **ret,
	      struct errmsg *err);
void ports_free(struct ports *ps); /* NULL is fine; closes them all */

/* A port of @rank over @fd, owned from now on, also on failure; see
 * port_stream_new() and its like. */
int ports_open(struct ports *ps, uint32_t rank, enum netctl_port kind, int fd,
	       struct errmsg *err);
void ports_close(struct ports *ps, uint32_t rank); /* none is fine */
/* What goes through @rank's port, now and when it comes anew, goes into pipe
 * @fd, owned from now on, also on failure, until nobody reads that any more, or
 * another one takes its place; see capture.h. */
int ports_capture(struct ports *ps, uint32_t rank, int fd, struct errmsg *err);
/* Its port and its capture. */
void ports_forget(struct ports *ps, uint32_t rank);

void ports_each(const struct ports *ps,
		void (*fn)(const struct port *p, void *arg), void *arg);

#endif
