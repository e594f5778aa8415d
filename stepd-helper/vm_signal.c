#include <config.h>

#include <signal.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "tty.h"
#include "vm_impl.h"

static bool ends_a_process(int sig)
{
	return sig == SIGTERM || sig == SIGINT || sig == SIGHUP ||
	       sig == SIGQUIT;
}

static void signal_vmboot(struct vm *vm, int sig)
{
	vm->status = 128 + sig;
	if (guest_shutdown(machine_guest(vm->machine)) < 0)
		machine_powerdown(vm->machine);
	loop_timer_set(vm->force_timer, (int64_t)vm->spec->grace_s * 1000);
}

/* Slurm suspends a job by SIGTSTP, and two seconds later by SIGSTOP, to all
 * processes of its steps. QEMU and vmstep-net do not heed the one. Until it
 * goes on no time passes for us: nobody is late who is stopped, too. */
static void suspend(struct vm *vm)
{
	struct machine *m = vm->machine;

	if (vm->suspended || vm->state == ENDING)
		return;
	log_debug("suspended");
	vm->suspended = true;
	loop_clock_stop();
	vm->paused_by_us = machine_runs(m) && !machine_is_paused(m) &&
			   machine_qmp(m, "stop", NULL, NULL, NULL) == 0;
}

static void resume(struct vm *vm)
{
	log_debug("no more suspended");
	vm->suspended = false;
	loop_clock_go();
	/* who saves it lets it go on */
	if (vm->paused_by_us && machine_runs(vm->machine) &&
	    !machine_is_saving(vm->machine))
		machine_qmp(vm->machine, "cont", NULL, NULL, NULL);
	vm->paused_by_us = false;
}

static void on_signal(const struct signalfd_siginfo *si, void *arg)
{
	struct vm *vm = arg;
	int sig = (int)si->ssi_signo;
	struct winsize ws;

	log_debug("signal %d (%s)", sig, strsignal(sig));
	if (sig == SIGTSTP) {
		suspend(vm);
		return;
	}
	if (vm->suspended && (sig == SIGCONT || ends_a_process(sig))) {
		resume(vm);
		if (sig == SIGCONT)
			return;
	} else if (sig == SIGCONT) { /* SIGSTOP came without a warning */
		service_woke(vm->service);
	}
	if (sig == SIGWINCH) {
		tty_size(&ws);
		if (vm->state == RUNNING)
			command_resize(vm->command, &ws);
	} else if (vm->vmboot && machine_runs(vm->machine) &&
		   ends_a_process(sig) && vm->state != ENDING) {
		signal_vmboot(vm, sig);
	} else if (vm->state == RUNNING) {
		command_signal(vm->command, sig);
		if (sig == SIGTERM)
			loop_timer_set(vm->force_timer,
				       (int64_t)vm->spec->grace_s * 1000);
	} else if (ends_a_process(sig) && vm->state == LINGERING) {
		vm_end(vm, vm->has_command ? vm->status : 128 + sig);
	} else if (ends_a_process(sig)) {
		vm_fail(vm, 128 + sig,
			"ended by signal %d (%s) before the command ran", sig,
			strsignal(sig));
	} else if (sig < 64) {
		vm->held_signals |= 1ull << sig;
	}
}

int vm_watch_signals(struct vm *vm, struct errmsg *err)
{
	static const int signals[] = { SIGHUP,	SIGINT,	 SIGQUIT, SIGUSR1,
				       SIGUSR2, SIGALRM, SIGTERM, SIGCONT,
				       SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH,
				       SIGXCPU, SIGURG };
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(signals) && r == 0; i++)
		r = loop_signal(vm->loop, signals[i], on_signal, vm, err);
	return r;
}

void vm_pass_held_signals(struct vm *vm)
{
	for (int sig = 1; sig < 64; sig++)
		if (vm->held_signals & 1ull << sig)
			command_signal(vm->command, sig);
	vm->held_signals = 0;
}
