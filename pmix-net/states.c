#include <config.h>

#include "states.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "census.h"

struct states {
	struct states_env env;
	struct census *census;
	struct round_job sync;
	struct loop_timer *timers[CENSUS_TIMERS];
	struct loop_timer *leave_timer;
};

/* -- what the census wants ------------------------------------------------ */

static void sync_soon(void *arg)
{
	struct states *s = arg;

	round_want(s->env.round, &s->sync);
}

static void on_sync(struct round_job *job)
{
	struct states *s =
		(struct states *)((char *)job - offsetof(struct states, sync));

	census_sync(s->census);
}

static void reach(uint32_t node, void *arg)
{
	mesh_reach(((struct states *)arg)->env.mesh, node);
}

static int send_state(uint32_t node, const char *text, size_t len, void *arg)
{
	struct states *s = arg;

	return mesh_send(s->env.mesh, node, WIRE_STATE, text, len);
}

static void send_ack(uint32_t node, void *arg)
{
	struct states *s = arg;

	mesh_send(s->env.mesh, node, WIRE_ACK, NULL, 0);
}

static const char *bye_text(bool all_done)
{
	return all_done ? WIRE_ALL_DONE : "";
}

static void send_bye(uint32_t node, bool all_done, void *arg)
{
	const char *text = bye_text(all_done);
	struct states *s = arg;

	mesh_send(s->env.mesh, node, WIRE_BYE, text, strlen(text));
}

static void set_timer(enum census_timer which, int64_t ms, void *arg)
{
	struct states *s = arg;

	loop_timer_set(s->timers[which], ms);
}

static void on_all(enum netctl_state state, void *arg)
{
	struct states *s = arg;

	s->env.all(state, s->env.arg);
}

static void on_lost(uint32_t rank, const char *text, void *arg)
{
	struct states *s = arg;

	s->env.lost(rank, text, s->env.arg);
}

static int without(uint32_t node, struct rankset *ranks, void *arg)
{
	struct states *s = arg;

	return s->env.without(node, ranks, s->env.arg);
}

static int record(const char *text, size_t len, void *arg)
{
	struct states *s = arg;

	return s->env.record(text, len, s->env.arg);
}

static void on_handed_over(bool all_done, void *arg)
{
	struct states *s = arg;

	loop_timer_set(s->leave_timer, -1);
	mesh_leave(s->env.mesh, bye_text(all_done));
}

static void node_text(uint32_t node, char *text, size_t size, void *arg)
{
	mesh_node_text(((struct states *)arg)->env.mesh, node, text, size);
}

static const struct census_ops ops = {
	.soon = sync_soon,
	.reach = reach,
	.send_state = send_state,
	.send_ack = send_ack,
	.send_bye = send_bye,
	.timer = set_timer,
	.all = on_all,
	.lost = on_lost,
	.without = without,
	.record = record,
	.handed_over = on_handed_over,
	.node_text = node_text,
};

/* -- timers --------------------------------------------------------------- */

static void on_grace(void *arg)
{
	census_timeout(((struct states *)arg)->census, CENSUS_GRACE);
}

static void on_child(void *arg)
{
	census_timeout(((struct states *)arg)->census, CENSUS_CHILD);
}

static void on_leave_timer(void *arg)
{
	struct states *s = arg;

	s->env.not_taken(s->env.arg);
	mesh_leave(s->env.mesh, bye_text(false));
}

static int make_timers(struct states *s)
{
	struct loop *l = s->env.loop;

	if (loop_timer_add(l, -1, on_grace, s, &s->timers[CENSUS_GRACE]) < 0 ||
	    loop_timer_add(l, -1, on_child, s, &s->timers[CENSUS_CHILD]) < 0 ||
	    loop_timer_add(l, -1, on_leave_timer, s, &s->leave_timer) < 0)
		return -ENOMEM;
	return 0;
}

/* -- what tasks and links say --------------------------------------------- */

int states_start(struct states *s, uint32_t self, uint32_t nnodes)
{
	return census_start(s->census, self, nnodes);
}

int states_restore(struct states *s, const char *text, size_t len,
		   struct errmsg *err)
{
	return census_restore(s->census, text, len, err);
}

int states_say(struct states *s, uint32_t rank, enum netctl_state state,
	       const char *why)
{
	return census_state(s->census, rank, state, why);
}

void states_leave(struct states *s)
{
	loop_timer_set(s->leave_timer, STATES_HAND_OVER_MS);
	census_leave(s->census);
}

void states_up(struct states *s, uint32_t node)
{
	census_up(s->census, node);
}

static int take_bye(struct states *s, uint32_t node, const uint8_t *data,
		    size_t len, struct errmsg *err)
{
	bool all_done = len == strlen(WIRE_ALL_DONE) &&
			memcmp(data, WIRE_ALL_DONE, len) == 0;
	int r;

	if (len && !all_done)
		return errmsg_say(err, -EPROTO, "it sent a BYE that is none");
	r = census_bye(s->census, node, all_done);
	mesh_gone(s->env.mesh, node);
	return r;
}

int states_control(struct states *s, uint32_t node, enum wire_type type,
		   const uint8_t *data, size_t len, struct errmsg *err)
{
	switch (type) {
	case WIRE_STATE:
		return census_recv(s->census, node, (const char *)data, len,
				   err);
	case WIRE_BYE:
		return take_bye(s, node, data, len, err);
	case WIRE_ACK:
		census_ack(s->census, node);
		return 0;
	case WIRE_OPEN:
	case WIRE_FRAMES:
	case WIRE_GROUPS:
	case WIRE_REPORT:
	case WIRE_OPS:
	case WIRE_REST:
		break;
	}
	return -EPROTO;
}

void states_spread(uint32_t from, void (*fn)(uint32_t node, void *fn_arg),
		   void *fn_arg, void *arg)
{
	census_spread(((struct states *)arg)->census, from, fn, fn_arg);
}

uint32_t states_toward(uint32_t node, void *arg)
{
	return census_toward(((struct states *)arg)->census, node);
}

void states_broken(struct states *s, uint32_t node)
{
	census_broken(s->census, node);
}

/* To the census it is one that broke: it asks for another if it needs one. */
void states_closed(struct states *s, uint32_t node)
{
	census_broken(s->census, node);
}

bool states_needs(const struct states *s, uint32_t node)
{
	return census_needs(s->census, node);
}

void states_unreachable(struct states *s, uint32_t node)
{
	census_unreachable(s->census, node);
}

/* -- life ----------------------------------------------------------------- */

int states_new(const struct states_env *env, struct states **ret,
	       struct errmsg *err)
{
	struct states *s = calloc(1, sizeof(*s));

	if (!s)
		return errmsg_set(err, -ENOMEM, "states of the step");
	s->env = *env;
	s->sync.fn = on_sync;
	if (make_timers(s) < 0 || census_new(env->nranks, env->grace_ms, &ops,
					     s, &s->census, err) < 0) {
		states_free(s);
		return errmsg_set(err, -ENOMEM, "states of the step");
	}
	*ret = s;
	return 0;
}

void states_free(struct states *s)
{
	if (!s)
		return;
	round_forget(s->env.round, &s->sync);
	for (int i = 0; i < CENSUS_TIMERS; i++)
		loop_timer_free(s->timers[i]);
	loop_timer_free(s->leave_timer);
	census_free(s->census);
	free(s);
}
