/* fuzz_ucx.c - what a peer sends over UCX, or a stranger, and what UCX does
 *
 * In UCX's place is a worker of our own. Input: 1 byte, then what happens, each
 * as 1 byte, a length of 2 bytes (big endian; no more than there is), and so
 * many bytes. Bit 0 of the first byte: links are encrypted; bit 1: node 0
 * dials. Node 1 has proved the key by then. See enum event for the rest.
 */
#include <config.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "link_ucx.h"
#include "mesh_node.h"
#include "tcp_socket.h"
#include "ucx_worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum event {
	/* Number and taken (1 byte each) are added to what is right, kind is
	 * the third; the rest is the message. Sealed where links are. */
	MESSAGE,
	MESSAGE_NOT_SEALED,
	ANY_MESSAGE, /* the header, too */
	LATER,	     /* the next message is there when UCX is asked next */
	OPEN,	     /* the bytes are node 1's address in UCX */
	OVER_TCP,    /* they come over the connection */
	CLOSE_TCP,   /* node 1 closes it */
	FAIL,	     /* UCX says that node 1 is gone */
	SENT,	     /* UCX has sent what it was given */
	SEND,	     /* node 0 sends so many messages (1 byte) */
	STOP_TAKING, /* who is behind the link takes no more ... */
	TAKE_AGAIN,  /* ... until now */
	LEAVE,	     /* node 0 leaves */
	EVENTS
};

#define SECRET 16
#define SENDS  (UCX_WINDOW + 1) /* one says what was taken */

struct ucx_ep {
	void *owner;
	bool closed;
	int fd;
};

struct ucx_worker {
	const struct ucx_worker_events *events;
	void *arg;
	uint8_t *message; /* not taken yet; NULL: none */
	size_t len;
};

static struct ucx_worker worker;
static struct ucx_ep ep; /* node 0's, to us */
static void *sends[SENDS];
static size_t n_sends;

static const uint8_t our_secret[SECRET] = "sixteen letters";
static const uint8_t our_index[4] = { 1, 2, 3, 4 };

static struct {
	int fd; /* the connection; -1: closed */
	struct seal *seal;
	bool heard; /* its OPEN */
	uint8_t secret[SECRET], index[4];
	uint32_t sent, came; /* messages to it, from it */
	uint32_t asked;	     /* to be sent */
	bool later, stopped;
	struct link *link; /* as long as ep is not closed */
	struct link_events events;
	const struct link_events *mesh_events;
} it;

/* -- in UCX's place ------------------------------------------------------- */

int ucx_worker_new(struct loop *l, bool rdma, const char *device,
		   const struct ucx_worker_events *events, void *arg,
		   struct ucx_worker **ret, struct errmsg *err)
{
	worker = (struct ucx_worker){ .events = events, .arg = arg };
	*ret = &worker;
	return 0;
}

static void complete_sends(void)
{
	while (n_sends)
		worker.events->sent(sends[--n_sends], worker.arg);
}

void ucx_worker_free(struct ucx_worker *w)
{
	complete_sends();
	free(w->message);
	w->message = NULL;
	if (ep.owner && !ep.closed)
		abort(); /* its link is over */
	if (ep.fd >= 0)
		close(ep.fd);
}

const uint8_t *ucx_worker_address(const struct ucx_worker *w, size_t *ret_len)
{
	*ret_len = 5;
	return (const uint8_t *)"here";
}

static void deliver(const uint8_t *message, size_t len)
{
	worker.events->message(message, message + UCX_HEADER_LEN,
			       len - UCX_HEADER_LEN, worker.arg);
}

void ucx_worker_poll(struct ucx_worker *w)
{
	_cleanup_free_ uint8_t *message = w->message;

	w->message = NULL;
	if (message)
		deliver(message, w->len);
}

int ucx_ep_new(struct ucx_worker *w, const uint8_t *address, void *owner,
	       struct ucx_ep **ret, struct errmsg *err)
{
	if (ep.owner)
		abort(); /* there is one link */
	if (address[0] == 'x')
		return errmsg_say(err, -EIO, "no way there");
	ep.owner = owner;
	*ret = &ep;
	return 0;
}

/* What it sends has the header that it must, and can be read. */
static void check_send(const uint8_t *header, const uint8_t *data, size_t len)
{
	uint32_t number = wire_get32(header + SECRET + 4);
	uint32_t kind = wire_get32(header + SECRET + 12);
	static uint8_t copy[BUF_BYTES];

	if (memcmp(header, our_secret, SECRET) != 0 ||
	    memcmp(header + SECRET, our_index, 4) != 0 || number != it.came ||
	    (kind != 1 && kind != 2) || (kind == 1) != (len > 0) || ep.closed ||
	    len > sizeof(copy))
		abort();
	if (len)
		memcpy(copy, data, len);
	it.came += kind == 1;
}

void ucx_send(struct ucx_ep *e, const uint8_t *header, const void *data,
	      size_t len, void *what)
{
	check_send(header, data, len);
	if (n_sends == SENDS)
		abort(); /* more than it may have on their way */
	sends[n_sends++] = what;
}

void ucx_ep_close(struct ucx_ep *e, bool in_order, int fd)
{
	if (e->closed)
		abort();
	e->closed = true;
	e->fd = fd;
}

/* -- what happens --------------------------------------------------------- */

static void send_message(const uint8_t *header, const uint8_t *data, size_t len)
{
	uint8_t *message = malloc(UCX_HEADER_LEN + len);

	if (!message)
		abort();
	memcpy(message, header, UCX_HEADER_LEN);
	if (len)
		memcpy(message + UCX_HEADER_LEN, data, len);
	if (it.later && !worker.message) {
		worker.message = message;
		worker.len = UCX_HEADER_LEN + len;
	} else {
		deliver(message, UCX_HEADER_LEN + len);
		free(message);
	}
	it.later = false;
}

static void send_any(const uint8_t *data, size_t len)
{
	if (len >= UCX_HEADER_LEN)
		send_message(data, data + UCX_HEADER_LEN, len - UCX_HEADER_LEN);
}

static void send_ours(const uint8_t *data, size_t len, bool sealed)
{
	uint8_t header[UCX_HEADER_LEN], *message;

	if (len < 3)
		return;
	memcpy(header, it.secret, SECRET);
	memcpy(header + SECRET, it.index, 4);
	wire_put32(header + 20, it.sent + data[0]);
	wire_put32(header + 24, it.came - data[1]);
	wire_put32(header + 28, data[2]);
	it.sent += data[2] == 1 && data[0] == 0;
	len -= 3;
	message = malloc(len + WIRE_TAG);
	if (!message)
		abort();
	memcpy(message, data + 3, len);
	if (sealed && it.seal && len >= sizeof(struct wire_header)) {
		must(seal_close(it.seal, message, len));
		len += WIRE_TAG;
	}
	send_message(header, message, len);
	free(message);
}

static void open_link(const uint8_t *address, size_t len)
{
	uint8_t offer[TCP_OFFER_MAX + 8];

	if (it.fd < 0 || SECRET + 4 + len > TCP_OFFER_MAX)
		return;
	memcpy(offer, our_secret, SECRET);
	memcpy(offer + SECRET, our_index, 4);
	memcpy(offer + SECRET + 4, address, len);
	mesh_node_open(it.fd, it.seal, offer, SECRET + 4 + len);
}

/* What its OPEN offers, once it has come. */
static void hear_open(void)
{
	uint8_t open[8 + SECRET + 4 + 5 + WIRE_TAG];
	size_t len = 8 + SECRET + 4 + 5 + (it.seal ? WIRE_TAG : 0);

	if (it.heard || it.fd < 0 ||
	    recv(it.fd, open, len, MSG_DONTWAIT) != (ssize_t)len)
		return;
	if (wire_get32(open) != WIRE_OPEN ||
	    wire_get32(open + 4) != SECRET + 4 + 5)
		abort();
	if (it.seal &&
	    seal_open(it.seal, open, open + 8, SECRET + 4 + 5, open + 8) < 0)
		abort();
	memcpy(it.secret, open + 8, SECRET);
	memcpy(it.index, open + 8 + SECRET, 4);
	it.heard = true;
}

static void write_tcp(const uint8_t *data, size_t len)
{
	if (it.fd >= 0 && send(it.fd, data, len, MSG_NOSIGNAL) < 0)
		return; /* it has closed it */
}

/* Nobody is to be in TIME_WAIT for each input. */
static void close_tcp(void)
{
	const struct linger now = { 1, 0 };

	if (it.fd < 0)
		return;
	setsockopt(it.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(it.fd);
	it.fd = -1;
}

static void fail(void)
{
	void *owner = ep.owner;

	if (owner && !ep.closed)
		worker.events->failed(owner, "gone", worker.arg);
}

static void take_again(void)
{
	it.stopped = false;
	if (ep.owner && !ep.closed)
		link_resume(it.link);
}

static void send_from_it(struct mesh_node *n, unsigned int messages)
{
	for (unsigned int i = 0; i < messages; i++)
		if (mesh_send(n->mesh, 1, WIRE_ACK, NULL, 0) == 0)
			it.asked++;
}

static void happen(struct mesh_node *n, uint8_t event, const uint8_t *data,
		   size_t len)
{
	switch ((enum event)(event % EVENTS)) {
	case MESSAGE:
		send_ours(data, len, true);
		break;
	case MESSAGE_NOT_SEALED:
		send_ours(data, len, false);
		break;
	case ANY_MESSAGE:
		send_any(data, len);
		break;
	case LATER:
		it.later = true;
		break;
	case OPEN:
		open_link(data, len);
		break;
	case OVER_TCP:
		write_tcp(data, len);
		break;
	case CLOSE_TCP:
		close_tcp();
		break;
	case FAIL:
		fail();
		break;
	case SENT:
		complete_sends();
		break;
	case SEND:
		send_from_it(n, len ? data[0] : 1);
		break;
	case STOP_TAKING:
		it.stopped = true;
		break;
	case TAKE_AGAIN:
		take_again();
		break;
	case LEAVE:
		mesh_leave(n->mesh, "");
		break;
	case EVENTS:
		break;
	}
}

/* -- a link --------------------------------------------------------------- */

static void on_up(struct link *l, void *arg)
{
	it.link = l;
	it.mesh_events->up(l, arg);
}

static int on_message(struct link *l, enum wire_type type, const uint8_t *data,
		      size_t len, struct errmsg *err, void *arg)
{
	if (it.stopped)
		return -EAGAIN;
	return it.mesh_events->message(l, type, data, len, err, arg);
}

static void wrap(struct link_env *env)
{
	it.mesh_events = env->events;
	it.events = *env->events;
	it.events.up = on_up;
	it.events.message = on_message;
	env->events = &it.events;
}

/* Where we are when node 0 dials. */
static int listener(char address[TCP_ADDRESS_MAX])
{
	static char text[TCP_ADDRESS_MAX];
	static int fd = -1;
	struct sockaddr_storage sa = { 0 };

	if (fd < 0) {
		((struct sockaddr_in *)&sa)->sin_family = AF_INET;
		((struct sockaddr_in *)&sa)->sin_addr.s_addr =
			htonl(INADDR_LOOPBACK);
		fd = tcp_listen(&sa, (struct port_range){ 0, 0 }, text, NULL);
		must(fd);
	}
	snprintf(address, TCP_ADDRESS_MAX, "%s", text);
	return fd;
}

/* The node before this one may have dialled again, and nobody took that. */
static void forget_dials(int listening)
{
	int fd;

	while ((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

static int be_dialled(struct mesh_node *n, int fd)
{
	mesh_reach(n->mesh, 1);
	mesh_node_await(fd);
	fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	must(fd);
	return fd;
}

static int connect_to(struct mesh_node *n)
{
	struct tcp *t;
	int sv[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv));
	must(tcp_new(n->host, sv[1], false, LINK_PENDING_MS, &t));
	return sv[0];
}

static void let_happen(struct mesh_node *n, const uint8_t *data, size_t size)
{
	while (size >= 3) {
		size_t len = (size_t)data[1] << 8 | data[2];

		if (len > size - 3)
			len = size - 3;
		happen(n, data[0], data + 3, len);
		mesh_node_settle();
		hear_open();
		if (n->pool.n_lent > it.asked + 2 * UCX_WINDOW)
			abort(); /* what came is kept without a bound */
		data += 3 + len;
		size -= 3 + len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char address[TCP_ADDRESS_MAX];
	int fd = listener(address);
	struct mesh_node_conf conf = { WIRE_UCX, address, wrap };
	struct mesh_node *n;
	bool dials;

	if (size < 4 || size > 65536)
		return 0;
	if (data[0] & 1)
		conf.flags |= WIRE_SEALED;
	dials = data[0] & 2;
	memset(&it, 0, sizeof(it));
	ep = (struct ucx_ep){ .fd = -1 };
	forget_dials(fd);
	n = mesh_node_begin(&conf);
	it.fd = dials ? be_dialled(n, fd) : connect_to(n);
	mesh_node_prove(it.fd, !dials, &it.seal);
	mesh_node_settle();
	hear_open();
	let_happen(n, data + 1, size - 1);
	close_tcp();
	mesh_node_settle();
	mesh_node_end();
	seal_free(it.seal);
	return 0;
}
