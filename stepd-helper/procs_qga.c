#include <config.h>

#include <unistd.h>

#include "cleanup.h"
#include "guest.h"
#include "procs_impl.h"

/* Of output that is passed on; no more comes by QEMU's agent. */
#define QGA_OUTPUT_MAX (8 << 20)

static void on_exec_started(const struct rpc_reply *reply, void *arg)
{
	struct proc *p = arg;

	if (reply->result) {
		p->state = PROC_RUNNING;
		p->pid = json_integer_value(
			json_object_get(reply->result, "pid"));
		procs_tell_watch(p);
	}
	if (p->started)
		p->started(p, reply, p->arg);
	if (!reply->result)
		procs_free_one(p);
}

static void on_exec_ended(const json_t *how, const struct qga_output out[2],
			  const char *why, void *arg)
{
	struct proc *p = arg;

	if (!how) {
		procs_end(p, PROC_LOST);
		return;
	}
	p->result = json_deep_copy(how);
	for (int i = 1; i < 3; i++)
		if (p->keep[i])
			keep_end(p->keep[i], out[i - 1].data, out[i - 1].len,
				 out[i - 1].cut);
	p->exited = true;
	procs_end_if_over(p);
}

static int keep_for_later(struct proc *p, int which, int fd, size_t keep)
{
	int r;

	if (fd < 0 && !keep)
		return 0;
	r = keep_new(p->procs->loop, fd < 0 ? keep : QGA_OUTPUT_MAX,
		     procs_on_kept, p, &p->keep[which], NULL);
	if (r == 0 && fd >= 0)
		return keep_attach(p->keep[which], fd);
	if (fd >= 0)
		close(fd);
	return r;
}

int procs_start_by_qga(struct proc *p, struct proc_spec *spec)
{
	static const struct qga_exec_ops ops = { on_exec_started,
						 on_exec_ended };
	int r = keep_for_later(p, 1, TAKE_FD(spec->fd[1]), spec->keep);

	if (r == 0)
		r = keep_for_later(p, 2, TAKE_FD(spec->fd[2]), spec->keep);
	return r < 0 ? r
		     : qga_exec_new(p->procs->loop, guest_qga(p->procs->guest),
				    spec->params, TAKE_FD(spec->fd[0]), &ops, p,
				    &p->exec);
}

bool proc_reads_input(const struct proc *p)
{
	return p->exec && qga_exec_reads(p->exec);
}
