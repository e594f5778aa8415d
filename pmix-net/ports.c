#include <config.h>

#include "ports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "port_dgram.h"
#include "port_stream.h"
#include "port_vhost.h"

struct ports {
	struct ports_env env;
	size_t max;
	struct port *slots[]; /* some NULL */
};

/* @rank's place, else a vacant one; NULL: there is none. */
static struct port **find_slot(struct ports *ps, uint32_t rank)
{
	struct port **vacant = NULL;

	for (size_t i = 0; i < ps->max; i++) {
		if (!ps->slots[i])
			vacant = &ps->slots[i];
		else if (ps->slots[i]->rank == rank)
			return &ps->slots[i];
	}
	return vacant;
}

static void close_slot(struct ports *ps, struct port **slot, const char *why)
{
	ps->env.closing(*slot, why, ps->env.arg);
	port_free(*slot);
	*slot = NULL;
}

static void on_ended(struct port *p, const char *why, void *arg)
{
	close_slot(arg, find_slot(arg, p->rank), why);
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
	struct port **slot = find_slot(ps, rank);

	if (!slot || *slot) {
		close(fd);
		return errmsg_say(err, -EEXIST,
				  "rank %" PRIu32 " has a port already", rank);
	}
	switch (kind) {
	case NETCTL_STREAM:
		return port_stream_new(&env, rank, fd, slot, err);
	case NETCTL_DGRAM:
		return port_dgram_new(&env, rank, fd, slot, err);
	case NETCTL_VHOST_USER:
		return port_vhost_new(&env, rank, fd, slot, err);
	}
	close(fd);
	return errmsg_say(err, -EINVAL, "vmstep-net has no ports of kind %d",
			  (int)kind);
}

void ports_close(struct ports *ps, uint32_t rank)
{
	struct port **slot = find_slot(ps, rank);

	if (slot && *slot)
		close_slot(ps, slot, "");
}

void ports_each(const struct ports *ps,
		void (*fn)(const struct port *p, void *arg), void *arg)
{
	for (size_t i = 0; i < ps->max; i++)
		if (ps->slots[i])
			fn(ps->slots[i], arg);
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
	for (size_t i = 0; i < ps->max; i++)
		if (ps->slots[i])
			close_slot(ps, &ps->slots[i], "");
	free(ps);
}
