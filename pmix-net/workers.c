#include <config.h>

#include "workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rankset.h"

/* The world's lock is one mutex a worker, its seat, which it holds while it is
 * inside its loop; nobody else touches that, so it costs little and no cache
 * line wanders. Who stops the world takes the gate, so that nobody else does,
 * says that he waits, so that nobody comes back into his seat, and takes seat
 * after seat. Who wants his seat meanwhile waits at the gate. When the world
 * goes on, he keeps his own seat, and wakes the others: they may have got
 * timers and jobs.
 *
 * So seats are taken with the gate, or one at a time by who has none.
 */

struct seat {
	struct workers *all;
	struct worker worker;
	pthread_mutex_t mutex; /* held by its worker, or by who stops it */
	bool inside;	       /* the worker has it: only its own thread asks */
	unsigned int stops;    /* nested ones; the same */
	bool runs;	       /* it has a thread to be joined */
	pthread_t thread;
	sem_t begun; /* the thread has its round: it can be posted to */
	struct loop_guard guard;
	struct round_job end;
	/* a line of its own, so that neighbours do not disturb each other */
	char apart[64];
};

struct workers {
	unsigned int n;
	cpu_set_t cpus; /* empty: where they were started */
	pthread_mutex_t gate;
	atomic_bool wanted; /* somebody has the gate, or is about to */
	struct seat seats[];
};

static void take(pthread_mutex_t *m)
{
	int r = pthread_mutex_lock(m);

	assert(r == 0);
	(void)r;
}

static void drop(pthread_mutex_t *m)
{
	int r = pthread_mutex_unlock(m);

	assert(r == 0);
	(void)r;
}

/* -- the world's lock ------------------------------------------------------ */

static void sit_down(void *arg)
{
	struct seat *s = arg;

	/* Only a courtesy: who misses it is waited for once more. */
	if (atomic_load_explicit(&s->all->wanted, memory_order_relaxed)) {
		take(&s->all->gate);
		drop(&s->all->gate);
	}
	take(&s->mutex);
	s->inside = true;
}

static void stand_up(void *arg)
{
	struct seat *s = arg;

	s->inside = false;
	drop(&s->mutex);
}

static void stop_world(void *arg)
{
	struct seat *s = arg;
	struct workers *ws = s->all;

	if (s->stops++)
		return;
	if (s->inside)
		drop(&s->mutex);
	take(&ws->gate);
	atomic_store_explicit(&ws->wanted, true, memory_order_relaxed);
	for (unsigned int i = 0; i < ws->n; i++)
		take(&ws->seats[i].mutex);
}

static void let_world_go(void *arg)
{
	struct seat *s = arg;
	struct workers *ws = s->all;

	assert(s->stops);
	if (--s->stops)
		return;
	for (unsigned int i = 0; i < ws->n; i++) {
		if (&ws->seats[i] == s && s->inside)
			continue;
		drop(&ws->seats[i].mutex);
		if (&ws->seats[i] != s)
			round_wake(ws->seats[i].worker.round);
	}
	atomic_store_explicit(&ws->wanted, false, memory_order_relaxed);
	drop(&ws->gate);
}

void workers_stop(struct workers *ws)
{
	if (ws && ws->n > 1)
		stop_world(&ws->seats[0]);
}

void workers_go(struct workers *ws)
{
	if (ws && ws->n > 1)
		let_world_go(&ws->seats[0]);
}

/* -- threads --------------------------------------------------------------- */

static void on_end(struct round_job *job)
{
	struct seat *s =
		(struct seat *)((char *)job - offsetof(struct seat, end));

	loop_stop(s->worker.loop, 0);
}

static void *run(void *arg)
{
	struct seat *s = arg;
	char name[16];

	round_mine(s->worker.round);
	sem_post(&s->begun);
	/* itself: another thread's is written to a file, which confine.h closes
	 */
	snprintf(name, sizeof(name), "worker %u", s->worker.index);
	pthread_setname_np(pthread_self(), name);
	loop_run(s->worker.loop);
	return NULL;
}

/* Signals are the main thread's, but for those that a fault brings. */
static void mask_for_threads(sigset_t *old)
{
	static const int faults[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL };
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, old);
}

static int bind_thread(pthread_t thread, const cpu_set_t *cpus,
		       struct errmsg *err)
{
	int r = pthread_setaffinity_np(thread, sizeof(*cpus), cpus);

	return r ? errmsg_set(err, -r, "CPUs of a worker") : 0;
}

static int add_cpus(cpu_set_t *set, const char *text, struct errmsg *err)
{
	struct rankset list = { 0 };
	uint32_t cpu = 0;
	int r = rankset_parse(&list, text, strlen(text), err);

	while (r == 0 && (cpu = rankset_next(&list, cpu)) < CPU_SETSIZE)
		CPU_SET(cpu++, set);
	rankset_done(&list);
	return r;
}

int workers_use_cpus(struct workers *ws, const char *cpus, struct errmsg *err)
{
	cpu_set_t set = ws->cpus;
	int r = add_cpus(&set, cpus, err);

	if (r == 0)
		r = bind_thread(pthread_self(), &set, err);
	for (unsigned int i = 1; i < ws->n && r == 0; i++)
		if (ws->seats[i].runs)
			r = bind_thread(ws->seats[i].thread, &set, err);
	if (r == 0)
		ws->cpus = set;
	return r;
}

static int start_one(struct seat *s, struct errmsg *err)
{
	int r = pthread_create(&s->thread, NULL, run, s);

	if (r)
		return errmsg_set(err, -r, "thread of a worker");
	s->runs = true;
	while (sem_wait(&s->begun) < 0 && errno == EINTR)
		;
	if (CPU_COUNT(&s->all->cpus))
		bind_thread(s->thread, &s->all->cpus, NULL);
	return 0;
}

int workers_start(struct workers *ws, struct errmsg *err)
{
	sigset_t old;
	int r = 0;

	mask_for_threads(&old);
	for (unsigned int i = 1; i < ws->n && r == 0; i++)
		r = start_one(&ws->seats[i], err);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

void workers_end(struct workers *ws)
{
	for (unsigned int i = 1; ws && i < ws->n; i++) {
		struct seat *s = &ws->seats[i];

		if (!s->runs)
			continue;
		round_post(s->worker.round, &s->end);
		pthread_join(s->thread, NULL);
		s->runs = false;
		round_mine(s->worker.round);
	}
}

/* -- life ------------------------------------------------------------------ */

static int share(struct seat *s, struct errmsg *err)
{
	s->guard = (struct loop_guard){ sit_down, stand_up, stop_world,
					let_world_go, s };
	loop_set_guard(s->worker.loop, &s->guard);
	return round_share(s->worker.round, err);
}

static int seat_init(struct workers *ws, unsigned int i, struct loop *main,
		     struct errmsg *err)
{
	struct seat *s = &ws->seats[i];
	struct worker *w = &s->worker;
	int r = 0;

	s->all = ws;
	s->end.fn = on_end;
	pthread_mutex_init(&s->mutex, NULL);
	sem_init(&s->begun, 0, 0);
	w->index = i;
	w->loop = main;
	if (i)
		r = loop_new(&w->loop, err);
	if (r == 0)
		r = round_new(w->loop, &w->round, err);
	if (r == 0)
		r = flow_new(w->loop, w->round, &w->flow, err);
	if (r == 0 && i)
		flow_join(ws->seats[0].worker.flow, w->flow);
	if (r == 0 && ws->n > 1)
		r = share(s, err);
	return r;
}

int workers_new(struct loop *main, unsigned int n, struct workers **ret,
		struct errmsg *err)
{
	struct workers *ws = calloc(1, sizeof(*ws) + n * sizeof(struct seat));
	int r = 0;

	assert(n >= 1 && n <= WORKERS_MAX);
	if (!ws)
		return errmsg_set(err, -ENOMEM, "workers");
	pthread_mutex_init(&ws->gate, NULL);
	ws->n = n;
	for (unsigned int i = 0; i < n && r == 0; i++)
		r = seat_init(ws, i, main, err);
	if (r < 0) {
		workers_free(ws);
		return r;
	}
	*ret = ws;
	return 0;
}

static void seat_done(struct seat *s)
{
	struct worker *w = &s->worker;

	if (!s->all)
		return; /* workers_new() did not come so far */
	flow_free(w->flow);
	round_free(w->round);
	if (w->index)
		loop_free(w->loop);
	else
		loop_set_guard(w->loop, NULL);
	sem_destroy(&s->begun);
	pthread_mutex_destroy(&s->mutex);
}

void workers_free(struct workers *ws)
{
	if (!ws)
		return;
	for (unsigned int i = ws->n; i-- > 0;)
		seat_done(&ws->seats[i]);
	pthread_mutex_destroy(&ws->gate);
	free(ws);
}

unsigned int workers_n(const struct workers *ws)
{
	return ws->n;
}

struct worker *workers_get(struct workers *ws, unsigned int i)
{
	return &ws->seats[i].worker;
}

struct worker *workers_least(struct workers *ws)
{
	struct worker *least = &ws->seats[ws->n - 1].worker;

	for (unsigned int i = ws->n - 1; i-- > 0;)
		if (ws->seats[i].worker.n_ports < least->n_ports)
			least = &ws->seats[i].worker;
	return least;
}
