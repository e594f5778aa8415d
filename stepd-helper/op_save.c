#include <config.h>

#include "op_save.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain.h"
#include "cleanup.h"
#include "log.h"
#include "param.h"
#include "qemu.h"
#include "savedir.h"
#include "statefile.h"
#include "vmstate.h"

#define AGAIN_MS 20    /* QEMU has not quite let go of what it wrote */
#define MEET_MS	 300   /* task 0 is not there yet */
#define HELD_MS	 5000  /* between two looks whether who saves is there yet */
#define ORDER_MS 60000 /* for what QEMU does at once */

enum phase { BEGIN, PAUSE, WRITE, END, HELD, LOADED };
static const char *const phases[] = { "begin", "pause",	 "write", "end",
				      "held",  "loaded", NULL };

struct op_save {
	struct service_conf conf;
	struct peers *peers;

	/* the part of this task */
	char *dir;	 /* where it is saved; NULL: it is not */
	uint32_t keeper; /* who saves the step */
	bool was_paused;
	struct vmstate *writing;
	struct rpc_call *call; /* the part under way */
	struct loop_timer *again, *over, *watch;

	/* the whole, where this task was asked; asked NULL: it was not */
	struct rpc_call *asked;
	struct savedir *save;
	enum phase phase;
	bool then_stop, finished;
	int code;	   /* of what went wrong, RPC_E_*; 0: nothing */
	struct errmsg why; /* its words */
	uint64_t bytes;
	int64_t paused_ms;

	/* those that are loaded, at task 0 */
	struct rpc_call **loaded;
	uint32_t n_loaded;
	bool all_loaded;
	op_save_met_fn met; /* this one */
	void *met_arg;
	struct loop_timer *meet;
};

/* -- the part of this task ------------------------------------------------- */

/* Of a part that nobody asked for, nobody is told. */
static void part_done(struct op_save *s, json_t *result)
{
	if (s->call)
		rpc_result(TAKE_PTR(s->call), result);
	else
		json_decref(result);
}

static void part_failed(struct op_save *s, const char *error)
{
	if (s->call)
		rpc_fail(TAKE_PTR(s->call), RPC_E_OS, error);
	else
		log_warn("saving: %s", error);
}

static int check_dir(const struct op_save *s, const char *dir,
		     struct errmsg *err)
{
	if (access(dir, W_OK | X_OK) == 0)
		return 0;
	return errmsg_say(
		err, -errno,
		"the directory cannot be written on %s (%s): name one that all nodes of the step have",
		s->conf.task->node, strerror(errno));
}

static void begin(struct op_save *s, const char *dir)
{
	struct machine *m = s->conf.machine;
	json_t *command = s->conf.command ? s->conf.command(s->conf.vm) : NULL;
	struct errmsg err;
	int r;

	json_decref(command);
	if (s->dir || machine_is_saving(m)) {
		rpc_fail(TAKE_PTR(s->call), RPC_E_BUSY, "it is being saved");
		return;
	}
	if (!command || !machine_runs(m)) {
		rpc_fail(
			TAKE_PTR(s->call), RPC_E_STATE,
			"its command does not run: it boots still, or it ends");
		return;
	}
	r = statefile_check(machine_plan(m), &err);
	if (r == 0)
		r = check_dir(s, dir, &err);
	if (r < 0) {
		rpc_fail(TAKE_PTR(s->call),
			 r == -EOPNOTSUPP ? RPC_E_NOTSUP : RPC_E_OS, err.text);
		return;
	}
	s->dir = strdup(dir);
	s->was_paused = machine_is_paused(m);
	s->keeper = ops_rank(s->call, s->conf.task->rank);
	machine_set_saving(m, s->dir);
	loop_timer_set(s->watch, HELD_MS);
	part_done(s, NULL);
}

static void on_paused(json_t *result, const char *error, void *arg)
{
	struct op_save *s = arg;

	if (error)
		part_failed(s, error);
	else
		part_done(s, NULL);
}

static void pause_vm(struct op_save *s)
{
	if (s->was_paused)
		part_done(s, NULL);
	else if (machine_qmp(s->conf.machine, "stop", NULL, on_paused, s) < 0)
		part_failed(s, "QEMU takes no orders");
}

static void on_written(const char *error, uint64_t bytes, void *arg)
{
	struct op_save *s = arg;

	vmstate_free(TAKE_PTR(s->writing));
	if (error)
		part_failed(s, error);
	else
		part_done(s, json_pack("{s:I}", "bytes", (json_int_t)bytes));
}

static void write_vm(struct op_save *s)
{
	json_t *command = s->conf.command(s->conf.vm);
	struct errmsg err;

	if (!command)
		part_failed(s, "its command has just ended");
	else if (vmstate_save(s->conf.loop, s->conf.task, s->conf.machine,
			      s->dir, command, on_written, s, &s->writing,
			      &err) < 0)
		part_failed(s, err.text);
	json_decref(command);
}

static void on_over(void *arg)
{
	struct op_save *s = arg;

	s->conf.end(s->conf.vm);
}

static void ended(struct op_save *s)
{
	machine_set_saving(s->conf.machine, false);
	free(TAKE_PTR(s->dir));
	part_done(s, NULL);
}

static void end_failed(struct op_save *s, const char *error)
{
	machine_set_saving(s->conf.machine, false);
	free(TAKE_PTR(s->dir));
	part_failed(s, error);
}

static void go_on(void *arg);

static void on_gone_on(json_t *result, const char *error, void *arg)
{
	struct op_save *s = arg;

	/* "Migration is not finalized yet" */
	if (error && strstr(error, "finalized"))
		loop_timer_set(s->again, AGAIN_MS);
	else if (error)
		end_failed(s, error);
	else
		ended(s);
}

static void go_on(void *arg)
{
	struct op_save *s = arg;

	if (machine_qmp(s->conf.machine, "cont", NULL, on_gone_on, s) < 0)
		end_failed(s, "QEMU takes no orders any more");
}

static void end_part(struct op_save *s, const char *dir, bool stop)
{
	if (!s->dir || strcmp(s->dir, dir) != 0) { /* it did not begin */
		part_done(s, NULL);
	} else if (stop) {
		ended(s);
		if (!s->asked) /* else it answers first */
			loop_timer_set(s->over, 0);
	} else if (!s->was_paused) {
		go_on(s);
	} else {
		ended(s);
	}
}

/* Who saves may be gone, or its last word lost: then this VM goes on. That
 * harms nothing: what is written is of the moment when all stood still. */
static void on_held(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct op_save *s = arg;

	if (!reply || !s->dir)
		return;
	if (reply->result || s->call) {
		loop_timer_set(s->watch, HELD_MS);
		return;
	}
	log_warn("the save has no end (vm[%" PRIu32 "]: %s): the VM goes on",
		 rank, reply->message);
	end_part(s, s->dir, false);
}

static void on_watch(void *arg)
{
	struct op_save *s = arg;
	struct rank_range keeper = { s->keeper, s->keeper };
	const struct rankset to = { &keeper, 1 };

	if (s->dir)
		peers_request(s->peers, &to, "vm.save.part",
			      json_pack("{s:s, s:s}", "phase", phases[HELD],
					"dir", s->dir),
			      HELD_MS, on_held, s);
}

static void held(const struct op_save *s, struct rpc_call *call,
		 const char *dir)
{
	if (s->save && strcmp(savedir_temp(s->save), dir) == 0)
		rpc_result(call, NULL);
	else
		rpc_fail(call, RPC_E_STATE, "there is no such save any more");
}

/* -- those that are loaded ------------------------------------------------- */

static void on_loaded_gone(struct rpc_call *call, void *arg)
{
	struct op_save *s = arg;

	for (uint32_t i = 0; i < s->conf.task->ranks; i++)
		if (s->loaded[i] == call) {
			s->loaded[i] = NULL;
			s->n_loaded--;
		}
	rpc_result(call, NULL);
}

static void loaded(struct op_save *s, struct rpc_call *call, uint32_t rank)
{
	uint32_t n = s->conf.task->ranks;

	if (!s->loaded)
		s->loaded = calloc(n, sizeof(*s->loaded));
	if (!s->loaded || rank >= n) {
		rpc_fail(call, RPC_INTERNAL, "out of memory");
		return;
	}
	if (s->all_loaded) {
		rpc_result(call, NULL);
		return;
	}
	if (s->loaded[rank]) { /* it has heard nothing of that */
		rpc_fail(TAKE_PTR(s->loaded[rank]), RPC_E_LOST, "asked again");
		s->n_loaded--;
	}
	s->loaded[rank] = call;
	rpc_on_gone(call, on_loaded_gone, s);
	if (++s->n_loaded < n)
		return;
	s->all_loaded = true;
	for (uint32_t i = 0; i < n; i++)
		rpc_result(TAKE_PTR(s->loaded[i]), NULL);
}

static void on_meet_timer(void *arg);

static void on_met(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct op_save *s = arg;

	if (!reply || !s->met)
		return;
	if (!reply->result &&
	    (reply->code == RPC_E_UNREACHABLE || reply->code == RPC_E_LOST)) {
		loop_timer_set(s->meet, MEET_MS);
		return;
	}
	s->met(reply->result ? NULL : reply->message, s->met_arg);
	s->met = NULL;
}

static void on_meet_timer(void *arg)
{
	struct rank_range first = { 0, 0 };
	const struct rankset to = { &first, 1 };
	struct op_save *s = arg;

	peers_request(s->peers, &to, "vm.save.part",
		      json_pack("{s:s}", "phase", phases[LOADED]), -1, on_met,
		      s);
}

void op_save_meet(struct op_save *s, op_save_met_fn fn, void *arg)
{
	s->met = fn;
	s->met_arg = arg;
	on_meet_timer(s);
}

/* -- vm.save.part ---------------------------------------------------------- */

static void carry_out(struct op_save *s, enum phase phase, const char *dir,
		      bool stop)
{
	switch (phase) {
	case BEGIN:
		begin(s, dir);
		break;
	case PAUSE:
		pause_vm(s);
		break;
	case WRITE:
		write_vm(s);
		break;
	default:
		end_part(s, dir, stop);
	}
}

static void save_part(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_save *s = arg;
	_cleanup_free_ char *dir = NULL;
	bool stop = false;
	struct errmsg err;
	int phase = -1, r;

	r = param_word(params, "phase", phases, &phase, &err);
	if (r == 0)
		r = param_text(params, "dir", &dir, &err);
	if (r == 0)
		r = param_bool(params, "stop", &stop, &err);
	if (r == 0 && (phase < 0 || (phase != LOADED && !dir)))
		r = errmsg_say(&err, -EINVAL, "phase and dir are needed");
	if (r < 0)
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else if (((const struct ops_origin *)rpc_call_origin(call))->who !=
		 OPS_TASK)
		rpc_fail(call, RPC_E_PERM,
			 "that is for tasks among themselves: ask for vm.save");
	else if (phase == LOADED)
		loaded(s, call, ops_rank(call, s->conf.task->rank));
	else if (phase == HELD)
		held(s, call, dir);
	else if (s->call)
		rpc_fail(call, RPC_E_BUSY, "it is being saved");
	else if ((phase == PAUSE || phase == WRITE) &&
		 (!s->dir || strcmp(s->dir, dir) != 0))
		rpc_fail(call, RPC_E_STATE, "that save has not begun here");
	else {
		s->call = call;
		carry_out(s, (enum phase)phase, dir, stop);
	}
}

/* -- the whole ------------------------------------------------------------- */

static void ask_all(struct op_save *s, enum phase phase);

static void note(struct op_save *s, int code, const char *text)
{
	if (s->code)
		return;
	s->code = code;
	errmsg_say(&s->why, 0, "%s", text);
}

static void answer(struct op_save *s)
{
	struct rpc_call *call = TAKE_PTR(s->asked);

	if (s->code)
		rpc_failf(call, (enum rpc_error)s->code, "%s: %s",
			  savedir_path(s->save), s->why.text);
	else
		rpc_result(call,
			   json_pack("{s:s, s:I, s:i, s:I}", "path",
				     savedir_path(s->save), "bytes",
				     (json_int_t)s->bytes, "tasks",
				     (int)s->conf.task->ranks, "paused_ms",
				     (json_int_t)s->paused_ms));
	savedir_free(TAKE_PTR(s->save));
	/* what it was asked is answered before it ends itself */
	if (s->then_stop && s->finished)
		loop_timer_set(s->over, 0);
}

static void next_phase(struct op_save *s)
{
	struct errmsg err;

	if (s->phase == END) {
		if (s->paused_ms)
			s->paused_ms = loop_now_ms() - s->paused_ms;
		answer(s);
		return;
	}
	if (s->phase == WRITE && !s->code) {
		s->finished = savedir_finish(s->save, s->conf.task, &err) == 0;
		if (!s->finished)
			note(s, RPC_E_OS, err.text);
	}
	if (s->phase == BEGIN)
		s->paused_ms = s->code ? 0 : loop_now_ms();
	if (s->code)
		savedir_drop(s->save);
	ask_all(s, s->code ? END : s->phase + 1);
}

static void on_part(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	struct op_save *s = arg;
	struct errmsg text;

	if (!reply) {
		next_phase(s);
		return;
	}
	if (!reply->result) {
		errmsg_say(&text, 0, "vm[%" PRIu32 "]: %s", rank,
			   reply->message);
		note(s, reply->code, text.text);
	}
	s->bytes += (uint64_t)json_integer_value(
		json_object_get(reply->result, "bytes"));
}

static void ask_all(struct op_save *s, enum phase phase)
{
	struct rank_range all = { 0, s->conf.task->ranks - 1 };
	const struct rankset to = { &all, 1 };
	bool stop = phase == END && s->then_stop && !s->code;

	s->phase = phase;
	peers_request(s->peers, &to, "vm.save.part",
		      json_pack("{s:s, s:s, s:b}", "phase", phases[phase],
				"dir", savedir_temp(s->save), "stop",
				(int)stop),
		      phase <= PAUSE ? ORDER_MS : -1, on_part, s);
}

/* Its disks are images when it is restored. */
static int new_dir(struct op_save *s, const char *path, struct errmsg *err)
{
	int r = savedir_new(path, s->conf.task, &s->save, err);

	if (r < 0)
		return r;
	r = chain_allowed(savedir_path(s->save), s->conf.task->allow_images,
			  err);
	if (r < 0) {
		savedir_drop(s->save);
		savedir_free(TAKE_PTR(s->save));
	}
	return r;
}

static void vm_save(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_save *s = arg;
	_cleanup_free_ char *path = NULL;
	bool stop = false;
	struct errmsg err;
	int r;

	r = param_text(params, "path", &path, &err);
	if (r == 0)
		r = param_bool(params, "stop", &stop, &err);
	if (r == 0 && (!path || *path != '/'))
		r = errmsg_say(&err, -EINVAL, "path: has to be absolute");
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (s->asked) {
		rpc_fail(call, RPC_E_BUSY, "the step is being saved");
		return;
	}
	r = new_dir(s, path, &err);
	if (r < 0) {
		rpc_fail(call,
			 r == -EEXIST  ? RPC_E_EXIST
			 : r == -EPERM ? RPC_E_PERM
				       : RPC_E_OS,
			 err.text);
		return;
	}
	s->asked = call;
	s->then_stop = stop;
	s->finished = false;
	s->code = 0;
	s->bytes = 0;
	s->paused_ms = 0;
	ask_all(s, BEGIN);
}

const struct rpc_method op_save_methods[] = {
	{ "vm.save", vm_save },
	{ "vm.save.part", save_part },
	{ 0 },
};

int op_save_new(const struct service_conf *conf, struct peers *peers,
		struct ops *ops, struct op_save **ret)
{
	struct op_save *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	s->peers = peers;
	r = loop_timer_add(conf->loop, -1, go_on, s, &s->again);
	if (r == 0)
		r = loop_timer_add(conf->loop, -1, on_over, s, &s->over);
	if (r == 0)
		r = loop_timer_add(conf->loop, -1, on_meet_timer, s, &s->meet);
	if (r == 0)
		r = loop_timer_add(conf->loop, -1, on_watch, s, &s->watch);
	if (r == 0)
		r = ops_add(ops, op_save_methods, s);
	*ret = s;
	return r;
}

void op_save_free(struct op_save *s)
{
	if (!s)
		return;
	vmstate_free(s->writing);
	for (uint32_t i = 0; s->loaded && i < s->conf.task->ranks; i++)
		if (s->loaded[i])
			rpc_fail(s->loaded[i], RPC_E_GONE,
				 "the task has ended");
	if (s->call)
		rpc_fail(s->call, RPC_E_GONE, "the task has ended");
	if (s->asked)
		rpc_fail(s->asked, RPC_E_GONE, "the task has ended");
	if (s->save)
		savedir_drop(s->save);
	savedir_free(s->save);
	loop_timer_free(s->again);
	loop_timer_free(s->over);
	loop_timer_free(s->meet);
	loop_timer_free(s->watch);
	free(s->loaded);
	free(s->dir);
	free(s);
}
