#include <config.h>

#include "ports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "port_dgram.h"
#include "port_stream.h"
#include "port_vhost.h"

/* A rank's port may go and come again; its capture stays. */
struct slot {
	uint32_t rank;
	bool used;
	struct port *port; /* NULL: none now */
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

static void close_slot(struct ports *ps, struct slot *slot, const char *why)
{
	ps->env.closing(slot->port, why, ps->env.arg);
	port_free(slot->port);
	slot->port = NULL;
}

static void on_ended(struct port *p, const char *why, void *arg)
{
	close_slot(arg, find_slot(arg, p->rank), why);
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
	const struct port_env env = {
		.loop = ps->env.loop,
		.round = ps->env.round,
		.pool = ps->env.pool,
		.flow = ps->env.flow,
		.fwd = ps->env.fwd,
		.spin = ps->env.spin,
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
	r = open_port(&env, rank, kind, fd, &slot->port, err);
	if (r < 0)
		return r;
	slot->used = true;
	slot->port->out.capture = slot->capture;
	return 0;
}

int ports_capture(struct ports *ps, uint32_t rank, int fd, struct errmsg *err)
{
	struct slot *slot = find_slot(ps, rank);
	int r;

	if (!slot || slot->capture) {
		close(fd);
		return errmsg_say(err, -EEXIST,
				  "rank %" PRIu32 " has a capture already",
				  rank);
	}
	r = capture_new(ps->env.loop, ps->env.round, fd, ps->env.counts,
			&slot->capture, err);
	if (r < 0)
		return r;
	slot->used = true;
	if (slot->port)
		slot->port->out.capture = slot->capture;
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
	capture_free(slot->capture);
	*slot = (struct slot){ 0 };
}

void ports_each(const struct ports *ps,
		void (*fn)(const struct port *p, void *arg), void *arg)
{
	for (size_t i = 0; i < ps->max; i++)
		if (ps->slots[i].port)
			fn(ps->slots[i].port, arg);
}

int ports_new(const struct ports_env *env, size_t max, struct ports **ret,
	      struct errmsg *err)
{
	struct ports *ps = calloc(1, sizeof(*ps) + max * sizeof(ps->slots[0]));

	if (!ps)
		return errmsg_set(err, -ENOMEM, "ports");
	ps->env = *env;
	ps->max = max;
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
