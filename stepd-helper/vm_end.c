#include <config.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "log.h"
#include "tty.h"
#include "value.h"
#include "vm_impl.h"

#define QUIT_MS		2000  /* for QEMU to end when told to */
#define FAILED_FENCE_MS 30000 /* a task that failed waits so for the others */

static void tell_failed(struct vm *vm)
{
	if (!vm->net || vm->told_done)
		return;
	vm->told_done = true;
	net_send_state(vm->net, NETCTL_FAILED);
}

void vm_fail(struct vm *vm, int status, const char *fmt, ...)
{
	char text[ERRMSG_MAX];
	va_list ap;

	if (vm->state == ENDING)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_err("%s", text);
	machine_last_words(vm->machine);
	tell_failed(vm);
	vm_end(vm, status);
}

bool vm_is_over(const struct vm *vm)
{
	return vm->state == ENDING ||
	       (vm->state == LINGERING && vm->has_command);
}

const char *vm_whose_end(const struct vm *vm)
{
	return vm->has_command ? "its command ended"
			       : "the command of task 0 ended, which it served";
}

void vm_lost(struct vm *vm, const char *why)
{
	if (vm->state == ENDING)
		return;
	if (vm_is_over(vm)) {
		vm_end(vm, vm->status);
		return;
	}
	log_err("%s", why);
	tell_failed(vm);
	vm_end(vm, EXIT_VM_FAILED);
}

/* -- QEMU's end ------------------------------------------------------------ */

static void stop_if_over(struct vm *vm)
{
	if (vm->state == ENDING && !machine_runs(vm->machine) && !vm->saving)
		loop_stop(vm->loop, vm->status);
}

void vm_on_force_timer(void *arg)
{
	struct vm *vm = arg;

	if (vm->state == ENDING && machine_runs(vm->machine)) {
		vm->forced = true;
		machine_kill(vm->machine);
	} else if (vm->vmboot) {
		vm_end(vm, vm->status);
	} else { /* had its grace after TERM */
		command_signal(vm->command, SIGKILL);
	}
}

/* -- a disk that is saved -------------------------------------------------- */

static void saved(struct vm *vm, const char *error)
{
	vm->saving = SAVES_NOT;
	if (error) {
		log_err("%s", error);
		vm->status = EXIT_VM_FAILED;
	}
	stop_if_over(vm);
}

static void on_saved(const char *error, void *arg)
{
	saved(arg, error);
}

/* QEMU has ended. */
static void save_disk(struct vm *vm)
{
	struct errmsg err;

	vm->saving = SAVES_WRITES;
	if (!machine_was_shut_down(vm->machine) && !vm->forced) {
		saved(vm,
		      "the disk is not saved: QEMU has ended before the guest had shut down");
	} else if (!machine_was_shut_down(vm->machine)) {
		errmsg_say(
			&err, 0,
			"the disk is not saved: the guest did not shut down by itself within %u s (--vm-grace)",
			vm->spec->grace_s);
		saved(vm, err.text);
	} else if (machine_save(vm->machine, on_saved, &err) < 0) {
		saved(vm, err.text);
	}
}

static void shut_down(struct vm *vm)
{
	if (guest_shutdown(machine_guest(vm->machine)) < 0)
		machine_powerdown(vm->machine);
	loop_timer_set(vm->force_timer, (int64_t)vm->spec->grace_s * 1000);
}

/* -- the end --------------------------------------------------------------- */

static bool is_saved(const struct vm *vm, int status)
{
	/* a step that is saved has its disks with it, and stands still */
	if (!machine_saves(vm->machine) || vm->step_saved)
		return false;
	if (status != 0 && status != EXIT_VM_FAILED &&
	    status != EXIT_BOOT_TIMEOUT)
		log_info("the disk is not saved: the status is %d, not 0",
			 status);
	return status == 0;
}

/* What is not kept need not be shut down by the guest: QEMU ends. */
void vm_end(struct vm *vm, int status)
{
	if (vm->state == ENDING)
		return;
	vm->status = status;
	loop_clock_go(); /* its end has to come in time, also while suspended */
	vm->saving = is_saved(vm, status) ? SAVES_WAITS : SAVES_NOT;
	vm_enter(vm, ENDING);
	loop_timer_set(vm->boot_timer, -1);
	if (vm->saving && machine_runs(vm->machine))
		shut_down(vm);
	else if (vm->saving)
		save_disk(vm);
	else if (machine_quit(vm->machine))
		loop_timer_set(vm->force_timer, QUIT_MS);
	stop_if_over(vm);
}

static void tell_done(struct vm *vm)
{
	if (vm->told_done)
		return;
	vm->told_done = true;
	net_send_state(vm->net, NETCTL_DONE);
}

/* Results that are not whole make a command fail that has ended well. */
static void results_lost(struct vm *vm, const char *error)
{
	log_err("results are not complete: %s", error);
	if (vm->status == 0)
		vm->status = EXIT_VM_FAILED;
}

void vm_end_saved(void *arg)
{
	struct vm *vm = arg;

	if (vm->state == ENDING)
		return;
	vm->step_saved = true;
	log_info("the step is saved, and ends here");
	tell_done(vm);
	vm_end(vm, 0);
}

static void command_over(struct vm *vm, int status)
{
	bool stay = status == 0 && (vm->spec->linger || !vm->has_command);

	tell_done(vm);
	vm->status = status;
	if (stay && !vm->all_done && vm->task->ranks > 1)
		vm_enter(vm, LINGERING);
	else
		vm_end(vm, status);
}

static void fail_for_memory(struct vm *vm, uint64_t limit)
{
	char of[16] = "", mem[16], reserve[16];

	if (limit)
		value_size_text(limit, of);
	value_size_text(vm->spec->mem_bytes, mem);
	value_size_text(vm->task->mem_reserve, reserve);
	vm_fail(vm, EXIT_VM_FAILED,
		"the memory limit%s%s was hit, and the kernel killed QEMU: its guest had %s, the site keeps %s back for QEMU; give the step more by --mem, or the guest less by --vm-mem",
		limit ? " of " : "", of, mem, reserve);
}

static void on_collected(const char *error, void *arg)
{
	struct vm *vm = arg;

	vm->collecting = false;
	if (vm->state == ENDING)
		return;
	if (error)
		results_lost(vm, error);
	command_over(vm, vm->status);
}

void vm_command_ended(struct vm *vm, int status)
{
	loop_timer_set(vm->force_timer, -1);
	vm->status = status;
	if (!vm->has_command || vm->vmboot || !data_has_results(vm->data)) {
		command_over(vm, status);
		return;
	}
	vm->collecting = true;
	vm_enter(vm, RUNNING);
	data_collect(vm->data, on_collected, vm);
}

static void on_served(const char *error, void *arg)
{
	struct vm *vm = arg;

	vm->collecting = false;
	if (vm->state == ENDING)
		return;
	if (error)
		results_lost(vm, error);
	vm_end(vm, vm->status);
}

void vm_served(struct vm *vm)
{
	if (vm->has_command || vm->vmboot || !data_has_results(vm->data)) {
		vm_end(vm, vm->status);
		return;
	}
	if (vm->collecting)
		return;
	vm->collecting = true;
	data_collect(vm->data, on_served, vm);
}

static void exited_early(struct vm *vm, int wstatus)
{
	bool clean = WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == 0;
	uint64_t limit;

	if (vm->vmboot && clean) {
		tell_done(vm);
		vm_end(vm, vm->status);
	} else if (clean) {
		vm_fail(vm, EXIT_VM_FAILED, "the guest %s before %s",
			vm->resets ? "reset itself" : "powered off",
			vm_whose_end(vm));
	} else if (WIFSIGNALED(wstatus) && WTERMSIG(wstatus) == SIGKILL &&
		   oom_struck(&vm->oom, &limit)) {
		fail_for_memory(vm, limit);
	} else if (WIFSIGNALED(wstatus)) {
		vm_fail(vm, EXIT_VM_FAILED, "QEMU was ended by signal %d (%s)",
			WTERMSIG(wstatus), strsignal(WTERMSIG(wstatus)));
	} else {
		vm_fail(vm, EXIT_VM_FAILED, "QEMU ended with status %d",
			WEXITSTATUS(wstatus));
	}
}

void vm_on_exited(int wstatus, void *arg)
{
	struct vm *vm = arg;

	service_changed(vm->service);
	if (vm_is_over(vm))
		vm_end(vm, vm->status);
	else
		exited_early(vm, wstatus);
	if (vm->saving == SAVES_WAITS)
		save_disk(vm);
	stop_if_over(vm);
}

/* -- a task that failed early ---------------------------------------------- */

static void ignore_text(const char *text, void *arg)
{
}

static void ignore_all(enum netctl_state state, void *arg)
{
}

/* Has the step tasks on other nodes? Without a description Slurm's own word
 * for it has to do. */
static bool has_other_nodes(const struct task *t)
{
	const char *nodes = getenv("SLURM_STEP_NUM_NODES");

	if (t->ranks)
		return rankset_count(&t->local_ranks) < t->ranks;
	return nodes && strcmp(nodes, "1") != 0;
}

void vm_tell_failed(const struct task *t, const struct spec *s, const char *why)
{
	static const struct net_ops ops = { ignore_text, ignore_all,
					    ignore_text, ignore_text };
	char text[ERRMSG_MAX + 64];
	struct loop *loop = NULL;
	struct net *net = NULL;

	snprintf(text, sizeof(text), "vm[%u]@%s failed: %s", t->rank,
		 t->node ? t->node : getenv("SLURMD_NODENAME"), why);
	/* its connection's end tells the other tasks of this node ... */
	if (t->step_dir && t->local_tasks > 1 && loop_new(&loop, NULL) == 0 &&
	    net_new(loop, t, s, &ops, NULL, &net, NULL) == 0)
		net_send_state(net, NETCTL_FAILED);
	/* ... and PMIx those of others */
	if (has_other_nodes(t) && wireup_possible())
		wireup_say_failed(text, FAILED_FENCE_MS);
	net_free(net);
	loop_free(loop);
}
