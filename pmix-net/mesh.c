#include <config.h>

#include "mesh.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "lanes.h"
#include "offload.h"

/* A peer is one other node. What it may be:
 *
 *   IDLE     nothing to say to it so far
 *   DIALLING a connection is being made by us, or waits for its next try
 *   COMING   a connection from it has proved the key and is about to be up
 *   UP       messages flow
 *   AWAY     it cannot be reached: frames for it are dropped, nothing is tried
 *            any more. It may come by itself
 *   GONE     it said BYE, or broke the rules: nothing passes any more
 *
 * A link that breaks with no BYE before leads from UP back to DIALLING, at both
 * ends. A refusal is an answer: the node's helpers hold its listening socket
 * while its vmstep-net is started again, so who refuses has no helper left.
 *
 * What is sent before UP waits in the queue, within its bound; nobody waits for
 * room in that of a link that broke. When both ends dial at once, each sees a
 * proved connection while its own is under way: the one whose dialler has the
 * lower number lives, and both ends know that.
 *
 * What is queued leaves at the end of the round, or when the link has taken
 * what it was given before.
 *
 * A link over which nothing went for idle_ms to twice that is closed, unless it
 * is needed: one end says REST, and sends no more. The other lets what is in
 * its queue go first, says REST, too, and sends no more. Who hears REST after
 * it has said it closes the connection; by then both have all that was sent.
 * What is queued from then on waits for the next link, without loss. If both
 * say it at once, both may close, since nothing is on its way. A BYE takes the
 * REST back that it crosses: it has to be ACKed.
 */

#define LOW_BYTES      (OUTQ_BYTES / 2)
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS   2000

enum peer_state { IDLE, DIALLING, COMING, UP, AWAY, GONE };

struct peer {
	struct mesh *mesh;
	uint32_t node;
	enum peer_state state;
	struct link *link; /* NULL between tries */
	char name[WIRE_NAME];

	struct inlet in;
	struct outlet out;
	struct counters counts;

	struct outq q;
	bool ops_next;	      /* messages between tasks go before frames */
	struct buf *ops_held; /* a batch of them that the link refused */
	bool lane_next;	      /* other workers' batches go before those of q */
	bool blocked;	      /* the link takes no more for now */
	bool was_full;	      /* someone may wait for room */
	struct round_job flush;
	size_t taken; /* bytes of the incoming batch that are done with */
	size_t taken_frames;
	struct batches in_batches, out_batches;

	int64_t give_up_ms, retry_ms; /* while DIALLING; -1: not waiting */
	int backoff_ms;
	int64_t up_ms; /* when the last link came up */
	bool met;      /* there was one */
	bool wanted;   /* by mesh_reach() */
	bool said_bye; /* we did */
	bool used;     /* since the last look at idle links */
	bool rest_due; /* REST is in the queue ... */
	bool rested;   /* ... or said: nothing may follow it */
};

struct mesh {
	struct mesh_env env;
	struct link_host *host;
	const struct table *table;
	uint32_t self;
	struct peer **peers; /* by node; NULL: never talked to */
	size_t n_links;	     /* of these, those with a link */
	struct loop_timer *retry_timer, *leave_timer, *idle_timer;
	bool idle_armed;
	struct lanes *lanes;
	int64_t retry_ms; /* when retry_timer is due; -1: not armed */
	bool leaving;
};

static struct peer *of_outlet(struct outlet *out)
{
	return (struct peer *)((char *)out - offsetof(struct peer, out));
}

static struct peer *of_inlet(struct inlet *in)
{
	return (struct peer *)((char *)in - offsetof(struct peer, in));
}

static struct peer *of_flush(struct round_job *job)
{
	return (struct peer *)((char *)job - offsetof(struct peer, flush));
}

/* -- the queue ------------------------------------------------------------ */

/* In turns from the queue and from the other workers' lanes. BYE is the last of
 * the queue. A control message takes no turn: put_back() has given the next one
 * to a batch that may be a lane's, which the lane's next is not to overtake. */
static struct buf *next_frames(struct peer *p)
{
	struct mesh *m = p->mesh;
	struct buf *b = NULL;

	if (p->q.control.head)
		return outq_take(&p->q);
	if (p->lane_next && !p->said_bye)
		b = lanes_take(m->lanes, p->node);
	p->lane_next = !b;
	if (!b)
		b = outq_take(&p->q);
	if (!b && !p->said_bye)
		b = lanes_take(m->lanes, p->node);
	return b;
}

static bool has_ops(const struct peer *p)
{
	const struct mesh_env *env = &p->mesh->env;

	return p->ops_held || env->ops->has_ops(p->node, env->arg);
}

/* A batch of messages between tasks; NULL: there is none now. */
static struct buf *next_ops(struct peer *p)
{
	const struct mesh_env *env = &p->mesh->env;
	struct buf *b = TAKE_PTR(p->ops_held);
	size_t len;

	if (b || p->said_bye || !has_ops(p))
		return b;
	b = buf_lend_always(env->pool);
	if (!b)
		return NULL;
	len = env->ops->fill_ops(p->node, b->data + sizeof(struct wire_header),
				 WIRE_BATCH_BYTES, env->arg);
	wire_put32(b->data, WIRE_OPS);
	wire_put32(b->data + 4, (uint32_t)len);
	b->end = sizeof(struct wire_header) + len;
	if (len)
		return b;
	buf_return(env->pool, b);
	return NULL;
}

/* Control messages, then batches of frames and of messages between tasks in
 * turns: neither waits for more than one batch of the other. */
static struct buf *next_message(struct peer *p)
{
	struct buf *b = NULL;

	if (p->ops_next && !p->q.control.head)
		b = next_ops(p);
	p->ops_next = !b;
	if (!b)
		b = next_frames(p);
	return b ? b : next_ops(p);
}

static bool has_frames(const struct peer *p)
{
	return !outq_is_empty(&p->q) || lanes_has(p->mesh->lanes, p->node);
}

/* What waits for a link. */
static bool has_any(const struct peer *p)
{
	return has_frames(p) || has_ops(p);
}

/* The link has not taken it: it is the next of its kind. */
static void put_back(struct peer *p, struct buf *b)
{
	if (wire_get32(b->data) == WIRE_OPS) {
		p->ops_held = b;
		p->ops_next = true;
	} else {
		outq_put_back(&p->q, b);
		p->lane_next = false; /* that one goes first */
	}
}

static void pump(struct peer *p)
{
	struct buf *b;
	bool rest;

	while (p->link && p->link->up && !p->blocked && !p->rested) {
		b = next_message(p);
		if (!b)
			break;
		rest = wire_get32(b->data + b->start) == WIRE_REST;
		if (rest && !p->rest_due) { /* was for a link that is gone */
			buf_return(p->mesh->env.pool, b);
		} else if (link_send(p->link, b) < 0) {
			put_back(p, b);
			p->blocked = true;
		} else {
			p->rested = rest;
		}
	}
	if (p->was_full && p->q.bytes <= LOW_BYTES) {
		p->was_full = false;
		flow_drained(p->mesh->env.flow, &p->out);
	}
}

static int peer_send(struct outlet *out, const struct packet *packet)
{
	struct peer *p = of_outlet(out);
	int r = outq_frame(&p->q, packet);

	p->used = true;
	if (r == 0)
		round_want(p->mesh->env.round, &p->flush);
	else if (p->met && p->state != UP)
		return -ENOTCONN; /* who knows for how long */
	else
		p->was_full = true;
	return r;
}

static int say(struct peer *p, enum wire_type type, const void *data,
	       size_t len)
{
	int r = outq_control(&p->q, type, data, len);

	if (r < 0)
		return r;
	if (type == WIRE_BYE)
		p->said_bye = true;
	p->used = true;
	round_want(p->mesh->env.round, &p->flush);
	return 0;
}

/* -- making links --------------------------------------------------------- */

static void check_left(struct mesh *m)
{
	if (m->leaving && !m->n_links)
		loop_timer_set(m->leave_timer, 0);
}

/* @l: NULL for none. The one that it has is freed. */
static void set_link(struct peer *p, struct link *l)
{
	struct link *old = p->link;

	p->rest_due = p->rested = false;
	p->link = l;
	if (l)
		l->owner = p;
	p->mesh->n_links += (l != NULL);
	p->mesh->n_links -= (old != NULL);
	link_free(old);
	check_left(p->mesh);
}

static void retry_at(struct mesh *m, int64_t ms)
{
	int64_t now = loop_now_ms();

	if (m->retry_ms >= 0 && m->retry_ms <= ms)
		return;
	m->retry_ms = ms;
	loop_timer_set(m->retry_timer, ms > now ? ms - now : 0);
}

/* After its state has changed: what other workers are to know of it. */
static void tell_workers(struct peer *p)
{
	enum lanes_state state = LANES_OPEN;

	if (p->state == AWAY || p->state == GONE)
		state = LANES_SHUT;
	else if (p->met && p->state != UP)
		state = LANES_BROKEN;
	lanes_set(p->mesh->lanes, p->node, state);
}

/* Nothing goes to it any more; a link it has may still carry an ACK. */
static void retire(struct peer *p, enum peer_state state)
{
	p->state = state;
	p->retry_ms = -1;
	p->counts.n[COUNT_NODE_GONE] += outq_lose_frames(&p->q);
	flow_drained(p->mesh->env.flow, &p->out);
	tell_workers(p);
	lanes_lose(p->mesh->lanes, p->node);
}

static void give_up(struct peer *p, const char *why)
{
	struct mesh *m = p->mesh;

	retire(p, AWAY);
	m->env.ops->unreachable(p->node, why, m->env.arg);
}

static void retry(struct peer *p)
{
	p->retry_ms = loop_now_ms() + p->backoff_ms;
	p->backoff_ms *= 2;
	if (p->backoff_ms > RETRY_MAX_MS)
		p->backoff_ms = RETRY_MAX_MS;
	retry_at(p->mesh, p->retry_ms);
}

static void attempt_failed(struct peer *p, int code, const char *why)
{
	if (code == -ECONNREFUSED || loop_now_ms() >= p->give_up_ms ||
	    p->mesh->leaving)
		give_up(p, why);
	else
		retry(p);
}

static void attempt(struct peer *p)
{
	struct mesh *m = p->mesh;
	struct link *l = NULL;
	struct errmsg err;
	int r;

	p->retry_ms = -1;
	r = link_dial(m->host, table_address(m->table, p->node), p->node, &l,
		      &err);
	if (r < 0)
		attempt_failed(p, r, err.text);
	else
		set_link(p, l);
}

static void begin_dialling(struct peer *p)
{
	struct mesh *m = p->mesh;
	int64_t now = loop_now_ms();

	p->state = DIALLING;
	tell_workers(p);
	p->give_up_ms = now + (p->met ? m->env.lost_after_ms : MESH_REACH_MS);
	/* one that breaks at once again is not to keep us busy */
	if (!p->backoff_ms || now - p->up_ms > RETRY_MAX_MS)
		p->backoff_ms = RETRY_FIRST_MS;
	retry_at(m, p->give_up_ms);
}

static void dial(struct peer *p)
{
	begin_dialling(p);
	attempt(p);
}

/* Its link broke. */
static void mend(struct peer *p)
{
	begin_dialling(p);
	retry(p);
}

static void look_after(struct peer *p, int64_t now)
{
	if (now >= p->give_up_ms) {
		set_link(p, NULL);
		give_up(p, "it does not answer");
	} else if (p->retry_ms >= 0 && p->retry_ms <= now) {
		attempt(p);
	}
	if (p->state != DIALLING)
		return;
	if (p->retry_ms >= 0)
		retry_at(p->mesh, p->retry_ms);
	retry_at(p->mesh, p->give_up_ms);
}

static void on_retry(void *arg)
{
	struct mesh *m = arg;
	int64_t now = loop_now_ms();

	m->retry_ms = -1;
	for (uint32_t n = 0; n < table_nnodes(m->table); n++)
		if (m->peers[n] && m->peers[n]->state == DIALLING)
			look_after(m->peers[n], now);
}

static void on_flush(struct round_job *job)
{
	struct peer *p = of_flush(job);

	if (p->state == IDLE && !p->mesh->leaving)
		dial(p);
	else
		pump(p);
}

static void peer_resume(struct inlet *in)
{
	struct peer *p = of_inlet(in);

	if (p->link)
		link_resume(p->link);
}

static struct peer *peer_get(struct mesh *m, uint32_t node)
{
	struct peer *p = m->peers[node];

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->mesh = m;
	p->node = node;
	p->q.pool = m->env.pool;
	p->q.batches = &p->out_batches;
	p->retry_ms = -1;
	p->in = (struct inlet){ peer_resume, &p->counts, m->env.flow };
	/* others have lanes: it needs no lock */
	p->out = (struct outlet){ peer_send, &p->counts, FLOW_LINK_MS,
				  OFFLOAD_ALL };
	p->flush.fn = on_flush;
	m->peers[node] = p;
	return p;
}

static void peer_free(struct peer *p)
{
	if (!p)
		return;
	link_free(p->link);
	flow_forget_inlet(p->mesh->env.flow, &p->in);
	flow_forget_outlet(p->mesh->env.flow, &p->out);
	round_forget(p->mesh->env.round, &p->flush);
	buf_return(p->mesh->env.pool, p->ops_held);
	outq_done(&p->q);
	free(p);
}

/* -- idle links ----------------------------------------------------------- */

static void watch_idle(struct mesh *m)
{
	if (m->idle_armed || m->leaving)
		return;
	m->idle_armed = true;
	loop_timer_set(m->idle_timer, m->env.idle_ms);
}

static bool is_idle(const struct peer *p)
{
	return !p->used && !p->said_bye && !p->rest_due && !p->in.awaits &&
	       !has_any(p);
}

static void rest(struct peer *p)
{
	if (say(p, WIRE_REST, NULL, 0) == 0)
		p->rest_due = true; /* else at the next look */
}

/* Links that are needed stay, and are looked at when another comes up. */
static void on_idle(void *arg)
{
	struct mesh *m = arg;
	struct peer *p;
	bool more = false;

	m->idle_armed = false;
	for (uint32_t n = 0; n < table_nnodes(m->table); n++) {
		p = m->peers[n];
		if (!p || p->state != UP || m->env.ops->needed(n, m->env.arg))
			continue;
		more = true;
		if (is_idle(p))
			rest(p);
		p->used = false;
	}
	if (more)
		watch_idle(m);
}

/* Both ends have said REST, or who closed it needed no answer. */
static void rest_is_over(struct peer *p)
{
	struct mesh *m = p->mesh;

	p->state = IDLE;
	p->met = false; /* frames wait for the next link as for the first */
	p->blocked = false;
	set_link(p, NULL);
	m->env.ops->closed(p->node, m->env.arg);
	tell_workers(p);
	if (has_any(p))
		round_want(m->env.round, &p->flush);
}

static int take_rest(struct peer *p, size_t len, struct errmsg *err)
{
	if (len)
		return errmsg_say(err, -EPROTO, "it sent a REST that is none");
	if (p->state != UP)
		return 0; /* nothing is to be made anew */
	if (p->rested)
		rest_is_over(p);
	else if (!p->said_bye && !p->rest_due)
		rest(p);
	return 0;
}

/* -- what other workers send ---------------------------------------------- */

static void on_lane(uint32_t node, void *arg)
{
	struct mesh *m = arg;
	struct peer *p = peer_get(m, node);

	if (p && !m->leaving && !p->said_bye && p->state != AWAY &&
	    p->state != GONE) {
		p->used = true;
		on_flush(&p->flush);
		return;
	}
	lanes_set(m->lanes, node, LANES_SHUT);
	lanes_lose(m->lanes, node);
}

/* -- what links report ---------------------------------------------------- */

/* It dials although there is a link. If that broke at its end only, TCP finds
 * out as soon as something is sent. */
static void probe(struct peer *p)
{
	say(p, WIRE_FRAMES, NULL, 0);
}

static bool on_proved(struct link *l, void *arg)
{
	struct mesh *m = arg;
	struct peer *p = m->leaving ? NULL : peer_get(m, l->node);

	if (!p || p->state == GONE)
		return false;
	if (p->state == UP && p->rested)
		rest_is_over(p);
	if (p->state == UP) {
		probe(p);
		return false;
	}
	if (p->state == DIALLING && p->link && p->link->committed &&
	    m->self < p->node)
		return false; /* ours lives */
	p->retry_ms = -1;
	p->state = COMING;
	tell_workers(p);
	set_link(p, l);
	return true;
}

static void on_up(struct link *l, void *arg)
{
	struct peer *p = l->owner;
	struct mesh *m = p->mesh;
	bool again = p->met;

	p->state = UP;
	p->met = true;
	p->up_ms = loop_now_ms();
	p->used = true;
	watch_idle(m);
	memcpy(p->name, l->peer_name, sizeof(p->name));
	tell_workers(p);
	m->env.ops->up(p->node, again, m->env.arg);
	round_want(m->env.round, &p->flush);
}

/* The batch's frames, from where the last call stopped. */
static int take_frames(struct peer *p, const uint8_t *data, size_t len,
		       struct errmsg *err)
{
	size_t at = p->taken;
	struct packet packet;
	int r;

	while ((r = outq_next_frame(data, len, &at, &packet)) > 0) {
		if (offload_check(&packet) < 0)
			count(&p->counts, COUNT_BAD_OFFLOAD);
		else if (fwd_from_node(p->mesh->env.fwd, p->node, &p->in,
				       &packet) < 0)
			return -EAGAIN;
		p->taken = at;
		p->taken_frames++;
	}
	if (r < 0)
		return errmsg_say(err, r,
				  "it sent a batch with a bad frame length");
	if (len) /* not a probe */
		batches_add(&p->in_batches, p->taken_frames, len);
	p->taken = p->taken_frames = 0;
	return 0;
}

static int on_message(struct link *l, enum wire_type type, const uint8_t *data,
		      size_t len, struct errmsg *err, void *arg)
{
	struct peer *p = l->owner;
	struct mesh *m = p->mesh;
	int r;

	p->used = true;
	switch (type) {
	case WIRE_FRAMES:
		r = take_frames(p, data, len, err);
		break;
	case WIRE_OPS:
		r = m->env.ops->came_ops(p->node, data, len, err, m->env.arg);
		break;
	case WIRE_REST:
		return take_rest(p, len, err);
	case WIRE_BYE:
		p->rest_due = p->rested = false;
		/* fall through */
	case WIRE_STATE:
	case WIRE_ACK:
	case WIRE_GROUPS:
	case WIRE_REPORT:
		r = m->env.ops->control(p->node, type, data, len, err,
					m->env.arg);
		break;
	case WIRE_OPEN:
	default:
		r = errmsg_say(err, -EPROTO,
			       "it sent an unknown message, type %d",
			       (int)type);
	}
	if (r < 0 && r != -EAGAIN)
		count(&p->counts, COUNT_BAD_LINK);
	/* Both have said all there was to say. */
	if (r == 0 && p->said_bye && (type == WIRE_ACK || type == WIRE_BYE))
		set_link(p, NULL);
	return r;
}

static void on_writable(struct link *l, void *arg)
{
	struct peer *p = l->owner;

	p->blocked = false;
	pump(p);
}

/* After all has been said, or by one that is not to be talked to, a break is
 * the end. */
static void broken(struct peer *p, int code, const char *why)
{
	struct mesh *m = p->mesh;

	if (p->said_bye || m->leaving) {
		retire(p, GONE);
		return;
	}
	m->env.ops->broken(p->node, why, m->env.arg);
	if (code == -EPROTO) {
		retire(p, GONE);
		m->env.ops->unreachable(p->node, why, m->env.arg);
	} else {
		mend(p);
	}
}

static void on_down(struct link *l, int code, const char *why, void *arg)
{
	struct peer *p = l->owner;
	struct mesh *m = p->mesh;
	enum peer_state was = p->state;
	bool rested = p->rested;

	if (code == -EBADMSG)
		count(&p->counts, COUNT_BAD_TAG);
	p->taken = p->taken_frames = 0;
	p->blocked = false;
	buf_return(m->env.pool, TAKE_PTR(p->ops_held));
	flow_forget_inlet(m->env.flow, &p->in);
	flow_forget_outlet(m->env.flow, &p->out);
	set_link(p, NULL);
	switch (was) {
	case UP:
		if (rested && code != -EPROTO)
			rest_is_over(p);
		else
			broken(p, code, why);
		break;
	case DIALLING:
		attempt_failed(p, code, why);
		break;
	case COMING: /* it will try again; so do we, if we have a reason */
		p->state = IDLE;
		if (has_any(p) || p->wanted)
			round_want(m->env.round, &p->flush);
		break;
	case IDLE:
	case AWAY:
	case GONE:
		break;
	}
}

static void on_stranger(const char *who, int code, const char *why, void *arg)
{
	struct mesh *m = arg;

	m->env.ops->stranger(who, code, why, m->env.arg);
}

static const struct link_events link_events = {
	.proved = on_proved,
	.up = on_up,
	.message = on_message,
	.writable = on_writable,
	.down = on_down,
	.stranger = on_stranger,
};

/* -- the mesh ------------------------------------------------------------- */

struct link_env mesh_link_env(struct mesh *m)
{
	return (struct link_env){
		.loop = m->env.loop,
		.pool = m->env.pool,
		.auth = m->env.auth,
		.events = &link_events,
		.arg = m,
	};
}

struct outlet *mesh_outlet(uint32_t node, unsigned int worker, void *arg)
{
	struct mesh *m = arg;
	struct peer *p;

	if (worker)
		return lanes_outlet(m->lanes, worker, node);
	p = m->leaving ? NULL : peer_get(m, node);
	return p && p->state != AWAY && p->state != GONE ? &p->out : NULL;
}

void mesh_reach(struct mesh *m, uint32_t node)
{
	struct peer *p = peer_get(m, node);

	if (!p)
		return;
	p->wanted = true;
	if (p->state == IDLE)
		round_want(m->env.round, &p->flush);
}

int mesh_want_ops(struct mesh *m, uint32_t node)
{
	struct peer *p = m->leaving ? NULL : peer_get(m, node);

	if (!p || p->state == AWAY || p->state == GONE)
		return -EHOSTUNREACH;
	p->used = true;
	round_want(m->env.round, &p->flush);
	return 0;
}

int mesh_send(struct mesh *m, uint32_t node, enum wire_type type,
	      const void *data, size_t len)
{
	struct peer *p = m->peers[node];

	if (!p || !p->link || !p->link->up)
		return -ENOTCONN;
	return say(p, type, data, len);
}

void mesh_gone(struct mesh *m, uint32_t node)
{
	struct peer *p = peer_get(m, node);

	if (p)
		retire(p, GONE);
}

static void on_leave_timer(void *arg)
{
	struct mesh *m = arg;

	m->env.ops->left(m->env.arg);
}

void mesh_leave(struct mesh *m, const char *text)
{
	if (m->leaving)
		return;
	m->leaving = true;
	if (m->host)
		link_host_stop(m->host);
	loop_timer_set(m->retry_timer, -1);
	loop_timer_set(m->idle_timer, -1);
	loop_timer_set(m->leave_timer, MESH_BYE_MS);
	for (uint32_t n = 0; m->table && n < table_nnodes(m->table); n++) {
		struct peer *p = m->peers[n];

		if (p && p->link && !p->said_bye)
			say(p, WIRE_BYE, text, strlen(text));
	}
	check_left(m);
}

int mesh_new(const struct mesh_env *env, struct mesh **ret, struct errmsg *err)
{
	struct mesh *m = calloc(1, sizeof(*m));

	if (!m)
		return errmsg_set(err, -ENOMEM, "links");
	m->env = *env;
	m->retry_ms = -1;
	if (loop_timer_add(env->loop, -1, on_retry, m, &m->retry_timer) < 0 ||
	    loop_timer_add(env->loop, -1, on_idle, m, &m->idle_timer) < 0 ||
	    loop_timer_add(env->loop, -1, on_leave_timer, m, &m->leave_timer) <
		    0) {
		mesh_free(m);
		return errmsg_set(err, -ENOMEM, "links");
	}
	*ret = m;
	return 0;
}

int mesh_start(struct mesh *m, struct link_host *host, const struct table *t,
	       uint32_t self, struct errmsg *err)
{
	const struct lanes_conf lanes = {
		.workers = m->env.workers,
		.pool = m->env.pool,
		.nnodes = table_nnodes(t),
		.came = on_lane,
		.arg = m,
	};

	m->host = host;
	m->peers = calloc(table_nnodes(t), sizeof(struct peer *));
	m->lanes = lanes_new(&lanes);
	if (!m->peers || !m->lanes)
		return errmsg_set(err, -ENOMEM, "links");
	m->table = t;
	m->self = self;
	link_host_start(host);
	return 0;
}

void mesh_free(struct mesh *m)
{
	if (!m)
		return;
	for (uint32_t n = 0; m->table && n < table_nnodes(m->table); n++)
		peer_free(m->peers[n]);
	lanes_free(m->lanes);
	link_host_free(m->host);
	loop_timer_free(m->retry_timer);
	loop_timer_free(m->leave_timer);
	loop_timer_free(m->idle_timer);
	free(m->peers);
	free(m);
}

void mesh_node_text(const struct mesh *m, uint32_t node, char *text,
		    size_t size)
{
	const struct peer *p = m->peers ? m->peers[node] : NULL;

	if (p && p->name[0])
		snprintf(text, size, "%s", p->name);
	else if (m->table)
		snprintf(text, size, "node %" PRIu32 " (%.100s)", node,
			 table_address(m->table, node));
	else
		snprintf(text, size, "node %" PRIu32, node);
}

void mesh_each(const struct mesh *m, mesh_count_fn fn, void *arg)
{
	struct counters sum;
	struct batches batches = { 0 };
	uint64_t queued = 0;
	char text[160];

	workers_stop(m->env.workers); /* to read what they count */
	for (uint32_t n = 0; m->table && n < table_nnodes(m->table); n++) {
		if (!m->peers[n])
			continue;
		mesh_node_text(m, n, text, sizeof(text));
		sum = m->peers[n]->counts;
		lanes_count(m->lanes, n, &sum, &batches, &queued);
		fn(n, text, &sum, arg);
	}
	workers_go(m->env.workers);
}

static void peer_stats(const struct peer *p, struct netstats *s)
{
	static const uint64_t states[] = {
		[IDLE] = NETSTATS_LINK_IDLE,	    [UP] = NETSTATS_LINK_UP,
		[DIALLING] = NETSTATS_LINK_OPENING, [AWAY] = NETSTATS_LINK_AWAY,
		[COMING] = NETSTATS_LINK_OPENING,   [GONE] = NETSTATS_LINK_GONE,
	};
	struct netstats_link link = {
		.node = p->node,
		.state = states[p->state],
		.queue_bytes = p->q.bytes,
		.in = p->in_batches,
		.out = p->out_batches,
	};
	struct counters counts = p->counts;

	lanes_count(p->mesh->lanes, p->node, &counts, &link.out,
		    &link.queue_bytes);
	netstats_name_set(&link.name, p->name);
	memcpy(link.counts, counts.n, sizeof(link.counts));
	netstats_add(s, NETSTATS_LINK, &link);
}

void mesh_stats(const struct mesh *m, struct netstats *s)
{
	for (uint32_t n = 0; m->table && n < table_nnodes(m->table); n++)
		if (m->peers[n])
			peer_stats(m->peers[n], s);
}
