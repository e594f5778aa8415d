/* mesh_node.h - node 0 of 3, for what fuzzes its links, and who plays node 1
 *
 * The real mesh, forwarder, census and relay of messages, over links that
 * listen at 127.0.0.1; no ports, no helpers. One at a time.
 */
#ifndef VMSTEP_FUZZ_MESH_NODE_H
#define VMSTEP_FUZZ_MESH_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link_tcp_conn.h"
#include "mesh.h"
#include "seal.h"

struct mesh_node {
	struct mesh *mesh;
	struct tcp_host *host; /* the mesh's */
	struct buf_pool pool;
	struct auth auth;
	/* mesh_node.c's own */
	struct round *round;
	struct flow *flow;
	struct fwd *fwd;
	struct table *table;
	struct rankset local;
	struct census *census;
	struct relay *relay;
	struct round_job sync;
};

struct mesh_node_conf {
	uint32_t flags;	   /* WIRE_SEALED, WIRE_UCX */
	const char *node1; /* its address; NULL: one that is none */
	/* NULL, or to see what links report before the mesh does. */
	void (*wrap)(struct link_env *env);
};

/* Whatever fails here that cannot ends the program. */
void must(int r);

struct mesh_node *mesh_node_begin(const struct mesh_node_conf *c);
void mesh_node_settle(void); /* until it has nothing to do */
/* Until there is something to read or accept at @fd, which must come: TCP may
 * be late with it. */
void mesh_node_await(int fd);
void mesh_node_end(void);

/* Be node 1 on the connection @fd as far as both proofs, as the end that
 * @dialled or the other; *seal is made where links are encrypted. */
void mesh_node_prove(int fd, bool dialled, struct seal **seal);
/* Its OPEN, with @len bytes of an offer, TCP_OFFER_MAX at the most. */
void mesh_node_open(int fd, struct seal *seal, const void *offer, size_t len);

#endif
