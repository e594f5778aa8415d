#include <config.h>

#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "log.h"
#include "port.h"

#define NET_PROGRAM PKGLIBEXECDIR "/vmstep-net"
#define LOCK_TRIES  1000 /* of 10 ms each */
#define FIND_TRIES  200
#define PORT_TRY_MS 10

struct net {
	int fd;
	struct loop_io *io;
	struct net_ops ops;
	void *arg;
	const struct task *task;
	int dir;	   /* the step's */
	struct port *port; /* NULL without one */
	struct loop_timer *port_timer;
};

/* -- finding or starting it ------------------------------------------------ */

/* The socket's address by way of the directory's descriptor: the path may be
 * too long for sun_path. */
static void socket_addr(int dir, struct sockaddr_un *un)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(un->sun_path, sizeof(un->sun_path),
		 "/proc/self/fd/%d/net.sock", dir);
}

static int try_connect(int dir)
{
	_cleanup_close_ int fd =
		socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;

	if (fd < 0)
		return -errno;
	socket_addr(dir, &un);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int take_lock(int dir, struct errmsg *err)
{
	_cleanup_close_ int fd =
		openat(dir, "net.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return errmsg_set(err, -errno, "lock of the step's network");
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return TAKE_FD(fd);
		if (errno != EWOULDBLOCK && errno != EINTR)
			return errmsg_set(err, -errno,
					  "lock of the step's network");
		poll(NULL, 0,
		     10); /* a lock cannot be waited for with a limit */
	}
	return errmsg_say(
		err, -ETIMEDOUT,
		"another task of the step has held the lock of its network for %d s",
		LOCK_TRIES / 100);
}

static int listening_socket(int dir, struct errmsg *err)
{
	_cleanup_close_ int fd =
		socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;

	if (fd < 0)
		return errmsg_set(err, -errno, "socket of the step's network");
	unlinkat(dir, "net.sock", 0); /* a dead one's: we have the lock */
	socket_addr(dir, &un);
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
	    listen(fd, 1024) < 0)
		return errmsg_set(err, -errno, "socket of the step's network");
	return TAKE_FD(fd);
}

/* The address others reach this node at: the one that leads to srun's host,
 * which the cluster's own network does by design. "" where that is not to be
 * known, and vmstep-net then looks for itself. */
static void own_address(char *text, size_t size)
{
	const char *srun = getenv("SLURM_LAUNCH_NODE_IPADDR");
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST,
				  .ai_socktype = SOCK_DGRAM };
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	_cleanup_close_ int fd = -1;
	struct addrinfo *res;

	text[0] = '\0';
	if (!srun || getaddrinfo(srun, "9", &hints, &res) != 0)
		return;
	fd = socket(res->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, res->ai_addr, res->ai_addrlen) == 0 &&
	    getsockname(fd, (struct sockaddr *)&own, &len) == 0)
		getnameinfo((struct sockaddr *)&own, len, text, (socklen_t)size,
			    NULL, 0, NI_NUMERICHOST);
	freeaddrinfo(res);
	if (strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0)
		text[0] = '\0';
}

static void net_text(const struct addr_net *net, char *text, size_t size)
{
	char ip[INET_ADDRSTRLEN];

	addr_ip_text(net->base, ip);
	snprintf(text, size, "--net=%s/%d", ip, net->prefix);
}

static int start(const struct task *t, const struct spec *s, int listen_fd,
		 struct errmsg *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_free_ char *ranks = rankset_text(&t->local_ranks);
	char net[64], mtu[32], nranks[32], local[4096], node[300], own[128];
	char bind_to[160], device[300], ports[64], log[4200], lost_after[32];
	char hostname[600], domain[300];
	const struct child_fd fds[] = {
		{ null, 0 }, { null, 1 }, { null, 2 }, { listen_fd, 3 }
	};
	const char *argv[20] = { NET_PROGRAM, "--ctl=3", net,  mtu,
				 nranks,      local,	 node, lost_after,
				 hostname };
	struct child_spec spec = { argv, fds, ARRAY_SIZE(fds), true, true };
	size_t n = 9;
	pid_t pid;

	if (null < 0 || !ranks)
		return errmsg_set(err, -ENOMEM, "start vmstep-net");
	net_text(&s->cidr, net, sizeof(net));
	snprintf(mtu, sizeof(mtu), "--mtu=%u", s->mtu);
	snprintf(lost_after, sizeof(lost_after), "--lost-after=%u",
		 t->lost_after_s);
	snprintf(nranks, sizeof(nranks), "--nranks=%u", t->ranks);
	if ((size_t)snprintf(local, sizeof(local), "--ranks=%s", ranks) >=
	    sizeof(local))
		return errmsg_say(
			err, -E2BIG,
			"too many tasks on this node for one network");
	snprintf(node, sizeof(node), "--node=%s", t->node);
	snprintf(hostname, sizeof(hostname), "--hostname=%s",
		 s->hostname_pattern);
	snprintf(domain, sizeof(domain), "--domain=%s", s->domain);
	own_address(own, sizeof(own));
	snprintf(bind_to, sizeof(bind_to), "--bind=%s", own);
	snprintf(device, sizeof(device), "--device=%s", t->net_device);
	snprintf(ports, sizeof(ports), "--port-range=%s", t->net_port_range);
	if (s->log) /* one file for both */
		snprintf(log, sizeof(log), "--log=%s", s->log);
	else
		snprintf(log, sizeof(log), "--log=%s/net.log", t->step_dir);
	if (*s->domain)
		argv[n++] = domain;
	if (*t->net_device)
		argv[n++] = device;
	else if (*own)
		argv[n++] = bind_to;
	if (*t->net_port_range)
		argv[n++] = ports;
	argv[n++] = log;
	if (s->verbose || s->log)
		argv[n++] = "--verbose";
	return child_start(&spec, &pid, err);
}

static int find_or_start(const struct task *t, const struct spec *s, int dir,
			 struct errmsg *err)
{
	_cleanup_close_ int lock = -1, listen_fd = -1;
	int fd = try_connect(dir), r;

	if (fd >= 0)
		return fd;
	lock = take_lock(dir, err);
	if (lock < 0)
		return lock;
	fd = try_connect(dir); /* while we waited for the lock */
	if (fd >= 0)
		return fd;
	listen_fd = listening_socket(dir, err);
	if (listen_fd < 0)
		return listen_fd;
	r = start(t, s, listen_fd, err);
	if (r < 0)
		return r;
	fd = try_connect(dir);
	return fd >= 0 ? fd : errmsg_set(err, fd, "connect to vmstep-net");
}

static int find(int dir, struct errmsg *err)
{
	for (int i = 0; i < FIND_TRIES; i++) {
		int fd = try_connect(dir);

		if (fd >= 0)
			return fd;
		poll(NULL, 0, 10);
	}
	return errmsg_say(err, -ETIMEDOUT, "no vmstep-net on this node");
}

/* -- talking to it --------------------------------------------------------- */

static int send_msg(int fd, const struct netctl *m, int pass_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (pass_fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
		return -errno;
	return 0;
}

static struct netctl message(enum netctl_type type)
{
	return (struct netctl){ .version = NETCTL_VERSION, .type = type };
}

int net_send_table(struct net *n, const uint8_t key[NETCTL_KEY_LEN],
		   uint32_t node, uint32_t nnodes, int memfd)
{
	struct netctl m = message(NETCTL_TABLE);

	memcpy(m.table.key, key, NETCTL_KEY_LEN);
	m.table.node = node;
	m.table.nnodes = nnodes;
	m.table.nranks = n->task->ranks;
	return send_msg(n->fd, &m, memfd);
}

int net_send_state(struct net *n, enum netctl_state state)
{
	struct netctl m = message(NETCTL_STATE);

	m.state.state = state;
	return send_msg(n->fd, &m, -1);
}

static void on_message(struct net *n, struct netctl *m)
{
	switch (m->type) {
	case NETCTL_WELCOME:
		m->welcome.link[NETCTL_TEXT_LEN - 1] = '\0';
		n->ops.welcome(m->welcome.link, n->arg);
		break;
	case NETCTL_ALL:
		n->ops.all((enum netctl_state)m->all.state, n->arg);
		break;
	case NETCTL_LOST:
		m->lost.text[NETCTL_TEXT_LEN - 1] = '\0';
		n->ops.lost(m->lost.text, n->arg);
		break;
	default:
		log_debug("vmstep-net sent a message of type %u, ignoring",
			  m->type);
	}
}

static void on_readable(uint32_t events, void *arg)
{
	struct net *n = arg;
	struct netctl m;
	ssize_t len = recv(n->fd, &m, sizeof(m), MSG_DONTWAIT);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len == sizeof(m) && m.version == NETCTL_VERSION) {
		on_message(n, &m);
		return;
	}
	loop_io_free(n->io);
	n->io = NULL;
	n->ops.gone(n->arg);
}

/* -- the port -------------------------------------------------------------- */

static int send_port(struct net *n, struct errmsg *err)
{
	struct netctl m = message(NETCTL_PORT);
	_cleanup_close_ int fd = port_connect(n->port, err);
	int r;

	if (fd < 0)
		return fd;
	m.port.kind = port_kind(n->port);
	r = send_msg(n->fd, &m, fd);
	return r < 0 ? errmsg_set(err, r, "port to vmstep-net") : 0;
}

/* QEMU does not tell when it listens; if it never does, it ends. */
static void give_port(void *arg)
{
	struct net *n = arg;
	struct errmsg err;
	int r = send_port(n, &err);

	if (r == -EAGAIN)
		loop_timer_set(n->port_timer, PORT_TRY_MS);
	else if (r < 0)
		n->ops.lost(err.text, n->arg);
}

int net_port_fd(struct net *n)
{
	return n->port ? port_take_qemu(n->port) : -1;
}

void net_qemu_runs(struct net *n)
{
	if (n->port)
		give_port(n);
}

/* -- life ------------------------------------------------------------------ */

static int hello(struct net *n, struct errmsg *err)
{
	struct netctl m = message(NETCTL_HELLO);
	int r;

	m.hello.rank = n->task->rank;
	m.hello.nranks = n->task->ranks;
	r = send_msg(n->fd, &m, -1);
	return r < 0 ? errmsg_set(err, r, "hello to vmstep-net") : 0;
}

/* Its port, vmstep-net, and the first word to it. */
static int open_net(struct net *n, const struct spec *s, struct errmsg *err)
{
	const struct task *t = n->task;
	int r = 0;

	n->dir = open(t->step_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (n->dir < 0)
		return errmsg_set(err, -errno, "step's directory %s",
				  t->step_dir);
	if (s && s->net != NET_NONE)
		r = port_new(s->net, n->dir, t->rank, &n->port, err);
	if (r < 0)
		return r;
	n->fd = s ? find_or_start(t, s, n->dir, err) : find(n->dir, err);
	return n->fd < 0 ? n->fd : hello(n, err);
}

static int watch(struct net *n, struct loop *l, struct errmsg *err)
{
	int r = loop_io_add(l, n->fd, EPOLLIN, on_readable, n, &n->io);

	if (r == 0)
		r = loop_timer_add(l, -1, give_port, n, &n->port_timer);
	return r < 0 ? errmsg_set(err, r, "network") : 0;
}

int net_new(struct loop *l, const struct task *t, const struct spec *s,
	    const struct net_ops *ops, void *arg, struct net **ret,
	    struct errmsg *err)
{
	struct net *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return errmsg_set(err, -ENOMEM, "network");
	n->fd = n->dir = -1;
	n->ops = *ops;
	n->arg = arg;
	n->task = t;
	r = open_net(n, s, err);
	if (r == 0)
		r = watch(n, l, err);
	if (r < 0) {
		net_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

void net_free(struct net *n)
{
	if (!n)
		return;
	loop_timer_free(n->port_timer);
	loop_io_free(n->io);
	if (n->fd >= 0)
		close(n->fd);
	port_free(n->port);
	if (n->dir >= 0)
		close(n->dir);
	free(n);
}

void net_last_words(const struct task *t, char *text, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[4200], line[ERRMSG_MAX];
	const char *words;

	text[0] = '\0';
	snprintf(path, sizeof(path), "%s/net.log", t->step_dir);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		words = strstr(line, "error: "); /* after time and tag */
		if (words)
			snprintf(text, size, "%s", words + strlen("error: "));
	}
}
