/* peers_impl.h - what peers.c and peers_route.c share; see peers.h
 *
 *	peers.c         requests on their way
 *	peers_answer.c  answers on their way
 *	peers_route.c   whom a request is for, and one for many
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
	TAILQ_HEAD(answer_list, answer) answers;
	size_t answer_bytes;
	unsigned int patience; /* so often an answer is sent as it is */
	LIST_HEAD(, peer) peers;
	struct loop_timer *probe, *resend;
	bool probes, resends;
	const struct peers_other *other; /* NULL: none */
	void *other_arg;
};

/* -- peers_answer.c -------------------------------------------------------- */

int peers_answers_init(struct peers *p);  /* 0 or -errno */
void peers_answers_done(struct peers *p); /* also of what is zeroes */
/* False: @id is no answer's. */
bool peers_answer_ended(struct peers *p, uint64_t id, enum opmsg_end how);

#endif
