#include <config.h>

#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cleanup.h"
#include "plain.h"
#include "srun.h"

#define TEXT_MAX (64 * 1024 * 1024) /* of a node's JSON */

/* -- pieces ---------------------------------------------------------------- */

struct piece {
	struct piece *next;
	char node[128];
	char *text;
	size_t len, room;
};

struct pieces {
	struct piece *list;
};

struct pieces *pieces_new(void)
{
	return calloc(1, sizeof(struct pieces));
}

void pieces_free(struct pieces *p)
{
	if (!p)
		return;
	while (p->list) {
		struct piece *next = p->list->next;

		free(p->list->text);
		free(p->list);
		p->list = next;
	}
	free(p);
}

static struct piece *piece_of(struct pieces *p, const char *node)
{
	struct piece *piece = p->list;

	while (piece && strcmp(piece->node, node) != 0)
		piece = piece->next;
	if (piece || strlen(node) >= sizeof(piece->node))
		return piece;
	piece = calloc(1, sizeof(*piece));
	if (!piece)
		return NULL;
	snprintf(piece->node, sizeof(piece->node), "%s", node);
	piece->next = p->list;
	p->list = piece;
	return piece;
}

static int append(struct piece *p, const char *text)
{
	size_t len = strlen(text), room = p->room ? p->room : 4096;
	char *more;

	if (len > TEXT_MAX - p->len)
		return -EMSGSIZE;
	while (room < p->len + len)
		room *= 2;
	more = realloc(p->text, room);
	if (!more)
		return -ENOMEM;
	p->text = more;
	p->room = room;
	memcpy(p->text + p->len, text, len);
	p->len += len;
	return 0;
}

int pieces_take(struct pieces *p, char *line, const char **ret_node,
		json_t **ret)
{
	char *mark = strchr(line, ' ');
	struct piece *piece;

	line[strcspn(line, "\n")] = '\0';
	if (!mark || mark == line || (mark[1] != '+' && mark[1] != '.') ||
	    mark[2] != ' ')
		return -EPROTO;
	*mark = '\0';
	piece = piece_of(p, line);
	if (!piece || append(piece, mark + 3) < 0) {
		if (piece)
			piece->len = 0;
		return -EPROTO;
	}
	if (mark[1] == '+')
		return 0;
	*ret = json_loadb(piece->text, piece->len, 0, NULL);
	*ret_node = line;
	piece->len = 0;
	return *ret ? 1 : -EPROTO;
}

/* -- the child ------------------------------------------------------------- */

struct source {
	struct source_conf conf;
	struct pieces *pieces;
	pid_t pid; /* 0: ended */
	int wstatus;
	int out, err; /* its standard output and error; -1: at their ends */
	struct loop_io *out_io, *err_io;
	bool stopped; /* what it says of that nobody wants to know */
	char *line;
	size_t size, len;
};

/* A child's: a process group of its own keeps a terminal's SIGINT from srun,
 * which would ask its user for another. */
static void become(const struct srun_args *a, int in, int out, int err)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	loop_unblock_signals();
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(127);
	execvp(a->v[0], (char *const *)(uintptr_t)a->v);
	dprintf(2, "vmstep: %s: %s\n", a->v[0], strerror(errno));
	_exit(127);
}

static void check_end(struct source *s)
{
	if (s->out < 0 && s->err < 0 && !s->pid)
		s->conf.ended(s->wstatus, s->conf.arg);
}

static void on_child(pid_t pid, int wstatus, void *arg)
{
	struct source *s = arg;

	s->pid = 0;
	s->wstatus = wstatus;
	check_end(s);
}

static void take_line(struct source *s)
{
	char harmless[512];
	const char *node;
	json_t *o;
	int r = pieces_take(s->pieces, s->line, &node, &o);

	if (r < 0) {
		plain_line(s->line, harmless, sizeof(harmless));
		fprintf(stderr, "%s\n", harmless);
	}
	if (r <= 0)
		return;
	s->conf.said(node, o, s->conf.arg);
	json_decref(o);
}

static void close_end(struct source *s, int *fd, struct loop_io **io)
{
	loop_io_free(*io);
	*io = NULL;
	close(*fd);
	*fd = -1;
	check_end(s);
}

static int take_byte(struct source *s, char byte)
{
	if (s->len + 2 > s->size) {
		size_t size = s->size ? 2 * s->size : 2048;
		char *more = realloc(s->line, size);

		if (!more)
			return -ENOMEM;
		s->line = more;
		s->size = size;
	}
	s->line[s->len++] = byte;
	if (byte != '\n' && s->len < TEXT_MAX)
		return 0;
	s->line[s->len] = '\0';
	s->len = 0;
	take_line(s);
	return 0;
}

/* Returns how much was read; 0: nothing now, or it was the end. */
static size_t read_end(struct source *s, int *fd, struct loop_io **io,
		       char *data, size_t size)
{
	ssize_t n = read(*fd, data, size);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		close_end(s, fd, io);
	return n > 0 ? (size_t)n : 0;
}

static void on_out(uint32_t events, void *arg)
{
	struct source *s = arg;
	char data[16384];
	size_t n = read_end(s, &s->out, &s->out_io, data, sizeof(data));

	for (size_t i = 0; i < n; i++)
		if (take_byte(s, data[i]) < 0) {
			close_end(s, &s->out, &s->out_io);
			return;
		}
}

static void on_err(uint32_t events, void *arg)
{
	struct source *s = arg;
	char data[4096];
	size_t n = read_end(s, &s->err, &s->err_io, data, sizeof(data));

	if (n && !s->stopped)
		fwrite(data, 1, n, stderr);
}

static int watch(struct source *s, int fd, loop_io_fn fn, struct loop_io **ret)
{
	return loop_io_add(s->conf.loop, fd, EPOLLIN, fn, s, ret);
}

/* A file with @text, or nothing, for the child to read. */
static int open_input(const char *text)
{
	_cleanup_close_ int fd = -1;
	size_t len = text ? strlen(text) : 0;

	if (!text)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	else
		fd = memfd_create("vmstep-input", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < len;) {
		ssize_t n = pwrite(fd, text + at, len - at, (off_t)at);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return TAKE_FD(fd);
}

static int spawn(struct source *s, const struct srun_args *a,
		 struct errmsg *err)
{
	_cleanup_close_ int in = open_input(s->conf.input);
	int out[2], errs[2];

	if (in < 0)
		return errmsg_set(err, in, "input of the nodes");
	if (pipe2(out, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "pipe");
	if (pipe2(errs, O_CLOEXEC) < 0) {
		close(out[0]);
		close(out[1]);
		return errmsg_set(err, -errno, "pipe");
	}
	fflush(stdout);
	s->pid = fork();
	if (s->pid == 0)
		become(a, in, out[1], errs[1]);
	close(out[1]);
	close(errs[1]);
	s->out = out[0];
	s->err = errs[0];
	if (s->pid < 0) {
		s->pid = 0;
		return errmsg_set(err, -errno, "fork");
	}
	if (watch(s, s->out, on_out, &s->out_io) < 0 ||
	    watch(s, s->err, on_err, &s->err_io) < 0 ||
	    loop_child(s->conf.loop, s->pid, on_child, s) < 0)
		return errmsg_set(err, -ENOMEM, "child");
	return 0;
}

int source_start(const struct source_conf *conf, struct source **ret,
		 struct errmsg *err)
{
	const struct srun_conf srun = {
		.step = conf->step,
		.config = conf->config,
		.ranks = conf->ranks,
		.nodes = conf->nodes,
		.words = conf->words,
		.how = conf->input ? "--input=all" : NULL,
	};
	struct source *s = calloc(1, sizeof(*s));
	_cleanup_free_ struct srun_args *args = calloc(1, sizeof(*args));
	int r;

	if (!s || !args) {
		free(s);
		return errmsg_set(err, -ENOMEM, "source");
	}
	s->conf = *conf;
	s->out = s->err = -1;
	s->pieces = pieces_new();
	r = s->pieces ? srun_args(args, &srun, err)
		      : errmsg_set(err, -ENOMEM, "source");
	if (r == 0)
		r = spawn(s, args, err);
	if (r < 0) {
		source_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* srun ends its tasks at SIGTERM. */
void source_stop(struct source *s)
{
	s->stopped = true;
	if (s->pid)
		kill(s->pid, SIGTERM);
}

void source_free(struct source *s)
{
	if (!s)
		return;
	if (s->pid) {
		loop_child_forget(s->conf.loop, s->pid);
		kill(s->pid, SIGTERM);
	}
	loop_io_free(s->out_io);
	loop_io_free(s->err_io);
	if (s->out >= 0)
		close(s->out);
	if (s->err >= 0)
		close(s->err);
	pieces_free(s->pieces);
	free(s->line);
	free(s);
}
