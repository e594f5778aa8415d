/* peers_impl.h - what peers.c and peers_route.c share; see peers.h
 *
 *	peers.c        requests and answers on their way
 *	peers_route.c  whom a request is for, and one for many
 */
#ifndef VMSTEP_HELPER_PEERS_IMPL_H
#define VMSTEP_HELPER_PEERS_IMPL_H

#include <sys/queue.h>

#include "peers.h"

struct request;
struct answer;
struct peer;

struct peers {
	struct loop *loop;
	const struct task *task;
	const struct spec *spec;
	struct ops *ops;
	struct oplink *oplink;
	TAILQ_HEAD(, request) requests; /* oldest first */
	size_t n_requests;
	json_int_t last_id;
	TAILQ_HEAD(, answer) answers;
	LIST_HEAD(, peer) peers;
	struct loop_timer *probe, *resend;
	bool probes, resends;
	const struct peers_other *other; /* NULL: none */
	void *other_arg;
};

#endif
