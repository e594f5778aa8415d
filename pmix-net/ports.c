#include <config.h>

#include "ports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "port_dgram.h"
#include "port_stream.h"
#include "port_vhost.h"

/* A rank's port may go and come again; its capture stays. It has the worker
 * that carries it for as long as it lives. One that ends says so in the thread
 * of its worker, and is closed by worker 0, while all others stand: at once,
 * where there are no others.
 */

struct slot {
	struct ports *ports;
	uint32_t rank;
	bool used;
	struct port *port;     /* NULL: none now */
	struct worker *worker; /* of the port */
	char why[ERRMSG_MAX];  /* it ended */
	struct round_job ended;
	struct capture *capture;
};

struct ports {
	struct ports_env env;
	size_t max;
	struct slot slots[];
};

/* @rank's place, else a vacant one; NULL: there is none. */
static struct slot *find_slot(struct ports *ps, uint32_t rank)
{
	struct slot *vacant = NULL;

	for (size_t i = 0; i < ps->max; i++) {
		if (!ps->slots[i].used)
			vacant = &ps->slots[i];
		else if (ps->slots[i].rank == rank)
			return &ps->slots[i];
	}
	if (vacant)
		vacant->rank = rank;
	return vacant;
}

static struct round *main_round(struct ports *ps)
{
	return workers_get(ps->env.workers, 0)->round;
}

static void close_slot(struct ports *ps, struct slot *slot, const char *why)
{
	workers_stop(ps->env.workers);
	round_forget(main_round(ps), &slot->ended);
	ps->env.closing(slot->port, why, ps->env.arg);
	port_free(slot->port);
	slot->port = NULL;
	slot->worker->n_ports--;
	workers_go(ps->env.workers);
}

static void on_slot_ended(struct round_job *job)
{
	struct slot *slot =
		(struct slot *)((char *)job - offsetof(struct slot, ended));

	close_slot(slot->ports, slot, slot->why);
}

/* In the thread of the port's worker. */
static void on_ended(struct port *p, const char *why, void *arg)
{
	struct ports *ps = arg;
	struct slot *slot = find_slot(ps, p->rank);

	if (workers_n(ps->env.workers) == 1) {
		close_slot(ps, slot, why);
		return;
	}
	snprintf(slot->why, sizeof(slot->why), "%s", why);
	round_post(main_round(ps), &slot->ended);
}

static int open_port(const struct port_env *env, uint32_t rank,
		     enum netctl_port kind, int fd, struct port **ret,
		     struct errmsg *err)
{
	switch (kind) {
	case NETCTL_STREAM:
		return port_stream_new(env, rank, fd, ret, err);
	case NETCTL_DGRAM:
		return port_dgram_new(env, rank, fd, ret, err);
	case NETCTL_VHOST_USER:
		return port_vhost_new(env, rank, fd, ret, err);
	}
	close(fd);
	return errmsg_say(err, -EINVAL, "vmstep-net has no ports of kind %d",
			  (int)kind);
}

int ports_open(struct ports *ps, uint32_t rank, enum netctl_port kind, int fd,
	       struct errmsg *err)
{
	struct worker *w = workers_least(ps->env.workers);
	const struct port_env env = {
		.loop = w->loop,
		.round = w->round,
		.pool = ps->env.pool,
		.flow = w->flow,
		.fwd = ps->env.fwd,
		.spin = &w->spin,
		.mtu = ps->env.mtu,
		.ended = on_ended,
		.arg = ps,
	};
	struct slot *slot = find_slot(ps, rank);
	int r;

	if (!slot || slot->port) {
		close(fd);
		return errmsg_say(err, -EEXIST,
				  "rank %" PRIu32 " has a port already", rank);
	}
	workers_stop(ps->env.workers);
	r = open_port(&env, rank, kind, fd, &slot->port, err);
	if (r == 0) {
		slot->used = true;
		slot->worker = w;
		w->n_ports++;
		slot->port->out.capture = slot->capture;
	}
	workers_go(ps->env.workers);
	return r;
}

static void end_capture(void *arg)
{
	struct slot *slot = arg;
	struct workers *all = slot->ports->env.workers;

	workers_stop(all);
	if (slot->port)
		slot->port->out.capture = NULL;
	capture_free(slot->capture);
	slot->capture = NULL;
	workers_go(all);
}

int ports_capture(struct ports *ps, uint32_t rank, int fd, struct errmsg *err)
{
	struct slot *slot = find_slot(ps, rank);
	struct worker *main = workers_get(ps->env.workers, 0);
	int r;

	if (!slot) {
		close(fd);
		return errmsg_say(err, -ENOSPC,
				  "rank %" PRIu32 " has no place here", rank);
	}
	if (slot->capture)
		end_capture(slot);
	r = capture_new(main->loop, main->round, fd, ps->env.counts,
			end_capture, slot, &slot->capture, err);
	if (r < 0)
		return r;
	if (workers_n(ps->env.workers) > 1)
		capture_share(slot->capture);
	workers_stop(ps->env.workers);
	slot->used = true;
	if (slot->port)
		slot->port->out.capture = slot->capture;
	workers_go(ps->env.workers);
	return 0;
}

void ports_close(struct ports *ps, uint32_t rank)
{
	struct slot *slot = find_slot(ps, rank);

	if (slot && slot->port)
		close_slot(ps, slot, "");
}

void ports_forget(struct ports *ps, uint32_t rank)
{
	struct slot *slot = find_slot(ps, rank);

	ports_close(ps, rank);
	if (!slot)
		return;
	capture_free(slot->capture); /* no port has it any more */
	workers_stop(ps->env.workers);
	slot->capture = NULL;
	slot->used = false;
	workers_go(ps->env.workers);
}

void ports_each(const struct ports *ps,
		void (*fn)(const struct port *p, void *arg), void *arg)
{
	workers_stop(ps->env.workers); /* to read what they count */
	for (size_t i = 0; i < ps->max; i++)
		if (ps->slots[i].port)
			fn(ps->slots[i].port, arg);
	workers_go(ps->env.workers);
}

int ports_new(const struct ports_env *env, size_t max, struct ports **ret,
	      struct errmsg *err)
{
	struct ports *ps = calloc(1, sizeof(*ps) + max * sizeof(ps->slots[0]));

	if (!ps)
		return errmsg_set(err, -ENOMEM, "ports");
	ps->env = *env;
	ps->max = max;
	for (size_t i = 0; i < max; i++) {
		ps->slots[i].ports = ps;
		ps->slots[i].ended.fn = on_slot_ended;
	}
	*ret = ps;
	return 0;
}

void ports_free(struct ports *ps)
{
	if (!ps)
		return;
	for (size_t i = 0; i < ps->max; i++) {
		if (ps->slots[i].port)
			close_slot(ps, &ps->slots[i], "");
		capture_free(ps->slots[i].capture);
	}
	free(ps);
}
