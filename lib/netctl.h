/* netctl.h - what vmstep-helper and vmstep-net of one node say to each other
 *
 * Over a unix SOCK_SEQPACKET socket, net.sock in the step's directory: one
 * struct netctl a message, the host's byte order (both ends are on one node).
 * vmstep-net ends when the last of these connections is closed. When it is
 * killed, a helper starts it again, with the listening sockets that WELCOME
 * brought, and all helpers connect again and say everything again.
 *
 *   helper                              vmstep-net
 *     | HELLO rank                        |  each helper, once, first
 *     |---------------------------------->|
 *     |     WELCOME link address (+ sockets)
 *     |<----------------------------------|
 *     | PORT kind (+ descriptor)          |  its guest's network card
 *     |---------------------------------->|
 *     | CAPTURE (+ pipe)                  |  where its frames are wanted
 *     |---------------------------------->|
 *     | OPS (+ socket)                    |  for messages between tasks
 *     |---------------------------------->|
 *     | TABLE key, sizes (+ memfd)        |  the node's lowest rank
 *     |---------------------------------->|
 *     |            TABLE (+ memfd)        |  to all, for them to keep
 *     |<----------------------------------|
 *     | STATS of all, or of a rank         |  what it has counted
 *     |---------------------------------->|
 *     |            STATS (+ memfd)        |  see netstats.h
 *     |<----------------------------------|
 *     | REPORT                            |  last, on the node of rank 0
 *     |---------------------------------->|
 *     |            REPORT (+ memfd)       |  to the last one, with all nodes'
 *     |<----------------------------------|
 *     | STATE ready / done / failed       |  of this rank, as it happens
 *     |---------------------------------->|
 *     |            ALL ready / done       |  when it holds for the whole step
 *     |            LOST text              |  when it never will
 *     |<----------------------------------|
 */
#ifndef VMSTEP_NETCTL_H
#define VMSTEP_NETCTL_H

#include <assert.h>
#include <stdint.h>

#define NETCTL_VERSION	5
#define NETCTL_KEY_LEN	32
#define NETCTL_TEXT_LEN 160
#define NETCTL_CPUS_LEN 152

#define NETCTL_FDS_MAX 2 /* that ride along with a message */

enum netctl_type {
	NETCTL_HELLO = 1,
	NETCTL_WELCOME,
	NETCTL_PORT,
	NETCTL_CAPTURE,
	NETCTL_TABLE,
	NETCTL_STATE,
	NETCTL_ALL,
	NETCTL_LOST,
	NETCTL_STATS,
	NETCTL_REPORT,
	NETCTL_OPS,
};

/* What lies behind a port's descriptor. */
enum netctl_port {
	NETCTL_STREAM = 1, /* QEMU's -netdev stream */
	NETCTL_DGRAM,	   /* QEMU's -netdev dgram */
	NETCTL_VHOST_USER, /* QEMU's -netdev vhost-user */
};

enum netctl_state {
	NETCTL_READY = 1, /* agent and network of the guest are up */
	NETCTL_DONE,	  /* its command has ended, or it has none */
	NETCTL_FAILED,	  /* its VM could not be started or was lost */
};

struct netctl {
	uint32_t version; /* NETCTL_VERSION */
	uint32_t type;	  /* enum netctl_type */
	union {
		/* OPS has nothing but its descriptor, vmstep-net's end of a
		 * SOCK_SEQPACKET pair: batches of opmsg.h go over it both
		 * ways. A further one takes the place of the one before. */
		struct {
			uint32_t rank;
			uint32_t nranks;
			/* Where workers may run, as in "0-3,8"; empty: not
			 * said. */
			char cpus[NETCTL_CPUS_LEN];
		} hello;
		/* One descriptor rides along: vmstep-net's end of a connection
		 * whose other end is QEMU's. A further one takes the place of
		 * the one before. */
		struct {
			uint32_t kind; /* enum netctl_port */
		} port;
		/* "192.0.2.7:40123" or "[2001:db8::7]:40123", where other
		 * nodes' vmstep-net reach this one; empty with one node. The
		 * listening sockets ride along: this one's, and where there is
		 * an address the one for other nodes. */
		struct {
			char link[NETCTL_TEXT_LEN];
		} welcome;
		/* A memfd rides along, one line a node, in node order:
		 * "ADDRESS:PORT RANKS", as in "192.0.2.7:40123 0,2-3". */
		struct {
			uint8_t key[NETCTL_KEY_LEN]; /* of the step */
			uint32_t node;		     /* this node's index */
			uint32_t nnodes;
			uint32_t nranks;
		} table;
		struct {
			uint32_t state; /* enum netctl_state, of the sender */
		} state;
		struct {
			uint32_t state; /* NETCTL_READY or NETCTL_DONE */
		} all;
		struct {
			uint32_t rank; /* UINT32_MAX: not one rank */
			char text[NETCTL_TEXT_LEN];
		} lost;
		/* The question, and again with its answer: without a memfd
		 * where that rank has no port, or memory is out. */
		struct {
			uint32_t
				rank; /* its peers; UINT32_MAX: all but peers */
			uint32_t tag; /* the helper's own */
		} stats;
	};
};

static_assert(sizeof(struct netctl) == 8 + 4 + NETCTL_TEXT_LEN,
	      "struct netctl is what doc/net.md says");

#endif
