#include <config.h>

#include "tally.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "link_wire.h"
#include "port.h"
#include "stats.h"

#define HEADER	    12 /* origin, offset, total */
#define PIECE_WORDS 4096

/* What a node has sent so far: pieces come in order, along one way. */
struct part {
	uint64_t *words; /* owned */
	size_t n, total;
};

struct tally {
	struct tally_env env;
	uint32_t self, nnodes, home;
	struct part *parts; /* by node; NULL: home is elsewhere */
	uint32_t n_whole;
	size_t bytes; /* of all parts */
	bool sent;    /* our part, to another home */
	bool all_done, wanted, late;
	struct loop_timer *timer;
	struct netstats past; /* ports that have closed */
};

/* -- this node's part ------------------------------------------------------ */

void tally_keep(struct tally *r, const struct port *p)
{
	port_stats(p, &r->past);
	if (r->past.n * sizeof(uint64_t) < TALLY_PART_MAX)
		stats_peers(p, &r->past);
}

static void take_own(struct tally *r, struct netstats *to)
{
	size_t past = r->past.n * sizeof(uint64_t);

	r->env.take(to, past < TALLY_PART_MAX ? TALLY_PART_MAX - past : 0,
		    r->env.arg);
	netstats_append(to, &r->past);
}

static void put_header(const struct tally *r, uint8_t *at, size_t offset,
		       size_t total)
{
	wire_put32(at, r->self);
	wire_put32(at + 4, (uint32_t)offset);
	wire_put32(at + 8, (uint32_t)total);
}

/* What cannot be sent is missed at home. */
static void send_own(struct tally *r)
{
	_cleanup_free_ uint8_t *buf =
		malloc(HEADER + PIECE_WORDS * sizeof(uint64_t));
	struct netstats own = { 0 };

	take_own(r, &own);
	netstats_swap(own.words, own.n);
	for (size_t at = 0; buf && !own.failed && at < own.n;) {
		size_t n = own.n - at;

		if (n > PIECE_WORDS)
			n = PIECE_WORDS;
		put_header(r, buf, at, own.n);
		memcpy(buf + HEADER, own.words + at, n * sizeof(uint64_t));
		if (r->env.send(r->home, buf, HEADER + n * sizeof(uint64_t),
				r->env.arg) < 0)
			break;
		at += n;
	}
	netstats_done(&own);
}

/* -- at home --------------------------------------------------------------- */

static bool is_whole(const struct tally *r)
{
	return r->n_whole == r->nnodes - 1;
}

static int make_memfd(struct tally *r)
{
	_cleanup_close_ int fd = memfd_create("vmstep-report", MFD_CLOEXEC);
	struct netstats all = { 0 };
	size_t len;
	int e = 0;

	take_own(r, &all);
	for (uint32_t i = 0; r->parts && i < r->nnodes; i++) {
		const struct part *p = &r->parts[i];
		const struct netstats whole = { p->words, p->n, p->n, false };

		if (p->n && p->n == p->total)
			netstats_append(&all, &whole);
	}
	len = all.n * sizeof(uint64_t);
	if (all.failed || fd < 0 || write(fd, all.words, len) != (ssize_t)len)
		e = -ENOMEM;
	netstats_done(&all);
	return e < 0 ? e : TAKE_FD(fd);
}

static void try(struct tally *r)
{
	_cleanup_close_ int fd = -1;

	if (!r->wanted || (r->all_done && !is_whole(r) && !r->late))
		return;
	r->wanted = false;
	loop_timer_set(r->timer, -1);
	fd = make_memfd(r);
	r->env.ready(fd, r->env.arg);
}

static void on_timer(void *arg)
{
	struct tally *r = arg;

	r->late = true;
	try(r);
}

void tally_want(struct tally *r)
{
	r->wanted = true;
	loop_timer_set(r->timer, TALLY_WAIT_MS);
	try(r);
}

static int bad(struct errmsg *err)
{
	return errmsg_say(err, -EPROTO, "it sent a REPORT that is none");
}

/* Piece by piece, from the first. A node that was started again may begin once
 * more. */
static int add_piece(struct tally *r, struct part *p, const uint8_t *data,
		     size_t n, size_t offset, size_t total)
{
	uint64_t *more;

	if (p->n && p->n == p->total)
		return 0; /* said already */
	if (offset == 0)
		p->n = 0;
	if (offset != p->n || r->bytes + n * sizeof(*more) > TALLY_TOTAL_MAX)
		return 0; /* a piece was lost on its way, or it is too much */
	more = reallocarray(p->words, p->n + n, sizeof(*more));
	if (!more)
		return 0;
	p->words = more;
	memcpy(more + p->n, data, n * sizeof(*more));
	netstats_swap(more + p->n, n);
	p->n += n;
	p->total = total;
	r->bytes += n * sizeof(*more);
	if (p->n == total) {
		r->n_whole++;
		try(r);
	}
	return 0;
}

int tally_received(struct tally *r, const uint8_t *data, size_t len,
		   struct errmsg *err)
{
	size_t n = len < HEADER ? 0 : (len - HEADER) / sizeof(uint64_t);
	uint32_t origin, offset, total;

	if (!n || (len - HEADER) % sizeof(uint64_t))
		return bad(err);
	origin = wire_get32(data);
	offset = wire_get32(data + 4);
	total = wire_get32(data + 8);
	if (origin >= r->nnodes || origin == r->self || offset > total ||
	    n > total - offset)
		return bad(err);
	if (r->self != r->home) {
		r->env.send(r->home, data, len, r->env.arg);
		return 0;
	}
	return r->parts ? add_piece(r, &r->parts[origin], data + HEADER, n,
				    offset, total)
			: 0;
}

/* -------------------------------------------------------------------------- */

void tally_leave(struct tally *r)
{
	if (r->self == r->home || r->sent)
		return;
	r->sent = true;
	send_own(r);
}

void tally_all_done(struct tally *r)
{
	r->all_done = true;
	tally_leave(r);
	try(r);
}

int tally_start(struct tally *r, uint32_t self, uint32_t nnodes, uint32_t home)
{
	r->self = self;
	r->nnodes = nnodes;
	r->home = home;
	if (self == home)
		r->parts = calloc(nnodes, sizeof(*r->parts));
	return self == home && !r->parts ? -ENOMEM : 0;
}

int tally_new(const struct tally_env *env, struct tally **ret,
	      struct errmsg *err)
{
	struct tally *r = calloc(1, sizeof(*r));

	if (!r)
		return errmsg_set(err, -ENOMEM, "report");
	r->env = *env;
	r->nnodes = 1;
	if (loop_timer_add(env->loop, -1, on_timer, r, &r->timer) < 0) {
		free(r);
		return errmsg_set(err, -ENOMEM, "report");
	}
	*ret = r;
	return 0;
}

void tally_free(struct tally *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; r->parts && i < r->nnodes; i++)
		free(r->parts[i].words);
	free(r->parts);
	netstats_done(&r->past);
	loop_timer_free(r->timer);
	free(r);
}
