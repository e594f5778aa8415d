#include <config.h>

#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"

#define SNDBUF_BYTES (1024 * 1024) /* of QEMU; the kernel may give less */

struct port {
	enum netctl_port kind;
	int qemu;      /* QEMU's end; -1: taken */
	int net;       /* a pair's other end; -1: given away, or no pair */
	int dir;       /* borrowed */
	char name[32]; /* of QEMU's socket in it; "" for a pair */
	uint32_t rank;
};

static int duplicate(int fd, struct errmsg *err)
{
	int r = fcntl(fd, F_DUPFD_CLOEXEC, 10);

	return r >= 0 ? r : errmsg_set(err, -errno, "network port");
}

static int make_pair(struct port *p, int type, struct errmsg *err)
{
	int sv[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv) < 0)
		return errmsg_set(err, -errno, "network port");
	p->qemu = sv[0];
	p->net = sv[1];
	return 0;
}

/* The send buffer is all that QEMU's frames have under way. */
static int make_dgram_pair(struct port *p, struct errmsg *err)
{
	const int bytes = SNDBUF_BYTES;
	int r = make_pair(p, SOCK_DGRAM, err);

	if (r == 0)
		setsockopt(p->qemu, SOL_SOCKET, SO_SNDBUF, &bytes,
			   sizeof(bytes));
	return r;
}

/* What QEMU makes is to be found where it was told to make it. */
static int lend_dir(struct port *p, uint32_t rank, struct errmsg *err)
{
	snprintf(p->name, sizeof(p->name), PORT_SOCKET, rank);
	unlinkat(p->dir, p->name, 0); /* of a step of the same name */
	p->qemu = duplicate(p->dir, err);
	return p->qemu < 0 ? p->qemu : 0;
}

int port_new(int net, int dir, uint32_t rank, struct port **ret,
	     struct errmsg *err)
{
	static const enum netctl_port kinds[] = {
		[NET_VHOST_USER] = NETCTL_VHOST_USER,
		[NET_STREAM] = NETCTL_STREAM,
		[NET_DGRAM] = NETCTL_DGRAM,
	};
	struct port *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return errmsg_set(err, -ENOMEM, "network port");
	*p = (struct port){ kinds[net], -1, -1, dir, "", rank };
	if (p->kind == NETCTL_VHOST_USER)
		r = lend_dir(p, rank, err);
	else if (p->kind == NETCTL_DGRAM)
		r = make_dgram_pair(p, err);
	else
		r = make_pair(p, SOCK_STREAM, err);
	if (r < 0) {
		port_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void port_free(struct port *p)
{
	if (!p)
		return;
	if (p->name[0])
		unlinkat(p->dir, p->name, 0);
	if (p->qemu >= 0)
		close(p->qemu);
	if (p->net >= 0)
		close(p->net);
	free(p);
}

enum netctl_port port_kind(const struct port *p)
{
	return p->kind;
}

bool port_can_connect(const struct port *p)
{
	return p->kind != NETCTL_STREAM || p->net >= 0;
}

int port_take_qemu(struct port *p)
{
	return TAKE_FD(p->qemu);
}

/* The path may be too long for sun_path, the directory's descriptor is not. */
static int connect_to_qemu(const struct port *p, struct errmsg *err)
{
	_cleanup_close_ int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	snprintf(un.sun_path, sizeof(un.sun_path), PORT_SOCKET_PATH, p->dir,
		 p->rank);
	if (fd < 0)
		return errmsg_set(err, -errno, "network port");
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return errmsg_say(err, -EAGAIN,
					  "QEMU does not listen at %s",
					  p->name);
		return errmsg_set(err, -errno, "connect to QEMU at %s",
				  p->name);
	}
	fcntl(fd, F_SETFL, 0);
	return TAKE_FD(fd);
}

int port_connect(struct port *p, struct errmsg *err)
{
	switch (p->kind) {
	case NETCTL_VHOST_USER:
		return connect_to_qemu(p, err);
	case NETCTL_DGRAM:
		return duplicate(p->net, err);
	default:
		break;
	}
	if (p->net < 0)
		return errmsg_say(
			err, -ENOTSUP,
			"a stream port cannot be given to a second vmstep-net (--vm-net=vhost-user can)");
	return TAKE_FD(p->net);
}
