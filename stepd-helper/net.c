#include <config.h>

#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "netmsg.h"
#include "netproc.h"
#include "oplink.h"
#include "pin.h"
#include "port.h"

/* Who starts vmstep-net, and who starts it again:
 *
 * The right to start it belongs to who holds its listening sockets, once there
 * are any: the address of this node is known to others. Everybody gets copies
 * with WELCOME, also who started it, and not before. So with the lock in hand,
 *
 *   - who has the sockets starts it with them;
 *   - who has not, and can connect, leaves it to who has: its own connection
 *     waits in the socket's queue, and so does what is said over it;
 *   - who can do neither makes new ones: nobody was ever welcomed, or all that
 *     were are gone.
 *
 * A connection that is queued is kept: vmstep-net would take its end for ours.
 * While there is no WELCOME the lock is looked at now and then.
 */

#define FIRST_TRIES \
	1000 /* of FIRST_TRY_MS each, and of those without a spec: */
#define FIND_TRIES   200
#define FIRST_TRY_MS 10
#define LOOK_MS	     10 /* and more each time, up to */
#define LOOK_MAX_MS  500
#define LOOKS_MAX    60 /* with nobody there to start it */
#define DEATHS_MAX   10 /* within DEATHS_MS */
#define DEATHS_MS    10000
#define PORT_TRY_MS  10

struct question {
	uint32_t tag, rank;
	net_stats_fn fn; /* NULL: none */
	void *arg;
};

struct net {
	struct loop *loop;
	struct net_ops ops;
	void *arg;
	const struct task *task;
	const struct spec *spec; /* NULL: not to be started by us */
	int dir;		 /* the step's */

	int fd; /* -1: between two connections */
	struct loop_io *io;
	struct loop_timer *look_timer;
	int look_ms;
	unsigned int looks; /* since the last WELCOME, in vain */
	bool was_welcomed;  /* ever */
	bool over;	    /* the step is: no other vmstep-net is wanted */
	int listeners[NETCTL_FDS_MAX]; /* control, links; -1: none */
	unsigned int deaths;
	int64_t deaths_from_ms;

	/* what is said again to the next one */
	struct netctl table;
	int table_fd;	     /* -1: none */
	unsigned int states; /* bits by enum netctl_state */
	struct port *port;   /* NULL without one */
	bool qemu_runs;
	struct loop_timer *port_timer;
	bool captures;
	struct oplink *oplink;	    /* NULL: none */
	char cpus[NETCTL_CPUS_LEN]; /* for its workers; "": as it likes */

	struct question questions[NET_QUESTIONS];
	uint32_t last_tag;
	net_stats_fn report_fn; /* NULL: none is awaited */
	void *report_arg;
};

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* -- messages -------------------------------------------------------------- */

/* What cannot be sent is said again: its end shows in on_readable(). */
static void say_state(struct net *n, enum netctl_state state)
{
	struct netctl m = netmsg(NETCTL_STATE);

	m.state.state = state;
	netmsg_send(n->fd, &m, -1);
}

void net_send_state(struct net *n, enum netctl_state state)
{
	n->states |= 1u << state;
	if (n->fd >= 0)
		say_state(n, state);
}

static int keep_table(struct net *n, const struct netctl *m, int fd)
{
	n->table_fd = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	if (n->table_fd < 0)
		return -errno;
	n->table = *m;
	return 0;
}

int net_send_table(struct net *n, const uint8_t key[NETCTL_KEY_LEN],
		   uint32_t node, uint32_t nnodes, int memfd)
{
	struct netctl m = netmsg(NETCTL_TABLE);
	int r = 0;

	memcpy(m.table.key, key, NETCTL_KEY_LEN);
	m.table.node = node;
	m.table.nnodes = nnodes;
	m.table.nranks = n->task->ranks;
	if (n->table_fd < 0)
		r = keep_table(n, &m, memfd);
	if (r == 0 && n->fd >= 0)
		netmsg_send(n->fd, &m, memfd);
	explicit_bzero(&m, sizeof(m));
	return r;
}

/* -- the port -------------------------------------------------------------- */

static int send_port(struct net *n, struct errmsg *err)
{
	struct netctl m = netmsg(NETCTL_PORT);
	_cleanup_close_ int fd = port_connect(n->port, err);

	if (fd < 0)
		return fd;
	m.port.kind = port_kind(n->port);
	netmsg_send(n->fd, &m, fd);
	return 0;
}

/* QEMU does not tell when it listens; if it never does, it ends. */
static void give_port(void *arg)
{
	struct net *n = arg;
	struct errmsg err;
	int r;

	if (n->fd < 0)
		return; /* with the next connection */
	r = send_port(n, &err);

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
	n->qemu_runs = true;
	if (n->port)
		give_port(n);
}

int net_capture(struct net *n, int pipe, bool lasts)
{
	const struct netctl m = netmsg(NETCTL_CAPTURE);
	int r = n->fd < 0 ? -ENOTCONN : netmsg_send(n->fd, &m, pipe);

	n->captures = r == 0 && lasts;
	return r;
}

/* -- messages between tasks ----------------------------------------------- */

static void say_ops(struct net *n)
{
	const struct netctl m = netmsg(NETCTL_OPS);
	_cleanup_close_ int fd = oplink_connect(n->oplink);

	if (fd < 0)
		log_err("no messages to other tasks: %s", strerror(-fd));
	else
		netmsg_send(n->fd, &m, fd);
}

void net_set_ops(struct net *n, struct oplink *o)
{
	n->oplink = o;
	if (o && n->fd >= 0)
		say_ops(n);
}

/* -- questions ------------------------------------------------------------- */

static void ask(struct net *n, const struct question *q)
{
	struct netctl m = netmsg(NETCTL_STATS);

	m.stats.rank = q->rank;
	m.stats.tag = q->tag;
	netmsg_send(n->fd, &m, -1);
}

int net_ask_stats(struct net *n, uint32_t rank, net_stats_fn fn, void *arg)
{
	struct question *q = n->questions;

	if (n->over && n->fd < 0)
		return -ENOTCONN;
	while (q->fn)
		if (++q == n->questions + NET_QUESTIONS)
			return -EBUSY;
	*q = (struct question){ ++n->last_tag, rank, fn, arg };
	if (n->fd >= 0)
		ask(n, q);
	return 0;
}

void net_forget_stats(struct net *n, void *arg)
{
	for (int i = 0; i < NET_QUESTIONS; i++)
		if (n->questions[i].arg == arg)
			n->questions[i] = (struct question){ 0 };
}

static void on_stats(struct net *n, const struct netctl *m, int fd)
{
	for (int i = 0; i < NET_QUESTIONS; i++) {
		struct question q = n->questions[i];

		if (!q.fn || q.tag != m->stats.tag)
			continue;
		n->questions[i] = (struct question){ 0 };
		q.fn(fd >= 0 ? fd : -ENOENT, q.arg);
		return;
	}
}

int net_ask_report(struct net *n, net_stats_fn fn, void *arg)
{
	const struct netctl m = netmsg(NETCTL_REPORT);

	if (n->fd < 0)
		return -ENOTCONN;
	n->report_fn = fn;
	n->report_arg = arg;
	return netmsg_send(n->fd, &m, -1);
}

void net_forget_report(struct net *n)
{
	n->report_fn = NULL;
}

static void on_report(struct net *n, int fd)
{
	net_stats_fn fn = n->report_fn;

	n->report_fn = NULL;
	if (fn)
		fn(fd >= 0 ? fd : -ENOENT, n->report_arg);
}

/* -- the connection -------------------------------------------------------- */

/* There will be no vmstep-net any more. */
static void lose(struct net *n, const char *why)
{
	char last[ERRMSG_MAX / 2];
	struct errmsg words;

	n->over = true;
	loop_timer_set(n->look_timer, -1);
	if (n->oplink)
		oplink_over(n->oplink);
	netproc_last_words(n->task, last, sizeof(last));
	errmsg_say(&words, 0, "%s%s%s", why,
		   last[0] ? "; the last error in its log: " : "", last);
	n->ops.gone(words.text, n->arg);
}

static void look_again(struct net *n)
{
	loop_timer_set(n->look_timer, n->look_ms);
	n->look_ms *= 2;
	if (n->look_ms > LOOK_MAX_MS)
		n->look_ms = LOOK_MAX_MS;
}

static void drop_connection(struct net *n)
{
	loop_io_free(n->io);
	n->io = NULL;
	close(n->fd);
	n->fd = -1;
	loop_timer_set(n->port_timer, -1);
	if (n->oplink)
		oplink_lost(n->oplink);
	n->looks = 0;
	n->look_ms = LOOK_MS;
}

static int note_death(struct net *n, struct errmsg *err)
{
	int64_t now = loop_now_ms();

	if (now - n->deaths_from_ms > DEATHS_MS) {
		n->deaths_from_ms = now;
		n->deaths = 0;
	}
	if (++n->deaths <= DEATHS_MAX)
		return 0;
	return errmsg_say(err, -ECHILD, "it ended %d times within %d s",
			  DEATHS_MAX, DEATHS_MS / 1000);
}

static void on_connection_lost(struct net *n)
{
	struct errmsg err;

	drop_connection(n);
	if (n->over)
		return;
	if (n->captures)
		log_warn("--vm-capture ends here: vmstep-net was lost");
	n->captures = false;
	if (n->port && !port_can_connect(n->port))
		lose(n,
		     "--vm-net=stream cannot survive the loss of vmstep-net; vhost-user and dgram can");
	else if (note_death(n, &err) < 0)
		lose(n, err.text);
	else
		look_again(n);
}

static void on_welcome(struct net *n, struct netctl *m, int *fds)
{
	bool again = n->was_welcomed;

	for (int i = 0; i < NETCTL_FDS_MAX; i++)
		if (n->listeners[i] < 0)
			n->listeners[i] = TAKE_FD(fds[i]);
	loop_timer_set(n->look_timer, -1);
	n->looks = 0;
	n->was_welcomed = true;
	m->welcome.link[NETCTL_TEXT_LEN - 1] = '\0';
	if (again)
		log_debug("vmstep-net is there again");
	else
		n->ops.welcome(m->welcome.link, n->arg);
}

static void on_message(struct net *n, struct netctl *m, int *fds)
{
	switch (m->type) {
	case NETCTL_WELCOME:
		on_welcome(n, m, fds);
		break;
	case NETCTL_TABLE:
		if (n->table_fd < 0 && fds[0] >= 0)
			keep_table(n, m, fds[0]);
		break;
	case NETCTL_ALL:
		n->ops.all((enum netctl_state)m->all.state, n->arg);
		break;
	case NETCTL_STATS:
		on_stats(n, m, fds[0]);
		break;
	case NETCTL_REPORT:
		on_report(n, fds[0]);
		break;
	case NETCTL_LOST:
		n->over = true;
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
	int fds[NETCTL_FDS_MAX];
	struct netctl m;
	ssize_t len = netmsg_receive(n->fd, &m, fds);

	if (len == -EAGAIN || len == -EINTR)
		return;
	if (len == sizeof(m) && m.version == NETCTL_VERSION)
		on_message(n, &m, fds);
	else
		on_connection_lost(n);
	for (int i = 0; i < NETCTL_FDS_MAX; i++)
		close_if_open(fds[i]);
	explicit_bzero(&m, sizeof(m));
}

/* All that one needs to know that has not heard from us. */
static int introduce(struct net *n, struct errmsg *err)
{
	struct netctl m = netmsg(NETCTL_HELLO);
	int r;

	m.hello.rank = n->task->rank;
	m.hello.nranks = n->task->ranks;
	memcpy(m.hello.cpus, n->cpus, sizeof(n->cpus));
	r = netmsg_send(n->fd, &m, -1);
	if (r < 0)
		return errmsg_set(err, r, "hello to vmstep-net");
	if (n->table_fd >= 0)
		netmsg_send(n->fd, &n->table, n->table_fd);
	if (n->oplink)
		say_ops(n);
	for (unsigned int s = NETCTL_READY; s <= NETCTL_FAILED; s++)
		if (n->states & 1u << s)
			say_state(n, (enum netctl_state)s);
	for (int i = 0; i < NET_QUESTIONS; i++)
		if (n->questions[i].fn)
			ask(n, &n->questions[i]);
	return 0;
}

/* Takes @fd, also on failure. */
static int use_connection(struct net *n, int fd, struct errmsg *err)
{
	int r;

	n->fd = fd;
	r = introduce(n, err);
	if (r == 0)
		r = loop_io_add(n->loop, fd, EPOLLIN, on_readable, n, &n->io);
	if (r < 0) {
		drop_connection(n);
		return -EAGAIN; /* it ended meanwhile */
	}
	if (n->port && n->qemu_runs)
		give_port(n);
	return 0;
}

/* -- finding and starting it ----------------------------------------------- */

static void on_exit_of_net(pid_t pid, int wstatus, void *arg)
{
	log_debug("vmstep-net, process %d, ended: %s %d", (int)pid,
		  WIFSIGNALED(wstatus) ? "signal" : "status",
		  WIFSIGNALED(wstatus) ? WTERMSIG(wstatus)
				       : WEXITSTATUS(wstatus));
}

static int start(struct net *n, int lock, int ctl, struct errmsg *err)
{
	const struct netproc_fds fds = { lock, ctl, n->listeners[1] };
	pid_t pid;
	int r;

	r = netproc_start(n->task, n->spec, &fds, &pid, err);
	if (r == 0)
		loop_child(n->loop, pid, on_exit_of_net, NULL);
	return r;
}

/* Nobody is left who was welcomed: what they knew is not true of any more. */
static int start_afresh(struct net *n, int lock, struct errmsg *err)
{
	_cleanup_close_ int ctl = netproc_listen(n->dir, err);

	if (ctl < 0)
		return ctl;
	if (ftruncate(lock, 0) < 0)
		return errmsg_set(err, -errno, "lock of the step's network");
	return start(n, lock, ctl, err);
}

/* Start one where there is none, if that is for us to do; @reachable: somebody
 * holds its socket. 1 if it was started, else 0. */
static int start_if_ours(struct net *n, bool reachable, struct errmsg *err)
{
	_cleanup_close_ int lock = netproc_lock(n->dir, err);
	int r;

	if (lock == -EAGAIN) {
		n->looks = 0;
		return 0;
	}
	if (lock < 0)
		return lock;
	if (n->listeners[0] >= 0)
		r = start(n, lock, n->listeners[0], err);
	else if (!reachable)
		r = start_afresh(n, lock, err);
	else if (++n->looks <= LOOKS_MAX)
		return 0;
	else
		return errmsg_say(
			err, -ETIMEDOUT,
			"no other task of this node has started it again");
	return r < 0 ? r : 1;
}

/* One try; -EAGAIN: another may help. */
static int find(struct net *n, struct errmsg *err)
{
	int fd = netproc_connect(n->dir), r = 0;

	if (n->spec)
		r = start_if_ours(n, fd >= 0, err);
	if (r >= 0 && fd < 0)
		fd = netproc_connect(n->dir);
	if (r < 0 && fd >= 0)
		close(fd);
	if (r < 0)
		return r;
	if (fd >= 0)
		return use_connection(n, fd, err);
	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return -EAGAIN;
	return errmsg_set(err, fd, "connect to vmstep-net");
}

/* Our connection waits to be accepted. */
static int look(struct net *n, struct errmsg *err)
{
	int r = start_if_ours(n, true, err);

	return r > 0 ? note_death(n, err) : r;
}

static void on_look_timer(void *arg)
{
	struct net *n = arg;
	struct errmsg err;
	int r;

	r = n->fd < 0 ? find(n, &err) : look(n, &err);
	if (r < 0 && r != -EAGAIN)
		lose(n, err.text);
	else
		look_again(n);
}

static int find_first(struct net *n, struct errmsg *err)
{
	int tries = n->spec ? FIRST_TRIES : FIND_TRIES;

	for (int i = 0; i < tries; i++) {
		int r = find(n, err);

		if (r != -EAGAIN)
			return r;
		poll(NULL, 0, FIRST_TRY_MS);
	}
	return errmsg_say(err, -ETIMEDOUT,
			  "no vmstep-net on this node within %d s",
			  tries * FIRST_TRY_MS / 1000);
}

/* -- life ------------------------------------------------------------------ */

/* It is started on the CPUs of one task, whichever comes first. Where it has
 * more workers, or CPUs that are kept for it, each helper names its own: those
 * that are kept, or all. */
static void choose_cpus(struct net *n)
{
	const struct task *t = n->task;
	const struct spec *s = n->spec;
	const struct pin_want want = { s->cpus, s->io_cpus, t->local_id,
				       t->local_tasks };
	struct pin *pin = NULL;
	struct errmsg err = { "" };
	int r;

	if (t->net_workers < 2 && !s->io_cpus)
		return;
	r = pin_new(&pin, &err);
	if (r == 0 && s->bind != BIND_NONE)
		r = pin_plan(pin, &want, &err);
	if (r >= 0 && pin_text(pin, n->cpus, sizeof(n->cpus)) < 0)
		r = errmsg_say(&err, -E2BIG, "their list is too long");
	if (r < 0) {
		log_warn("vmstep-net is not told this task's CPUs: %s",
			 err.text);
		n->cpus[0] = '\0';
	}
	pin_free(pin);
}

/* Its port, vmstep-net, and the first word to it. */
static int open_net(struct net *n, struct errmsg *err)
{
	const struct task *t = n->task;
	int r = 0;

	n->dir = open(t->step_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (n->dir < 0)
		return errmsg_set(err, -errno, "step's directory %s",
				  t->step_dir);
	if (n->spec && n->spec->net != NET_NONE)
		r = port_new(n->spec->net, n->dir, t->rank, &n->port, err);
	if (r == 0 && n->spec)
		choose_cpus(n);
	if (r == 0)
		r = find_first(n, err);
	if (r == 0)
		look_again(n);
	return r;
}

static int make_timers(struct net *n, struct errmsg *err)
{
	int r = loop_timer_add(n->loop, -1, give_port, n, &n->port_timer);

	if (r == 0)
		r = loop_timer_add(n->loop, -1, on_look_timer, n,
				   &n->look_timer);
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
	n->fd = n->dir = n->table_fd = -1;
	n->listeners[0] = n->listeners[1] = -1;
	n->look_ms = LOOK_MS;
	n->loop = l;
	n->ops = *ops;
	n->arg = arg;
	n->task = t;
	n->spec = s;
	r = make_timers(n, err);
	if (r == 0)
		r = open_net(n, err);
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
	loop_timer_free(n->look_timer);
	loop_io_free(n->io);
	port_free(n->port);
	close_if_open(n->fd);
	close_if_open(n->dir);
	close_if_open(n->table_fd);
	for (int i = 0; i < NETCTL_FDS_MAX; i++)
		close_if_open(n->listeners[i]);
	explicit_bzero(&n->table, sizeof(n->table));
	free(n);
}
