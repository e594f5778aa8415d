#include <config.h>

#include "netlog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "cleanup.h"

struct netlog {
	FILE *f;
	char *line;
	size_t size, len; /* of a line that is not whole yet */
	netlog_fn fn;
	void *arg;
	int changes; /* inotify; -1: none */
	struct loop_io *io;
};

int netlog_parse(char *line, long long *ret_ms, const char **ret_words)
{
	static const char mark[] = " vmstep: ";
	size_t digits = strspn(line, "0123456789");
	char *end;

	line[strcspn(line, "\n")] = '\0';
	if (!digits || digits > 12 || line[digits] != '.')
		return -EINVAL;
	*ret_ms = 1000 * strtoll(line, NULL, 10) +
		  strtoll(line + digits + 1, &end, 10);
	if (end != line + digits + 4 ||
	    strncmp(end, mark, sizeof(mark) - 1) != 0)
		return -EINVAL;
	*ret_words = end + sizeof(mark) - 1;
	return 0;
}

static void take_line(struct netlog *n)
{
	const char *words;
	long long ms;

	if (netlog_parse(n->line, &ms, &words) == 0)
		n->fn(ms, words, n->arg);
}

/* What there is now; the last line may be half written. */
static void read_on(struct netlog *n)
{
	_cleanup_free_ char *more = NULL;
	size_t more_size = 0;
	ssize_t got;

	clearerr(n->f);
	while ((got = getline(&more, &more_size, n->f)) > 0) {
		size_t need = n->len + (size_t)got + 1;
		char *room = need > n->size ? realloc(n->line, need) : n->line;

		if (!room)
			return;
		n->line = room;
		n->size = need > n->size ? need : n->size;
		memcpy(n->line + n->len, more, (size_t)got + 1);
		n->len += (size_t)got;
		if (more[got - 1] != '\n')
			continue;
		take_line(n);
		n->len = 0;
	}
}

static void on_change(uint32_t events, void *arg)
{
	struct netlog *n = arg;
	char buf[4096]
		__attribute__((aligned(__alignof__(struct inotify_event))));

	if (read(n->changes, buf, sizeof(buf)) > 0)
		read_on(n);
}

static int watch(struct netlog *n, struct loop *l, const char *path)
{
	n->changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (n->changes < 0 ||
	    inotify_add_watch(n->changes, path, IN_MODIFY) < 0)
		return -errno;
	return loop_io_add(l, n->changes, EPOLLIN, on_change, n, &n->io);
}

int netlog_open(struct loop *l, const char *dir, netlog_fn fn, void *arg,
		struct netlog **ret)
{
	_cleanup_free_ char *path = NULL;
	struct netlog *n = calloc(1, sizeof(*n));
	int r = 0;

	*ret = NULL;
	if (!n || asprintf(&path, "%s/net.log", dir) < 0) {
		free(n);
		path = NULL;
		return -ENOMEM;
	}
	n->changes = -1;
	n->fn = fn;
	n->arg = arg;
	n->f = fopen(path, "re");
	if (!n->f) {
		r = errno == ENOENT ? 0 : -errno;
		netlog_free(n);
		return r;
	}
	if (l)
		r = watch(n, l, path);
	if (r < 0) {
		netlog_free(n);
		return r;
	}
	read_on(n);
	*ret = n;
	return 0;
}

void netlog_free(struct netlog *n)
{
	if (!n)
		return;
	loop_io_free(n->io);
	if (n->changes >= 0)
		close(n->changes);
	if (n->f)
		fclose(n->f);
	free(n->line);
	free(n);
}
