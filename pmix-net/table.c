#include <config.h>

#include "table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

struct span { /* ranks first..last are on one node */
	uint32_t first, last, node;
};

struct table {
	uint32_t nnodes;
	char *text;		/* the addresses point into it */
	const char **addresses; /* nnodes of them */
	struct span *spans;	/* ascending, without gaps */
	size_t n_spans, room;
};

void table_free(struct table *t)
{
	if (!t)
		return;
	free(t->text);
	free(t->addresses);
	free(t->spans);
	free(t);
}

static void table_freep(struct table **t)
{
	table_free(*t);
}

static int add_span(struct table *t, struct span s)
{
	if (t->n_spans == t->room) {
		size_t room = t->room ? t->room * 2 : 64;
		struct span *spans =
			reallocarray(t->spans, room, sizeof(*spans));

		if (!spans)
			return -ENOMEM;
		t->spans = spans;
		t->room = room;
	}
	t->spans[t->n_spans++] = s;
	return 0;
}

static int add_ranks(struct table *t, uint32_t node, const char *text,
		     struct errmsg *err)
{
	struct rankset set = { 0 };
	int r;

	r = rankset_parse(&set, text, strlen(text), err);
	for (size_t i = 0; r == 0 && i < set.n; i++)
		r = add_span(t, (struct span){ set.ranges[i].first,
					       set.ranges[i].last, node });
	rankset_done(&set);
	return r;
}

static int parse_line(struct table *t, uint32_t node, char *line,
		      struct errmsg *err)
{
	char *space = strchr(line, ' ');
	int r;

	if (!space || space == line)
		return errmsg_say(err, -EINVAL,
				  "line '%.100s' is not ADDRESS:PORT RANKS",
				  line);
	*space = '\0';
	t->addresses[node] = line;
	r = add_ranks(t, node, space + 1, err);
	if (r < 0)
		return errmsg_prefix(err, r, "node %" PRIu32, node);
	return 0;
}

static int by_rank(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static int check_spans(const struct table *t, uint32_t nranks,
		       struct errmsg *err)
{
	uint32_t next = 0;

	for (size_t i = 0; i < t->n_spans; i++) {
		if (t->spans[i].first < next)
			return errmsg_say(err, -EINVAL,
					  "rank %" PRIu32 " is on two nodes",
					  t->spans[i].first);
		if (t->spans[i].first > next)
			break;
		next = t->spans[i].last + 1;
	}
	if (next < nranks)
		return errmsg_say(err, -EINVAL,
				  "rank %" PRIu32 " is on no node", next);
	if (next > nranks)
		return errmsg_say(err, -EINVAL,
				  "rank %" PRIu32
				  " is not of the step, which has %" PRIu32,
				  next - 1, nranks);
	return 0;
}

static int parse_lines(struct table *t, struct errmsg *err)
{
	char *line = t->text, *end;
	uint32_t node = 0;

	for (; *line; line = end) {
		end = strchrnul(line, '\n');
		if (*end)
			*end++ = '\0';
		if (node == t->nnodes)
			return errmsg_say(err, -EINVAL,
					  "more lines than the step's %" PRIu32
					  " nodes",
					  t->nnodes);
		int r = parse_line(t, node++, line, err);

		if (r < 0)
			return r;
	}
	if (node < t->nnodes)
		return errmsg_say(err, -EINVAL,
				  "%" PRIu32 " lines for %" PRIu32 " nodes",
				  node, t->nnodes);
	return 0;
}

int table_parse(const char *text, size_t len, uint32_t nnodes, uint32_t nranks,
		struct table **ret, struct errmsg *err)
{
	_cleanup_(table_freep) struct table *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return errmsg_set(err, -ENOMEM, "table of nodes");
	t->nnodes = nnodes;
	t->text = strndup(text, len);
	t->addresses = calloc(nnodes, sizeof(*t->addresses));
	if (!t->text || !t->addresses)
		return errmsg_set(err, -ENOMEM, "table of nodes");
	r = parse_lines(t, err);
	if (r < 0)
		return errmsg_prefix(err, r, "table of nodes");
	if (t->n_spans)
		qsort(t->spans, t->n_spans, sizeof(*t->spans), by_rank);
	r = check_spans(t, nranks, err);
	if (r < 0)
		return errmsg_prefix(err, r, "table of nodes");
	*ret = TAKE_PTR(t);
	return 0;
}

int table_read(int fd, uint32_t nnodes, uint32_t nranks, struct table **ret,
	       struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size <= 0 || st.st_size > TABLE_BYTES_MAX)
		return errmsg_say(err, -EINVAL,
				  "table of nodes: it needs a file with it");
	text = malloc((size_t)st.st_size);
	if (!text)
		return errmsg_set(err, -ENOMEM, "table of nodes");
	while (n > 0 && len < (size_t)st.st_size) {
		n = pread(fd, text + len, (size_t)st.st_size - len, (off_t)len);
		if (n < 0)
			return errmsg_set(err, -errno, "table of nodes");
		len += (size_t)n;
	}
	return table_parse(text, len, nnodes, nranks, ret, err);
}

uint32_t table_nnodes(const struct table *t)
{
	return t->nnodes;
}

uint32_t table_node(const struct table *t, uint32_t rank)
{
	size_t lo = 0, hi = t->n_spans;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->spans[mid].last < rank)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < t->n_spans ? t->spans[lo].node : TABLE_NONE;
}

const char *table_address(const struct table *t, uint32_t node)
{
	return t->addresses[node];
}

int table_ranks(const struct table *t, uint32_t node, struct rankset *ret)
{
	int r = 0;

	for (size_t i = 0; i < t->n_spans && r == 0; i++)
		if (t->spans[i].node == node)
			r = rankset_add(ret, t->spans[i].first,
					t->spans[i].last);
	return r;
}

bool table_is(const struct table *t, uint32_t node, const struct rankset *ranks)
{
	uint64_t n = 0;

	for (size_t i = 0; i < t->n_spans; i++) {
		const struct span *s = &t->spans[i];

		if (s->node != node)
			continue;
		if (!rankset_has(ranks, s->first) ||
		    rankset_next_missing(ranks, s->first) <= s->last)
			return false;
		n += (uint64_t)s->last - s->first + 1;
	}
	return n == rankset_count(ranks);
}
