/* lock.h - a mutex, where there is more than one thread
 *
 * With one thread it is a branch that always goes the same way. Held for as
 * long as it takes to copy a frame or to write to a socket, never while
 * waiting for anything. A thread that has one of an outlet's (flow.h) may take
 * those of the pool, of a capture and of a round's posts, no others.
 */
#ifndef VMSTEP_LOCK_H
#define VMSTEP_LOCK_H

#include <pthread.h>
#include <stdbool.h>

struct lock { /* all 0: one thread */
	bool shared;
	pthread_mutex_t mutex;
};

static inline void lock_share(struct lock *l)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	/* looks again for a moment before it sleeps: it is soon free */
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&l->mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	l->shared = true;
}

static inline void lock_done(struct lock *l)
{
	if (l->shared)
		pthread_mutex_destroy(&l->mutex);
	l->shared = false;
}

static inline void lock_take(struct lock *l)
{
	if (l->shared)
		pthread_mutex_lock(&l->mutex);
}

static inline void lock_drop(struct lock *l)
{
	if (l->shared)
		pthread_mutex_unlock(&l->mutex);
}

#endif
