#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "link_wire.h"
#include "netns.h"
#include "yardstick.h"

/* What two forwarders and nothing else would do: the sender copies frames out
 * of a guest's slots into a batch and sends it, the receiver takes batches
 * apart into slots. What the guests do, writing and reading, is done in the
 * same threads, and its time is taken off the CPU time. */

#define SLOTS	256
#define STRIDE	(2048 + 64)
#define PREFIX	4
#define WARM_MS 200
#define BATCH	WIRE_BATCH_BYTES

struct end {
	int fd;
	size_t len;
	int64_t from, until; /* what is measured */
	uint64_t frames, sum, measured;
	int64_t cpu_ns, ns;
	uint8_t slots[SLOTS][STRIDE];
	uint8_t batch[2 * BATCH];
};

static void connect_ends(const int netns[2], const char *address, int fds[2])
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	int one = 1, listener;

	if (inet_pton(AF_INET, address, &in.sin_addr) != 1)
		die("address %s", address);
	listener = netns_socket(netns[1], AF_INET, SOCK_STREAM);
	check(bind(listener, (struct sockaddr *)&in, sizeof(in)), "bind");
	check(listen(listener, 1), "listen");
	check(getsockname(listener, (struct sockaddr *)&in, &len), "listen");
	fds[0] = netns_socket(netns[0], AF_INET, SOCK_STREAM);
	check(connect(fds[0], (struct sockaddr *)&in, len), "connect");
	fds[1] = check(accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
	close(listener);
	for (int i = 0; i < 2; i++)
		check(setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one,
				 sizeof(one)),
		      "TCP_NODELAY");
}

static int watch(int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };
	int ep = check(epoll_create1(EPOLL_CLOEXEC), "epoll");

	check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), "epoll");
	return ep;
}

static void wait_for(int ep)
{
	struct epoll_event ev;

	check(epoll_wait(ep, &ev, 1, -1), "epoll_wait");
}

/* -- batches -------------------------------------------------------------- */

static void send_all(struct end *e, int ep, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = send(e->fd, e->batch + at, len - at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			wait_for(ep);
		else
			at += (size_t)check((int)n, "send");
	}
}

/* CPU time, less what the guest took of it, from the end of the warm-up on. */
static void account(struct end *e, int64_t guest_ns)
{
	int64_t now = now_ns(), cpu = thread_cpu_ns() - guest_ns;

	if (now < e->from) {
		e->ns = -now;
		e->cpu_ns = -cpu;
		e->measured = e->frames;
	} else if (e->ns <= 0 && now >= e->until) {
		e->ns += now;
		e->cpu_ns += cpu;
		e->measured = e->frames - e->measured;
	}
}

static void *send_batches(void *arg)
{
	struct end *e = arg;
	size_t n = BATCH / (PREFIX + e->len);
	int ep = watch(e->fd, EPOLLOUT);
	int64_t guest_ns = 0, t;

	pin(GENERATOR_CPU);
	while ((t = now_ns()) < e->until) {
		uint8_t *at = e->batch;

		account(e, guest_ns);
		for (size_t i = 0; i < n; i++)
			dirty(e->slots[(e->frames + i) % SLOTS], e->len,
			      e->frames);
		guest_ns += now_ns() - t;
		for (size_t i = 0; i < n; i++, at += PREFIX + e->len) {
			wire_put32(at, (uint32_t)e->len);
			memcpy(at + PREFIX, e->slots[e->frames++ % SLOTS],
			       e->len);
		}
		send_all(e, ep, (size_t)(at - e->batch));
	}
	account(e, guest_ns);
	close(ep);
	shutdown(e->fd, SHUT_WR);
	return NULL;
}

/* Frames of the batch; returns the bytes they took. */
static size_t take_apart(struct end *e, size_t have, int64_t *guest_ns)
{
	uint64_t first = e->frames;
	size_t at = 0;
	int64_t t;

	while (have - at >= PREFIX) {
		size_t len = wire_get32(e->batch + at);

		if (have - at - PREFIX < len)
			break;
		memcpy(e->slots[e->frames++ % SLOTS], e->batch + at + PREFIX,
		       len);
		at += PREFIX + len;
	}
	t = now_ns();
	for (; first < e->frames; first++)
		e->sum += digest(e->slots[first % SLOTS], e->len);
	*guest_ns += now_ns() - t;
	return at;
}

static void *recv_batches(void *arg)
{
	struct end *e = arg;
	int ep = watch(e->fd, EPOLLIN);
	int64_t guest_ns = 0;
	size_t have = 0, used;
	ssize_t n;

	pin(WORKER_CPU);
	while ((n = recv(e->fd, e->batch + have, BATCH, MSG_DONTWAIT))) {
		if (n < 0 && errno == EAGAIN) {
			wait_for(ep);
			continue;
		}
		have += (size_t)check((int)n, "recv");
		used = take_apart(e, have, &guest_ns);
		have -= used;
		memmove(e->batch, e->batch + used, have);
		account(e, guest_ns);
	}
	account(e, guest_ns);
	close(ep);
	return NULL;
}

void yardstick_tcp(const int netns[2], const char *address, size_t len,
		   unsigned int ms, struct yardstick_tcp *ret)
{
	struct end *ends = calloc(2, sizeof(*ends));
	int64_t from = now_ns() + WARM_MS * 1000000ll;
	pthread_t threads[2];
	int fds[2];

	if (!ends || len > STRIDE)
		die("yardstick of TCP");
	connect_ends(netns, address, fds);
	for (int i = 0; i < 2; i++) {
		ends[i].fd = fds[i];
		ends[i].len = len;
		ends[i].from = from;
		ends[i].until = from + ms * 1000000ll;
		check(-pthread_create(&threads[i], NULL,
				      i ? recv_batches : send_batches,
				      &ends[i]),
		      "thread");
	}
	*ret = (struct yardstick_tcp){ 0 };
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		close(fds[i]);
		ret->cpu_s_per_gb += (double)ends[i].cpu_ns /
				     ((double)ends[i].measured * (double)len);
	}
	ret->frames_per_s = (double)ends[1].measured * 1e9 / (double)ends[1].ns;
	ret->bits_per_s = ret->frames_per_s * 8 * (double)len;
	free(ends);
}

/* -- round trips ---------------------------------------------------------- */

static bool recv_64(int ep, int fd, uint8_t *bytes)
{
	ssize_t n;

	wait_for(ep);
	n = recv(fd, bytes, 64, MSG_WAITALL);
	return n == 64;
}

static void *echo(void *arg)
{
	int fd = *(int *)arg, ep = watch(fd, EPOLLIN);
	uint8_t bytes[64];

	pin(WORKER_CPU);
	while (recv_64(ep, fd, bytes))
		check((int)send(fd, bytes, 64, MSG_NOSIGNAL), "send");
	close(ep);
	return NULL;
}

void yardstick_tcp_trip(const int netns[2], const char *address,
			unsigned int ms, struct latency *l)
{
	int64_t until = now_ns() + ms * 1000000ll, start;
	uint8_t bytes[64] = { 0 };
	pthread_t other;
	int fds[2], ep;

	connect_ends(netns, address, fds);
	ep = watch(fds[0], EPOLLIN);
	pin(GENERATOR_CPU);
	check(-pthread_create(&other, NULL, echo, &fds[1]), "thread");
	while ((start = now_ns()) < until) {
		check((int)send(fds[0], bytes, 64, MSG_NOSIGNAL), "send");
		if (!recv_64(ep, fds[0], bytes))
			die("a round trip over TCP ended early");
		latency_add(l, now_ns() - start);
	}
	shutdown(fds[0], SHUT_WR);
	pthread_join(other, NULL);
	close(ep);
	close(fds[0]);
	close(fds[1]);
}
