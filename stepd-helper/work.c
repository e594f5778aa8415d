#include <config.h>

#include "work.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "sendfds.h"

struct work {
	struct loop *loop;
	work_fn fn;
	const void *what;
	size_t n, done;
	work_done_fn on_done;
	void *arg;
	pid_t pid;
	int sock; /* its messages: one a piece, the last one may be an error */
	struct loop_io *io;
	int fd[WORK_MAX]; /* of the first @done */
};

/* With a descriptor, if there is one, or words. */
struct message {
	int status;
	struct errmsg words;
};

/* -- the process ----------------------------------------------------------- */

static int tell(int sock, const struct message *m, int fd)
{
	ssize_t n = send_with_fds(sock, m, sizeof(*m), &fd, fd >= 0, 0);

	return n < 0 ? (int)n : 0;
}

/* What Slurm sends to all processes of the step is the helper's. */
static void be_deaf(pid_t parent)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

static _Noreturn void do_all(const struct work *w, int sock, pid_t parent)
{
	be_deaf(parent);
	for (size_t i = 0; i < w->n; i++) {
		struct message m = { 0 };
		int fd = w->fn(i, w->what, &m.words);

		m.status = fd < 0 ? fd : 0;
		if (tell(sock, &m, fd > 0 ? fd : -1) < 0 || fd < 0)
			_exit(1);
		if (fd > 0)
			close(fd);
	}
	_exit(0);
}

/* -- the helper ------------------------------------------------------------ */

static ssize_t hear(int sock, struct message *m, int *fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = "";
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&h) : NULL;

	*fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	return n < 0 ? -errno : n;
}

static void finish(struct work *w, const char *error)
{
	loop_io_free(TAKE_PTR(w->io));
	if (!error)
		w->done = 0; /* they are the callee's */
	w->on_done(error, w->fd, w->arg);
}

static void on_message(uint32_t events, void *arg)
{
	struct work *w = arg;
	struct message m;
	int fd;
	ssize_t n = hear(w->sock, &m, &fd);

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n != sizeof(m)) {
		finish(w, "the process that works for this task was lost");
		return;
	}
	if (m.status < 0) {
		finish(w, m.words.text);
		return;
	}
	w->fd[w->done++] = fd;
	if (w->done == w->n)
		finish(w, NULL);
}

static int start(struct work *w, struct errmsg *err)
{
	_cleanup_close_ int theirs = -1;
	pid_t parent = getpid();
	int sv[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return errmsg_set(err, -errno, "process");
	w->sock = sv[0];
	theirs = sv[1];
	w->pid = fork();
	if (w->pid < 0)
		return errmsg_set(err, -errno, "process");
	if (w->pid == 0)
		do_all(w, theirs, parent);
	r = loop_io_add(w->loop, w->sock, EPOLLIN, on_message, w, &w->io);
	return r < 0 ? errmsg_set(err, r, "process") : 0;
}

int work_start(struct loop *l, work_fn fn, const void *what, size_t n,
	       work_done_fn done, void *arg, struct work **ret,
	       struct errmsg *err)
{
	struct work *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return errmsg_set(err, -ENOMEM, "process");
	*w = (struct work){ .loop = l,
			    .fn = fn,
			    .what = what,
			    .n = n,
			    .on_done = done,
			    .arg = arg,
			    .sock = -1 };
	r = start(w, err);
	if (r < 0)
		work_free(w);
	else
		*ret = w;
	return r;
}

void work_free(struct work *w)
{
	if (!w)
		return;
	loop_io_free(w->io);
	if (w->pid > 0) {
		kill(w->pid, SIGKILL);
		while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (w->sock >= 0)
		close(w->sock);
	for (size_t i = 0; i < w->done; i++)
		if (w->fd[i] >= 0)
			close(w->fd[i]);
	free(w);
}
