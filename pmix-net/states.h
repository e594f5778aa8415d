/* states.h - the step's states, agreed on over the links
 *
 * Runs the census (census.h): carries its messages over the mesh, gives it
 * time, and puts what it has to do off to the end of the round.
 *
 * Owns:    the census and its timers.
 * Borrows: the loop, its rounds and the mesh.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_STATES_H
#define VMSTEP_STATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "link_wire.h"
#include "loop.h"
#include "mesh.h"
#include "netctl.h"
#include "round.h"

#define STATES_HAND_OVER_MS 1000 /* for someone to take what we know */

struct states;

struct states_env {
	struct loop *loop;
	struct round *round;
	struct mesh *mesh;
	uint32_t nranks;
	int grace_ms; /* for the news that a missing node had left */
	/* News for this node's tasks: each once. */
	void (*all)(enum netctl_state state, void *arg);
	void (*lost)(uint32_t rank, const char *text, void *arg);
	/* See census_ops. */
	int (*without)(uint32_t node, struct rankset *ranks, void *arg);
	int (*record)(const char *text, size_t len, void *arg);
	/* After states_leave(): nobody took over what we know. */
	void (*not_taken)(void *arg);
	void *arg;
};

int states_new(const struct states_env *env, struct states **ret,
	       struct errmsg *err);
void states_free(struct states *s); /* NULL is fine */

/* The nodes are known: this one is @self of @nnodes. -ENOMEM. */
int states_start(struct states *s, uint32_t self, uint32_t nnodes);

/* See census_restore(). */
int states_restore(struct states *s, const char *text, size_t len,
		   struct errmsg *err);

/* What a local task says, or its end; @why as in census_state(). */
int states_say(struct states *s, uint32_t rank, enum netctl_state state,
	       const char *why);
/* This node's tasks are gone: the mesh is left once it is known who keeps what
 * we know, after STATES_HAND_OVER_MS at the latest. */
void states_leave(struct states *s);

/* For the forwarder: struct fwd_tree; @arg is the states. */
void states_spread(uint32_t from, void (*fn)(uint32_t node, void *fn_arg),
		   void *fn_arg, void *arg);
uint32_t states_toward(uint32_t node, void *arg);

/* What the mesh reports: see struct mesh_ops. */
void states_up(struct states *s, uint32_t node);
int states_control(struct states *s, uint32_t node, enum wire_type type,
		   const uint8_t *data, size_t len, struct errmsg *err);
void states_broken(struct states *s, uint32_t node);
void states_closed(struct states *s, uint32_t node);
bool states_needs(const struct states *s, uint32_t node);
void states_unreachable(struct states *s, uint32_t node);

#endif
