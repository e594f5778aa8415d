#include <config.h>

#include "yardstick.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

/* -- one copy ------------------------------------------------------------- */

#define SLOTS	      256
#define PUBLISH	      32
#define PAGE	      4096
#define STRIDE_SPARSE (2048 + 64) /* as the driver's buffers */

struct copy {
	uint8_t *from, *to;
	size_t len, stride, to_slots;
	_Alignas(64) uint64_t head; /* published by the producer */
	_Alignas(64) uint64_t tail; /* by the consumer */
	_Alignas(64) bool stop;
};

static uint8_t *shared(size_t bytes)
{
	int fd = check(memfd_create("yardstick", MFD_CLOEXEC), "memfd");
	uint8_t *p;

	check(ftruncate(fd, (off_t)bytes), "memfd");
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	close(fd);
	memset(p, 1, bytes); /* it is there */
	return p;
}

static uint8_t *from_slot(const struct copy *c, uint64_t i)
{
	return c->from + i % SLOTS * c->stride;
}

static uint8_t *to_slot(const struct copy *c, uint64_t i)
{
	return c->to + i % c->to_slots * c->stride;
}

static void *consume(void *arg)
{
	struct copy *c = arg;
	uint64_t tail = 0, head = 0;

	pin(WORKER_CPU);
	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		/* acquire: the frames before the index */
		head = __atomic_load_n(&c->head, __ATOMIC_ACQUIRE);
		while (tail != head) {
			memcpy(to_slot(c, tail), from_slot(c, tail), c->len);
			/* release: pairs with the producer's acquire */
			if (++tail % PUBLISH == 0)
				__atomic_store_n(&c->tail, tail,
						 __ATOMIC_RELEASE);
		}
	}
	return NULL;
}

/* Frames that the consumer had copied when the time was over. */
static uint64_t produce(struct copy *c, int64_t until, bool read_back)
{
	uint64_t head = 0, tail = 0, seen = 0, sum = 0;

	while (now_ns() < until) {
		for (int i = 0; i < PUBLISH && head - tail < SLOTS; i++) {
			dirty(from_slot(c, head), c->len, head);
			head++;
		}
		/* release, acquire: as in consume() */
		__atomic_store_n(&c->head, head, __ATOMIC_RELEASE);
		tail = __atomic_load_n(&c->tail, __ATOMIC_ACQUIRE);
		for (; read_back && seen != tail; seen++)
			sum += digest(to_slot(c, seen), c->len);
	}
	return tail + (sum == 1); /* so that it is not left out */
}

double yardstick_copy(size_t len, unsigned int ms, bool read_back)
{
	struct copy c = { .len = len };
	pthread_t consumer;
	int64_t start;
	uint64_t n;

	c.stride = len <= 2048 ? STRIDE_SPARSE : (len + 127) / 64 * 64;
	c.from = shared(SLOTS * c.stride);
	/* A guest has 256 buffers to receive in, of one page where frames are
	 * large: fewer such frames, which stay in the caches. That a slow
	 * reader then finds a later frame costs the same. */
	c.to_slots = len <= 2048 ? SLOTS : SLOTS * PAGE / c.stride;
	c.to = shared(SLOTS * c.stride);
	pin(GENERATOR_CPU);
	check(-pthread_create(&consumer, NULL, consume, &c), "thread");
	start = now_ns();
	n = produce(&c, start + ms * 1000000ll, read_back);
	start = now_ns() - start;
	__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
	pthread_join(consumer, NULL);
	munmap(c.from, SLOTS * c.stride);
	munmap(c.to, SLOTS * c.stride);
	return (double)n * 1e9 / (double)start;
}

/* -- wake-ups ------------------------------------------------------------- */

struct echo {
	int there, back;
	bool polling;
	_Alignas(64) uint64_t seen; /* polling: written instead of back */
};

static int watch(int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = check(epoll_create1(EPOLL_CLOEXEC), "epoll");

	check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), "epoll");
	return ep;
}

static uint64_t sleep_on(int ep, int fd)
{
	struct epoll_event ev;
	uint64_t n = 0;

	check(epoll_wait(ep, &ev, 1, -1), "epoll_wait");
	check((int)read(fd, &n, sizeof(n)), "eventfd");
	return n;
}

static void wake(int fd, uint64_t n)
{
	check((int)write(fd, &n, sizeof(n)), "eventfd");
}

#define WAKE_END 1000 /* more than any wake-up counts */

static void *echo(void *arg)
{
	struct echo *e = arg;
	int ep = watch(e->there);

	pin(WORKER_CPU);
	while (sleep_on(ep, e->there) < WAKE_END) {
		if (e->polling)
			__atomic_fetch_add(&e->seen, 1, __ATOMIC_RELEASE);
		else
			wake(e->back, 1);
	}
	close(ep);
	return NULL;
}

static void trip(struct echo *e, int ep)
{
	uint64_t before = e->seen;

	wake(e->there, 1);
	if (!e->polling)
		sleep_on(ep, e->back);
	while (e->polling &&
	       __atomic_load_n(&e->seen, __ATOMIC_ACQUIRE) == before)
		;
}

void yardstick_wakeups(unsigned int trips, bool polling, unsigned int rest_us,
		       unsigned int ms, struct latency *l)
{
	struct echo e = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC),
			  polling };
	int64_t until = now_ns() + ms * 1000000ll, start;
	int ep = watch(e.back);
	pthread_t other;

	pin(GENERATOR_CPU);
	check(-pthread_create(&other, NULL, echo, &e), "thread");
	while ((start = now_ns()) < until) {
		for (unsigned int i = 0; i < trips; i++)
			trip(&e, ep);
		latency_add(l, now_ns() - start);
		rest(rest_us, polling);
	}
	wake(e.there, WAKE_END);
	pthread_join(other, NULL);
	close(ep);
	close(e.there);
	close(e.back);
}
