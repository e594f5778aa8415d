#include <config.h>

#include "parent.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#define LOOK_MS 2000 /* without pidfd, before Linux 5.3 */

struct parent {
	pid_t pid;
	parent_gone_fn fn; /* NULL: it was called */
	void *arg;
	int pidfd; /* owned; -1: none */
	struct loop_io *io;
	struct loop_timer *timer;
};

static void gone(struct parent *p)
{
	parent_gone_fn fn = p->fn;

	p->fn = NULL;
	loop_timer_set(p->timer, -1);
	if (p->io)
		loop_io_set(p->io, 0);
	if (fn)
		fn(p->arg);
}

static void on_pidfd(uint32_t events, void *arg)
{
	gone(arg);
}

/* The first look is for one that was gone before, whose number may be
 * another's by now. */
static void on_timer(void *arg)
{
	struct parent *p = arg;

	if (getppid() != p->pid)
		gone(p);
	else if (p->pidfd < 0)
		loop_timer_set(p->timer, LOOK_MS);
}

int parent_watch(struct loop *l, pid_t pid, parent_gone_fn fn, void *arg,
		 struct parent **ret, struct errmsg *err)
{
	struct parent *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return errmsg_set(err, -ENOMEM, "watch of slurmstepd");
	*p = (struct parent){ .pid = pid, .fn = fn, .arg = arg };
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	r = loop_timer_add(l, 0, on_timer, p, &p->timer);
	if (r == 0 && p->pidfd >= 0)
		r = loop_io_add(l, p->pidfd, EPOLLIN, on_pidfd, p, &p->io);
	if (r < 0) {
		parent_free(p);
		return errmsg_set(err, r, "watch of slurmstepd");
	}
	*ret = p;
	return 0;
}

void parent_free(struct parent *p)
{
	if (!p)
		return;
	loop_io_free(p->io);
	loop_timer_free(p->timer);
	if (p->pidfd >= 0)
		close(p->pidfd);
	free(p);
}
