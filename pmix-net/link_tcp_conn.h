/* link_tcp_conn.h - one connection of link_tcp.c, and what the two share
 *
 * link_tcp.c listens, dials, and keeps the list of connections that are not up
 * yet; link_tcp_conn.c is what happens on one of them. For these two only.
 */
#ifndef VMSTEP_LINK_TCP_CONN_H
#define VMSTEP_LINK_TCP_CONN_H

#include <stddef.h>

#include "link.h"
#include "seal.h"

/* See link_tcp_conn.c. */
enum tcp_state {
	TCP_DIALLING,
	TCP_HELLO,
	TCP_PROOF,
	TCP_OPEN,
	TCP_UP,
	TCP_DEAD
};

struct tcp;
struct tcp_host;

#define TCP_OFFER_MAX 8192

/* What carries the messages of links that are up, where that is not their
 * connection, which then only tells that the peer lives: see link_ucx.h. */
struct tcp_carrier {
	/* What the peer needs to reach us is in its OPEN: up to TCP_OFFER_MAX
	 * bytes to @ret. Its length, or -errno. */
	int (*offer)(struct tcp *t, uint8_t *ret, struct errmsg *err);
	/* What the peer offers. 0 or -errno. */
	int (*join)(struct tcp *t, const uint8_t *offer, size_t len,
		    struct errmsg *err);
	int (*send)(struct tcp *t, struct buf *b); /* see link_send() */
	void (*resume)(
		struct tcp *t); /* see link_resume(); also once it is up */
	/* The peer has closed the connection: take what came before. True: all
	 * of it was taken, else tcp_closed() is called when it was. */
	bool (*drain)(struct tcp *t);
	/* The link is freed; @in_order: what was sent is to arrive. True: it
	 * closes t->fd when it has. */
	bool (*part)(struct tcp *t, bool in_order);
	void (*done)(struct tcp_host *h); /* after all links */
};

struct tcp_host {
	struct link_host host;
	struct link_env env;
	const struct tcp_carrier *carrier; /* NULL: none */
	void *carrier_arg;
	int fd; /* -1: not listening any more */
	struct loop_io *io;
	struct tcp *pending;   /* not up yet; newest first */
	size_t n_strangers;    /* of those, not dialled and not proved */
	int64_t deaf_until_ms; /* no descriptors left to accept with; 0: fine */
	struct loop_timer *timer;
};

static inline struct tcp_host *tcp_host_of(struct link_host *h)
{
	return (struct tcp_host *)((char *)h - offsetof(struct tcp_host, host));
}

struct tcp {
	struct link link;
	struct tcp_host *host;
	enum tcp_state state;
	int fd;
	struct loop_io *io;
	struct wire_hello ours, theirs;
	struct seal *seal;	   /* NULL: messages travel as they are */
	int64_t deadline_ms;	   /* while pending */
	struct tcp *next, **pprev; /* in host->pending; NULL: it is not */

	struct buf *rx; /* NULL: nothing half-read */
	bool paused;	/* the message at its front was not taken */
	bool opened;	/* the message at its front is decrypted */
	void *carried;	/* the carrier's */
	struct buf *tx; /* being sent; NULL: none */
	bool refused;	/* link_send() refused: owe writable() */
	bool busy;	/* in a callback of its own, whose end frees it */
	bool doomed;	/* freed while busy */
	bool ended;	/* by tcp_end() */
	bool closed;	/* by the peer, and not drained yet */
};

/* A connection over @fd, owned from now on, also on failure: one that we
 * dialled, whose connect() is under way, or one that was accepted. It has
 * @ms to prove itself. Returns 0 or -errno. */
int tcp_new(struct tcp_host *h, int fd, bool dialled, int64_t ms,
	    struct tcp **ret);
/* It is over: tells its owner, who frees it, or else frees it. */
void tcp_end(struct tcp *t, int code, const char *why);
/* Without telling anyone. */
void tcp_free(struct tcp *t);
/* Between these it is not freed under its own feet. True: it was the outer. */
bool tcp_enter(struct tcp *t);
void tcp_leave(struct tcp *t, bool outer);

/* For a carrier. Seal the message in @b; false: it cannot be sent, and the
 * connection will be seen to end. */
bool tcp_seal(struct tcp *t, struct buf *b);
void tcp_closed(struct tcp *t);

/* Accepted, and has not proved the key. */
static inline bool tcp_is_stranger(const struct tcp *t)
{
	return !t->link.dialled &&
	       (t->state == TCP_HELLO || t->state == TCP_PROOF);
}

/* In link_tcp.c: @t has @ms to come up; @t is up, or over. */
void tcp_pending_set(struct tcp *t, int64_t ms);
void tcp_pending_remove(struct tcp *t);

#endif
