#include <config.h>

#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api.h"
#include "api_net.h"
#include "cleanup.h"
#include "op_agent.h"
#include "op_capture.h"
#include "op_code.h"
#include "op_console.h"
#include "op_event.h"
#include "op_file.h"
#include "op_kernel.h"
#include "op_mem.h"
#include "op_msg.h"
#include "op_plain.h"
#include "op_proc.h"
#include "op_qga.h"
#include "op_save.h"
#include "op_session.h"
#include "op_snapshot.h"
#include "op_ssh.h"
#include "op_store.h"
#include "op_sync.h"
#include "op_vm.h"
#include "op_world.h"
#include "ops.h"
#include "peers.h"
#include "signs.h"

struct service {
	struct service_conf conf;
	struct ops *ops;
	struct ops_origin guest; /* of what the agent asks */
	struct api *api;
	struct api_net *net;
	struct op_agent *agent;
	struct op_capture *capture;
	struct op_console *console;
	struct op_code *code;
	struct op_file *file;
	struct op_kernel *kernel;
	struct op_plain *plain;
	struct op_proc *proc;
	struct op_qga *qga;
	struct op_save *save;
	struct op_snapshot *snapshot;
	struct op_ssh *ssh;
	struct op_vm *vm;
	struct peers *peers;
	struct op_mem *mem;
	struct op_msg *msg;
	struct op_store *store;
	struct op_sync *sync;
	struct op_world *world;
	struct op_event *events;
	struct signs *signs;
	struct sessions *sessions;
	struct op_session *session;
};

static json_t *hello(const struct task *t)
{
	return json_pack("{s:i, s:s, s:s, s:I, s:I, s:s}", "proto", API_PROTO,
			 "version", PACKAGE_VERSION, "step", t->step, "rank",
			 (json_int_t)t->rank, "tasks", (json_int_t)t->ranks,
			 "node", t->node);
}

/* What is between tasks. */
static int make_peers(struct service *s)
{
	const struct service_conf *c = &s->conf;
	struct errmsg err;
	int r = peers_new(c->loop, c->task, c->spec, s->ops, &s->peers, &err);

	if (r < 0)
		return r;
	ops_set_router(s->ops, peers_route, s->peers);
	net_set_ops(c->net, peers_link(s->peers));
	r = op_event_new(c->loop, c->task, s->peers, s->ops, &s->events);
	if (r == 0)
		r = signs_new(c, s->events, &s->signs);
	if (r == 0)
		r = sessions_new(c->loop, s->ops, s->events, &s->sessions);
	if (r == 0)
		r = op_session_new(c->loop, s->sessions, s->ops, &s->session);
	if (r == 0)
		r = op_msg_new(c->loop, c->task, s->events, s->ops, &s->msg);
	if (r == 0)
		r = op_store_new(c->task, s->peers, s->ops, &s->store);
	if (r == 0)
		r = op_sync_new(c->loop, c->task, s->peers, s->ops, &s->sync);
	if (r == 0)
		r = op_world_new(c, s->peers, s->ops, &s->world);
	if (r == 0)
		r = op_save_new(c, s->peers, s->ops, &s->save);
	if (r == 0)
		r = op_mem_new(c->loop, c->task, c->spec, s->peers, s->ops,
			       &s->mem);
	return r;
}

static int make_ops(struct service *s)
{
	const struct service_conf *c = &s->conf;
	int r;

	s->ops = ops_new();
	if (!s->ops)
		return -ENOMEM;
	r = api_net_new(c->loop, c->net, s->ops, &s->net);
	if (r == 0)
		r = op_agent_new(c->machine, s->ops, &s->agent);
	if (r == 0)
		r = op_capture_new(c, s->ops, &s->capture);
	if (r == 0)
		r = op_console_new(c->machine, s->ops, &s->console);
	if (r == 0)
		r = op_code_new(c, s->ops, &s->code);
	if (r == 0)
		r = op_file_new(c, s->ops, &s->file);
	if (r == 0)
		r = op_kernel_new(c, s->ops, &s->kernel);
	if (r == 0)
		r = op_plain_new(c->loop, s->ops, &s->plain);
	if (r == 0)
		r = op_proc_new(c, s->ops, &s->proc);
	if (r == 0)
		r = op_qga_new(c, s->ops, &s->qga);
	if (r == 0)
		r = op_snapshot_new(c, s->ops, &s->snapshot);
	if (r == 0)
		r = op_ssh_new(c, s->ops, &s->ssh);
	if (r == 0)
		r = op_vm_new(c, s->ops, &s->vm);
	if (r == 0)
		r = make_peers(s);
	return r;
}

static int listen_for_user(struct service *s, struct errmsg *err)
{
	const struct task *t = s->conf.task;
	_cleanup_close_ int dir =
		open(t->step_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[32];

	if (dir < 0)
		return errmsg_set(err, -errno, "step's directory %s",
				  t->step_dir);
	snprintf(name, sizeof(name), "task.%" PRIu32 ".sock", t->rank);
	return api_new(s->conf.loop, dir, name, s->ops, hello(t), &s->api, err);
}

int service_new(const struct service_conf *conf, struct service **ret,
		struct errmsg *err)
{
	struct service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return errmsg_set(err, -ENOMEM, "the task's ops");
	s->conf = *conf;
	r = make_ops(s);
	if (r < 0)
		errmsg_set(err, r, "the task's ops");
	else
		r = listen_for_user(s, err);
	if (r < 0) {
		service_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void service_free(struct service *s)
{
	struct guest *g;

	if (!s)
		return;
	g = s->conf.machine ? machine_guest(s->conf.machine) : NULL;
	if (g) {
		guest_set_handler(g, NULL, NULL);
		guest_forget_all(g, "the task has ended");
	}
	op_event_end(s->events);
	api_free(s->api);
	if (s->peers) {
		net_set_ops(s->conf.net, NULL);
		peers_end(s->peers, "the task has ended");
	}
	op_mem_free(s->mem);
	op_save_free(s->save);
	op_world_free(s->world);
	op_sync_free(s->sync);
	op_store_free(s->store);
	op_msg_free(s->msg);
	op_vm_free(s->vm);
	op_qga_free(s->qga);
	op_ssh_free(s->ssh);
	op_snapshot_free(s->snapshot);
	op_proc_free(s->proc);
	op_plain_free(s->plain);
	op_kernel_free(s->kernel);
	op_file_free(s->file);
	op_code_free(s->code);
	op_console_free(s->console);
	op_capture_free(s->capture);
	op_agent_free(s->agent);
	api_net_free(s->net);
	op_session_free(s->session);
	sessions_free(s->sessions);
	signs_free(s->signs);
	op_event_free(s->events);
	peers_free(s->peers);
	ops_free(s->ops);
	free(s);
}

void service_has_guest(struct service *s)
{
	s->guest = (struct ops_origin){ s->ops, OPS_GUEST, NULL };
	guest_set_handler(machine_guest(s->conf.machine), ops_handle,
			  &s->guest);
	signs_has_guest(s->signs);
}

void service_changed(struct service *s)
{
	op_vm_changed(s->vm);
	signs_changed(s->signs);
}

void service_reset(struct service *s)
{
	signs_reset(s->signs);
}

void service_meet(struct service *s, void (*fn)(const char *error, void *arg),
		  void *arg)
{
	op_save_meet(s->save, fn, arg);
}

void service_woke(struct service *s)
{
	if (s)
		op_vm_woke(s->vm);
}
