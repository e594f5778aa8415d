#include <config.h>

#include "test_proxy.h"

#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PAIRS_MAX 16

#define TAPE_BYTES (256 * 1024)

struct proxy_tape {
	size_t len;
	uint8_t data[TAPE_BYTES];
};

static struct { /* of the process that is the wire */
	struct proxy_tape *tape;
	int listener, orders;
	const char *to;
	bool held;
	int ends[PAIRS_MAX * 2]; /* connected ones side by side; -1: none */
} w;

static void close_pair(int i)
{
	for (int e = i & ~1; e <= (i | 1); e++) {
		if (w.ends[e] >= 0)
			close(w.ends[e]);
		w.ends[e] = -1;
	}
}

static void take_order(void)
{
	char order;

	if (read(w.orders, &order, 1) != 1)
		_exit(0);
	if (order != 'b')
		w.held = order == 'h';
	for (int i = 0; order == 'b' && i < PAIRS_MAX * 2; i += 2)
		close_pair(i);
}

static void take_connection(void)
{
	struct pollfd p = { .events = POLLOUT };
	int fd = accept4(w.listener, NULL, NULL, SOCK_CLOEXEC);

	for (int i = 0; fd >= 0 && i < PAIRS_MAX * 2; i += 2)
		if (w.ends[i] < 0) {
			w.ends[i] = fd;
			w.ends[i + 1] = p.fd = tcp_connect(w.to, NULL);
			poll(&p, 1, 1000);
			return;
		}
}

static void record(const char *data, ssize_t n)
{
	size_t len = __atomic_load_n(&w.tape->len, __ATOMIC_RELAXED);

	if (n <= 0 || len + (size_t)n > TAPE_BYTES)
		return;
	memcpy(w.tape->data + len, data, (size_t)n);
	/* release: pairs with the acquire in proxy_seen() */
	__atomic_store_n(&w.tape->len, len + (size_t)n, __ATOMIC_RELEASE);
}

/* Blocks while the other end takes nothing, which is no matter here. */
static void pass_on(int i)
{
	struct pollfd p = { .fd = w.ends[i ^ 1], .events = POLLOUT };
	char data[16384];
	ssize_t n = recv(w.ends[i], data, sizeof(data), MSG_DONTWAIT), done;

	record(data, n);
	for (ssize_t at = 0; at < n; at += done) {
		poll(&p, 1, -1);
		done = send(p.fd, data + at, (size_t)(n - at), MSG_NOSIGNAL);
		if (done < 0) {
			close_pair(i);
			return;
		}
	}
	if (n <= 0)
		close_pair(i);
}

static _Noreturn void be_a_wire(void)
{
	struct pollfd p[2 + PAIRS_MAX * 2];

	for (;;) {
		p[0] = (struct pollfd){ w.orders, POLLIN, 0 };
		p[1] = (struct pollfd){ w.held ? -1 : w.listener, POLLIN, 0 };
		for (int i = 0; i < PAIRS_MAX * 2; i++)
			p[2 + i] = (struct pollfd){ w.held ? -1 : w.ends[i],
						    POLLIN, 0 };
		poll(p, 2 + PAIRS_MAX * 2, -1);
		for (int i = 0; i < PAIRS_MAX * 2; i++)
			if (p[2 + i].revents && w.ends[i] >= 0)
				pass_on(i);
		if (p[1].revents)
			take_connection();
		if (p[0].revents)
			take_order();
	}
}

/* The step's sockets would stay open in here. */
static void keep_own(void)
{
	int top = w.listener > w.orders ? w.listener : w.orders;

	w.listener = dup2(w.listener, top + 1);
	w.orders = dup2(w.orders, top + 2);
	close_range(3, (unsigned int)top, 0);
	close_range((unsigned int)top + 3, ~0u, 0);
}

void proxy_start(struct proxy *p, const char *address)
{
	struct sockaddr_storage sa = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&sa;
	int fds[2];

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	w.listener =
		tcp_listen(&sa, (struct port_range){ 0, 0 }, p->address, NULL);
	assert_true(w.listener >= 0);
	assert_int_equal(pipe(fds), 0);
	w.orders = fds[0];
	w.to = address;
	p->tape = w.tape = mmap(NULL, sizeof(*p->tape), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(p->tape != MAP_FAILED);
	for (int i = 0; i < PAIRS_MAX * 2; i++)
		w.ends[i] = -1;
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		keep_own();
		be_a_wire();
	}
	p->orders = fds[1];
	close(fds[0]);
	close(w.listener);
}

static void order(struct proxy *p, char what)
{
	assert_int_equal(write(p->orders, &what, 1), 1);
}

void proxy_break(struct proxy *p)
{
	order(p, 'b');
}

void proxy_hold(struct proxy *p)
{
	order(p, 'h');
}

void proxy_mend(struct proxy *p)
{
	order(p, 'm');
}

size_t proxy_seen(const struct proxy *p, uint8_t *data, size_t size)
{
	size_t len = __atomic_load_n(&p->tape->len, __ATOMIC_ACQUIRE);

	len = len < size ? len : size;
	memcpy(data, p->tape->data, len);
	return len;
}

void proxy_end(struct proxy *p)
{
	munmap(p->tape, sizeof(*p->tape));
	close(p->orders);
	assert_int_equal(waitpid(p->pid, NULL, 0), p->pid);
}
