/* guest.h - the agent in the guest, seen from the host (doc/agent-port.md)
 *
 * That is ours, or where --vm-exec lets it, QEMU's (qga.h): by qga at once, by
 * auto where ours has not come in as much time again as the guest took to get
 * that far (GUEST_OURS_MS at least, half of what is left to boot at most). Ours
 * is the one that is asked wherever it is there.
 *
 * Owns the host's ends of the agents' ports, and the processes that were
 * started by them. Thread: the loop's. The guest is not trusted: what it
 * answers is checked, and nothing here grows with what it sends.
 */
#ifndef VMSTEP_GUEST_H
#define VMSTEP_GUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "mux.h"
#include "procs.h"
#include "qga.h"
#include "rpc.h"
#include "spec.h"
#include "task.h"

#define GUEST_OURS_MS	 10000
#define GUEST_HELLO_MAX	 (16 * 1024) /* bytes of JSON that are kept, */
#define GUEST_BEACON_MAX 1024	     /* and of a beacon */
#define GUEST_CLOSED_MS	 1000	     /* after which a closed port means that */

/* By its beacons: none for 3 times their interval, for 4.5 times. */
enum guest_life { GUEST_ALIVE, GUEST_LATE, GUEST_LOST };

struct guest;

struct guest_ops {
	/* The agent said hello, or QEMU's is the agent from now on; it may be
	 * told things now. */
	void (*hello)(void *arg);
	/* The agent is gone, or is another one now (the guest rebooted). */
	void (*lost)(const char *why, void *arg);
};

int guest_new(struct loop *l, int fd, const struct task *t,
	      const struct spec *s, const struct guest_ops *ops, void *arg,
	      struct guest **ret, struct errmsg *err); /* takes @fd */
void guest_free(struct guest *g);		       /* NULL is fine */
/* QEMU says that a program in the guest has opened our port, or closed it:
 * where nobody opens it again the agent is gone. */
void guest_port(struct guest *g, bool open);
/* And the port of QEMU's agent. */
int guest_add_qga(struct guest *g, int fd, struct errmsg *err); /* takes @fd */
/* A program of the guest has opened that, or closed it. */
void guest_qga_port(struct guest *g, bool open);

/* @error: NULL, or the words of what went wrong. */
typedef void (*guest_done_fn)(const char *error, void *arg);

/* Give the guest its address, name and hosts file. */
int guest_configure(struct guest *g, guest_done_fn fn, void *arg);

/* Ask the agent, as rpc_request() does; -ENOTCONN where there is none. */
int guest_request(struct guest *g, const char *method, json_t *params,
		  rpc_reply_fn fn, void *arg);
/* Answers to requests with @arg are of no interest any more. */
void guest_forget_request(struct guest *g, const void *arg);
/* All that it was asked is answered by RPC_E_UNREACHABLE: our task ends. */
void guest_forget_all(struct guest *g, const char *why);
/* What the agent asks and is not about itself goes there. */
void guest_set_handler(struct guest *g, rpc_handler_fn fn, void *arg);

/* The first of @n numbers for channels that nobody else was given. */
unsigned int guest_take_channels(struct guest *g, unsigned int n);
struct mux *guest_mux(const struct guest *g);
struct procs *guest_procs(const struct guest *g);

/* Has it said hello, and not gone since? */
bool guest_is_there(const struct guest *g);
/* What it said then, and with its last beacon: borrowed, NULL before. */
const json_t *guest_hello(const struct guest *g);
const json_t *guest_beacon(const struct guest *g);
/* Why it said it goes, when it said so last; NULL: it did not. Borrowed. */
const char *guest_bye(const struct guest *g);
/* When anything came from it last, by loop_now_ms(); 0: never. */
int64_t guest_seen_ms(const struct guest *g);
/* Of one that is there. Paused ones send none: ask machine_is_paused() first.
 */
enum guest_life guest_life(const struct guest *g);
/* From now on beacons are due again: it was paused. */
void guest_seen_now(struct guest *g);

/* QEMU's agent, while it answers; NULL. */
struct qga *guest_qga(const struct guest *g);
/* Is that the agent, as ours is not there? */
bool guest_uses_qga(const struct guest *g);

/* The guest is what it was at another moment: the agent is asked to say hello
 * again, and keeps the processes that it has. What it was asked is answered
 * with @why. */
void guest_went_back(struct guest *g, const char *why);

/* Set the guest's clock by ours: it has slept, and does not know it. */
void guest_set_time(struct guest *g);

/* Ask for an orderly power-off; no answer is waited for. */
int guest_shutdown(struct guest *g);

#endif
