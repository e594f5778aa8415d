#include <config.h>

#include "copier.h"

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

struct copier {
	struct loop *loop;
	const struct diskcopy *list;
	size_t n, done;
	copier_fn fn;
	void *arg;
	pid_t pid;
	int sock; /* its messages: one a copy, the last one may be an error */
	struct loop_io *io;
	int fd[COPIER_MAX]; /* of the first @done */
};

/* With the descriptor of a copy, or words. */
struct message {
	int status;
	struct errmsg words;
};

/* -- the process ----------------------------------------------------------- */

static int tell(int sock, const struct message *m, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = "";
	struct iovec iov = { (void *)(uintptr_t)m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		h.msg_control = control;
		h.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(sock, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
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

static _Noreturn void copy_all(const struct copier *c, int sock,
			       const char *qemu, pid_t parent)
{
	be_deaf(parent);
	for (size_t i = 0; i < c->n; i++) {
		struct message m = { 0 };
		int fd = diskcopy_make(&c->list[i], qemu, &m.words);

		m.status = fd < 0 ? fd : 0;
		if (tell(sock, &m, fd) < 0 || fd < 0)
			_exit(1);
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

static void finish(struct copier *c, const char *error)
{
	loop_io_free(TAKE_PTR(c->io));
	if (!error)
		c->done = 0; /* they are the callee's */
	c->fn(error, c->fd, c->arg);
}

static void on_message(uint32_t events, void *arg)
{
	struct copier *c = arg;
	struct message m;
	int fd;
	ssize_t n = hear(c->sock, &m, &fd);

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n != sizeof(m)) {
		finish(c, "the process that copies disks was lost");
		return;
	}
	if (m.status < 0 || fd < 0) {
		finish(c, m.words.text);
		return;
	}
	c->fd[c->done++] = fd;
	if (c->done == c->n)
		finish(c, NULL);
}

static int start(struct copier *c, const char *qemu, struct errmsg *err)
{
	_cleanup_close_ int theirs = -1;
	pid_t parent = getpid();
	int sv[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return errmsg_set(err, -errno, "copies of disks");
	c->sock = sv[0];
	theirs = sv[1];
	c->pid = fork();
	if (c->pid < 0)
		return errmsg_set(err, -errno, "copies of disks");
	if (c->pid == 0)
		copy_all(c, theirs, qemu, parent);
	r = loop_io_add(c->loop, c->sock, EPOLLIN, on_message, c, &c->io);
	return r < 0 ? errmsg_set(err, r, "copies of disks") : 0;
}

int copier_start(struct loop *l, const struct diskcopy *list, size_t n,
		 const char *qemu, copier_fn fn, void *arg, struct copier **ret,
		 struct errmsg *err)
{
	struct copier *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return errmsg_set(err, -ENOMEM, "copies of disks");
	*c = (struct copier){ .loop = l,
			      .list = list,
			      .n = n,
			      .fn = fn,
			      .arg = arg,
			      .sock = -1 };
	r = start(c, qemu, err);
	if (r < 0)
		copier_free(c);
	else
		*ret = c;
	return r;
}

void copier_free(struct copier *c)
{
	if (!c)
		return;
	loop_io_free(c->io);
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (c->sock >= 0)
		close(c->sock);
	for (size_t i = 0; i < c->done; i++)
		close(c->fd[i]);
	free(c);
}
