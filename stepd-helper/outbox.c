#include <config.h>

#include "outbox.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "rpc.h"

struct entry {
	TAILQ_ENTRY(entry) link;
	json_t *answer;
	size_t bytes;
	int64_t put_ms;
};

struct outbox {
	struct outbox_limits limits;
	TAILQ_HEAD(, entry) list; /* the oldest first */
	size_t n, bytes;
	uint64_t dropped;
};

struct outbox *outbox_new(void)
{
	struct outbox *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->limits = (struct outbox_limits){ OUTBOX_RESULTS, OUTBOX_BYTES,
					    OUTBOX_AGE_MS };
	TAILQ_INIT(&o->list);
	return o;
}

static void entry_free(struct outbox *o, struct entry *e)
{
	TAILQ_REMOVE(&o->list, e, link);
	o->n--;
	o->bytes -= e->bytes;
	json_decref(e->answer);
	free(e);
}

void outbox_free(struct outbox *o)
{
	if (!o)
		return;
	while (TAILQ_FIRST(&o->list))
		entry_free(o, TAILQ_FIRST(&o->list));
	free(o);
}

struct outbox_limits *outbox_limits(struct outbox *o)
{
	return &o->limits;
}

static bool is_within(const struct outbox *o, int64_t now_ms)
{
	const struct entry *e = TAILQ_FIRST(&o->list);

	return !e || (o->n <= (size_t)o->limits.results &&
		      o->bytes <= (size_t)o->limits.bytes &&
		      now_ms - e->put_ms < o->limits.age_ms);
}

size_t outbox_trim(struct outbox *o, int64_t now_ms)
{
	size_t n = 0;

	for (; !is_within(o, now_ms); n++)
		entry_free(o, TAILQ_FIRST(&o->list));
	o->dropped += n;
	return n;
}

int64_t outbox_due_ms(const struct outbox *o)
{
	const struct entry *e = TAILQ_FIRST(&o->list);

	return e ? e->put_ms + o->limits.age_ms : -1;
}

static json_t *too_large(void)
{
	return json_pack("{s:{s:i, s:s, s:{s:s}}}", "error", "code",
			 (int)RPC_E_LOST, "message",
			 "the result was too large to be kept", "data", "name",
			 "E_LOST");
}

void outbox_put(struct outbox *o, const char *opid, const char *method,
		json_t *answer, int64_t now_ms)
{
	size_t bytes = json_dumpb(answer, NULL, 0, JSON_COMPACT);
	struct entry *e = calloc(1, sizeof(*e));

	if (bytes > (size_t)o->limits.bytes) {
		json_decref(answer);
		answer = too_large();
		bytes = 0;
	}
	if (!e || !answer) {
		o->dropped++;
		json_decref(answer);
		free(e);
		return;
	}
	json_object_set_new(answer, "opid", json_string(opid));
	json_object_set_new(answer, "method", json_string(method));
	*e = (struct entry){ .answer = answer,
			     .bytes = bytes,
			     .put_ms = now_ms };
	TAILQ_INSERT_TAIL(&o->list, e, link);
	o->n++;
	o->bytes += bytes;
}

static bool is_of(const struct entry *e, const char *opid)
{
	return !opid || strcmp(opid, json_string_value(json_object_get(
					     e->answer, "opid"))) == 0;
}

json_t *outbox_read(struct outbox *o, const char *opid, size_t count, bool take,
		    int64_t now_ms)
{
	json_t *all = json_array(), *one;
	struct entry *e, *next;

	for (e = TAILQ_FIRST(&o->list);
	     e && (!count || json_array_size(all) < count); e = next) {
		next = TAILQ_NEXT(e, link);
		if (!is_of(e, opid))
			continue;
		one = json_copy(e->answer);
		json_object_set_new(one, "age_ms",
				    json_integer(now_ms - e->put_ms));
		json_array_append_new(all, one);
		if (take)
			entry_free(o, e);
	}
	return all;
}

const json_t *outbox_find(const struct outbox *o, const char *opid)
{
	const struct entry *e;

	TAILQ_FOREACH(e, &o->list, link)
	if (is_of(e, opid))
		return e->answer;
	return NULL;
}

size_t outbox_count(const struct outbox *o)
{
	return o->n;
}

size_t outbox_bytes(const struct outbox *o)
{
	return o->bytes;
}

uint64_t outbox_dropped(const struct outbox *o)
{
	return o->dropped;
}
