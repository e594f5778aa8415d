#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

/* Timers sit in a short unsorted list: a program here has a handful.
 *
 * Freeing while dispatching: a freed source is taken out of its list and out
 * of epoll at once, marked dead, and put on the graveyard, which is emptied
 * after the events of the round have been handed out; an event that is still
 * in the array then meets a dead source and is skipped. With a guard, that may
 * happen while the loop waits, or waits to enter; it is the same.
 */

#define OTHERS_NS 30000 /* others ran so long: to be woken costs no more */

struct loop_io {
	struct loop *loop;
	struct loop_io *next, **pprev;
	int fd;
	uint32_t events;
	bool always; /* a regular file: epoll refuses it, it is always ready */
	bool dead;
	bool alone;
	loop_io_fn fn;
	void *arg;
};

struct loop_timer {
	struct loop *loop;
	struct loop_timer *next, **pprev;
	int64_t due_ms; /* < 0: not armed */
	bool dead;
	loop_timer_fn fn;
	void *arg;
};

struct loop_child_watch {
	struct loop_child_watch *next;
	pid_t pid;
	int pidfd; /* owned; -1 before Linux 5.3: SIGCHLD tells instead */
	struct loop_io *io;
	struct loop *loop;
	loop_child_fn fn;
	void *arg;
};

struct loop {
	int epfd;
	const struct loop_guard *guard; /* borrowed; NULL: none */
	bool stopped;
	int result;
	int64_t awake_until_ns; /* of CLOCK_MONOTONIC */
	struct loop_io *ios, *io_graves;
	struct loop_timer *timers, *timer_graves;
	struct loop_child_watch *children;
	struct rusage usage; /* of the child that is being reported */
	int sigfd;
	sigset_t sigs;
	struct loop_io *sig_io;
	struct {
		loop_signal_fn fn;
		void *arg;
	} handlers[NSIG];
};

/* Of the process, not of a loop: ages are told without one. Written by
 * loop_clock_*() only, which none with several threads calls. */
static struct {
	bool stopped;
	int64_t at_ms;	 /* when it stopped */
	int64_t lost_ms; /* that it stood still before */
} suspended;

static int64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t monotonic_ms(void)
{
	return monotonic_ns() / 1000000;
}

int64_t loop_now_ms(void)
{
	return (suspended.stopped ? suspended.at_ms : monotonic_ms()) -
	       suspended.lost_ms;
}

void loop_clock_stop(void)
{
	if (suspended.stopped)
		return;
	suspended.at_ms = monotonic_ms();
	suspended.stopped = true;
}

void loop_clock_go(void)
{
	if (!suspended.stopped)
		return;
	suspended.stopped = false;
	suspended.lost_ms += monotonic_ms() - suspended.at_ms;
}

void loop_skip(int64_t ms)
{
	suspended.lost_ms -= ms;
}

int loop_new(struct loop **ret, struct errmsg *err)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return errmsg_set(err, -ENOMEM, "event loop");
	l->sigfd = -1;
	sigemptyset(&l->sigs);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		int e = -errno;

		free(l);
		return errmsg_set(err, e, "epoll_create1");
	}
	*ret = l;
	return 0;
}

static void bury(struct loop *l)
{
	struct loop_io *io;
	struct loop_timer *t;

	while ((io = l->io_graves)) {
		l->io_graves = io->next;
		free(io);
	}
	while ((t = l->timer_graves)) {
		l->timer_graves = t->next;
		free(t);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->children)
		loop_child_forget(l, l->children->pid);
	while (l->ios)
		loop_io_free(l->ios);
	while (l->timers)
		loop_timer_free(l->timers);
	bury(l);
	if (l->sigfd >= 0)
		close(l->sigfd);
	close(l->epfd);
	free(l);
}

/* -- descriptors ---------------------------------------------------------- */

int loop_io_add(struct loop *l, int fd, uint32_t events, loop_io_fn fn,
		void *arg, struct loop_io **ret)
{
	struct loop_io *io = calloc(1, sizeof(*io));
	struct epoll_event ev = { .events = events, .data.ptr = io };

	if (!io)
		return -ENOMEM;
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		if (errno != EPERM) {
			int e = -errno;

			free(io);
			return e;
		}
		io->always = true;
	} else if (!events) { /* else EPOLLHUP would spin, as below */
		epoll_ctl(l->epfd, EPOLL_CTL_DEL, fd, NULL);
	}
	io->loop = l;
	io->fd = fd;
	io->events = events;
	io->fn = fn;
	io->arg = arg;
	io->next = l->ios;
	io->pprev = &l->ios;
	if (io->next)
		io->next->pprev = &io->next;
	l->ios = io;
	*ret = io;
	return 0;
}

/* What is wanted of a source may be set by another thread. Its caller sees to
 * it that one does so at a time; here it is only read. */
static uint32_t wanted(const struct loop_io *io)
{
	return __atomic_load_n(&io->events, __ATOMIC_RELAXED);
}

void loop_io_alone(struct loop_io *io)
{
	io->alone = true;
}

void loop_io_set(struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	if (!io || io->events == events)
		return;
	/* Without any interest the descriptor leaves epoll: EPOLLHUP and
	 * EPOLLERR cannot be masked and would spin. */
	if (!io->always) {
		int op = !events       ? EPOLL_CTL_DEL
			 : !io->events ? EPOLL_CTL_ADD
				       : EPOLL_CTL_MOD;

		epoll_ctl(io->loop->epfd, op, io->fd, &ev);
	}
	__atomic_store_n(&io->events, events, __ATOMIC_RELAXED);
}

void loop_io_free(struct loop_io *io)
{
	if (!io || io->dead)
		return;
	if (!io->always && io->events)
		epoll_ctl(io->loop->epfd, EPOLL_CTL_DEL, io->fd, NULL);
	*io->pprev = io->next;
	if (io->next)
		io->next->pprev = io->pprev;
	io->dead = true;
	io->next = io->loop->io_graves;
	io->loop->io_graves = io;
}

/* Files that epoll refuses: hand each one its events, once a round. */
static bool run_always_ready(struct loop *l, bool only_look)
{
	struct loop_io *io, *next;

	for (io = l->ios; io; io = next) {
		next = io->next;
		if (!io->always || !wanted(io))
			continue;
		if (only_look)
			return true;
		io->fn(wanted(io), io->arg);
		return true; /* the list may have changed: one a round */
	}
	return false;
}

/* -- timers --------------------------------------------------------------- */

int loop_timer_add(struct loop *l, int64_t ms, loop_timer_fn fn, void *arg,
		   struct loop_timer **ret)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	t->next = l->timers;
	t->pprev = &l->timers;
	if (t->next)
		t->next->pprev = &t->next;
	l->timers = t;
	loop_timer_set(t, ms);
	*ret = t;
	return 0;
}

void loop_timer_set(struct loop_timer *t, int64_t ms)
{
	t->due_ms = ms < 0 ? -1 : loop_now_ms() + ms;
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t || t->dead)
		return;
	*t->pprev = t->next;
	if (t->next)
		t->next->pprev = t->pprev;
	t->dead = true;
	t->next = t->loop->timer_graves;
	t->loop->timer_graves = t;
}

static int next_wait_ms(struct loop *l)
{
	int64_t due = -1, now;

	if (run_always_ready(l, true))
		return 0;
	for (struct loop_timer *t = l->timers; t; t = t->next)
		if (t->due_ms >= 0 && (due < 0 || t->due_ms < due))
			due = t->due_ms;
	if (due < 0)
		return -1;
	now = loop_now_ms();
	if (due <= now)
		return 0;
	if (suspended.stopped)
		return -1;
	return due - now > INT_MAX ? INT_MAX : (int)(due - now);
}

static void run_due_timers(struct loop *l)
{
	int64_t now = loop_now_ms();
	struct loop_timer *t;

	do { /* from the start each time: a callback may change the list */
		for (t = l->timers; t; t = t->next)
			if (t->due_ms >= 0 && t->due_ms <= now)
				break;
		if (t) {
			t->due_ms = -1;
			t->fn(t->arg);
		}
	} while (t && !l->stopped);
}

/* -- signals -------------------------------------------------------------- */

static void on_signalfd(uint32_t events, void *arg)
{
	struct loop *l = arg;
	struct signalfd_siginfo si;

	while (read(l->sigfd, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo < NSIG && l->handlers[si.ssi_signo].fn)
			l->handlers[si.ssi_signo].fn(
				&si, l->handlers[si.ssi_signo].arg);
}

int loop_signal(struct loop *l, int sig, loop_signal_fn fn, void *arg,
		struct errmsg *err)
{
	int fd, r;

	sigaddset(&l->sigs, sig);
	if (sigprocmask(SIG_BLOCK, &l->sigs, NULL) < 0)
		return errmsg_set(err, -errno, "block signal %d", sig);
	fd = signalfd(l->sigfd, &l->sigs, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return errmsg_set(err, -errno, "signalfd");
	l->sigfd = fd;
	l->handlers[sig].fn = fn;
	l->handlers[sig].arg = arg;
	if (!l->sig_io) {
		r = loop_io_add(l, fd, EPOLLIN, on_signalfd, l, &l->sig_io);
		if (r < 0)
			return errmsg_set(err, r, "watch signalfd");
	}
	return 0;
}

void loop_unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* -- children ------------------------------------------------------------- */

static void child_watch_free(struct loop_child_watch *c)
{
	loop_io_free(c->io);
	if (c->pidfd >= 0)
		close(c->pidfd);
	free(c);
}

/* Returns whether it has ended and was reported; @c is then gone. */
static bool reap(struct loop_child_watch *c)
{
	struct loop_child_watch **pp;
	struct loop *l = c->loop;
	loop_child_fn fn = c->fn;
	void *fn_arg = c->arg;
	pid_t pid = c->pid;
	int wstatus;

	if (wait4(pid, &wstatus, WNOHANG, &l->usage) != pid)
		return false;
	for (pp = &l->children; *pp != c; pp = &(*pp)->next)
		;
	*pp = c->next;
	child_watch_free(c);
	fn(pid, wstatus, fn_arg);
	return true;
}

static void on_pidfd(uint32_t events, void *arg)
{
	reap(arg);
}

/* One signal may stand for many children. */
static void on_sigchld(const struct signalfd_siginfo *si, void *arg)
{
	struct loop *l = arg;
	struct loop_child_watch *c = l->children;

	/* from the start each time: a callback may change the list */
	while (c && !l->stopped)
		c = c->pidfd < 0 && reap(c) ? l->children : c->next;
}

/* The child may have ended before SIGCHLD was blocked: look once for sure. */
static int watch_sigchld(struct loop *l)
{
	int r = loop_signal(l, SIGCHLD, on_sigchld, l, NULL);

	return r < 0 ? r : raise(SIGCHLD) != 0 ? -errno : 0;
}

int loop_child(struct loop *l, pid_t pid, loop_child_fn fn, void *arg)
{
	struct loop_child_watch *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = l;
	c->pid = pid;
	c->fn = fn;
	c->arg = arg;
	c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (c->pidfd >= 0)
		r = loop_io_add(l, c->pidfd, EPOLLIN, on_pidfd, c, &c->io);
	else
		r = errno == ENOSYS ? watch_sigchld(l) : -errno;
	if (r < 0) {
		child_watch_free(c);
		return r;
	}
	c->next = l->children;
	l->children = c;
	return 0;
}

const struct rusage *loop_child_usage(const struct loop *l)
{
	return &l->usage;
}

void loop_child_forget(struct loop *l, pid_t pid)
{
	struct loop_child_watch **pp, *c;

	for (pp = &l->children; (c = *pp); pp = &c->next)
		if (c->pid == pid) {
			*pp = c->next;
			child_watch_free(c);
			return;
		}
}

/* -- running -------------------------------------------------------------- */

void loop_set_guard(struct loop *l, const struct loop_guard *g)
{
	l->guard = g;
}

static void dispatch(struct loop_io *io, uint32_t events)
{
	const struct loop_guard *g = io->loop->guard;
	bool alone = io->alone && g;

	if (alone)
		g->alone(g->arg);
	if (!io->dead && wanted(io)) /* also if that was just changed */
		io->fn(events, io->arg);
	if (alone)
		g->together(g->arg);
}

void loop_stay_awake(struct loop *l, unsigned int us)
{
	l->awake_until_ns = monotonic_ns() + 1000 * (int64_t)us;
}

/* 0: nothing came for as long as we were to stay awake, or others want the CPU:
 * while they run it is awake without us. */
static int look_for_events(struct loop *l, struct epoll_event *evs, int max)
{
	int64_t now = monotonic_ns(), last = now;
	int n = 0;

	while (n == 0 && now < l->awake_until_ns && now - last < OTHERS_NS) {
		n = epoll_wait(l->epfd, evs, max, 0);
		if (n == 0)
			sched_yield();
		last = now;
		now = monotonic_ns();
	}
	if (n == 0)
		l->awake_until_ns = 0;
	return n;
}

/* As epoll_wait(2), or -errno. */
static int wait_for_events(struct loop *l, struct epoll_event *evs, int max)
{
	int ms = next_wait_ms(l);
	int n = 0;

	if (l->guard)
		l->guard->leave(l->guard->arg);
	if (ms && l->awake_until_ns)
		n = look_for_events(l, evs, max);
	if (n == 0)
		n = epoll_wait(l->epfd, evs, max, ms);
	if (n < 0)
		n = -errno;
	if (l->guard)
		l->guard->enter(l->guard->arg);
	return n;
}

static int run(struct loop *l)
{
	struct epoll_event evs[32];

	while (!l->stopped) {
		int n = wait_for_events(l, evs, ARRAY_SIZE(evs));

		if (n < 0 && n != -EINTR)
			return n;
		for (int i = 0; i < n && !l->stopped; i++) {
			struct loop_io *io = evs[i].data.ptr;

			if (!io->dead)
				dispatch(io, evs[i].events);
		}
		if (!l->stopped)
			run_always_ready(l, false);
		if (!l->stopped)
			run_due_timers(l);
		bury(l);
	}
	return l->result;
}

int loop_run(struct loop *l)
{
	int r;

	l->stopped = false;
	if (l->guard)
		l->guard->enter(l->guard->arg);
	r = run(l);
	if (l->guard)
		l->guard->leave(l->guard->arg);
	return r;
}

void loop_stop(struct loop *l, int result)
{
	l->stopped = true;
	l->result = result;
}
