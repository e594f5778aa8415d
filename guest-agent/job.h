/* job.h - a request that a child of the agent carries out
 *
 * What works on files may wait for a disk, or for ever for a file server that
 * is gone; the agent must not. So each such request gets a process of its own,
 * with the rights of the user that it names and nothing of the agent's but two
 * descriptors: the data, a pipe that is a channel of the mux, and a socket by
 * which it hears that its data is whole, and says how it went. When that socket
 * ends (the host has given up, or is gone, or the agent is), the job undoes
 * what it can, and ends.
 *
 * Owns:    the jobs, until they are answered. Borrows mux and rpc.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_JOB_H
#define VMSTEP_JOB_H

#include "agent.h"

#define JOB_MAX	       64	  /* at once, with data and without each */
#define JOB_WAIT_BYTES (16 << 20) /* of the parameters of those that wait */

struct jobs *jobs_new(struct agent *a); /* NULL without memory */
void jobs_free(struct jobs *js);	/* NULL is fine */

/* -- in the child ---------------------------------------------------------- */

struct job_child {
	int data;	  /* -1: the request has none */
	int ctl;	  /* job.c's */
	const char *what; /* an error is about: data.what of the answer */
};

/* The request's parameters; *result is a new reference. 0, or -errno with
 * words. Blocking. The working directory is the user's home. */
typedef int (*job_fn)(struct job_child *c, const json_t *params,
		      json_t **result, struct errmsg *err);

/* Have the host told before any data: file.opened. @params are stolen. */
int job_opened(struct job_child *c, json_t *params);
/* All data was read: was that its end, or did it break off? Waits for the word
 * of the agent. 0 or -ECANCELED. */
int job_is_whole(struct job_child *c);

/* -- in the agent ---------------------------------------------------------- */

enum job_data { JOB_PLAIN, JOB_IN, JOB_OUT };
/* Have @fn carry out @call. With data, "data" of @params is its channel; more
 * than JOB_MAX are refused then, others wait for their turn. */
void job_start(struct agent *a, struct rpc_call *call, const json_t *params,
	       enum job_data data, job_fn fn);

#endif
