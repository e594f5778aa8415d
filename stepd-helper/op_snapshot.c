#include <config.h>

#include "op_snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "param.h"
#include "qemu.h"
#include "statefile.h"

#define JOB "vmstep-snapshot" /* QEMU's name for it */
#define NAME_CHARS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

enum verb { SAVE, LOAD, DELETE };

struct op_snapshot {
	struct service_conf conf;
	json_t *kept; /* {NAME: {"desc", "command"}} */

	/* under way; call NULL: nothing is */
	struct rpc_call *call;
	enum verb verb;
	char *name;
	json_t *record; /* of a new one */
	struct rpc_call *listing;
};

/* -- what can be ----------------------------------------------------------- */

/* Overlays, and disks that were empty: they go with the step. */
static bool keeps_snapshots(const struct qemu_disk *d)
{
	return !d->drive && !d->read_only && !d->path &&
	       strcmp(d->format, "qcow2") == 0;
}

static int check_disk(const struct qemu_disk *d, struct errmsg *err)
{
	if (d->read_only || keeps_snapshots(d))
		return 0;
	return errmsg_say(
		err, -EOPNOTSUPP,
		"--vm-image: %s: what is written goes to this file itself, which would keep snapshots for good; leave w, or c and r, out of ctl=, or name the image instead of file=",
		d->drive ? d->drive : d->path);
}

/* Nodes of QEMU that a snapshot is of, the first of which has the memory, too;
 * a new list, or NULL with words. */
static json_t *nodes(const struct qemu_plan *p, struct errmsg *err)
{
	json_t *list = json_array();
	int r = statefile_check_machine(p, err);

	for (unsigned int i = 0; i < p->n_disks && r == 0; i++) {
		r = check_disk(&p->disk[i], err);
		if (r == 0 && keeps_snapshots(&p->disk[i]))
			json_array_append_new(list,
					      json_sprintf(QEMU_DISK_NODE, i));
	}
	if (r == 0 && !json_array_size(list))
		r = errmsg_say(
			err, -EOPNOTSUPP,
			"the VM has no qcow2 disk to keep a snapshot in: boot a disk image, or give it a disk by --vm-scratch");
	if (r == 0)
		return list;
	json_decref(list);
	return NULL;
}

static bool is_free(const struct op_snapshot *s, struct rpc_call *call)
{
	const struct machine *m = s->conf.machine;

	if (!machine_guest(m) || !machine_runs(m))
		rpc_fail(call, RPC_E_STATE, "the VM does not run");
	else if (machine_is_saving(m))
		rpc_fail(call, RPC_E_BUSY, "the VM is being saved");
	else
		return true;
	return false;
}

/* What the command is at, or NULL, and @call is answered. */
static json_t *command_now(const struct op_snapshot *s, struct rpc_call *call)
{
	json_t *now;

	if (guest_uses_qga(machine_guest(s->conf.machine))) {
		rpc_fail(
			call, RPC_E_NOTSUP,
			"QEMU's guest agent is the agent of this guest, and cannot go on after a snapshot: take an image with cloud-init or vmstep-agent");
		return NULL;
	}
	now = s->conf.command ? s->conf.command(s->conf.vm) : NULL;
	if (!now)
		rpc_fail(
			call, RPC_E_STATE,
			"its command does not run: it boots still, or it ends");
	return now;
}

/* -- QEMU's job ------------------------------------------------------------ */

static void over(struct op_snapshot *s)
{
	machine_watch_job(s->conf.machine, NULL, NULL);
	machine_set_saving(s->conf.machine, false);
	json_decref(TAKE_PTR(s->record));
	free(TAKE_PTR(s->name));
}

static void failed(struct op_snapshot *s, const char *error)
{
	struct rpc_call *call = TAKE_PTR(s->call);
	bool in_pieces = s->verb == LOAD;
	struct errmsg why;

	errmsg_say(&why, 0, "snapshot %s: %s", s->name, error);
	over(s);
	rpc_fail(call, RPC_E_QMP, why.text);
	if (in_pieces)
		s->conf.went_back(s->conf.vm, NULL, why.text);
}

static void gone_back(const struct op_snapshot *s)
{
	const json_t *was = json_object_get(s->kept, s->name);
	struct errmsg why;

	errmsg_say(&why, 0, "the VM has gone back to its snapshot %s", s->name);
	s->conf.went_back(s->conf.vm, json_object_get(was, "command"),
			  why.text);
}

static void done(struct op_snapshot *s)
{
	struct rpc_call *call = TAKE_PTR(s->call);
	json_t *o = json_pack("{s:s}", "name", s->name);

	if (s->verb == SAVE)
		json_object_set(s->kept, s->name, s->record);
	else if (s->verb == LOAD)
		gone_back(s);
	else
		json_object_del(s->kept, s->name);
	over(s);
	rpc_result(call, o);
}

static void on_jobs(json_t *result, const char *error, void *arg)
{
	struct op_snapshot *s = arg;
	json_t *job;
	size_t i;

	json_array_foreach (result, i, job) {
		const char *id = json_string_value(json_object_get(job, "id"));

		if (!error && id && strcmp(id, JOB) == 0)
			error = json_string_value(
				json_object_get(job, "error"));
	}
	machine_qmp(s->conf.machine, "job-dismiss",
		    json_pack("{s:s}", "id", JOB), NULL, NULL);
	if (error)
		failed(s, error);
	else
		done(s);
}

static void on_job(const char *id, const char *status, void *arg)
{
	struct op_snapshot *s = arg;

	if (!s->call || strcmp(id, JOB) != 0 ||
	    strcmp(status, "concluded") != 0)
		return;
	if (machine_qmp(s->conf.machine, "query-jobs", NULL, on_jobs, s) < 0)
		failed(s, "QEMU takes no orders any more");
}

static void on_order(json_t *result, const char *error, void *arg)
{
	if (error)
		failed(arg, error);
}

/* How long it takes is a matter of bytes; Slurm's time limit is the one that
 * counts. */
static void start(struct op_snapshot *s, struct rpc_call *call, enum verb verb,
		  char **name)
{
	static const char *const orders[] = { "snapshot-save", "snapshot-load",
					      "snapshot-delete" };
	struct machine *m = s->conf.machine;
	struct errmsg err;
	json_t *devices = nodes(machine_plan(m), &err), *args;

	if (!devices) {
		rpc_fail(call, RPC_E_NOTSUP, err.text);
		json_decref(TAKE_PTR(s->record));
		return;
	}
	s->call = call;
	s->verb = verb;
	s->name = TAKE_PTR(*name);
	machine_set_saving(m, true);
	machine_watch_job(m, on_job, s);
	args = json_pack("{s:s, s:s, s:o}", "job-id", JOB, "tag", s->name,
			 "devices", devices);
	if (verb != DELETE)
		json_object_set(args, "vmstate", json_array_get(devices, 0));
	if (machine_qmp(m, orders[verb], args, on_order, s) < 0)
		failed(s, "QEMU takes no orders yet, or no more");
}

/* -- vm.snapshot.* --------------------------------------------------------- */

/* A new text in *ret, or @call is answered. */
static int take_name(struct rpc_call *call, const json_t *params, char **ret)
{
	struct errmsg err;
	int r = param_text(params, "name", ret, &err);
	size_t len = *ret ? strlen(*ret) : 0;

	if (r == 0 && (!len || len > OP_SNAPSHOT_NAME_MAX ||
		       strspn(*ret, NAME_CHARS) != len))
		r = errmsg_say(
			&err, -EINVAL,
			"name: '%s' is none: it has 1 to %d letters, digits, '.', '_' and '-'",
			*ret ? *ret : "", OP_SNAPSHOT_NAME_MAX);
	if (r < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	return r;
}

static void snapshot_save(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	struct op_snapshot *s = arg;
	_cleanup_free_ char *name = NULL, *desc = NULL;
	struct errmsg err;
	json_t *command;

	if (take_name(call, params, &name) < 0)
		return;
	if (param_text(params, "desc", &desc, &err) < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else if (desc && strlen(desc) > OP_SNAPSHOT_DESC_MAX)
		rpc_failf(call, RPC_E_TOOBIG, "desc: more than %d bytes",
			  OP_SNAPSHOT_DESC_MAX);
	else if (json_object_get(s->kept, name))
		rpc_failf(
			call, RPC_E_EXIST,
			"there is a snapshot %s: delete it, or take another name",
			name);
	else if (json_object_size(s->kept) >= OP_SNAPSHOT_MAX)
		rpc_failf(call, RPC_E_TOOBIG,
			  "the VM has %d snapshots: delete one",
			  OP_SNAPSHOT_MAX);
	else if (is_free(s, call) && (command = command_now(s, call))) {
		s->record = json_pack("{s:o, s:o}", "desc",
				      param_from_text(desc ? desc : ""),
				      "command", command);
		start(s, call, SAVE, &name);
	}
}

/* The command that has told its end cannot go on. */
static bool may_load(const struct op_snapshot *s, struct rpc_call *call,
		     const char *name)
{
	const char *was = json_string_value(json_object_get(
		json_object_get(json_object_get(s->kept, name), "command"),
		"state"));
	const char *is;
	json_t *now;
	bool may;

	if (!was) {
		rpc_failf(call, RPC_E_NOENT,
			  "there is no snapshot %s of this step", name);
		return false;
	}
	if (!is_free(s, call))
		return false;
	if (machine_is_paused(s->conf.machine)) {
		rpc_fail(call, RPC_E_STATE,
			 "the VM is paused: have it go on first (vm.resume)");
		return false;
	}
	now = command_now(s, call);
	if (!now)
		return false;
	is = json_string_value(json_object_get(now, "state"));
	may = strcmp(is, was) == 0;
	if (!may)
		rpc_failf(
			call, RPC_E_STATE,
			"the command was %s then, and is %s now: that cannot be undone",
			was, is);
	json_decref(now);
	return may;
}

static void snapshot_load(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	struct op_snapshot *s = arg;
	_cleanup_free_ char *name = NULL;

	if (take_name(call, params, &name) == 0 && may_load(s, call, name))
		start(s, call, LOAD, &name);
}

static void snapshot_delete(struct rpc_call *call, const json_t *params,
			    void *arg)
{
	struct op_snapshot *s = arg;
	_cleanup_free_ char *name = NULL;

	if (take_name(call, params, &name) < 0)
		return;
	if (!json_object_get(s->kept, name))
		rpc_failf(call, RPC_E_NOENT,
			  "there is no snapshot %s of this step", name);
	else if (is_free(s, call))
		start(s, call, DELETE, &name);
}

/* -- the list -------------------------------------------------------------- */

static const json_t *images_list(const json_t *all, const char *node)
{
	const json_t *one;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)all, i, one) {
		const char *name =
			json_string_value(json_object_get(one, "node-name"));

		if (name && strcmp(name, node) == 0)
			return json_object_get(json_object_get(one, "image"),
					       "snapshots");
	}
	return NULL;
}

static json_t *list_json(const struct op_snapshot *s, const json_t *images)
{
	json_t *list = json_array(), *one;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)images, i, one) {
		json_t *name = json_object_get(one, "name");
		const json_t *kept =
			json_object_get(s->kept, json_string_value(name));

		if (!kept) /* of an image that had it before */
			continue;
		json_array_append_new(
			list,
			json_pack("{s:O, s:O, s:O, s:O}", "name", name, "desc",
				  json_object_get(kept, "desc"), "time_s",
				  json_object_get(one, "date-sec"), "bytes",
				  json_object_get(one, "vm-state-size")));
	}
	return json_pack("{s:o}", "snapshots", list);
}

static void on_nodes(json_t *result, const char *error, void *arg)
{
	struct op_snapshot *s = arg;
	struct rpc_call *call = TAKE_PTR(s->listing);
	struct errmsg err;
	json_t *devices;

	if (error) {
		rpc_fail(call, RPC_E_QMP, error);
		return;
	}
	devices = nodes(machine_plan(s->conf.machine), &err);
	rpc_result(call,
		   list_json(s, images_list(result,
					    json_string_value(json_array_get(
						    devices, 0)))));
	json_decref(devices);
}

static void snapshot_list(struct rpc_call *call, const json_t *params,
			  void *arg)
{
	struct op_snapshot *s = arg;

	if (!json_object_size(s->kept)) {
		rpc_result(call, json_pack("{s:[]}", "snapshots"));
		return;
	}
	if (!is_free(s, call))
		return;
	if (s->listing) {
		rpc_fail(call, RPC_E_BUSY, "they are being listed");
		return;
	}
	s->listing = call;
	if (machine_qmp(s->conf.machine, "query-named-block-nodes", NULL,
			on_nodes, s) < 0)
		rpc_fail(TAKE_PTR(s->listing), RPC_E_STATE,
			 "QEMU takes no orders yet, or no more");
}

const struct rpc_method op_snapshot_methods[] = {
	{ "vm.snapshot.delete", snapshot_delete },
	{ "vm.snapshot.list", snapshot_list },
	{ "vm.snapshot.load", snapshot_load },
	{ "vm.snapshot.save", snapshot_save },
	{ 0 },
};

int op_snapshot_new(const struct service_conf *conf, struct ops *ops,
		    struct op_snapshot **ret)
{
	struct op_snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	s->kept = json_object();
	*ret = s;
	return s->kept ? ops_add(ops, op_snapshot_methods, s) : -ENOMEM;
}

void op_snapshot_free(struct op_snapshot *s)
{
	if (!s)
		return;
	if (s->call) {
		rpc_fail(TAKE_PTR(s->call), RPC_E_GONE, "the task has ended");
		over(s);
	}
	if (s->listing)
		rpc_fail(s->listing, RPC_E_GONE, "the task has ended");
	json_decref(s->kept);
	free(s);
}
