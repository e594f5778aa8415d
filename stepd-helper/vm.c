#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "data_item.h"
#include "log.h"
#include "pcapfile.h"
#include "restore.h"
#include "seed.h"
#include "summary.h"
#include "tty.h"
#include "vm_impl.h"

#define SAY_AFTER_MS 5000 /* a longer wait says what it waits for */
#define SAY_AGAIN_MS 30000
#define WIREUP_MS    60000 /* Slurm starts a step's tasks within seconds */
#define LOST_MS	     10000 /* until a guest whose agent is gone has ended */

static const char *waiting_for(const struct vm *vm)
{
	switch (vm->state) {
	case JOINING:
		if (vm->wants_boot)
			return "the copies of its disks";
		return vm->wireup ? "the other nodes of the step (PMIx)"
				  : "the step's network (vmstep-net)";
	case BOOTING:
		if (vm->setting_up)
			return "its data to be in place";
		if (vm->loading)
			return "what was saved to be loaded, by each VM of the step";
		return "the guest to boot and its agent to answer";
	case READY:
		return "every VM of the step to be reachable";
	case RUNNING:
		if (vm->collecting)
			return "its results to be on the host";
		return command_reads_input(vm->command)
			       ? "the end of standard input, which QEMU's guest agent takes as a whole (srun --input=none gives none)"
			       : NULL;
	case ENDING:
		return vm->saving == SAVES_WAITS    ? "the guest to shut down"
		       : vm->saving == SAVES_WRITES ? "its disk to be saved"
						    : NULL;
	default:
		return NULL;
	}
}

static void say_waiting(const struct vm *vm, const char *what)
{
	int64_t ms = loop_now_ms() - vm->state_since_ms;
	char hint[128] = "";

	if (vm->state == BOOTING && !vm->loading && ms > SAY_AGAIN_MS)
		snprintf(
			hint, sizeof(hint),
			"; it has %u (--vm-boot-timeout), and --vm-console=stdout shows its boot",
			vm->spec->boot_timeout_s);
	log_info("waiting for %s, for %lld s now%s", what, (long long)ms / 1000,
		 hint);
}

static void on_say_timer(void *arg)
{
	struct vm *vm = arg;
	const char *what = waiting_for(vm);

	/* for all ranks it would be the same line a thousand times */
	if (what && !vm->vmboot && (vm->task->rank == 0 || vm->spec->verbose))
		say_waiting(vm, what);
	if (what)
		loop_timer_set(vm->say_timer, SAY_AGAIN_MS);
}

void vm_enter(struct vm *vm, enum vm_state state)
{
	static const char *const names[] = { "joining", "booting",   "ready",
					     "running", "lingering", "ending" };

	if (state != vm->state || !vm->state_since_ms)
		log_debug("%s", names[state]);
	vm->state = state;
	vm->state_since_ms = loop_now_ms();
	loop_timer_set(vm->say_timer, waiting_for(vm) ? SAY_AFTER_MS : -1);
}

/* -- the command ----------------------------------------------------------- */

static void on_command_exit(int status, const char *error, void *arg)
{
	struct vm *vm = arg;

	tty_restore();
	if (error)
		log_err("%s", error);
	vm_command_ended(vm, status);
}

/* What was saved has a command already, or has had one. */
static void find_saved(struct vm *vm, struct guest_cmd *cmd,
		       const char *argv[2])
{
	argv[0] = json_string_value(json_object_get(vm->saved, "program"));
	if (!argv[0])
		argv[0] = "?";
	argv[1] = NULL;
	cmd->argv = argv;
	cmd->attach = json_integer_value(json_object_get(vm->saved, "proc"));
}

static void run_command(struct vm *vm)
{
	struct guest_cmd cmd = { .argv = vm->argv };
	const char *argv[2];
	struct winsize ws;
	struct errmsg err;

	vm_enter(vm, RUNNING);
	if (vm->goes_on)
		find_saved(vm, &cmd, argv);
	if (tty_is_there()) {
		tty_size(&ws);
		cmd.pty = &ws;
		cmd.term = getenv("TERM");
		tty_raw();
	}
	if (command_run(machine_guest(vm->machine), vm->task, vm->spec, &cmd,
			on_command_exit, vm, &vm->command, &err) < 0) {
		tty_restore();
		vm_fail(vm, EXIT_VM_FAILED, "%s", err.text);
		return;
	}
	if (command_reads_input(vm->command))
		loop_timer_set(vm->say_timer, SAY_AFTER_MS);
	vm_pass_held_signals(vm);
}

static bool is_saved_as(const struct vm *vm, const char *state)
{
	const char *was =
		json_string_value(json_object_get(vm->saved, "state"));

	return was && strcmp(was, state) == 0;
}

static int saved_status(const struct vm *vm)
{
	return (int)json_integer_value(json_object_get(vm->saved, "status")) &
	       0xff;
}

static void run_if_ready(struct vm *vm)
{
	if (vm->state != READY || vm->vmboot)
		return;
	if (vm->spec->wait == WAIT_ALL && !vm->all_ready && !vm->goes_on)
		return;
	if (vm->goes_on && is_saved_as(vm, "ended"))
		vm_command_ended(vm, saved_status(vm));
	else if (vm->has_command)
		run_command(vm);
	else
		vm_command_ended(vm, 0);
}

/* -- the guest ------------------------------------------------------------- */

static void now_ready(struct vm *vm)
{
	loop_timer_set(vm->boot_timer, -1);
	vm_enter(vm, READY);
	net_send_state(vm->net, NETCTL_READY);
	run_if_ready(vm);
}

/* Of service_conf. */
static bool is_set_up(void *arg)
{
	const struct vm *vm = arg;

	return vm->state != ENDING && vm->data_ready && vm->net_ready;
}

static void ready_if_all(struct vm *vm)
{
	if (is_set_up(vm))
		service_changed(vm->service);
	if (vm->state == BOOTING && vm->data_ready &&
	    (vm->net_ready || vm->spec->wait == WAIT_AGENT))
		now_ready(vm);
}

static void on_configured(const char *error, void *arg)
{
	struct vm *vm = arg;

	if (error)
		vm_fail(vm, EXIT_VM_FAILED,
			"the guest's network could not be set up: %s", error);
	vm->net_ready = true;
	ready_if_all(vm);
}

/* A guest that switches itself off takes along what is only in it. */
static const struct data_item *lost_results(struct vm *vm)
{
	const struct data_items *all = machine_data(vm->machine);

	for (size_t i = 0; i < all->n && vm->vmboot; i++)
		if (all->v[i].kind == DATA_OUTPUT && all->v[i].by == BY_COPY)
			return &all->v[i];
	return NULL;
}

static void on_data(const char *error, void *arg)
{
	struct vm *vm = arg;
	const struct data_item *lost = lost_results(vm);

	vm->setting_up = false;
	if (error)
		vm_fail(vm, EXIT_VM_FAILED, "%s", error);
	else if (lost)
		vm_fail(vm, EXIT_VM_FAILED,
			"--vm-output: the guest's kernel can mount neither virtiofs nor 9p, and with vmboot nobody copies %s out before the guest powers off: run a command, or take a kernel that has one of them",
			lost->dst);
	vm->data_ready = true;
	ready_if_all(vm);
}

/* It may take longer than all else, and no wait is behind it. */
static void set_up_data(struct vm *vm)
{
	if (machine_data(vm->machine)->n) {
		loop_timer_set(vm->boot_timer, -1);
		vm->setting_up = true;
	}
	data_setup(vm->data, on_data, vm);
}

static void on_hello(void *arg)
{
	struct vm *vm = arg;
	bool sets_up = vm->state == BOOTING || vm->vmboot;

	if (sets_up)
		vm->data_ready = vm->net_ready = false;
	service_changed(vm->service);
	if (!sets_up)
		return;
	if (vm->saved) /* it does not know how late it is */
		guest_set_time(machine_guest(vm->machine));
	if (guest_configure(machine_guest(vm->machine), on_configured, vm) <
	    0) {
		vm_fail(vm, EXIT_VM_FAILED,
			"the guest's agent takes no orders");
		return;
	}
	set_up_data(vm);
}

/* Its port closes also when QEMU ends, or the guest resets or powers off; those
 * say more. A kernel takes its devices away before (newer ones reset those
 * of virtio), and may then have more to do. */
static void on_guest_lost(const char *why, void *arg)
{
	struct vm *vm = arg;

	service_changed(vm->service);
	if (vm->vmboot || vm_is_over(vm))
		return;
	tty_restore();
	snprintf(vm->lost_why, sizeof(vm->lost_why), "%s", why);
	loop_timer_set(vm->lost_timer, LOST_MS);
}

static void on_lost_timer(void *arg)
{
	struct vm *vm = arg;

	vm_fail(vm, EXIT_VM_FAILED, "the guest's agent was lost before %s: %s",
		vm_whose_end(vm), vm->lost_why);
}

/* -- the machine ----------------------------------------------------------- */

static void on_failed(const char *why, void *arg)
{
	vm_fail(arg, EXIT_VM_FAILED, "%s", why);
}

static int64_t boot_ms(const struct vm *vm)
{
	return vm->vmboot ? -1 : (int64_t)vm->spec->boot_timeout_s * 1000;
}

static void on_met(const char *error, void *arg)
{
	struct vm *vm = arg;

	if (error)
		vm_fail(vm, EXIT_VM_FAILED,
			"the VMs of the step cannot go on together: %s", error);
	if (error || vm->state == ENDING)
		return;
	vm->loading = false;
	vm_enter(vm, BOOTING);
	loop_timer_set(vm->boot_timer, boot_ms(vm));
	machine_go_on(vm->machine);
}

/* Not before all the others: who is behind would lose what they send. */
static void on_loaded(void *arg)
{
	struct vm *vm = arg;

	log_debug("what was saved is loaded");
	service_meet(vm->service, on_met, vm);
}

static void on_reset(bool by_guest, void *arg)
{
	struct vm *vm = arg;

	data_reset(vm->data);
	vm->data_ready = vm->net_ready = false;
	if (!by_guest) /* its agent is lost, and that is told */
		return;
	vm->resets++;
	service_reset(vm->service);
	/* a kernel booted directly has no installer or firmware that would
	 * reboot: it panicked, and would do so again until the time is up */
	if (vm->state == BOOTING && machine_has_kernel(vm->machine) &&
	    !vm->vmboot)
		vm_fail(vm, EXIT_VM_FAILED,
			"the guest reset itself while it booted (a kernel panic?)");
	else if (vm->state != BOOTING && !vm->vmboot && !vm_is_over(vm))
		vm_fail(vm, EXIT_VM_FAILED, "the guest reset itself before %s",
			vm_whose_end(vm));
}

static void on_paused(bool paused, void *arg)
{
	struct vm *vm = arg;

	log_debug("the VM %s", paused ? "is paused" : "goes on");
	service_changed(vm->service);
}

static void on_boot_timer(void *arg)
{
	struct vm *vm = arg;

	vm_fail(vm, EXIT_BOOT_TIMEOUT,
		"boot timeout: waited %u s for %s (--vm-boot-timeout)%s",
		vm->spec->boot_timeout_s,
		waiting_for(vm) ? waiting_for(vm) : "the guest",
		vm->state == BOOTING
			? "; give it longer, or see whether the image has cloud-init, vmstep-agent or qemu-guest-agent: --vm-console=stdout shows its boot"
			: "");
}

static void boot_now(struct vm *vm)
{
	int port = net_port_fd(vm->net);
	struct errmsg err;

	/* How long that takes is a matter of bytes, of all VMs of the step; a
	 * load that fails says so. */
	vm->loading = machine_restore(vm->machine);
	if (vm->loading)
		loop_timer_set(vm->boot_timer, -1);
	vm_enter(vm, BOOTING);
	if (vm->vmboot && vm->task->rank == 0)
		log_info("%s: each VM runs until it powers off%s",
			 vm->spec->install	       ? "--vm-install"
			 : vm->spec->exec == EXEC_NONE ? "--vm-exec=none"
						       : "vmboot",
			 vm->spec->console ? ""
					   : "; --vm-console=stdout shows it");
	if (machine_start(vm->machine, port, vm->key, &err) < 0)
		vm_fail(vm, EXIT_VM_FAILED, "%s", err.text);
	else
		net_qemu_runs(vm->net);
	if (machine_guest(vm->machine))
		service_has_guest(vm->service);
	service_changed(vm->service);
}

/* The copies of its disks may take longer than all else; the time to boot
 * begins after them. */
static void boot(struct vm *vm)
{
	if (machine_is_prepared(vm->machine))
		boot_now(vm);
	else
		vm->wants_boot = true;
}

static void on_prepared(const char *error, void *arg)
{
	struct vm *vm = arg;

	loop_timer_set(vm->boot_timer, boot_ms(vm));
	if (error)
		vm_fail(vm, EXIT_VM_FAILED, "%s", error);
	else if (vm->wants_boot && vm->state == JOINING)
		boot_now(vm);
}

static int start_prepare(struct vm *vm, struct errmsg *err)
{
	int r = machine_prepare(vm->machine, on_prepared, err);

	if (r > 0)
		loop_timer_set(vm->boot_timer, -1);
	return r < 0 ? r : 0;
}

/* -- joining --------------------------------------------------------------- */

static void on_wired(struct wireup_result *res, const char *error, void *arg)
{
	struct vm *vm = arg;

	if (error) {
		vm_fail(vm, EXIT_VM_FAILED,
			"the nodes of the step did not find each other: %s",
			error);
		return;
	}
	log_debug("wired up: %u nodes", res->nnodes);
	memcpy(vm->key, res->key, sizeof(vm->key));
	if (res->table >= 0 && net_send_table(vm->net, res->key, res->node,
					      res->nnodes, res->table) < 0)
		vm_fail(vm, EXIT_VM_FAILED,
			"vmstep-net does not take the table of nodes");
	else if (vm->state == JOINING)
		boot(vm);
}

static void on_welcome(const char *link, void *arg)
{
	struct vm *vm = arg;
	int timeout_ms = vm->spec->boot_timeout_s < WIREUP_MS / 1000
				 ? (int)vm->spec->boot_timeout_s * 1000
				 : WIREUP_MS;
	bool wants_key = machine_wants_seed(vm->machine);
	struct errmsg err;
	int r = 0;

	if (vm->needs_wireup)
		r = wireup_start(vm->loop, vm->task, link, timeout_ms, on_wired,
				 vm, &vm->wireup, &err);
	else if (wants_key)
		r = seed_local_key(vm->task, vm->key, &err);
	if (r < 0)
		vm_fail(vm, EXIT_VM_FAILED, "%s", err.text);
	else if (vm->state == JOINING && !(wants_key && vm->needs_wireup))
		boot(vm);
}

static void on_lost(const char *text, void *arg)
{
	vm_lost(arg, text);
}

static void on_all(enum netctl_state state, void *arg)
{
	struct vm *vm = arg;

	log_debug("all VMs are %s", state == NETCTL_READY ? "ready" : "done");
	if (state == NETCTL_READY) {
		vm->all_ready = true;
		run_if_ready(vm);
	} else if (state == NETCTL_DONE) {
		vm->all_done = true;
		if (vm->state == LINGERING)
			vm_served(vm);
	}
}

static void on_net_gone(const char *why, void *arg)
{
	struct errmsg words;

	errmsg_say(&words, 0,
		   "vmstep-net, the step's network on this node, was lost: %s",
		   why);
	vm_lost(arg, words.text);
}

/* -- slurmstepd ------------------------------------------------------------ */

/* Nobody is left to tell a status, or to end us later. */
static void on_stepd_gone(void *arg)
{
	vm_lost(arg, "slurmstepd was lost; the VM ends");
}

/* -------------------------------------------------------------------------- */

static int make_timers(struct vm *vm, struct errmsg *err)
{
	int r;

	r = loop_timer_add(vm->loop, boot_ms(vm), on_boot_timer, vm,
			   &vm->boot_timer);
	if (r == 0)
		r = loop_timer_add(vm->loop, -1, on_say_timer, vm,
				   &vm->say_timer);
	if (r == 0)
		r = loop_timer_add(vm->loop, -1, vm_on_force_timer, vm,
				   &vm->force_timer);
	if (r == 0)
		r = loop_timer_add(vm->loop, -1, on_lost_timer, vm,
				   &vm->lost_timer);
	return r < 0 ? errmsg_set(err, r, "timers") : 0;
}

/* "vmresume" is the command that was saved. */
static int look_at_saved(struct vm *vm, struct errmsg *err)
{
	const struct restore *rs = machine_restore(vm->machine);

	if (vm->goes_on && !rs)
		return errmsg_say(
			err, -EINVAL,
			"vmresume goes on with the command of a saved step: name that by --vm-restore");
	if (!rs)
		return 0;
	vm->saved = restore_command(rs);
	if (vm->goes_on && is_saved_as(vm, "unknown"))
		return errmsg_say(
			err, -EOPNOTSUPP,
			"vmresume: QEMU's guest agent ran the saved command, and cannot go on with it: name a command");
	if (vm->goes_on) {
		vm->vmboot = is_saved_as(vm, "vmboot");
		loop_timer_set(vm->boot_timer, boot_ms(vm));
	}
	return 0;
}

/* All that can be refused before anything runs. */
static int prepare(struct vm *vm, struct errmsg *err)
{
	static const struct machine_ops ops = {
		.guest = { on_hello, on_guest_lost },
		.failed = on_failed,
		.reset = on_reset,
		.loaded = on_loaded,
		.paused = on_paused,
		.exited = vm_on_exited,
	};
	const struct task *t = vm->task;
	int r;

	vm->needs_wireup = rankset_count(&t->local_ranks) < t->ranks;
	r = start_params_check(t, vm->spec, vm->argv, err);
	if (r == 0 && !vm->spec->dry_run)
		r = summary_check(t, vm->spec, err);
	if (r == 0)
		r = machine_new(vm->loop, t, vm->spec, &ops, vm, &vm->machine,
				err);
	if (r == 0)
		r = look_at_saved(vm, err);
	if (r == 0 && vm->needs_wireup && !wireup_possible() &&
	    !vm->spec->dry_run)
		r = errmsg_say(
			err, -ENOSYS,
			"the step has tasks on several nodes, and VMs find each other by PMIx, which this step was not given: add --mpi=pmix");
	return r;
}

static int start_capture(struct vm *vm, struct errmsg *err)
{
	_cleanup_close_ int pipe = -1;
	int r;

	if (!vm->spec->capture)
		return 0;
	r = pcapfile_new(vm->spec->capture, &pipe, &vm->capture, err);
	if (r < 0)
		return r;
	r = net_capture(vm->net, pipe, true);
	return r < 0 ? errmsg_set(err, r, "--vm-capture") : 0;
}

/* What the command is at, for who saves the VM. */
static json_t *command_now(void *arg)
{
	struct vm *vm = arg;
	const char *program = NULL;
	json_int_t id = command_agents_id(vm->command, &program);

	if (vm->suspended)
		return NULL;
	if (vm->vmboot && vm->state != ENDING)
		return json_pack("{s:s}", "state", "vmboot");
	if (vm->state == LINGERING && vm->has_command)
		return json_pack("{s:s, s:i}", "state", "ended", "status",
				 vm->status);
	if (vm->state == LINGERING)
		return json_pack("{s:s}", "state", "none");
	if (vm->state != RUNNING || vm->collecting)
		return NULL;
	if (!id) /* QEMU's agent runs it, or it has just begun or ended */
		return guest_uses_qga(machine_guest(vm->machine))
			       ? json_pack("{s:s}", "state", "unknown")
			       : NULL;
	return json_pack("{s:s, s:I, s:s}", "state", "running", "proc", id,
			 "program", program);
}

/* As from a save, but that the VM is this one. */
static void went_back(void *arg, const json_t *command, const char *why)
{
	struct vm *vm = arg;

	if (!command)
		vm_fail(vm, EXIT_VM_FAILED, "%s", why);
	if (vm->state == ENDING)
		return;
	data_forget(vm->data);
	guest_went_back(machine_guest(vm->machine), why);
	loop_timer_set(vm->lost_timer, -1);
	if (vm_is_over(vm)) /* its command has ended since, too */
		return;
	tty_restore();
	command_free(TAKE_PTR(vm->command));
	json_decref(vm->snapshot);
	vm->snapshot = json_deep_copy(command);
	vm->saved = vm->snapshot;
	vm->goes_on = true;
	vm_enter(vm, BOOTING);
	loop_timer_set(vm->boot_timer, boot_ms(vm));
}

static int start_service(struct vm *vm, struct errmsg *err)
{
	const struct service_conf conf = {
		vm->loop,    vm->task,	   vm->spec,  vm->net,	 vm->machine,
		command_now, vm_end_saved, is_set_up, went_back, vm
	};

	return service_new(&conf, &vm->service, err);
}

static int begin(struct vm *vm, struct errmsg *err)
{
	static const struct net_ops ops = { on_welcome, on_all, on_lost,
					    on_net_gone };
	int r;

	r = loop_new(&vm->loop, err);
	if (r == 0)
		r = vm_watch_signals(vm, err);
	if (r == 0)
		r = make_timers(vm, err);
	if (r == 0)
		r = prepare(vm, err);
	if (r < 0 || vm->spec->dry_run)
		return r;
	r = parent_watch(vm->loop, (pid_t)vm->task->stepd, on_stepd_gone, vm,
			 &vm->stepd, err);
	if (r < 0)
		return r;
	vm_enter(vm, JOINING);
	r = data_new(vm->loop, vm->task, vm->spec, vm->machine, &vm->data, err);
	if (r == 0)
		r = start_prepare(vm, err);
	if (r == 0)
		r = net_new(vm->loop, vm->task, vm->spec, &ops, vm, &vm->net,
			    err);
	if (r == 0)
		r = start_service(vm, err);
	return r < 0 ? r : start_capture(vm, err);
}

/* After vmstep-net has seen us leave: it closes the pipe. */
static void end_capture(struct vm *vm)
{
	struct errmsg err;

	if (pcapfile_free(vm->capture, &err) < 0)
		log_err("%s", err.text);
}

/* A step that has run is not a failure for what is told of it. */
static void say_summary(struct vm *vm)
{
	struct errmsg err;

	if (vm->net &&
	    summary_say(vm->loop, vm->task, vm->spec, vm->net, &err) < 0)
		log_err("%s", err.text);
}

static void vm_done(struct vm *vm)
{
	service_free(vm->service);
	data_free(vm->data);
	machine_free(vm->machine);
	command_free(vm->command);
	tty_restore();
	net_free(vm->net);
	end_capture(vm);
	wireup_free(vm->wireup);
	parent_free(vm->stepd);
	loop_free(vm->loop);
	json_decref(vm->snapshot);
	explicit_bzero(vm->key, sizeof(vm->key));
}

int vm_main(const struct task *t, const struct spec *s, const char *const *argv)
{
	struct vm vm = { .task = t, .spec = s, .argv = argv };
	struct errmsg err;
	int status;

	oom_look(&vm.oom, OOM_PROC, OOM_ROOT);
	vm.vmboot = strcmp(argv[0], "vmboot") == 0 || s->exec == EXEC_NONE;
	vm.goes_on = strcmp(argv[0], "vmresume") == 0;
	vm.has_command = !s->run_head || t->rank == 0;
	if (begin(&vm, &err) < 0) {
		log_err("%s", err.text);
		if (!s->dry_run) /* nobody waits in one */
			vm_tell_failed(t, vm.net ? NULL : s, err.text);
		status = EXIT_VM_FAILED;
	} else if (s->dry_run) {
		status = machine_print(vm.machine) < 0 ? EXIT_VM_FAILED : 0;
	} else {
		status = loop_run(vm.loop);
		say_summary(&vm);
	}
	vm_done(&vm);
	return status < 0 ? EXIT_VM_FAILED : status;
}
