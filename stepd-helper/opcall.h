/* opcall.h - a program in the guest whose output answers a request
 *
 * An op of a kernel, or code that is to be run: a process of the guest's (one
 * of procs.h, so it is in lists meanwhile), with its input given in one piece,
 * its output taken up to a bound, and an end in time. Who asked and is gone, or
 * has taken it back, ends it.
 *
 * Owns:    calls that are not answered yet. Borrows the machine and the loop.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_OPCALL_H
#define VMSTEP_OPCALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "service.h"

#define OPCALL_OUT     (1024 * 1024) /* bytes of output */
#define OPCALL_GUESTS  8	     /* calls of the guest's at once */
#define OPCALL_FOREVER (-1)
#define OPCALL_MS      300000 /* where nobody says anything */
#define OPCALL_MAX_MS  (365LL * 24 * 3600 * 1000)

struct opcalls;

struct opcall_end {
	int exit;   /* status; -1: a signal ended it */
	int signal; /* 0: none */
	const char *out, *err;
	size_t out_len, err_len; /* of err the last bytes */
	bool out_cut, err_cut;	 /* there was more */
};

/* Answer @call. */
typedef void (*opcall_fn)(struct rpc_call *call, const struct opcall_end *end,
			  const char *tag);

struct opcall_spec {
	json_t *params;	   /* the agent's proc.start, with no channel; stolen */
	const char *input; /* borrowed; NULL: none */
	size_t input_len;
	const char *label; /* for lists, and messages */
	const char *tag;   /* copied; for fn */
	size_t err_bytes;  /* of stderr */
	int64_t timeout_ms;
	opcall_fn fn; /* it has ended by itself */
};

struct opcalls *opcalls_new(const struct service_conf *conf); /* or NULL */
/* Those that are open are answered. NULL is fine. */
void opcalls_free(struct opcalls *cs);

/* Have it run; @call is answered, now or later. */
void opcall_begin(struct opcalls *cs, struct rpc_call *call,
		  struct opcall_spec *spec);

/* Answer @call by E_OP, with how it ended in the error's data. @label is whose
 * end. */
void opcall_failed(struct rpc_call *call, const struct opcall_end *end,
		   const char *label);

#endif
