#include <config.h>

#include "crowd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "addr.h"
#include "bench.h"

#define WAIT_MS	     20000
#define ETH	     14
#define LEN	     64
#define TYPE	     0x88b5 /* "local experimental" */
#define FDS_OF_GUEST 7
#define FDS_OF_NODE  1
#define FDS_SPARE    64
#define ALL	     UINT32_MAX

/* -- life ----------------------------------------------------------------- */

static void raise_limit(rlim_t fds)
{
	struct rlimit limit;

	check(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (limit.rlim_max < fds)
		die("%llu open files are needed, and ulimit -Hn is %llu",
		    (unsigned long long)fds,
		    (unsigned long long)limit.rlim_max);
	check(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

void crowd_start(struct crowd *c, const struct crowd_conf *conf)
{
	struct nodes_conf nc = {
		.program = conf->program,
		.nnodes = conf->nnodes,
		.per_node = conf->per_node,
		.absent = conf->absent,
	};
	struct guest_conf gc = {
		.kind = conf->kind,
		.driver = { .features = DRIVER_USUAL },
	};

	*c = (struct crowd){ .conf = *conf,
			     .nranks = conf->nnodes * conf->per_node };
	raise_limit(FDS_SPARE + (rlim_t)c->nranks * FDS_OF_GUEST +
		    conf->nnodes * FDS_OF_NODE);
	c->log = netlog_new();
	nc.log = netlog_path(c->log);
	c->guests = calloc(c->nranks, sizeof(struct guest *));
	c->got = calloc(c->nranks, sizeof(*c->got));
	if (!c->guests || !c->got)
		die("out of memory");
	c->nodes = nodes_start(&nc);
	for (gc.rank = 0; gc.rank < c->nranks; gc.rank++)
		c->guests[gc.rank] = guest_new(&gc, c->nodes);
}

void crowd_end(struct crowd *c)
{
	nodes_end(c->nodes);
	for (uint32_t r = 0; r < c->nranks; r++)
		guest_free(c->guests[r]);
	netlog_free(c->log);
	free(c->guests);
	free(c->got);
}

/* -- numbered frames ------------------------------------------------------ */

struct note {
	uint32_t from, to, number;
};

static size_t fill(uint8_t *at, size_t max, unsigned int pair,
		   struct virtio_net_hdr_v1 *hdr, void *arg)
{
	const struct note *n = arg;

	memset(at, 0, LEN);
	if (n->to == ALL)
		memset(at, 0xff, ADDR_MAC_LEN);
	else
		addr_mac(n->to, at);
	addr_mac(n->from, at + ADDR_MAC_LEN);
	at[12] = TYPE >> 8;
	at[13] = TYPE & 0xff;
	memcpy(at + ETH, n, sizeof(*n));
	return LEN;
}

struct ear {
	struct crowd *crowd;
	uint32_t rank, heard; /* heard: those that have the last frame */
};

static void hear(const struct iovec *piece, unsigned int n, size_t len,
		 const struct virtio_net_hdr_v1 *hdr, void *arg)
{
	struct ear *e = arg;
	const uint8_t *p = piece->iov_base;
	struct note note;

	if (len != LEN || n != 1 || p[12] != TYPE >> 8 ||
	    p[13] != (TYPE & 0xff))
		return; /* what vmstep-net may ask guests */
	memcpy(&note, p + ETH, sizeof(note));
	if (note.to != ALL && note.to != e->rank)
		die("guest %u has a frame for guest %u", e->rank, note.to);
	if (note.number != e->crowd->number ||
	    e->crowd->got[e->rank] == note.number)
		die("guest %u has frame %u twice, or too late", e->rank,
		    note.number);
	e->crowd->got[e->rank] = note.number;
	e->heard++;
}

static uint32_t listen_all(struct crowd *c)
{
	struct ear ear = { .crowd = c };

	for (ear.rank = 0; ear.rank < c->nranks; ear.rank++)
		guest_recv(c->guests[ear.rank], 64, hear, &ear);
	return ear.heard;
}

int64_t crowd_send(struct crowd *c, uint32_t from, uint32_t to)
{
	struct note note = { from, to, ++c->number };
	uint32_t want = to == ALL ? c->nranks - 1 : 1, heard = 0;
	int64_t start = now_ns();

	if (guest_send(c->guests[from], 0, 1, fill, &note) != 1)
		die("guest %u cannot send", from);
	while (heard < want) {
		heard += listen_all(c);
		if (now_ns() - start > WAIT_MS * 1000000ll)
			die("a frame of guest %u reached %u of %u", from, heard,
			    want);
	}
	start = now_ns() - start;
	crowd_settle(c, 2);
	return start;
}

void crowd_settle(struct crowd *c, int ms)
{
	int64_t until = now_ns() + ms * 1000000ll;

	do {
		if (listen_all(c))
			die("a frame came twice");
		usleep(1000);
	} while (now_ns() < until);
}
