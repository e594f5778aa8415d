#include <config.h>

#include "roll.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define ITEM_MAX 24 /* bytes of "4294967295-4294967295," and some */

static const char *const set_names[] = {
	[ROLL_READY] = "ready",	    [ROLL_DONE] = "done",
	[ROLL_FAILED] = "failed",   [ROLL_GONE] = "gone",
	[ROLL_MISSING] = "missing",
};
static_assert(ARRAY_SIZE(set_names) == ROLL_SETS, "every set has a name");

void roll_done(struct roll *r)
{
	for (int i = 0; i < ROLL_SETS; i++)
		rankset_done(&r->sets[i]);
	*r = (struct roll){ 0 };
}

int roll_add(struct roll *r, enum roll_set set, uint32_t member)
{
	return rankset_add(&r->sets[set], member, member);
}

void roll_say(struct roll_words *w, uint32_t rank, const char *text)
{
	size_t i;

	if (!text[0] || (w->text[0] && w->rank <= rank))
		return;
	w->rank = rank;
	for (i = 0; i < sizeof(w->text) - 1 && text[i]; i++)
		w->text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	w->text[i] = '\0';
}

int roll_merge(struct roll *r, const struct roll *other)
{
	for (int i = 0; i < ROLL_SETS; i++)
		if (rankset_merge(&r->sets[i], &other->sets[i]) < 0)
			return -ENOMEM;
	r->flags |= other->flags;
	roll_say(&r->why, other->why.rank, other->why.text);
	roll_say(&r->lost, other->lost.rank, other->lost.text);
	return 0;
}

/* -- from text ------------------------------------------------------------ */

static int bad_line(const char *line, size_t len, struct errmsg *err)
{
	return errmsg_say(err, -EPROTO, "it sent a state that is none: '%.*s'",
			  (int)(len > 60 ? 60 : len), line);
}

static int parse_set(struct rankset *set, const char *value, size_t len,
		     uint32_t limit)
{
	struct rankset more = { 0 };
	int r = -EPROTO;

	if (rankset_parse(&more, value, len, NULL) < 0)
		return -EPROTO;
	if (more.ranges[more.n - 1].last < limit)
		r = 0;
	for (size_t i = 0; r == 0 && i < more.n; i++)
		r = rankset_add(set, more.ranges[i].first, more.ranges[i].last);
	rankset_done(&more);
	return r;
}

static int parse_words(struct roll_words *w, const char *value, size_t len,
		       uint32_t nranks)
{
	char text[NETCTL_TEXT_LEN + ITEM_MAX], *end;
	unsigned long rank;

	if (len >= sizeof(text) || !len || value[0] < '0' || value[0] > '9')
		return -EPROTO;
	memcpy(text, value, len);
	text[len] = '\0';
	errno = 0;
	rank = strtoul(text, &end, 10);
	if (errno || *end != ' ' || (rank >= nranks && rank != ROLL_NO_RANK))
		return -EPROTO;
	roll_say(w, (uint32_t)rank, end + 1);
	return 0;
}

static bool is_word(const char *line, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(line, word, len) == 0;
}

static int parse_line(struct roll *r, const char *line, size_t len,
		      const struct roll_limits *limits)
{
	const char *space = memchr(line, ' ', len);
	size_t word = space ? (size_t)(space - line) : 0;
	const char *value = line + word + 1;
	size_t value_len = len - word - 1;

	if (!space)
		return -EPROTO;
	for (int i = 0; i < ROLL_SETS; i++)
		if (is_word(line, word, set_names[i]))
			return parse_set(&r->sets[i], value, value_len,
					 i < ROLL_GONE ? limits->nranks
						       : limits->nnodes);
	if (is_word(line, len, "all ready"))
		r->flags |= ROLL_ALL_READY;
	else if (is_word(line, len, "all done"))
		r->flags |= ROLL_ALL_DONE;
	else if (is_word(line, word, "why"))
		return parse_words(&r->why, value, value_len, limits->nranks);
	else if (is_word(line, word, "lost"))
		return parse_words(&r->lost, value, value_len, limits->nranks);
	else
		return -EPROTO;
	return 0;
}

int roll_parse(struct roll *r, const char *text, size_t len,
	       const struct roll_limits *limits, struct errmsg *err)
{
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;
		int e = end ? parse_line(r, text, line, limits) : -EPROTO;

		if (e == -ENOMEM)
			return errmsg_set(err, e, "state of the step");
		if (e < 0)
			return bad_line(text, line, err);
		text += line + 1;
		len -= line + 1;
	}
	return 0;
}

/* -- to text -------------------------------------------------------------- */

struct teller {
	char *text; /* ROLL_TEXT_MAX bytes */
	size_t len;
	int error; /* the first */
	roll_text_fn fn;
	void *arg;
};

static void send_text(struct teller *t)
{
	if (t->len && t->error == 0)
		t->error = t->fn(t->text, t->len, t->arg);
	t->len = 0;
}

static void __attribute__((format(printf, 2, 3)))
say(struct teller *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->len += (size_t)vsnprintf(t->text + t->len, ROLL_TEXT_MAX - t->len,
				    fmt, ap);
	va_end(ap);
	assert(t->len < ROLL_TEXT_MAX);
}

/* A line that is begun anew where the text has no room left. */
static void say_set(struct teller *t, const char *name,
		    const struct rankset *set)
{
	bool begun = false;

	for (size_t i = 0; i < set->n; i++) {
		const struct rank_range *r = &set->ranges[i];

		if (t->len > ROLL_TEXT_MAX - 3 * ITEM_MAX) {
			say(t, "%s", begun ? "\n" : "");
			send_text(t);
			begun = false;
		}
		if (begun)
			say(t, ",%" PRIu32, r->first);
		else
			say(t, "%s %" PRIu32, name, r->first);
		if (r->last != r->first)
			say(t, "-%" PRIu32, r->last);
		begun = true;
	}
	if (begun)
		say(t, "\n");
}

/* @ret, which is empty, gets what @a has and @b has not. */
static int minus(const struct rankset *a, const struct rankset *b,
		 struct rankset *ret)
{
	size_t j = 0;

	for (size_t i = 0; i < a->n; i++) {
		uint32_t first = a->ranges[i].first, last = a->ranges[i].last;

		while (j < b->n && b->ranges[j].last < first)
			j++;
		for (size_t k = j; first <= last; k++) {
			bool cut = k < b->n && b->ranges[k].first <= last;
			uint32_t end = cut ? b->ranges[k].first : last + 1;

			if (end > first && rankset_add(ret, first, end - 1) < 0)
				return -ENOMEM;
			if (!cut)
				break;
			first = b->ranges[k].last + 1;
		}
	}
	return 0;
}

static int tell_sets(struct teller *t, const struct roll *r,
		     const struct roll *known)
{
	int e = 0;

	for (int i = 0; e == 0 && i < ROLL_SETS; i++) {
		struct rankset more = { 0 };

		e = minus(&r->sets[i], &known->sets[i], &more);
		if (e == 0)
			say_set(t, set_names[i], &more);
		rankset_done(&more);
	}
	return e;
}

static void tell_words(struct teller *t, const char *name,
		       const struct roll_words *w,
		       const struct roll_words *known)
{
	if (w->text[0] && (!known->text[0] || w->rank < known->rank))
		say(t, "%s %" PRIu32 " %s\n", name, w->rank, w->text);
}

static void tell_events(struct teller *t, const struct roll *r,
			const struct roll *known)
{
	unsigned int more = r->flags & ~known->flags;

	if (t->len > ROLL_TEXT_MAX - 4 * NETCTL_TEXT_LEN)
		send_text(t);
	if (more & ROLL_ALL_READY)
		say(t, "all ready\n");
	if (more & ROLL_ALL_DONE)
		say(t, "all done\n");
	tell_words(t, "why", &r->why, &known->why);
	tell_words(t, "lost", &r->lost, &known->lost);
}

static int mark_known(struct roll *known, const struct roll *r,
		      enum roll_what what)
{
	if (what == ROLL_EVERYTHING)
		return roll_merge(known, r);
	known->flags |= r->flags;
	roll_say(&known->why, r->why.rank, r->why.text);
	roll_say(&known->lost, r->lost.rank, r->lost.text);
	return 0;
}

int roll_tell(const struct roll *r, struct roll *known, enum roll_what what,
	      roll_text_fn fn, void *arg)
{
	_cleanup_free_ char *text = malloc(ROLL_TEXT_MAX);
	struct teller t = { .text = text, .fn = fn, .arg = arg };
	int e = 0;

	if (!text)
		return -ENOMEM;
	if (what == ROLL_EVERYTHING)
		e = tell_sets(&t, r, known);
	tell_events(&t, r, known);
	send_text(&t);
	if (e == 0)
		e = t.error;
	return e < 0 ? e : mark_known(known, r, what);
}

bool roll_covers(const struct rankset *a, const struct rankset *b,
		 uint32_t nranks)
{
	uint32_t next = 0, before;

	do {
		before = next;
		next = rankset_next_missing(a, next);
		next = rankset_next_missing(b, next);
	} while (next != before && next < nranks);
	return next >= nranks;
}
