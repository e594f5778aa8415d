/* loop.h - one thread's event loop: descriptors, timers, signals, children
 *
 * Owns:    an epoll instance and the sources registered with it, not their
 *          descriptors.
 * Thread:  the one that runs it; nothing here may be called from another, but
 *          for loop_io_set(), and while a guard keeps that one from going on.
 *
 * A source may be freed from any callback, its own included: it is unlinked at
 * once and its memory goes when the dispatch of this round is over.
 */
#ifndef VMSTEP_LOOP_H
#define VMSTEP_LOOP_H

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/signalfd.h>

#include "errmsg.h"

struct loop;
struct loop_io;
struct loop_timer;

/* @events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR as epoll_wait(2) gives them */
typedef void (*loop_io_fn)(uint32_t events, void *arg);
typedef void (*loop_timer_fn)(void *arg);
typedef void (*loop_signal_fn)(const struct signalfd_siginfo *si, void *arg);
typedef void (*loop_child_fn)(pid_t pid, int wstatus, void *arg);

int loop_new(struct loop **ret, struct errmsg *err);
void loop_free(struct loop *l); /* NULL is fine; frees what is still in it */

/* Dispatch until loop_stop(). Returns what was given to loop_stop(), or
 * -errno when epoll itself failed. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int result);

/* For @us from now on look for events instead of waiting for them, as long as
 * nobody else wants the CPU: for who has passed something on and expects what
 * comes of it soon. To be woken on a CPU that sleeps takes some 30 us. */
void loop_stay_awake(struct loop *l, unsigned int us);

/* For loops that share what their callbacks touch. A loop is inside, between
 * enter() and leave(), but for the time in which it waits; alone() and
 * together() are around each callback of a source that loop_io_alone() was
 * said of. Whoever keeps a loop from entering may do with its sources as if he
 * were its thread. */
struct loop_guard {
	void (*enter)(void *arg);
	void (*leave)(void *arg);
	void (*alone)(void *arg);
	void (*together)(void *arg);
	void *arg;
};
void loop_set_guard(struct loop *l, const struct loop_guard *g); /* borrowed */

/* Monotonic milliseconds. */
int64_t loop_now_ms(void);
/* For a program that is about to be suspended, with one loop: its time stands
 * still, and no timer ends, until it goes on. */
void loop_clock_stop(void);
void loop_clock_go(void); /* it may go already */
/* For tests: @ms pass at once, for all loops of this process. */
void loop_skip(int64_t ms);

/* Watch @fd (borrowed). A regular file, which epoll refuses, is reported as
 * always ready for what was asked. Returns 0 or -errno. */
int loop_io_add(struct loop *l, int fd, uint32_t events, loop_io_fn fn,
		void *arg, struct loop_io **ret);
/* 0: none for now. NULL is fine. */
void loop_io_set(struct loop_io *io, uint32_t events);
void loop_io_alone(struct loop_io *io); /* see loop_guard */
void loop_io_free(struct loop_io *io);	/* NULL is fine */

/* A timer: once after @ms, then not until set again. @ms < 0: not armed. */
int loop_timer_add(struct loop *l, int64_t ms, loop_timer_fn fn, void *arg,
		   struct loop_timer **ret);
void loop_timer_set(struct loop_timer *t, int64_t ms);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* Block @sig in this thread and report it here instead. Call before threads
 * or children are made; a child must unblock (loop_unblock_signals()). One
 * handler a signal: a second call replaces it. */
int loop_signal(struct loop *l, int sig, loop_signal_fn fn, void *arg,
		struct errmsg *err);
/* In a child, between fork and exec: async-signal-safe. */
void loop_unblock_signals(void);

/* Report the end of our child @pid, once, with its wait status; it is reaped
 * here. Where the kernel has no pidfd (before 5.3) this takes SIGCHLD, which
 * is the caller's to use otherwise. Returns 0 or -errno. */
int loop_child(struct loop *l, pid_t pid, loop_child_fn fn, void *arg);
/* What the child that a loop_child_fn is told about has used. */
const struct rusage *loop_child_usage(const struct loop *l);
void loop_child_forget(struct loop *l, pid_t pid); /* it stays a zombie */

#endif
