#include <config.h>

#include "memkeep.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "log.h"
#include "memwire.h"
#include "memword.h"
#include "oplink.h"
#include "rpc.h"

#define MAY_READ  4
#define MAY_WRITE 2

/* A get that waits for room: what is got is read when it can leave. */
struct waiting {
	TAILQ_ENTRY(waiting) link;
	uint32_t from;
	size_t len;
	char msg[];
};

struct memkeep {
	const struct task *task;
	const struct spec *spec;
	struct peers *peers;
	struct window *window; /* NULL: not opened yet */
	struct memdir *dir;
	TAILQ_HEAD(, waiting) waiting;
	size_t waiting_bytes, most_bytes;
	char *answer; /* MEMWIRE_ANSWER + MEMWIRE_DATA */
};

/* A request while it is carried out. */
struct work {
	struct memwire_request q;
	uint64_t at; /* of the item, in the window */
	const struct item *item;
	struct mem_who who;
	int code; /* enum rpc_error; 0: none */
	uint32_t done;
	size_t len; /* of what is answered */
	struct errmsg err;
};

struct memkeep *memkeep_new(const struct task *t, const struct spec *s,
			    struct peers *p)
{
	struct memkeep *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->task = t;
	k->spec = s;
	k->peers = p;
	k->most_bytes = MEMKEEP_WAITING;
	TAILQ_INIT(&k->waiting);
	return k;
}

void memkeep_free(struct memkeep *k)
{
	struct waiting *w;

	if (!k)
		return;
	while ((w = TAILQ_FIRST(&k->waiting))) {
		TAILQ_REMOVE(&k->waiting, w, link);
		free(w);
	}
	memdir_free(k->dir);
	window_free(k->window);
	free(k->answer);
	free(k);
}

uint32_t memkeep_keeper(const struct memkeep *k)
{
	uint32_t rank = rankset_next(&k->task->local_ranks, 0);

	return rank == UINT32_MAX ? k->task->rank : rank;
}

bool memkeep_is_here(const struct memkeep *k, uint32_t rank)
{
	return rank == k->task->rank ||
	       rankset_has(&k->task->local_ranks, rank);
}

struct window *memkeep_window(struct memkeep *k, int *ret_errno,
			      struct errmsg *err)
{
	int r = k->window ? 0 : window_open(k->task, k->spec, &k->window, err);

	if (ret_errno)
		*ret_errno = r;
	return k->window;
}

struct memdir *memkeep_dir(struct memkeep *k, int *ret_errno,
			   struct errmsg *err)
{
	if (memkeep_keeper(k) != k->task->rank) {
		*ret_errno = errmsg_say(err, -ENOENT,
					"vm[%" PRIu32 "] keeps no memory",
					k->task->rank);
		return NULL;
	}
	if (!memkeep_window(k, ret_errno, err))
		return NULL;
	if (!k->answer)
		k->answer = malloc(MEMWIRE_ANSWER + MEMWIRE_DATA);
	if (!k->dir && k->answer)
		k->dir = memdir_new(window_bytes(k->window), k->task->rank,
				    k->task->local_tasks);
	if (!k->dir)
		*ret_errno = errmsg_set(err, -ENOMEM, "directory of memory");
	return k->dir;
}

/* -- may it, and is it there? ---------------------------------------------- */

static void fail(struct work *w, int code, const char *text)
{
	w->code = code;
	errmsg_say(&w->err, 0, "%s", text);
}

static bool may(struct work *w, unsigned int want)
{
	const struct region *g = w->item->region;

	if (mem_may(&w->who, g->mode & w->item->mode, w->item->owner, want))
		return true;
	w->code = RPC_E_PERM;
	errmsg_say(&w->err, 0,
		   "item %" PRIu64 " of region '%s': mode %o of vm[%" PRId32
		   "] says no",
		   w->item->id, g->name, w->item->mode,
		   (int32_t)w->item->owner);
	return false;
}

static bool is_within(struct work *w, uint64_t at, uint64_t len)
{
	if (at <= w->item->bytes && len <= w->item->bytes - at)
		return true;
	w->code = RPC_E_RANGE;
	errmsg_say(&w->err, 0,
		   "%" PRIu64 " bytes at %" PRIu64 " of an item of %" PRIu64,
		   len, at, w->item->bytes);
	return false;
}

static bool find(struct memkeep *k, struct work *w)
{
	const struct region *g;
	int error;

	if (!memkeep_dir(k, &error, &w->err)) {
		w->code = rpc_error_of(-error);
		return false;
	}
	g = memdir_region(k->dir, w->q.region);
	w->item = g ? memdir_item(k->dir, g, w->q.item) : NULL;
	if (!w->item) {
		fail(w, RPC_E_NOENT, "there is no such item any more");
		return false;
	}
	w->at = g->at + w->item->offset;
	return true;
}

/* -- what is done ---------------------------------------------------------- */

/* All of it, or nothing. */
static bool elements_are_within(struct work *w)
{
	for (uint32_t i = 0; i < w->q.count; i++)
		if (!is_within(w, memwire_at(&w->q, i), w->q.elem))
			return false;
	return true;
}

static void put(struct memkeep *k, struct work *w)
{
	const struct memwire_request *q = &w->q;

	if (!may(w, MAY_WRITE) || !elements_are_within(w))
		return;
	for (uint32_t i = 0; i < q->count; i++)
		window_write(k->window, w->at + memwire_at(q, i),
			     q->data + (size_t)i * q->elem, q->elem);
	w->done = q->count;
}

static void get(struct memkeep *k, struct work *w)
{
	const struct memwire_request *q = &w->q;
	char *out = k->answer + MEMWIRE_ANSWER;

	if (!may(w, MAY_READ) || !elements_are_within(w))
		return;
	for (uint32_t i = 0; i < q->count; i++)
		window_read(k->window, w->at + memwire_at(q, i),
			    out + (size_t)i * q->elem, q->elem);
	w->done = q->count;
	w->len = memwire_bytes(q);
}

static bool word_is_right(struct work *w, const struct memword_entry *e)
{
	size_t size = memword_size(e->type);

	if (memword_check(e->op, e->type) < 0) {
		fail(w, RPC_INVALID_PARAMS, "no such operation on that type");
		return false;
	}
	if ((w->at + e->offset) % size) {
		fail(w, RPC_E_RANGE, "a word that is not aligned to its size");
		return false;
	}
	return is_within(w, e->offset, size) &&
	       may(w, e->op == MEMWORD_FETCH ? MAY_READ : MAY_READ | MAY_WRITE);
}

/* Until one is wrong. */
static void change_words(struct memkeep *k, struct work *w)
{
	char *out = k->answer + MEMWIRE_ANSWER;
	struct memword_entry e;
	uint64_t was;

	for (; w->done < w->q.count; w->done++) {
		memcpy(&e, w->q.data + (size_t)w->done * sizeof(e), sizeof(e));
		e.offset = le64toh(e.offset);
		if (!word_is_right(w, &e))
			break;
		was = htole64(memword_apply(
			window_word(k->window, w->at + e.offset,
				    memword_size(e.type)),
			e.op, e.type, le64toh(e.value), le64toh(e.cmp)));
		memcpy(out + (size_t)w->done * 8, &was, 8);
	}
	if (w->q.flags & MEMWIRE_FETCH)
		w->len = (size_t)w->done * 8;
}

static void carry_out(struct memkeep *k, struct work *w)
{
	if (!find(k, w))
		return;
	if (w->q.kind == MEMWIRE_PUT)
		put(k, w);
	else if (w->q.kind == MEMWIRE_GET)
		get(k, w);
	else
		change_words(k, w);
	if (window_is_gone(k->window))
		fail(w, RPC_E_OS,
		     "the node's memory was cut, or there was none for it");
}

/* -- requests and answers -------------------------------------------------- */

/* Words, where there are any, instead of data. Without memory for the answer
 * who asks waits until we are gone. */
static void answer(struct memkeep *k, uint32_t to, struct work *w)
{
	const struct memwire_answer a = { .tag = w->q.tag,
					  .error = (int16_t)w->code,
					  .done = w->done };
	char words[MEMWIRE_ANSWER + sizeof(w->err.text)];
	char *msg = k->answer;
	size_t len = w->len;
	int r;

	if (w->code) {
		msg = words;
		len = strlen(w->err.text);
		memcpy(words + MEMWIRE_ANSWER, w->err.text, len);
	}
	memwire_put_answer((uint8_t *)msg, &a);
	r = peers_answer(k->peers, to, msg, MEMWIRE_ANSWER + len);
	if (r == -ENOBUFS) /* shorter */
		r = peers_answer(
			k->peers, to, words,
			memkeep_given_up(msg, MEMWIRE_ANSWER + len, words));
	if (r < 0)
		log_limited(LOG_LEVEL_WARN,
			    "out of memory for an answer about memory");
}

size_t memkeep_given_up(const char *msg, size_t len, char *ret)
{
	struct memwire_answer a;

	if (memwire_take_answer(msg, len, &a, NULL) < 0)
		return 0;
	a.error = RPC_E_LOST;
	memwire_put_answer((uint8_t *)ret, &a);
	memcpy(ret + MEMWIRE_ANSWER, PEERS_GIVEN_UP, strlen(PEERS_GIVEN_UP));
	return MEMWIRE_ANSWER + strlen(PEERS_GIVEN_UP);
}

static bool has_room(struct memkeep *k, uint32_t from,
		     const struct memwire_request *q)
{
	size_t bytes = q->kind == MEMWIRE_GET	  ? memwire_bytes(q)
		       : q->flags & MEMWIRE_FETCH ? (size_t)q->count * 8
						  : 0;

	return !bytes || oplink_has_room(peers_link(k->peers), from,
					 MEMWIRE_ANSWER + bytes);
}

/* False: it has to wait. */
static bool try(struct memkeep *k, uint32_t from, const char *msg, size_t len)
{
	struct work w = { .code = 0 };

	if (memwire_take_request(msg, len, &w.q, &w.err) < 0) {
		log_limited(LOG_LEVEL_WARN, "vm[%" PRIu32 "]: %s", from,
			    w.err.text);
		return true;
	}
	if (!has_room(k, from, &w.q))
		return false;
	w.who = (struct mem_who){ w.q.by, w.q.flags & MEMWIRE_USER };
	carry_out(k, &w);
	answer(k, from, &w);
	return true;
}

static struct waiting *first_of(const struct memkeep *k, uint32_t from)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &k->waiting, link)
	if (w->from == from)
		break;
	return w;
}

/* Nothing of it was done. */
static void refuse(struct memkeep *k, uint32_t from, const char *msg,
		   size_t len)
{
	struct work w = { .code = 0 };

	if (memwire_take_request(msg, len, &w.q, NULL) < 0)
		return;
	fail(&w, RPC_E_BUSY, "too much waits for others");
	answer(k, from, &w);
}

/* What comes behind a get that waits waits, too: it would be odd if a put that
 * was sent later were what is got. */
void memkeep_request(struct memkeep *k, uint32_t from, const char *msg,
		     size_t len)
{
	struct waiting *w = NULL;

	if (!first_of(k, from) && try(k, from, msg, len))
		return;
	if (k->waiting_bytes + len <= k->most_bytes)
		w = malloc(sizeof(*w) + len);
	if (!w) {
		refuse(k, from, msg, len);
		return;
	}
	k->waiting_bytes += len;
	w->from = from;
	w->len = len;
	memcpy(w->msg, msg, len);
	TAILQ_INSERT_TAIL(&k->waiting, w, link);
}

void memkeep_go_on(struct memkeep *k)
{
	struct waiting *w, *next;

	for (w = TAILQ_FIRST(&k->waiting); w; w = next) {
		next = TAILQ_NEXT(w, link);
		if (first_of(k, w->from) != w ||
		    !try(k, w->from, w->msg, w->len))
			continue;
		k->waiting_bytes -= w->len;
		TAILQ_REMOVE(&k->waiting, w, link);
		free(w);
	}
}

void memkeep_let_wait(struct memkeep *k, size_t bytes)
{
	k->most_bytes = bytes;
}

size_t memkeep_waiting(const struct memkeep *k)
{
	return k->waiting_bytes;
}
