#include <config.h>

#include "summary.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "memstream.h"
#include "netjson.h"
#include "netstats.h"
#include "outfile.h"

/* -- the lines ------------------------------------------------------------- */

struct totals {
	json_int_t frames, bytes;	    /* that guests sent */
	json_int_t link_frames, link_bytes; /* that crossed links */
	json_int_t waits;
	json_int_t peak_frames, peak_bytes; /* of one guest, in a second */
	json_int_t peak_rank;
	json_t *drops; /* by reason */
};

static json_int_t number(const json_t *o, const char *group, const char *key)
{
	return json_integer_value(
		json_object_get(group ? json_object_get(o, group) : o, key));
}

static void add_drops(struct totals *t, const json_t *o)
{
	const char *key;
	json_t *n;

	json_object_foreach (json_object_get(o, "drops"), key, n) {
		json_int_t sum = number(t->drops, NULL, key);

		json_object_set_new(t->drops, key,
				    json_integer(sum + json_integer_value(n)));
	}
}

static void add_port(struct totals *t, const json_t *port)
{
	json_int_t bytes = number(port, "peak", "bytes");

	t->frames += number(port, "in", "frames");
	t->bytes += number(port, "in", "bytes");
	t->waits += number(port, NULL, "waited");
	add_drops(t, port);
	if (number(port, "peak", "frames") > t->peak_frames)
		t->peak_frames = number(port, "peak", "frames");
	if (bytes <= t->peak_bytes)
		return;
	t->peak_bytes = bytes;
	t->peak_rank = number(port, NULL, "rank");
}

static void add_link(struct totals *t, const json_t *link)
{
	t->link_frames += number(link, "out", "frames");
	t->link_bytes += number(link, "out", "bytes");
	t->waits += number(link, NULL, "waited");
	add_drops(t, link);
}

static void add_node(struct totals *t, const json_t *node)
{
	const json_t *o;
	size_t i;

	json_array_foreach (json_object_get(node, "ports"), i, o)
		add_port(t, o);
	json_array_foreach (json_object_get(node, "links"), i, o)
		add_link(t, o);
}

static void print_drops(FILE *f, const json_t *drops)
{
	json_int_t sum = 0;
	const char *key;
	json_t *n;

	json_object_foreach ((json_t *)(uintptr_t)drops, key, n)
		sum += json_integer_value(n);
	fprintf(f, "%lld frames dropped", (long long)sum);
	json_object_foreach ((json_t *)(uintptr_t)drops, key, n)
		fprintf(f, ", %s %lld", key, (long long)json_integer_value(n));
	fputc('\n', f);
}

static void print(FILE *f, const json_t *step, const struct totals *t)
{
	size_t nodes = json_array_size(json_object_get(step, "nodes"));
	json_int_t count = number(step, NULL, "node_count");

	fprintf(f, "the step's network: %lld tasks, %lld nodes",
		(long long)number(step, NULL, "tasks"), (long long)count);
	if ((json_int_t)nodes < count)
		fprintf(f, ", of which %zu told what they have counted", nodes);
	fprintf(f,
		"\nguests sent %lld frames, %lld bytes; links carried %lld frames, %lld bytes\n",
		(long long)t->frames, (long long)t->bytes,
		(long long)t->link_frames, (long long)t->link_bytes);
	fprintf(f,
		"at most %lld frames, and %lld bytes (task %lld), were sent by one guest within a second\n",
		(long long)t->peak_frames, (long long)t->peak_bytes,
		(long long)t->peak_rank);
	fprintf(f, "senders waited %lld times; ", (long long)t->waits);
	print_drops(f, t->drops);
}

char *summary_text(const json_t *step)
{
	struct totals t = { .drops = json_object() };
	struct memstream m;
	const json_t *node;
	size_t i;

	if (!t.drops || !memstream_open(&m)) {
		json_decref(t.drops);
		return NULL;
	}
	json_array_foreach (json_object_get(step, "nodes"), i, node)
		add_node(&t, node);
	print(m.f, step, &t);
	json_decref(t.drops);
	return memstream_close(&m, NULL);
}

static void log_text(const json_t *step)
{
	_cleanup_free_ char *text = summary_text(step);
	char *rest = text, *line;

	while (text && (line = strsep(&rest, "\n")))
		if (*line)
			log_info("%s", line);
}

/* -- the file -------------------------------------------------------------- */

int summary_check(const struct task *t, const struct spec *s,
		  struct errmsg *err)
{
	struct stat st;
	int fd;

	if (!s->stats || t->rank != 0)
		return 0;
	if (stat(s->stats, &st) == 0 && S_ISFIFO(st.st_mode))
		return 0; /* its reader would take this for the end */
	fd = outfile_open("--vm-stats", s->stats, O_TRUNC, err);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int write_all(int fd, const char *text, size_t len, int64_t until_ms)
{
	while (len) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		ssize_t n = write(fd, text, len);

		if (n >= 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			int64_t left = until_ms - loop_now_ms();

			if (left <= 0)
				return -ETIMEDOUT;
			poll(&p, 1, (int)left);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int write_file(const struct spec *s, const json_t *step,
		      struct errmsg *err)
{
	_cleanup_free_ char *text =
		json_dumps(step, JSON_COMPACT | JSON_ENSURE_ASCII);
	int fd = outfile_open("--vm-stats", s->stats, O_TRUNC, err);
	int r;

	if (fd < 0)
		return fd;
	r = text ? write_all(fd, text, strlen(text),
			     loop_now_ms() + SUMMARY_WRITE_MS)
		 : -ENOMEM;
	if (r == 0)
		r = write_all(fd, "\n", 1, loop_now_ms() + SUMMARY_WRITE_MS);
	if (close(fd) < 0 && r == 0) /* NFS tells it here */
		r = -errno;
	return r < 0 ? errmsg_set(err, r, "--vm-stats=%s", s->stats) : 0;
}

/* -- asking ---------------------------------------------------------------- */

struct asked {
	struct loop *loop;
	uint64_t *words; /* owned; NULL: it is not for us to say */
	size_t n;
	int error;
};

static void on_report(int fd, void *arg)
{
	struct asked *a = arg;

	if (fd >= 0)
		a->error = netstats_read(fd, &a->words, &a->n);
	loop_stop(a->loop, 0);
}

static void on_timeout(void *arg)
{
	struct asked *a = arg;

	a->error = -ETIMEDOUT;
	loop_stop(a->loop, 0);
}

static void ask(struct asked *a, struct net *n)
{
	struct loop_timer *timer = NULL;

	a->error = loop_timer_add(a->loop, SUMMARY_MS, on_timeout, a, &timer);
	if (a->error == 0)
		a->error = net_ask_report(n, on_report, a);
	if (a->error == 0)
		loop_run(a->loop);
	net_forget_report(n);
	loop_timer_free(timer);
}

static int say(const struct task *t, const struct spec *s,
	       const struct asked *a, struct errmsg *err)
{
	json_t *step = netjson_report(t->step, a->words, a->n, err);
	int r = 0;

	if (!step)
		return -EPROTO;
	json_object_set_new(step, "ended",
			    json_integer((json_int_t)time(NULL)));
	if (s->verbose)
		log_text(step);
	if (s->stats)
		r = write_file(s, step, err);
	json_decref(step);
	return r;
}

int summary_say(struct loop *l, const struct task *t, const struct spec *s,
		struct net *n, struct errmsg *err)
{
	struct asked a = { .loop = l };
	int r;

	if ((!s->verbose && !s->stats) || !rankset_has(&t->local_ranks, 0))
		return 0;
	ask(&a, n);
	if (a.error < 0)
		r = errmsg_set(err, a.error, "the step's statistics");
	else
		r = a.words ? say(t, s, &a, err) : 0;
	free(a.words);
	return r;
}
