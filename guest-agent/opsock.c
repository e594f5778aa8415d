#include <config.h>

#include "opsock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "account.h"
#include "cleanup.h"
#include "log.h"

#define DEAF_MS 1000
#define OUT_MAX (4 * 1024 * 1024) /* that a client has not read */

struct client {
	struct opsock *owner;
	struct client *next;
	int fd;
	uid_t uid; /* of who connected */
	struct loop_io *io;
	struct rpc *rpc;
	bool ended; /* it sends no more */
	bool dead;
	char *in; /* OPSOCK_LINE_MAX bytes */
	size_t in_len;
	char *out; /* NULL: nothing */
	size_t out_at, out_len;
};

struct opsock {
	struct agent *agent;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd;
	struct loop_io *io;
	struct loop_timer *timer;
	struct client *clients;
	unsigned int n_clients;
	bool has_user;
	uid_t user;
};

static const struct rpc_method no_methods[] = { { 0 } };

/* -- what is asked --------------------------------------------------------- */

static void on_reply(const struct rpc_reply *reply, void *arg)
{
	rpc_pass_on(arg, reply);
}

/* Its program has gone: what the host would give it stays there. */
static void on_gone(struct rpc_call *call, void *arg)
{
	struct agent *a = arg;

	if (a->rpc)
		rpc_forget_request(a->rpc, call);
	rpc_result(call, NULL);
}

/* Not the agent's own words, of which the host has its own opinion. */
static bool is_agents(const char *method)
{
	return strncmp(method, "agent.", 6) == 0 ||
	       strcmp(method, "proc.exit") == 0;
}

/* An op of a kernel: whoever is not root gets no more than their own rights by
 * it. *ret_method, and new params; NULL: no memory. */
static json_t *as_user(const struct client *c, const char *method,
		       const json_t *params, const char **ret_method)
{
	json_t *mine = json_copy((json_t *)(uintptr_t)params);
	const char *colon = strchr(method, ':');
	char user[16];

	if (!mine || c->uid == 0 ||
	    (!colon && strcmp(method, OPSOCK_CALL) != 0))
		return mine;
	if (colon) {
		*ret_method = OPSOCK_CALL;
		mine = json_pack("{s:s%, s:s, s:o}", "kernel", method,
				 (size_t)(colon - method), "op", colon + 1,
				 "params", mine);
	}
	snprintf(user, sizeof(user), "%u", (unsigned int)c->uid);
	if (mine)
		json_object_set_new(mine, "user", json_string(user));
	return mine;
}

static void ask_host(struct rpc_call *call, const char *method,
		     const json_t *params, void *arg)
{
	struct client *c = arg;
	struct agent *a = c->owner->agent;
	json_t *mine;
	int r;

	if (is_agents(method)) {
		rpc_failf(call, RPC_E_PERM, "%s is not for programs", method);
		return;
	}
	if (!a->mux || !mux_is_up(a->mux)) {
		rpc_fail(call, RPC_E_UNREACHABLE, "the host is not there");
		return;
	}
	mine = as_user(c, method, params, &method);
	r = mine ? rpc_request(a->rpc, method, mine, on_reply, call) : -ENOMEM;
	if (r == 0)
		rpc_on_gone(call, on_gone, a);
	else if (r == -EMSGSIZE)
		rpc_fail(call, RPC_E_TOOBIG, "too long for the host");
	else
		rpc_fail(call, RPC_E_UNREACHABLE, "the host is not there");
}

/* -- a client -------------------------------------------------------------- */

static void client_free(struct client *c)
{
	rpc_free(c->rpc);
	loop_io_free(c->io);
	close(c->fd);
	free(c->in);
	free(c->out);
	free(c);
}

static bool is_over(const struct client *c)
{
	return c->dead || (c->ended && !c->out && !rpc_open_calls(c->rpc));
}

static void on_timer(void *arg)
{
	struct opsock *o = arg;

	for (struct client **pp = &o->clients; *pp;) {
		struct client *c = *pp;

		if (!is_over(c)) {
			pp = &c->next;
			continue;
		}
		*pp = c->next;
		o->n_clients--;
		client_free(c);
	}
	loop_io_set(o->io, EPOLLIN);
}

static void watch(struct client *c)
{
	if (is_over(c)) { /* not at once: it may be within a call of its own */
		loop_io_set(c->io, 0);
		loop_timer_set(c->owner->timer, 0);
		return;
	}
	loop_io_set(c->io, c->out ? EPOLLOUT : c->ended ? 0 : EPOLLIN);
}

static void flush(struct client *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n =
			send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
			     MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR) {
			c->dead = true;
			return;
		}
		if (n > 0)
			c->out_at += (size_t)n;
	}
	free(TAKE_PTR(c->out));
	c->out_at = c->out_len = 0;
}

static int send_line(const char *text, size_t len, void *arg)
{
	struct client *c = arg;
	size_t left = c->out_len - c->out_at;
	char *out = left + len < OUT_MAX ? malloc(left + len + 1) : NULL;

	if (!out) {
		c->dead = true;
		watch(c);
		return -ENOBUFS;
	}
	if (left)
		memcpy(out, c->out + c->out_at, left);
	memcpy(out + left, text, len);
	out[left + len] = '\n';
	free(c->out);
	c->out = out;
	c->out_at = 0;
	c->out_len = left + len + 1;
	flush(c);
	watch(c);
	return 0;
}

static void take_lines(struct client *c)
{
	char *at = c->in, *end;

	while ((end = memchr(at, '\n', c->in_len))) {
		size_t line = (size_t)(end - at);

		if (line)
			rpc_receive(c->rpc, at, line);
		at = end + 1;
		c->in_len -= line + 1;
	}
	memmove(c->in, at, c->in_len);
	if (c->in_len < OPSOCK_LINE_MAX)
		return;
	rpc_refuse(c->rpc, RPC_E_TOOBIG, "a line that is too long");
	c->ended = true;
}

static void read_some(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, OPSOCK_LINE_MAX - c->in_len,
			 MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		c->dead = true;
	} else if (n == 0) {
		c->ended = true;
	} else if (n > 0) {
		c->in_len += (size_t)n;
		take_lines(c);
	}
}

static void on_client(uint32_t events, void *arg)
{
	struct client *c = arg;

	if (events & (EPOLLHUP | EPOLLERR))
		c->dead = true;
	if (!c->dead && (events & EPOLLOUT))
		flush(c);
	if (!c->dead && (events & EPOLLIN))
		read_some(c);
	watch(c);
}

/* Takes @fd, also on failure. */
static struct client *client_new(struct opsock *o, int fd)
{
	_cleanup_close_ int own_fd = fd;
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->owner = o;
	c->in = malloc(OPSOCK_LINE_MAX);
	c->rpc = rpc_new(no_methods, NULL, send_line, c);
	if (!c->in || !c->rpc ||
	    loop_io_add(o->agent->loop, fd, EPOLLIN, on_client, c, &c->io) <
		    0) {
		free(c->in);
		rpc_free(c->rpc);
		free(c);
		return NULL;
	}
	rpc_set_handler(c->rpc, ask_host, c);
	c->fd = TAKE_FD(own_fd);
	return c;
}

/* -- the socket ------------------------------------------------------------ */

static bool may_ask(const struct opsock *o, int fd, uid_t *ret_uid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	*ret_uid = cred.uid;
	return cred.uid == 0 || cred.uid == geteuid() ||
	       (o->has_user && cred.uid == o->user);
}

static void on_listener(uint32_t events, void *arg)
{
	struct opsock *o = arg;
	_cleanup_close_ int fd =
		accept4(o->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;
	uid_t uid;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
		loop_io_set(o->io, 0); /* it would wake us for ever */
		loop_timer_set(o->timer, DEAF_MS);
	}
	if (fd < 0 || !may_ask(o, fd, &uid) || o->n_clients >= OPSOCK_CLIENTS)
		return;
	c = client_new(o, TAKE_FD(fd));
	if (!c)
		return;
	c->uid = uid;
	c->next = o->clients;
	o->clients = c;
	o->n_clients++;
}

static int open_socket(struct opsock *o, const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char *slash;

	if (strlen(path) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	memcpy(un.sun_path, path, strlen(path));
	slash = strrchr(un.sun_path, '/');
	if (slash && slash != un.sun_path) {
		*slash = '\0';
		mkdir(un.sun_path, 0755);
		*slash = '/';
	}
	o->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->fd < 0)
		return -errno;
	unlink(path);
	if (bind(o->fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return -errno;
	memcpy(o->path, un.sun_path, sizeof(o->path));
	/* who may connect is told by who they are */
	if (chmod(path, 0666) < 0 || listen(o->fd, OPSOCK_CLIENTS) < 0)
		return -errno;
	return 0;
}

int opsock_new(struct agent *a, const char *path, struct opsock **ret,
	       struct errmsg *err)
{
	struct opsock *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return errmsg_set(err, -ENOMEM, "socket %s", path);
	o->agent = a;
	o->fd = -1;
	r = open_socket(o, path);
	if (r == 0)
		r = loop_io_add(a->loop, o->fd, EPOLLIN, on_listener, o,
				&o->io);
	if (r == 0)
		r = loop_timer_add(a->loop, -1, on_timer, o, &o->timer);
	if (r < 0) {
		opsock_free(o);
		return errmsg_set(err, r, "socket %s", path);
	}
	*ret = o;
	return 0;
}

void opsock_free(struct opsock *o)
{
	struct client *c;

	if (!o)
		return;
	while ((c = o->clients)) {
		o->clients = c->next;
		client_free(c);
	}
	loop_timer_free(o->timer);
	loop_io_free(o->io);
	if (o->fd >= 0)
		close(o->fd);
	if (o->path[0])
		unlink(o->path);
	free(o);
}

void opsock_set_user(struct opsock *o, const char *user)
{
	struct account account = { 0 };
	struct errmsg err;

	o->has_user = account_find(user, &account, &err) == 0;
	if (!o->has_user) {
		log_info("vmop is for root only: %s", err.text);
		return;
	}
	o->user = account.uid;
	account_done(&account);
}
