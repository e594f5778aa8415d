/* opmsg.h - messages between the tasks of a step, as they travel
 *
 * A message goes from one rank to others: from its helper to the node's
 * vmstep-net, from there once to each node that has receivers, and to their
 * helpers. For each receiver it ends exactly once, and the sender hears how.
 * Both ways are batches of records (doc/net.md draws them), over a link as
 * over a helper's socket.
 *
 * A batch's parser trusts nothing: a bad one is -EPROTO with words.
 */
#ifndef VMSTEP_OPMSG_H
#define VMSTEP_OPMSG_H

#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "rankset.h"

#define OPMSG_BYTES_MAX (1024 * 1024 + 4096) /* a MiB, and a bit around it */
#define OPMSG_SET_MAX	4096		     /* the text of its receivers */
#define OPMSG_BATCH	(64 * 1024)	     /* a batch ends before this */
#define OPMSG_HEADER	24
/* Who has passed one on stays awake so long, as most of them are answered: from
 * another node in some 50 us, where nobody has to be woken. */
#define OPMSG_AWAKE_US 100

/* How a message has ended for a receiver. */
enum opmsg_end {
	OPMSG_TAKEN,	   /* its helper has it */
	OPMSG_NO_HELPER,   /* nothing was delivered: that helper is gone, */
	OPMSG_FULL,	   /* or a queue was, */
	OPMSG_UNREACHABLE, /* or its node has no link to ours */
	OPMSG_LOST,	   /* a link or vmstep-net broke: who knows */
	OPMSG_ENDS,	   /* how many there are */
};
const char *opmsg_end_text(enum opmsg_end end);

/* One that is complete. It is shared by who has to send it. */
struct opmsg {
	unsigned int refs;
	uint32_t src;
	uint64_t id; /* the sender's, going up */
	size_t len;
	uint8_t data[];
};

struct opmsg *opmsg_new(uint32_t src, uint64_t id, size_t len); /* or NULL */
struct opmsg *opmsg_ref(struct opmsg *m);
void opmsg_unref(struct opmsg *m); /* NULL is fine */

struct opmsg_ended {
	uint32_t src;
	uint64_t id;
	uint32_t rank; /* the receiver */
	enum opmsg_end how;
};

/* Write a record to @at, which has room for OPMSG_HEADER and what is in it;
 * returns its length. */
size_t opmsg_put_ended(uint8_t *at, const struct opmsg_ended *e);
/* The bytes of @m from @from on; @to (of @to_len bytes) with the first only. */
size_t opmsg_put_piece(uint8_t *at, const struct opmsg *m, size_t from,
		       size_t len, const char *to, size_t to_len);

/* The receiving end of one connection. Messages come one after the other, so
 * one is incomplete at the most. */
struct opmsg_in {
	struct opmsg *m; /* NULL: none has begun */
	size_t have;
	struct rankset to;
};

struct opmsg_in_ops {
	/* Each: < 0 with words ends the connection. Borrowed. */
	int (*message)(struct opmsg *m, const struct rankset *to,
		       struct errmsg *err, void *arg);
	int (*ended)(const struct opmsg_ended *e, struct errmsg *err,
		     void *arg);
};

/* 0, -EPROTO, -ENOMEM, or what an op returned. */
int opmsg_take(struct opmsg_in *in, const uint8_t *batch, size_t len,
	       const struct opmsg_in_ops *ops, void *arg, struct errmsg *err);
/* What had begun will not be completed. */
void opmsg_in_reset(struct opmsg_in *in);

#endif
