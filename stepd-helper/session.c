#include <config.h>

#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "session_impl.h"

/* -- what is kept ---------------------------------------------------------- */

static void tell_waits(struct session *s, bool ended)
{
	struct session_wait *w, *next;

	for (w = LIST_FIRST(&s->waits); w; w = next) {
		next = LIST_NEXT(w, link);
		w->fn(ended, w->arg);
	}
}

/* When the next result or session is too old. */
void session_plan(struct sessions *all)
{
	int64_t now = loop_now_ms(), next = -1, due;
	const struct session *s;

	LIST_FOREACH(s, &all->list, link)
	for (int i = 0; i < 2; i++) {
		due = i ? outbox_due_ms(s->outbox) : -1;
		if (!i && s->limits.ttl_ms && !s->total)
			due = s->used_ms + s->limits.ttl_ms;
		if (due >= 0 && (next < 0 || due < next))
			next = due;
	}
	loop_timer_set(all->due, next < 0 ? -1 : next > now ? next - now : 0);
}

static void trim(struct session *s)
{
	size_t n = outbox_trim(s->outbox, loop_now_ms());

	if (n)
		op_event_say(s->all->events, "result.lost",
			     json_pack("{s:s, s:I}", "session", s->name,
				       "results", (json_int_t)n));
}

void session_kept(struct session *s)
{
	trim(s);
	tell_waits(s, false);
}

/* -- sessions -------------------------------------------------------------- */

static void session_free(struct session *s)
{
	LIST_REMOVE(s, link);
	s->all->n--;
	tell_waits(s, true);
	outbox_free(s->outbox);
	free(s);
}

int session_open(struct sessions *all, const char *name, struct session **ret)
{
	struct session *s;

	if (name && session_find(all, name))
		return -EEXIST;
	if (all->n >= SESSIONS_MAX)
		return -ENOBUFS;
	s = calloc(1, sizeof(*s));
	if (s)
		s->outbox = outbox_new();
	if (!s || !s->outbox) {
		free(s);
		return -ENOMEM;
	}
	s->all = all;
	if (name)
		snprintf(s->name, sizeof(s->name), "%s", name);
	else
		do
			snprintf(s->name, sizeof(s->name), "s%" PRIu64,
				 ++all->last_session);
		while (session_find(all, s->name));
	s->limits.max_ops = SESSION_MAX_OPS;
	s->used_ms = loop_now_ms();
	LIST_INIT(&s->waits);
	LIST_INSERT_HEAD(&all->list, s, link);
	all->n++;
	*ret = s;
	return 0;
}

struct session *session_find(struct sessions *all, const char *name)
{
	struct session *s;

	LIST_FOREACH(s, &all->list, link)
	if (strcmp(s->name, name) == 0)
		return s;
	return NULL;
}

struct session *session_next(struct sessions *all, const struct session *after)
{
	return after ? LIST_NEXT(after, link) : LIST_FIRST(&all->list);
}

size_t session_close(struct session *s, bool go_on)
{
	struct sessions *all = s->all;
	size_t n = s->total;

	if (!go_on)
		session_cancel_all(s);
	session_detach_all(s); /* also what could not be cancelled */
	session_free(s);
	loop_timer_set(all->go, 0);
	session_plan(all);
	return n;
}

const char *session_name(const struct session *s)
{
	return s->name;
}

bool session_is_default(const struct session *s)
{
	return s == s->all->fallback;
}

struct outbox *session_outbox(struct session *s)
{
	s->used_ms = loop_now_ms();
	trim(s);
	return s->outbox;
}

struct session_limits *session_limits(struct session *s)
{
	return &s->limits;
}

void session_changed(struct session *s)
{
	s->used_ms = loop_now_ms();
	trim(s);
	loop_timer_set(s->all->go, 0);
	session_plan(s->all);
}

json_t *session_json(const struct session *s)
{
	const struct outbox_limits *l = outbox_limits(s->outbox);

	return json_pack(
		"{s:s, s:s*, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"session", s->name, "kernel",
		*s->limits.kernel ? s->limits.kernel : NULL, "max_ops",
		s->limits.max_ops, "ttl_s", s->limits.ttl_ms / 1000,
		"keep_results", l->results, "keep_bytes", l->bytes, "keep_s",
		l->age_ms / 1000, "running", (json_int_t)(s->total - s->queued),
		"queued", (json_int_t)s->queued, "kept",
		(json_int_t)outbox_count(s->outbox), "bytes",
		(json_int_t)outbox_bytes(s->outbox), "dropped",
		(json_int_t)outbox_dropped(s->outbox));
}

void session_wait(struct session *s, struct session_wait *w)
{
	LIST_INSERT_HEAD(&s->waits, w, link);
}

void session_forget_wait(struct session_wait *w)
{
	LIST_REMOVE(w, link);
}

static void on_due(void *arg)
{
	struct sessions *all = arg;
	int64_t now = loop_now_ms();
	struct session *s, *next;

	for (s = LIST_FIRST(&all->list); s; s = next) {
		next = LIST_NEXT(s, link);
		trim(s);
		if (s->limits.ttl_ms && !s->total &&
		    now - s->used_ms >= s->limits.ttl_ms)
			session_free(s);
	}
	session_plan(all);
}

/* -------------------------------------------------------------------------- */

int sessions_new(struct loop *l, struct ops *ops, struct op_event *events,
		 struct sessions **ret)
{
	struct sessions *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->ops = ops;
	s->events = events;
	LIST_INIT(&s->list);
	TAILQ_INIT(&s->runs);
	if (getrandom(&s->boot_id, sizeof(s->boot_id), 0) != sizeof(s->boot_id))
		s->boot_id = (uint64_t)loop_now_ms();
	r = loop_timer_add(l, -1, session_go, s, &s->go);
	if (r == 0)
		r = loop_timer_add(l, -1, on_due, s, &s->due);
	if (r == 0)
		r = session_open(s, "default", &s->fallback);
	if (r < 0) {
		sessions_free(s);
		return r;
	}
	s->fallback->limits.max_ops = 0;
	ops_set_gate(ops, session_gate, s);
	*ret = s;
	return 0;
}

void sessions_free(struct sessions *s)
{
	if (!s)
		return;
	ops_set_gate(s->ops, NULL, NULL);
	session_end_runs(s);
	while (LIST_FIRST(&s->list))
		session_free(LIST_FIRST(&s->list));
	loop_timer_free(s->go);
	loop_timer_free(s->due);
	free(s);
}
