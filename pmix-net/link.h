/* link.h - a link to another node, whatever carries it
 *
 * The kinds are link_tcp.h and link_ucx.h. A kind opens connections by an
 * opaque address, has both ends prove the step's key (auth.h), and then
 * carries messages, whole and in order. What is in them is not its business.
 *
 * Owns:    its connection, one message being sent, one being received.
 * Borrows: what is in struct link_env.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_LINK_H
#define VMSTEP_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "auth.h"
#include "buf.h"
#include "errmsg.h"
#include "link_wire.h"
#include "loop.h"

#define LINK_ADDRESS_MAX 160   /* bytes of an address's text, with the NUL */
#define LINK_PENDING_MAX 64    /* strangers that have proved nothing yet */
#define LINK_PENDING_MS	 5000  /* and for how long they may */
#define LINK_CONNECT_MS	 5000  /* for an answer at all, when we dial */
#define LINK_OPEN_MS	 30000 /* for one that has answered, or has proved it */

struct link;
struct link_host;

struct link_ops {
	int (*send)(struct link *l, struct buf *b);
	void (*resume)(struct link *l);
	void (*free)(struct link *l);
};

struct link {
	const struct link_ops *ops;
	uint32_t node;	/* the peer's; known to be true once it is up */
	bool dialled;	/* by us */
	bool committed; /* dialled, and our proof is on its way: the peer may
			 * settle on this one */
	bool up;	/* both ends were sure of each other */
	char peer_name[WIRE_NAME];
	void *owner; /* the mesh's, NULL before proved() */
};

struct link_host_ops {
	int (*dial)(struct link_host *h, const char *address, uint32_t node,
		    struct link **ret, struct errmsg *err);
	void (*start)(struct link_host *h);
	void (*stop)(struct link_host *h);
	void (*free)(struct link_host *h);
};

/* One kind's listening end, and where its links are made. */
struct link_host {
	const struct link_host_ops *ops;
	char address[LINK_ADDRESS_MAX]; /* for the others to dial */
	int fd; /* listens there, also when a later process has it; not yours */
};

/* What happens to a link. A link may be freed from any of these but message()
 * with a result other than 0. */
struct link_events {
	/* A connection that we did not dial proved to be from l->node. Set
	 * l->owner and return true, or refuse it. */
	bool (*proved)(struct link *l, void *arg);
	/* Both ends are sure of each other: messages may flow. */
	void (*up)(struct link *l, void *arg);
	/* 0; -EAGAIN: call again, from the start, after link_resume(), and
	 * read nothing until then; -EPROTO: the message is bad, which ends the
	 * link, with the words in @err. */
	int (*message)(struct link *l, enum wire_type type, const uint8_t *data,
		       size_t len, struct errmsg *err, void *arg);
	/* After link_send() refused. */
	void (*writable)(struct link *l, void *arg);
	/* It is over, or never came to be; free it. Only for links that have an
	 * owner. */
	void (*down)(struct link *l, int code, const char *why, void *arg);
	/* Someone did not prove the key; -ECONNRESET when it hung up. */
	void (*stranger)(const char *who, int code, const char *why, void *arg);
};

struct link_env {
	struct loop *loop;
	struct buf_pool *pool;
	const struct auth *auth; /* complete before link_host_start() */
	const struct link_events *events;
	void *arg;
};

/* Connections that arrived before are looked at from now on. */
static inline void link_host_start(struct link_host *h)
{
	h->ops->start(h);
}

/* No connection is accepted any more, and none that is not up yet is kept. */
static inline void link_host_stop(struct link_host *h)
{
	h->ops->stop(h);
}

/* Begin to connect to @node at @address; up() or down() follows. Returns 0
 * with a link that has no owner yet, or -errno. */
static inline int link_dial(struct link_host *h, const char *address,
			    uint32_t node, struct link **ret,
			    struct errmsg *err)
{
	return h->ops->dial(h, address, node, ret, err);
}

/* After all of its links; NULL is fine. */
static inline void link_host_free(struct link_host *h)
{
	if (h)
		h->ops->free(h);
}

/* Send the message in @b, header and all: 0, and @b is the link's; -EAGAIN,
 * and writable() will follow. A link that broke takes it, too, and says so by
 * down(). */
static inline int link_send(struct link *l, struct buf *b)
{
	return l->ops->send(l, b);
}

static inline void link_resume(struct link *l)
{
	l->ops->resume(l);
}

/* NULL is fine. No event follows. */
static inline void link_free(struct link *l)
{
	if (l)
		l->ops->free(l);
}

#endif
