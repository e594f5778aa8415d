#include <config.h>

#include "cp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "copyhead.h"
#include "copyhere.h"
#include "copylocal.h"
#include "copyprogress.h"
#include "log.h"
#include "loop.h"
#include "place.h"
#include "slurm.h"
#include "source.h"
#include "srun.h"
#include "writeall.h"

/* A copy is two processes and a pump between them. One sends a stream
 * (copyhead.h): of a path here, or, as `vmstep cp --here=get` on the node of a
 * task, of a guest's. The other receives it: into a path here, or, as `vmstep
 * cp --here=put` on each node of the step, into guests. Where Slurm has to
 * reach the nodes, srun carries the stream by its standard input or output: to
 * each node once, however many guests of it get it. The stream tells its own
 * end, so that whoever is killed in the middle leaves nothing behind.
 */

#define PIECE (128 * 1024)

enum { USER, SYNC, OWNER, HERE };
const struct cmd_option cp_options[] = {
	[USER] = { "--user", "NAME", "as this user of the guests" },
	[SYNC] = { "--sync", NULL, "guests have it on their disks in the end" },
	[OWNER] = { "--owner", NULL,
		    "directories: files keep their owners, by number" },
	[HERE] = { "--here", "get|put", "this node, for another vmstep" },
	{ 0 },
};

struct cp {
	const struct invocation *inv;
	struct place from, to;
	struct step_name step;
	char user[256];	 /* an option's word */
	char *nodes;	 /* owned; NULL: all of the step is on this node */
	json_t *results; /* of guests that were copied to */
	struct pieces *pieces; /* owned; of what they say */
	char line[2048];
	size_t line_len;
};

/* -- the two processes ----------------------------------------------------- */

struct end {
	pid_t pid;
	int fd;	  /* its stream; -1: closed */
	int said; /* what else it says; -1: nothing */
};

/* A group of its own keeps a terminal's SIGINT from srun, which would ask its
 * user for another; when we end, it does. */
static void child_begin(int in, int out)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	loop_unblock_signals();
	if (in < 0)
		in = open("/dev/null", O_RDONLY);
	if (in < 0 || (in != 0 && dup2(in, 0) < 0) ||
	    (out > 1 && dup2(out, 1) < 0))
		_exit(127);
}

static _Noreturn void child_exec(const struct srun_args *a, int in, int out)
{
	child_begin(in, out);
	signal(SIGPIPE, SIG_DFL);
	execvp(a->v[0], (char *const *)(uintptr_t)a->v);
	dprintf(2, "vmstep: %s: %s\n", a->v[0], strerror(errno));
	_exit(127);
}

static int pipe_to(int *ours, int *theirs, bool we_read)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[!we_read];
	*theirs = fds[we_read];
	return 0;
}

static struct srun_args *guest_args(struct cp *c, const char *ranks,
				    const char *path, bool get,
				    const char **words, struct errmsg *err)
{
	const struct srun_conf conf = {
		.step = &c->step,
		.config = c->inv->config,
		.ranks = ranks,
		.nodes = c->nodes,
		.words = words,
		.how = get ? NULL : "--input=all",
	};
	struct srun_args *a = calloc(1, sizeof(*a));
	size_t n = 0;

	words[n++] = "cp";
	words[n++] = get ? "--here=get" : "--here=put";
	if (c->inv->options[SYNC] && !get)
		words[n++] = "--sync";
	if (c->inv->options[OWNER] && !get)
		words[n++] = "--owner";
	if (c->inv->options[USER]) {
		snprintf(c->user, sizeof(c->user), "--user=%s",
			 c->inv->options[USER]);
		words[n++] = c->user;
	}
	words[n++] = "--";
	words[n++] = path;
	words[n] = NULL;
	if (a && srun_args(a, &conf, err) == 0)
		return a;
	if (!a)
		errmsg_set(err, -ENOMEM, "copy");
	free(a);
	return NULL;
}

#define GUEST_WORDS 12

/* Ends with its stream: @in is where it reads from, or -1. */
static int start_guest(struct cp *c, const char *ranks, const char *path,
		       bool get, struct end *e, struct errmsg *err)
{
	const char *words[GUEST_WORDS];
	_cleanup_free_ struct srun_args *a =
		guest_args(c, ranks, path, get, words, err);
	_cleanup_close_ int in = -1, out = -1;
	int r = a ? 0 : -EINVAL;

	if (r == 0 && get)
		r = pipe_to(&e->fd, &out, true);
	else if (r == 0)
		r = pipe_to(&e->fd, &in, false);
	if (r == 0 && !get)
		r = pipe_to(&e->said, &out, true);
	if (r < 0)
		return a ? errmsg_set(err, r, "pipe") : r;
	e->pid = fork();
	if (e->pid == 0)
		child_exec(a, in, out);
	return e->pid < 0 ? errmsg_set(err, -errno, "fork") : 0;
}

static int start_local(const char *path, bool get, struct end *e,
		       struct errmsg *err)
{
	_cleanup_close_ int theirs = -1;
	int r = pipe_to(&e->fd, &theirs, get);

	if (r < 0)
		return errmsg_set(err, r, "pipe");
	e->pid = fork();
	if (e->pid < 0)
		return errmsg_set(err, -errno, "fork");
	if (e->pid > 0)
		return 0;
	close(e->fd);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	_exit(get ? copylocal_send(path, theirs)
		  : copylocal_receive(theirs, path));
}

static void close_end(struct end *e)
{
	if (e->fd >= 0)
		close(TAKE_FD(e->fd));
}

/* Its exit status. */
static int end_wait(struct end *e)
{
	int wstatus = -1;

	close_end(e);
	if (e->said >= 0)
		close(TAKE_FD(e->said));
	while (e->pid > 0 && waitpid(e->pid, &wstatus, 0) < 0 && errno == EINTR)
		;
	e->pid = 0;
	return WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : EXIT_FAILED;
}

/* -- what the guests' end says --------------------------------------------- */

static void take_said(struct cp *c, const char *node, const json_t *o)
{
	const char *error = json_string_value(json_object_get(o, "error"));

	if (error)
		log_err("%s: %s", node, error);
	json_object_update(c->results, json_object_get(o, "results"));
}

static void take_line(struct cp *c)
{
	const char *node;
	json_t *o;

	c->line[c->line_len] = '\0';
	c->line_len = 0;
	if (pieces_take(c->pieces, c->line, &node, &o) <= 0)
		return;
	take_said(c, node, o);
	json_decref(o);
}

/* Returns whether there may be more. */
static bool read_said(struct cp *c, struct end *e)
{
	char buf[4096];
	ssize_t n = e->said < 0 ? 0 : read(e->said, buf, sizeof(buf));

	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n')
			take_line(c);
		else if (c->line_len + 1 < sizeof(c->line))
			c->line[c->line_len++] = buf[i];
	}
	return n > 0 || (n < 0 && errno == EINTR);
}

/* While data is still on its way, an answer is a refusal: have all refused? */
static bool nobody_takes(const struct cp *c)
{
	return c->to.guest &&
	       json_object_size(c->results) >= rankset_count(&c->to.ranks);
}

/* -- the pump -------------------------------------------------------------- */

/* Wait for data, and listen to what is said meanwhile. */
static void wait_for_data(struct cp *c, const struct end *from, struct end *to)
{
	struct pollfd fds[] = { { .fd = from->fd, .events = POLLIN },
				{ .fd = to->said, .events = POLLIN } };

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
		;
	if (fds[1].revents && !read_said(c, to))
		close(TAKE_FD(to->said));
}

/* Returns whether all that was sent was taken. */
static bool pump(struct cp *c, struct end *from, struct end *to,
		 const struct copyhead *h)
{
	_cleanup_free_ char *buf = malloc(PIECE);
	struct copyprogress p;
	bool taken = buf != NULL;
	uint64_t bytes = 0;
	ssize_t n = 0;

	fcntl(from->fd, F_SETFL, O_NONBLOCK);
	copyprogress_begin(&p, h->name, h->size);
	do {
		wait_for_data(c, from, to);
		if (nobody_takes(c))
			taken = false;
		n = taken ? read(from->fd, buf, PIECE) : 0;
		if (n > 0)
			taken = write_all(to->fd, buf, (size_t)n) == 0;
		bytes += n > 0 ? (uint64_t)n : 0;
		copyprogress_at(&p, bytes);
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	copyprogress_end(&p);
	close_end(from);
	close_end(to);
	while (read_said(c, to))
		;
	return taken;
}

/* -- the answers ------------------------------------------------------------
 */

static bool is_ok(const json_t *answer)
{
	return json_object_get(answer, "result") != NULL;
}

/* Every guest that was asked for has an answer; @quiet: what went wrong has
 * been said already. */
static int check_results(struct cp *c, bool quiet)
{
	const struct rankset *ranks = &c->to.ranks;
	uint64_t n = 0, good = 0, open_from = 0;
	const char *key;
	json_t *answer;

	json_object_foreach (c->results, key, answer) {
		const char *text = json_string_value(json_object_get(
			json_object_get(answer, "error"), "message"));

		n++;
		good += is_ok(answer);
		if (!is_ok(answer) && !quiet)
			log_err("vm[%s]: %s", key, text ? text : "no reason");
	}
	for (size_t i = 0; i < ranks->n; i++) /* "4-" is what there is of it */
		open_from += ranks->ranges[i].last == RANK_MAX;
	if (!quiet && !open_from && n < rankset_count(ranks))
		log_err("%" PRIu64
			" of the tasks are not in the step, have ended, or gave no answer",
			rankset_count(ranks) - n);
	if (!quiet && open_from && !n)
		log_err("the step has no such tasks");
	return n && good == n && (open_from || n == rankset_count(ranks))
		       ? EXIT_DONE
		       : EXIT_FAILED;
}

/* -- one copy -------------------------------------------------------------- */

static int copy_begin(struct cp *c, uint32_t rank, struct end *from,
		      struct copyhead *h, struct errmsg *err)
{
	char ranks[16];
	int r;

	snprintf(ranks, sizeof(ranks), "%" PRIu32, rank);
	r = c->from.guest ? start_guest(c, ranks, c->from.path, true, from, err)
			  : start_local(c->from.path, true, from, err);
	if (r < 0)
		return r;
	r = copyhead_read(from->fd, h, err);
	if (r == -ENODATA && c->from.guest)
		errmsg_say(err, r,
			   "vm[%s]: the step has no such task, or it has ended",
			   ranks);
	return r;
}

static int copy_end(struct cp *c, const char *path, struct end *to,
		    struct errmsg *err)
{
	_cleanup_free_ char *ranks = NULL;

	if (!c->to.guest)
		return start_local(path, false, to, err);
	ranks = strndup(c->to.text, c->to.text_len);
	return ranks ? start_guest(c, ranks, c->to.path, false, to, err)
		     : errmsg_set(err, -ENOMEM, "copy");
}

/* Of @rank, or of a path here, to @path here or to guests. */
static int copy_one(struct cp *c, uint32_t rank, const char *path)
{
	struct end from = { .fd = -1, .said = -1 };
	struct end to = { .fd = -1, .said = -1 };
	_cleanup_(copyhead_done) struct copyhead h = { 0 };
	int sent, received = EXIT_FAILED;
	bool taken = true;
	struct errmsg err;
	int r = copy_begin(c, rank, &from, &h, &err);

	if (r == 0)
		r = copy_end(c, path, &to, &err);
	if (r < 0) {
		log_err("%s", err.text);
	} else if (copyhead_write(to.fd, &h) == 0) {
		taken = pump(c, &from, &to, &h);
	}
	sent = end_wait(&from);
	if (!taken) /* the other end has to say why */
		sent = EXIT_DONE;
	if (to.pid > 0)
		received = end_wait(&to);
	if (r == 0 && c->to.guest)
		received = check_results(c, sent != EXIT_DONE);
	return r == 0 && sent == EXIT_DONE && received == EXIT_DONE
		       ? EXIT_DONE
		       : EXIT_FAILED;
}

/* Each of several guests to a path of its own. */
static int copy_each(struct cp *c)
{
	const struct rankset *ranks = &c->from.ranks;
	int status = EXIT_DONE;

	for (uint32_t rank = rankset_next(ranks, 0); rank <= RANK_MAX;
	     rank = rankset_next(ranks, rank + 1)) {
		bool has = false;
		_cleanup_free_ char *path =
			place_expand(c->to.path, rank, &has);

		if (path && copy_one(c, rank, path) != EXIT_DONE)
			status = EXIT_FAILED;
	}
	return status;
}

/* -- what is asked for ----------------------------------------------------- */

static int check_places(struct cp *c, struct errmsg *err)
{
	uint64_t n = c->from.guest ? rankset_count(&c->from.ranks) : 1;

	if (!c->from.guest && !c->to.guest)
		return errmsg_say(
			err, -EINVAL,
			"neither path is a guest's: a guest's is RANKS:PATH, as in 0-3:/tmp/x");
	if (c->inv->ranks)
		return errmsg_say(
			err, -EINVAL,
			"-r is not for cp: ranks are before the path, as in %s:%s",
			c->inv->ranks, "/tmp/x");
	if (n > 1 && c->to.guest)
		return errmsg_say(
			err, -EINVAL,
			"a copy between guests comes from one of them: not from %" PRIu64,
			n);
	if (n > 1 && !strstr(c->to.path, "%t"))
		return errmsg_say(
			err, -EINVAL,
			"%" PRIu64
			" guests' files would be one: say where with %%t, as in %s-%%t",
			n, c->to.path);
	if (n > 1 && c->from.ranks.ranges[c->from.ranks.n - 1].last == RANK_MAX)
		return errmsg_say(
			err, -EINVAL,
			"which is the last of the guests to copy from? say it, as in 4-7:");
	return 0;
}

static int parse(struct cp *c, struct errmsg *err)
{
	int r = place_parse(c->inv->args[0], &c->from, err);

	if (r == 0)
		r = place_parse(c->inv->args[1], &c->to, err);
	return r < 0 ? r : check_places(c, err);
}

/* By srun, unless the whole step is here. */
static int find_nodes(struct cp *c, struct errmsg *err)
{
	_cleanup_free_ char *dir = NULL;
	struct call_where w;
	int r = 0, status = call_where(c->inv, &w);

	err->text[0] = '\0';
	if (status != EXIT_DONE)
		return status;
	c->step = w.step;
	call_local_dir(c->inv, &w, &dir);
	call_where_done(&w);
	if (dir) {
		snprintf(c->step.step, sizeof(c->step.step), "%s",
			 strrchr(dir, '/') + 1);
		return EXIT_DONE;
	}
	slurm_forget_job();
	r = slurm_nodes(&c->step, &c->nodes, err);
	return r == 0 ? EXIT_DONE : r == -ENOENT ? EXIT_NO_STEP : EXIT_FAILED;
}

static int print_json(const struct cp *c, int status)
{
	json_t *o;
	int r;

	if (!c->inv->json)
		return status;
	o = json_pack("{s:b, s:O}", "done", (int)(status == EXIT_DONE),
		      "results", c->results);
	r = json_dumpf(o, stdout,
		       JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
	json_decref(o);
	if (r < 0 || putchar('\n') == EOF || fflush(stdout) == EOF) {
		log_err("standard output: %m");
		return EXIT_FAILED;
	}
	return status;
}

static int run(const struct invocation *inv)
{
	struct cp c = { .inv = inv,
			.results = json_object(),
			.pieces = pieces_new() };
	struct errmsg err = { "" };
	int status = parse(&c, &err) < 0 ? EXIT_USAGE : find_nodes(&c, &err);

	signal(SIGPIPE, SIG_IGN);
	if (status != EXIT_DONE && err.text[0])
		log_err("%s", err.text);
	if (status == EXIT_DONE && c.from.guest &&
	    rankset_count(&c.from.ranks) > 1)
		status = print_json(&c, copy_each(&c));
	else if (status == EXIT_DONE)
		status = print_json(&c,
				    copy_one(&c, rankset_next(&c.from.ranks, 0),
					     c.to.path));
	free(c.nodes);
	json_decref(c.results);
	pieces_free(c.pieces);
	place_done(&c.from);
	place_done(&c.to);
	return status;
}

/* -- on a node, for another ------------------------------------------------ */

static int run_here(const struct invocation *inv)
{
	bool get = strcmp(inv->options[HERE], "get") == 0;
	_cleanup_free_ char *dir = NULL;
	struct copyhere conf = { .path = inv->args[0],
				 .user = inv->options[USER],
				 .sync = inv->options[SYNC] != NULL,
				 .owner = inv->options[OWNER] != NULL };
	struct call_where w;
	int status = call_where(inv, &w);

	if (status != EXIT_DONE)
		return status;
	signal(SIGPIPE, SIG_IGN);
	status = call_here_dir(&w, &dir);
	conf.dir = dir;
	conf.ranks = &w.ranks;
	if (status == EXIT_DONE && dir)
		status = get ? copyhere_get(&conf) : copyhere_put(&conf);
	call_where_done(&w);
	return status;
}

int cp_run(const struct invocation *inv)
{
	if (inv->options[HERE] && inv->n_args == 1 && inv->ranks)
		return run_here(inv);
	if (!inv->options[HERE] && inv->n_args == 2)
		return run(inv);
	log_err("cp needs where from and where to, as in vmstep cp x 0-3:/tmp/");
	return EXIT_USAGE;
}
