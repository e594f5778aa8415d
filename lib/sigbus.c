#include <config.h>

#include "sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The handler may run in any thread, at any access to a guarded mapping, while
 * other threads add and remove guards of other mappings. So it takes no lock:
 * it walks chunks of guards, which are only ever added and never freed, and
 * believes of each what it has read between two looks at its `change`. The one
 * that it runs for cannot change meanwhile: its mapping is in use.
 *
 * What others change is all sequentially consistent, since nothing of this is
 * on the way of a frame.
 */

#define CHUNK_GUARDS 64

struct sigbus_guard {
	_Atomic uint32_t change;      /* odd: it is being changed */
	_Atomic uintptr_t start, end; /* 0, 0: vacant */
	_Atomic uintptr_t page;
	_Atomic(atomic_bool *) gone;
};

struct chunk {
	struct chunk *next;
	struct sigbus_guard guards[CHUNK_GUARDS];
};

static _Atomic(struct chunk *) chunks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* who changes it */
static struct sigaction before;

/* -- the signal ------------------------------------------------------------ */

/* What it would have done without us: at the access, which is made again; or,
 * where somebody sent it, when we return. */
static void pass_on(int sig, const siginfo_t *si)
{
	sigaction(sig, &before, NULL);
	if (si->si_code <= 0)
		raise(sig);
}

struct fault {
	uintptr_t page, size;
	atomic_bool *gone;
};

static bool is_within(struct sigbus_guard *g, uintptr_t at, struct fault *ret)
{
	uint32_t change = g->change;
	uintptr_t start = g->start, end = g->end;

	ret->size = g->page;
	ret->gone = g->gone;
	if ((change & 1) || g->change != change || at < start || at >= end)
		return false;
	ret->page = at - (at - start) % ret->size;
	return true;
}

static bool find(uintptr_t at, struct fault *ret)
{
	for (struct chunk *c = chunks; c; c = c->next)
		for (int i = 0; i < CHUNK_GUARDS; i++)
			if (is_within(&c->guards[i], at, ret))
				return true;
	return false;
}

static void on_sigbus(int sig, siginfo_t *si, void *context)
{
	int saved = errno;
	struct fault f;
	void *map = MAP_FAILED;

	if (si->si_code > 0 && find((uintptr_t)si->si_addr, &f)) {
		*f.gone = true;
		map = mmap((void *)f.page, f.size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
				   MAP_NORESERVE,
			   -1, 0);
	}
	if (map == MAP_FAILED)
		pass_on(sig, si);
	errno = saved;
}

/* With each guard: a library may have taken the signal since the last one. */
static int install(void)
{
	struct sigaction act = { .sa_sigaction = on_sigbus,
				 .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction now;

	if (sigaction(SIGBUS, NULL, &now) < 0)
		return -errno;
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigbus)
		return 0;
	before = now;
	sigemptyset(&act.sa_mask);
	return sigaction(SIGBUS, &act, NULL) < 0 ? -errno : 0;
}

/* -- the table, under the lock --------------------------------------------- */

static struct sigbus_guard *find_vacant(void)
{
	struct chunk *c;

	for (c = chunks; c; c = c->next)
		for (int i = 0; i < CHUNK_GUARDS; i++)
			if (!c->guards[i].end)
				return &c->guards[i];
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->next = chunks;
	chunks = c;
	return &c->guards[0];
}

static void change(struct sigbus_guard *g, uintptr_t start, uintptr_t end,
		   uintptr_t page, atomic_bool *gone)
{
	g->change++;
	g->start = start;
	g->end = end;
	g->page = page;
	g->gone = gone;
	g->change++;
}

int sigbus_guard(void *map, size_t len, size_t page, atomic_bool *gone,
		 struct sigbus_guard **ret)
{
	uintptr_t start = (uintptr_t)map;
	struct sigbus_guard *g = NULL;
	int r;

	pthread_mutex_lock(&lock);
	r = install();
	if (r == 0) {
		g = find_vacant();
		r = g ? 0 : -ENOMEM;
	}
	if (g)
		change(g, start, start + len, page, gone);
	pthread_mutex_unlock(&lock);
	if (r == 0)
		*ret = g;
	return r;
}

void sigbus_forget(struct sigbus_guard *g)
{
	if (!g)
		return;
	pthread_mutex_lock(&lock);
	change(g, 0, 0, 0, NULL);
	pthread_mutex_unlock(&lock);
}
