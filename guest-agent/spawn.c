#include <config.h>

#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

/* The paths to try, made before fork: the child may not allocate. */
struct candidates {
	char **paths; /* owned, NULL at the end */
	size_t n;
};

static void candidates_done(struct candidates *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->paths[i]);
	free(c->paths);
}

static int candidates_add(struct candidates *c, const char *dir, size_t len,
			  const char *name)
{
	char **paths = reallocarray(c->paths, c->n + 2, sizeof(*paths));

	if (!paths)
		return -ENOMEM;
	c->paths = paths;
	if (asprintf(&paths[c->n], "%.*s%s%s", (int)len, dir, len ? "/" : "",
		     name) < 0)
		return -ENOMEM;
	paths[++c->n] = NULL;
	return 0;
}

static int candidates_fill(struct candidates *c, const struct spawn *s)
{
	const char *path = SPAWN_PATH, *end;
	int r = 0;

	if (strchr(s->argv[0], '/'))
		return candidates_add(c, "", 0, s->argv[0]);
	for (char *const *e = s->envp; *e; e++)
		if (strncmp(*e, "PATH=", 5) == 0)
			path = *e + 5;
	for (; r == 0; path = end + 1) { /* an empty one is the cwd, as ever */
		end = strchrnul(path, ':');
		r = candidates_add(c, path, (size_t)(end - path), s->argv[0]);
		if (!*end)
			break;
	}
	return r;
}

/* -- in the child: async-signal-safe calls only ---------------------------- */

static _Noreturn void child_fail(int fd, enum spawn_step step, int error)
{
	struct spawn_failure f = { (int)step, error };

	if (write(fd, &f, sizeof(f)) < 0)
		_exit(126); /* the agent is gone, too */
	_exit(127);
}

static void child_reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL); /* KILL and STOP refuse, and need not */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The agent is spared when memory runs out, its children are not. */
static void child_reset_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "0", 1) < 0)
		return; /* an old kernel: nothing was set either */
}

/* @fd, or /dev/null, becomes descriptor @to. The three were moved above 2. */
static bool child_dup(int fd, int to)
{
	if (fd < 0)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return fd >= 0 && dup2(fd, to) >= 0;
}

/* Move a descriptor out of the way of 0, 1 and 2. */
static void child_move(int *fd)
{
	if (*fd >= 0 && *fd <= 2)
		*fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
}

static bool child_stdio(const struct spawn *s, int *status)
{
	int in = s->in, out = s->out, err = s->err;

	child_move(&in);
	child_move(&out);
	child_move(&err);
	child_move(status);
	return child_dup(in, 0) && child_dup(out, 1) && child_dup(err, 2);
}

int spawn_become(const struct account *a)
{
	if (geteuid() != 0) /* an agent under test: nothing to become */
		return a->uid == geteuid() ? 0 : -EPERM;
	if (setgroups(a->n_groups, a->groups) < 0 ||
	    setresgid(a->gid, a->gid, a->gid) < 0 ||
	    setresuid(a->uid, a->uid, a->uid) < 0)
		return -errno;
	/* it must be gone */
	return a->uid == 0 || setuid(0) < 0 ? 0 : -EPERM;
}

void spawn_reset(void)
{
	child_reset_signals();
	child_reset_oom();
	umask(022);
}

static bool child_cwd(const struct spawn *s)
{
	if (s->cwd)
		return chdir(s->cwd) == 0;
	return chdir(s->user->home) == 0 || chdir("/") == 0;
}

static _Noreturn void child_exec(const struct spawn *s,
				 const struct candidates *c, int status)
{
	int error = ENOENT;
	struct stat st;

	for (size_t i = 0; i < c->n; i++) {
		execve(c->paths[i], s->argv, s->envp);
		if (errno == EACCES) /* there may be a better one */
			error = errno;
		else if (errno != ENOENT && errno != ENOTDIR)
			child_fail(status, SPAWN_EXEC, errno);
		else if (stat(c->paths[i], &st) == 0)
			child_fail(status, SPAWN_INTERPRETER, errno);
	}
	child_fail(status, error == ENOENT ? SPAWN_LOOKUP : SPAWN_EXEC, error);
}

/* After the change of user, which would undo it. */
static bool child_bind(pid_t agent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return false;
	if (getppid() != agent) /* it was too late for that */
		_exit(127);
	return true;
}

static _Noreturn void child_run(const struct spawn *s,
				const struct candidates *c, int status,
				pid_t agent)
{
	int r;

	spawn_reset();
	if (setsid() < 0)
		child_fail(status, SPAWN_SESSION, errno);
	if (!child_stdio(s, &status))
		child_fail(status, SPAWN_STDIO, errno);
	if (s->tty && ioctl(0, TIOCSCTTY, 0) < 0)
		child_fail(status, SPAWN_SESSION, errno);
	r = spawn_become(s->user);
	if (r < 0)
		child_fail(status, SPAWN_USER, -r);
	if (s->bound && !child_bind(agent))
		child_fail(status, SPAWN_SESSION, errno);
	if (!child_cwd(s))
		child_fail(status, SPAWN_CWD, errno);
	child_exec(s, c, status);
}

/* -- in the agent ---------------------------------------------------------- */

int spawn_start(const struct spawn *s, pid_t *ret_pid, int *ret_fd,
		struct errmsg *err)
{
	_cleanup_(candidates_done) struct candidates c = { 0 };
	_cleanup_close_ int ours = -1, theirs = -1;
	int fds[2], r;
	pid_t agent = getpid(), pid;

	r = candidates_fill(&c, s);
	if (r < 0)
		return errmsg_set(err, r, "run %s", s->argv[0]);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "pipe");
	ours = fds[0];
	theirs = fds[1];
	fcntl(ours, F_SETFL, O_NONBLOCK);
	pid = fork();
	if (pid < 0)
		return errmsg_set(err, -errno, "fork");
	if (pid == 0)
		child_run(s, &c, theirs, agent);
	*ret_pid = pid;
	*ret_fd = TAKE_FD(ours);
	return 0;
}

void spawn_failure_text(const struct spawn_failure *f, const char *program,
			const char *cwd, struct errmsg *ret)
{
	switch ((enum spawn_step)f->step) {
	case SPAWN_LOOKUP:
		errmsg_say(ret, 0, "%s: command not found", program);
		return;
	case SPAWN_EXEC:
		errmsg_set(ret, -f->error, "%s", program);
		return;
	case SPAWN_INTERPRETER:
		errmsg_set(ret, -f->error, "%s: its interpreter", program);
		return;
	case SPAWN_CWD:
		errmsg_set(ret, -f->error, "directory %s", cwd ? cwd : "/");
		return;
	case SPAWN_USER:
		errmsg_set(ret, -f->error, "%s: cannot become the user",
			   program);
		return;
	case SPAWN_STDIO:
		errmsg_set(ret, -f->error,
			   "%s: cannot set up its input and output", program);
		return;
	case SPAWN_SESSION:
		break;
	}
	errmsg_set(ret, -f->error, "%s: cannot make its session", program);
}
