#include <config.h>

#include "vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

/* A ring runs when it has a place, a size and a kick descriptor, the features
 * are known, and it is enabled (where the front end knows of that). Whatever
 * changes one of these goes through update(). Memory that comes or goes under
 * running rings has them looked up anew.
 *
 * A message is read as it comes: the header with the descriptors that ride
 * along, then the payload. handlers[] says how long that is to be. A handler
 * returns < 0 for what ends the connection: then front end and we do not agree
 * any more on what holds.
 */

#define BIT(n) (1ull << (n))

#define TRANSPORT_FEATURES                                                 \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ANY_LAYOUT) |              \
	 BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT(VHOST_F_LOG_ALL) | BIT(VHOST_F_PROTOCOL_FEATURES))
#define PROTOCOL_FEATURES                                              \
	(BIT(VHOST_PROTOCOL_MQ) | BIT(VHOST_PROTOCOL_LOG_SHMFD) |      \
	 BIT(VHOST_PROTOCOL_REPLY_ACK) | BIT(VHOST_PROTOCOL_NET_MTU) | \
	 BIT(VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS))

struct vhost {
	struct vhost_conf conf;
	struct loop_io *io;
	struct guest_mem mem;
	uint64_t features, protocol_features;
	bool has_features;
	struct vhost_ring rings[VHOST_RINGS];

	/* the message that is being read */
	struct vhost_header header;
	union vhost_payload payload;
	size_t have; /* of header and payload */
	int fds[VHOST_FDS_MAX];
	unsigned int n_fds;
};

static bool has_protocol(const struct vhost *v, enum vhost_protocol_feature f)
{
	return v->protocol_features & BIT(f);
}

/* The descriptor that came along; -1: none. Owned by the caller. */
static int take_fd(struct vhost *v)
{
	return v->n_fds ? v->fds[--v->n_fds] : -1;
}

static void drop_fds(struct vhost *v)
{
	while (v->n_fds)
		close(take_fd(v));
}

/* -- rings ----------------------------------------------------------------- */

static void on_kick(uint32_t events, void *arg)
{
	struct vhost_ring *r = arg;
	uint64_t value;
	ssize_t n = read(r->kick, &value, sizeof(value));

	if (n != sizeof(value) && !(n < 0 && errno == EAGAIN)) {
		loop_io_set(r->kick_io, 0); /* no eventfd: it would spin */
		return;
	}
	if (n == sizeof(value))
		r->kicks += value;
	if (r->running)
		r->dev->conf.ops->kicked(r, r->dev->conf.arg);
}

static bool may_run(const struct vhost_ring *r)
{
	const struct vhost *v = r->dev;

	return v->has_features && r->has_addr && r->size && r->kick >= 0 &&
	       (r->enabled || !(v->features & BIT(VHOST_F_PROTOCOL_FEATURES)));
}

static int map_ring(struct vhost_ring *r, struct errmsg *err)
{
	struct vhost *v = r->dev;
	int e = vq_map(&r->vq, &v->mem, &r->addr, r->size, err);

	r->vq.event_idx = v->features & BIT(VIRTIO_RING_F_EVENT_IDX);
	r->vq.indirect = v->features & BIT(VIRTIO_RING_F_INDIRECT_DESC);
	return e < 0 ? errmsg_prefix(err, e, "ring %u", r->index) : 0;
}

static void stop(struct vhost_ring *r)
{
	if (!r->running)
		return;
	r->dev->conf.ops->stopping(r, r->dev->conf.arg);
	r->running = false;
	r->base = r->vq.taken;
}

static int update(struct vhost_ring *r, struct errmsg *err)
{
	int e;

	if (!may_run(r)) {
		stop(r);
		return 0;
	}
	e = map_ring(r, err); /* also when it runs: its place may be new */
	if (e < 0) {
		stop(r);
		return e;
	}
	if (r->running)
		return 0;
	vq_start(&r->vq, r->base);
	r->running = true;
	r->dev->conf.ops->started(r, r->dev->conf.arg);
	return 0;
}

static int update_all(struct vhost *v, struct errmsg *err)
{
	int e = 0;

	for (unsigned int i = 0; i < VHOST_RINGS && e == 0; i++)
		e = update(&v->rings[i], err);
	return e;
}

/* Before memory goes. */
static void settle_all(struct vhost *v)
{
	for (unsigned int i = 0; i < VHOST_RINGS; i++)
		if (v->rings[i].running)
			v->conf.ops->settle(&v->rings[i], v->conf.arg);
}

/* After one region came or went: a ring that is nowhere now stops, and runs
 * again when its memory is back. */
static void update_found(struct vhost *v)
{
	for (unsigned int i = 0; i < VHOST_RINGS; i++)
		update(&v->rings[i], NULL);
}

static void close_kick(struct vhost_ring *r)
{
	loop_io_free(r->kick_io);
	r->kick_io = NULL;
	if (r->kick >= 0)
		close(r->kick);
	r->kick = -1;
}

static void close_call(struct vhost_ring *r)
{
	if (r->call >= 0)
		close(r->call);
	r->call = -1;
}

void vhost_call(struct vhost_ring *r)
{
	const uint64_t one = 1;

	r->calls++;
	/* It cannot fail but where it is full, and then is seen anyway. */
	if (r->call >= 0 && write(r->call, &one, sizeof(one)) < 0)
		return;
}

/* -- messages: 0, 1 to answer with the payload, or < 0 to end ---------------
 */

static struct vhost_ring *find_ring(struct vhost *v, uint64_t index,
				    struct errmsg *err)
{
	if (index < VHOST_RINGS)
		return &v->rings[index];
	errmsg_say(err, -EINVAL, "ring %" PRIu64 ": there are %d", index,
		   VHOST_RINGS);
	return NULL;
}

static int answer(struct vhost *v, uint64_t value)
{
	v->payload.u64 = value;
	v->header.size = sizeof(value);
	return 1;
}

static uint64_t offered(const struct vhost *v)
{
	return TRANSPORT_FEATURES | v->conf.features;
}

static int get_features(struct vhost *v, struct errmsg *err)
{
	return answer(v, offered(v));
}

static int set_features(struct vhost *v, struct errmsg *err)
{
	uint64_t more = v->payload.u64 & ~offered(v);

	if (more)
		return errmsg_say(err, -EINVAL,
				  "features %#" PRIx64 " were not offered",
				  more);
	v->features = v->payload.u64;
	v->has_features = true;
	return update_all(v, err);
}

static int nothing(struct vhost *v, struct errmsg *err)
{
	return 0;
}

static int reset_owner(struct vhost *v, struct errmsg *err)
{
	for (unsigned int i = 0; i < VHOST_RINGS; i++) {
		stop(&v->rings[i]);
		v->rings[i].enabled = false;
	}
	return 0;
}

static int set_mem_table(struct vhost *v, struct errmsg *err)
{
	const struct vhost_table *t = &v->payload.table;
	int e = 0;

	if (t->n > VHOST_TABLE_REGIONS || t->n != v->n_fds ||
	    v->header.size != 8 + t->n * sizeof(t->regions[0]))
		return errmsg_say(
			err, -EINVAL,
			"a table of %u memory regions with %u descriptors in %u bytes",
			t->n, v->n_fds, v->header.size);
	settle_all(v);
	while (v->mem.n)
		guest_mem_remove(&v->mem,
				 &(struct vhost_region){
					 .guest = v->mem.regions[0].guest,
					 .user = v->mem.regions[0].user,
					 .size = v->mem.regions[0].size });
	for (uint32_t i = 0; i < t->n && e == 0; i++)
		e = guest_mem_add(&v->mem, &t->regions[i], v->fds[i], err);
	return e < 0 ? e : update_all(v, err);
}

static int get_max_slots(struct vhost *v, struct errmsg *err)
{
	return answer(v, GUEST_MEM_SLOTS);
}

static int add_mem_reg(struct vhost *v, struct errmsg *err)
{
	_cleanup_close_ int fd = take_fd(v);
	int e;

	if (fd < 0)
		return errmsg_say(err, -EINVAL,
				  "a memory region without its descriptor");
	e = guest_mem_add(&v->mem, &v->payload.region.region, fd, err);
	if (e == 0)
		update_found(v);
	return e;
}

static int rem_mem_reg(struct vhost *v, struct errmsg *err)
{
	int e;

	settle_all(v);
	e = guest_mem_remove(&v->mem, &v->payload.region.region);
	if (e < 0)
		return errmsg_say(err, e, "a memory region that is not there");
	update_found(v);
	return 0;
}

static int set_log_base(struct vhost *v, struct errmsg *err)
{
	_cleanup_close_ int fd = take_fd(v);
	int e;

	if (!has_protocol(v, VHOST_PROTOCOL_LOG_SHMFD) || fd < 0)
		return errmsg_say(err, -EINVAL,
				  "a dirty-page log without its descriptor");
	e = guest_mem_log(&v->mem, &v->payload.log, fd, err);
	v->header.size = 0;
	return e < 0 ? e : 1;
}

static int set_vring_num(struct vhost *v, struct errmsg *err)
{
	struct vhost_ring *r = find_ring(v, v->payload.state.index, err);

	if (!r)
		return -EINVAL;
	if (r->running)
		return errmsg_say(err, -EBUSY, "a new size for a running ring");
	r->size = v->payload.state.num;
	return update(r, err);
}

static int set_vring_addr(struct vhost *v, struct errmsg *err)
{
	struct vhost_ring *r = find_ring(v, v->payload.addr.index, err);

	if (!r)
		return -EINVAL;
	r->addr = v->payload.addr;
	r->has_addr = true;
	return update(r, err);
}

static int set_vring_base(struct vhost *v, struct errmsg *err)
{
	struct vhost_ring *r = find_ring(v, v->payload.state.index, err);

	if (!r)
		return -EINVAL;
	if (r->running)
		return errmsg_say(err, -EBUSY, "a new base for a running ring");
	r->base = (uint16_t)v->payload.state.num;
	return 0;
}

/* Also ends the ring: it waits for its kick descriptor again. */
static int get_vring_base(struct vhost *v, struct errmsg *err)
{
	struct vhost_ring *r = find_ring(v, v->payload.state.index, err);

	if (!r)
		return -EINVAL;
	stop(r);
	close_kick(r);
	close_call(r);
	v->payload.state.num = r->base;
	v->header.size = sizeof(v->payload.state);
	return 1;
}

/* The ring that a descriptor is for, and the descriptor. */
static struct vhost_ring *take_ring_fd(struct vhost *v, int *ret_fd,
				       struct errmsg *err)
{
	uint64_t u = v->payload.u64;
	struct vhost_ring *r = find_ring(v, u & VHOST_RING_INDEX, err);

	*ret_fd = take_fd(v);
	if (!r)
		return NULL;
	if ((*ret_fd < 0) != !!(u & VHOST_RING_NO_FD)) {
		errmsg_say(err, -EINVAL, "ring %u without its descriptor",
			   r->index);
		return NULL;
	}
	/* neither side ever waits in it */
	if (*ret_fd >= 0)
		fcntl(*ret_fd, F_SETFL, O_NONBLOCK);
	return r;
}

static int set_vring_kick(struct vhost *v, struct errmsg *err)
{
	_cleanup_close_ int fd = -1;
	struct vhost_ring *r = take_ring_fd(v, &fd, err);
	int e;

	if (!r)
		return -EINVAL;
	stop(r);
	close_kick(r);
	if (fd < 0)
		return errmsg_say(err, -ENOTSUP,
				  "ring %u is to be polled: it needs a kick",
				  r->index);
	e = loop_io_add(v->conf.loop, fd, EPOLLIN, on_kick, r, &r->kick_io);
	if (e < 0)
		return errmsg_set(err, e, "watch ring %u", r->index);
	r->kick = TAKE_FD(fd);
	return update(r, err);
}

static int set_vring_call(struct vhost *v, struct errmsg *err)
{
	_cleanup_close_ int fd = -1;
	struct vhost_ring *r = take_ring_fd(v, &fd, err);

	if (!r)
		return -EINVAL;
	close_call(r);
	r->call = TAKE_FD(fd);
	if (r->running) /* what the old one may have missed */
		vhost_call(r);
	return 0;
}

static int get_protocol_features(struct vhost *v, struct errmsg *err)
{
	return answer(v, PROTOCOL_FEATURES);
}

static int set_protocol_features(struct vhost *v, struct errmsg *err)
{
	uint64_t more = v->payload.u64 & ~PROTOCOL_FEATURES;

	if (more)
		return errmsg_say(err, -EINVAL,
				  "protocol features %#" PRIx64
				  " were not offered",
				  more);
	v->protocol_features = v->payload.u64;
	return 0;
}

static int get_queue_num(struct vhost *v, struct errmsg *err)
{
	return answer(v, VHOST_PAIRS_MAX);
}

static int set_vring_enable(struct vhost *v, struct errmsg *err)
{
	struct vhost_ring *r = find_ring(v, v->payload.state.index, err);

	if (!r)
		return -EINVAL;
	r->enabled = v->payload.state.num != 0;
	return update(r, err);
}

static int net_set_mtu(struct vhost *v, struct errmsg *err)
{
	if (v->payload.u64 > v->conf.mtu)
		return errmsg_say(err, -EINVAL,
				  "an MTU of %" PRIu64 ", the network's is %u",
				  v->payload.u64, v->conf.mtu);
	return 0;
}

static const struct handler {
	int (*fn)(struct vhost *v, struct errmsg *err);
	uint32_t size;	     /* of the payload; SIZE_VARIES: see the handler */
	uint32_t other_size; /* also right; 0: none */
} handlers[VHOST_REQUESTS] = {
	[VHOST_GET_FEATURES] = { get_features, 0, 8 },
	[VHOST_SET_FEATURES] = { set_features, 8, 0 },
	[VHOST_SET_OWNER] = { nothing, 0, 8 },
	[VHOST_RESET_OWNER] = { reset_owner, 0, 8 },
	[VHOST_SET_MEM_TABLE] = { set_mem_table, UINT32_MAX, 0 },
	[VHOST_SET_LOG_BASE] = { set_log_base, sizeof(struct vhost_log), 0 },
	[VHOST_SET_LOG_FD] = { nothing, 0, 8 },
	[VHOST_SET_VRING_NUM] = { set_vring_num, 8, 0 },
	[VHOST_SET_VRING_ADDR] = { set_vring_addr, 40, 0 },
	[VHOST_SET_VRING_BASE] = { set_vring_base, 8, 0 },
	[VHOST_GET_VRING_BASE] = { get_vring_base, 8, 0 },
	[VHOST_SET_VRING_KICK] = { set_vring_kick, 8, 0 },
	[VHOST_SET_VRING_CALL] = { set_vring_call, 8, 0 },
	[VHOST_SET_VRING_ERR] = { nothing, 8, 0 },
	[VHOST_GET_PROTOCOL_FEATURES] = { get_protocol_features, 0, 8 },
	[VHOST_SET_PROTOCOL_FEATURES] = { set_protocol_features, 8, 0 },
	[VHOST_GET_QUEUE_NUM] = { get_queue_num, 0, 8 },
	[VHOST_SET_VRING_ENABLE] = { set_vring_enable, 8, 0 },
	[VHOST_NET_SET_MTU] = { net_set_mtu, 8, 0 },
	[VHOST_GET_MAX_MEM_SLOTS] = { get_max_slots, 0, 8 },
	[VHOST_ADD_MEM_REG] = { add_mem_reg, 40, 0 },
	[VHOST_REM_MEM_REG] = { rem_mem_reg, 40, 0 },
};

/* -- the socket ------------------------------------------------------------ */

static int check_header(const struct vhost *v, struct errmsg *err)
{
	const struct vhost_header *h = &v->header;
	const struct handler *to;

	if ((h->flags & VHOST_VERSION_MASK) != VHOST_VERSION ||
	    (h->flags & VHOST_REPLY))
		return errmsg_say(err, -EPROTO, "flags %#x", h->flags);
	if (h->request >= VHOST_REQUESTS || !handlers[h->request].fn)
		return errmsg_say(err, -EPROTO, "request %u is not known",
				  h->request);
	to = &handlers[h->request];
	if (h->size > sizeof(v->payload) ||
	    (to->size != UINT32_MAX && h->size != to->size &&
	     (!to->other_size || h->size != to->other_size)))
		return errmsg_say(err, -EPROTO, "%u bytes", h->size);
	return 0;
}

static int send_reply(struct vhost *v, struct errmsg *err)
{
	struct iovec iov[] = {
		{ &v->header, sizeof(v->header) },
		{ &v->payload, v->header.size },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t len = sizeof(v->header) + v->header.size;

	v->header.flags = VHOST_VERSION | VHOST_REPLY;
	if (sendmsg(v->conf.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) !=
	    (ssize_t)len)
		return errmsg_say(err, -EPIPE, "it does not take our answer");
	return 0;
}

static int handle(struct vhost *v, struct errmsg *err)
{
	bool wants_ack = (v->header.flags & VHOST_NEED_REPLY) &&
			 has_protocol(v, VHOST_PROTOCOL_REPLY_ACK);
	int r = handlers[v->header.request].fn(v, err);

	drop_fds(v);
	if (r >= 0 && guest_mem_gone(&v->mem))
		return errmsg_say(err, -EFAULT, GUEST_MEM_GONE);
	if (r == 0 && wants_ack)
		r = answer(v, 0);
	return r > 0 ? send_reply(v, err) : r;
}

union fd_control {
	char bytes[CMSG_SPACE(VHOST_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

static void keep_fds(struct vhost *v, struct msghdr *msg)
{
	struct cmsghdr *c;
	size_t n;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (v->n_fds < VHOST_FDS_MAX)
				v->fds[v->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

/* More of the message: > 0; 0 at the end; -EAGAIN or another -errno. */
static ssize_t receive(struct vhost *v)
{
	union fd_control control;
	size_t head = sizeof(v->header);
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	if (v->have < head)
		iov = (struct iovec){ (uint8_t *)&v->header + v->have,
				      head - v->have };
	else
		iov = (struct iovec){ (uint8_t *)&v->payload + v->have - head,
				      head + v->header.size - v->have };
	n = recvmsg(v->conf.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	keep_fds(v, &msg);
	v->have += (size_t)n;
	return n;
}

/* Read up to the end of one message and do what it says. 0, or as above. */
static ssize_t read_message(struct vhost *v, struct errmsg *err)
{
	ssize_t n;
	int r;

	n = receive(v);
	if (n == 0)
		return errmsg_say(err, -ECONNRESET, "the front end hung up");
	if (n < 0)
		return errmsg_set(err, (int)n, "vhost-user socket");
	if (v->have < sizeof(v->header))
		return 0;
	if (v->have == sizeof(v->header)) {
		r = check_header(v, err);
		if (r < 0)
			return errmsg_prefix(err, r, "a vhost-user message");
	}
	if (v->have < sizeof(v->header) + v->header.size)
		return 0;
	v->have = 0;
	r = handle(v, err);
	if (r < 0)
		return errmsg_prefix(err, r, "vhost-user request %u",
				     v->header.request);
	return 0;
}

static void on_socket(uint32_t events, void *arg)
{
	struct vhost *v = arg;
	struct errmsg err;
	ssize_t r = read_message(v, &err);

	if (r == 0 || r == -EAGAIN || r == -EINTR)
		return;
	loop_io_set(v->io, 0);
	v->conf.ops->ended(err.text, v->conf.arg);
}

/* -- life ------------------------------------------------------------------ */

static int check_socket(int fd, struct errmsg *err)
{
	int domain = 0, type = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return errmsg_set(err, -errno, "descriptor of the port");
	if (domain != AF_UNIX || type != SOCK_STREAM)
		return errmsg_say(
			err, -EINVAL,
			"descriptor of the port is not a unix stream socket");
	return 0;
}

int vhost_new(const struct vhost_conf *conf, struct vhost **ret,
	      struct errmsg *err)
{
	_cleanup_free_ struct vhost *v = calloc(1, sizeof(*v));
	int r = check_socket(conf->fd, err);

	if (r < 0)
		return r;
	if (!v)
		return errmsg_set(err, -ENOMEM, "vhost-user port");
	v->conf = *conf;
	for (unsigned int i = 0; i < VHOST_RINGS; i++) {
		v->rings[i].index = i;
		v->rings[i].dev = v;
		v->rings[i].kick = v->rings[i].call = -1;
	}
	r = loop_io_add(conf->loop, conf->fd, EPOLLIN, on_socket, v, &v->io);
	if (r < 0)
		return errmsg_set(err, r, "watch the port");
	loop_io_alone(v->io);
	*ret = TAKE_PTR(v);
	return 0;
}

void vhost_free(struct vhost *v)
{
	if (!v)
		return;
	loop_io_free(v->io);
	drop_fds(v);
	for (unsigned int i = 0; i < VHOST_RINGS; i++) {
		close_kick(&v->rings[i]);
		close_call(&v->rings[i]);
	}
	guest_mem_clear(&v->mem);
	close(v->conf.fd);
	free(v);
}

uint64_t vhost_features(const struct vhost *v)
{
	return v->features;
}

const struct guest_mem *vhost_mem(const struct vhost *v)
{
	return &v->mem;
}
