#include <config.h>

#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "console.h"
#include "guest.h"
#include "log.h"
#include "loop.h"
#include "net.h"
#include "pin.h"
#include "plan.h"
#include "qemu.h"
#include "qmp.h"
#include "seed.h"
#include "tty.h"
#include "wireup.h"

#define SAY_AFTER_MS 5000 /* a longer wait says what it waits for */
#define SAY_AGAIN_MS 30000
#define QUIT_MS	     2000 /* for QEMU to end when told to */
#define FAILED_FENCE_MS                                                    \
	30000		    /* a task that failed waits so long for others \
			     */
#define WIREUP_MS     60000 /* Slurm starts a step's tasks within seconds */
#define LOST_MS	      1000  /* an agent that is gone may mean the end of QEMU */
#define CONSOLE_LINES 15
#define QEMU_LINES    5

enum state { JOINING, BOOTING, READY, RUNNING, LINGERING, ENDING };

struct vm {
	const struct task *task;
	const struct spec *spec;
	const char *const *argv;
	bool vmboot; /* the command is: boot, wait for the power-off */
	bool has_command;
	enum state state;
	int status; /* the task's exit status, once it is known */

	struct loop *loop;
	struct loop_timer *boot_timer, *say_timer, *force_timer, *lost_timer;
	char lost_why[200]; /* of the agent */
	int64_t state_since_ms;

	struct net *net;
	bool all_ready, all_done, told_done;
	bool needs_wireup;
	struct wireup *wireup;

	struct qemu_plan plan;
	char *qemu; /* its path */
	bool wants_seed, have_key;
	uint8_t key[NETCTL_KEY_LEN];
	pid_t pid; /* of QEMU; 0 when it does not run */
	struct qmp *qmp;
	struct console *console, *qemu_stderr;
	struct guest *guest;
	struct pin *pin;
	unsigned int resets;
	uint64_t held_signals; /* came before the command ran, by number */
};

static void vm_end(struct vm *vm, int status);
static void boot(struct vm *vm);

/* -- words ----------------------------------------------------------------- */

static void show_lines(const char *what, char *text)
{
	char *line;

	if (!text)
		return;
	while ((line = strsep(&text, "\n")))
		log_err("%s | %s", what, line);
}

/* What QEMU and the guest said last, on failure only. */
static void show_last_words(struct vm *vm)
{
	_cleanup_free_ char *qemu = NULL, *console = NULL;

	if (vm->qemu_stderr) {
		console_drain(vm->qemu_stderr);
		qemu = console_tail(vm->qemu_stderr, QEMU_LINES);
	}
	if (vm->console &&
	    !(vm->spec->console && strcmp(vm->spec->console, "off") == 0)) {
		console_drain(vm->console);
		console = console_tail(vm->console, CONSOLE_LINES);
	}
	show_lines("QEMU", qemu);
	show_lines("console", console);
}

static void tell_failed(struct vm *vm)
{
	if (!vm->net || vm->told_done)
		return;
	vm->told_done = true;
	net_send_state(vm->net, NETCTL_FAILED);
}

/* The VM is at fault: say so, with what it said last. */
static void vm_fail(struct vm *vm, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void vm_fail(struct vm *vm, int status, const char *fmt, ...)
{
	char text[ERRMSG_MAX];
	va_list ap;

	if (vm->state == ENDING)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_err("%s", text);
	show_last_words(vm);
	tell_failed(vm);
	vm_end(vm, status);
}

/* Something else is: the network, another task, a signal. */
static void vm_give_up(struct vm *vm, int status, const char *why)
{
	if (vm->state == ENDING)
		return;
	log_err("%s", why);
	tell_failed(vm);
	vm_end(vm, status);
}

static const char *waiting_for(const struct vm *vm)
{
	switch (vm->state) {
	case JOINING:
		return vm->wireup ? "the other nodes of the step (PMIx)"
				  : "the step's network (vmstep-net)";
	case BOOTING:
		return "the guest to boot and its agent to answer";
	case READY:
		return "every VM of the step to be reachable";
	default:
		return NULL;
	}
}

static void on_say_timer(void *arg)
{
	struct vm *vm = arg;
	const char *what = waiting_for(vm);

	/* for all ranks it would be the same line a thousand times */
	if (what && !vm->vmboot && (vm->task->rank == 0 || vm->spec->verbose))
		log_info("waiting for %s, for %lld s now", what,
			 (long long)(loop_now_ms() - vm->state_since_ms) /
				 1000);
	if (what)
		loop_timer_set(vm->say_timer, SAY_AGAIN_MS);
}

static void enter(struct vm *vm, enum state state)
{
	static const char *const names[] = { "joining", "booting",   "ready",
					     "running", "lingering", "ending" };

	log_debug("%s", names[state]);
	vm->state = state;
	vm->state_since_ms = loop_now_ms();
	loop_timer_set(vm->say_timer, waiting_for(vm) ? SAY_AFTER_MS : -1);
}

/* -- the end --------------------------------------------------------------- */

static void stop_if_over(struct vm *vm)
{
	if (vm->state == ENDING && vm->pid == 0)
		loop_stop(vm->loop, vm->status);
}

static void on_force_timer(void *arg)
{
	struct vm *vm = arg;

	if (vm->state == ENDING && vm->pid)
		kill(vm->pid, SIGKILL);
	else if (vm->vmboot)
		vm_end(vm, vm->status);
	else
		guest_signal(vm->guest, SIGKILL); /* had its grace after TERM */
}

/* Nothing of the guest is kept, so it is not asked to shut down: QEMU is. */
static void vm_end(struct vm *vm, int status)
{
	if (vm->state == ENDING)
		return;
	vm->status = status;
	enter(vm, ENDING);
	loop_timer_set(vm->boot_timer, -1);
	if (vm->pid && vm->qmp &&
	    qmp_send(vm->qmp, "quit", NULL, NULL, NULL) == 0)
		loop_timer_set(vm->force_timer, QUIT_MS);
	else if (vm->pid)
		kill(vm->pid, SIGKILL);
	stop_if_over(vm);
}

static void tell_done(struct vm *vm)
{
	if (vm->told_done)
		return;
	vm->told_done = true;
	if (net_send_state(vm->net, NETCTL_DONE) < 0)
		log_debug(
			"vmstep-net does not hear that the command has ended");
}

/* The command has ended with @status, or there is none here (0). */
static void command_ended(struct vm *vm, int status)
{
	bool stay = status == 0 && (vm->spec->linger || !vm->has_command);

	loop_timer_set(vm->force_timer, -1);
	tell_done(vm);
	vm->status = status;
	if (stay && !vm->all_done && vm->task->ranks > 1)
		enter(vm, LINGERING);
	else
		vm_end(vm, status);
}

static void on_qemu_exit(pid_t pid, int wstatus, void *arg)
{
	struct vm *vm = arg;
	bool clean = WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == 0;

	vm->pid = 0;
	switch (vm->state) {
	case ENDING:
		break;
	case LINGERING:
		vm_end(vm, vm->status);
		break;
	default:
		if (vm->vmboot && clean) {
			tell_done(vm);
			vm_end(vm, vm->status);
		} else if (clean) {
			vm_fail(vm, EXIT_VM_FAILED,
				vm->resets
					? "the guest reset itself before its command ended"
					: "the guest powered off before its command ended");
		} else if (WIFSIGNALED(wstatus)) {
			vm_fail(vm, EXIT_VM_FAILED,
				"QEMU was ended by signal %d (%s)",
				WTERMSIG(wstatus),
				strsignal(WTERMSIG(wstatus)));
		} else {
			vm_fail(vm, EXIT_VM_FAILED, "QEMU ended with status %d",
				WEXITSTATUS(wstatus));
		}
	}
	stop_if_over(vm);
}

/* -- the command ----------------------------------------------------------- */

static void on_command_exit(int status, const char *error, void *arg)
{
	struct vm *vm = arg;

	tty_restore();
	if (error)
		log_err("%s", error);
	command_ended(vm, status);
}

static void run_command(struct vm *vm)
{
	struct guest_cmd cmd = { .argv = vm->argv };
	struct winsize ws;

	enter(vm, RUNNING);
	if (tty_is_there()) {
		tty_size(&ws);
		cmd.pty = &ws;
		cmd.term = getenv("TERM");
		tty_raw();
	}
	if (guest_run(vm->guest, &cmd, on_command_exit, vm) < 0) {
		vm_fail(vm, EXIT_VM_FAILED,
			"the agent does not take the command (too long a list of arguments?)");
		return;
	}
	for (int sig = 1; sig < 64; sig++)
		if (vm->held_signals & 1ull << sig)
			guest_signal(vm->guest, sig);
}

static void run_if_ready(struct vm *vm)
{
	if (vm->state != READY || vm->vmboot)
		return;
	if (vm->spec->wait == WAIT_ALL && !vm->all_ready)
		return;
	if (vm->has_command)
		run_command(vm);
	else
		command_ended(vm, 0);
}

/* -- the guest ------------------------------------------------------------- */

static void now_ready(struct vm *vm)
{
	loop_timer_set(vm->boot_timer, -1);
	enter(vm, READY);
	net_send_state(vm->net, NETCTL_READY);
	run_if_ready(vm);
}

static void on_configured(const char *error, void *arg)
{
	struct vm *vm = arg;

	if (error)
		vm_fail(vm, EXIT_VM_FAILED,
			"the guest's network could not be set up: %s", error);
	else if (vm->state == BOOTING)
		now_ready(vm);
}

static void on_hello(void *arg)
{
	struct vm *vm = arg;

	if (vm->state != BOOTING && !vm->vmboot)
		return;
	if (guest_configure(vm->guest, on_configured, vm) < 0)
		vm_fail(vm, EXIT_VM_FAILED,
			"the guest's agent takes no orders");
	else if (vm->spec->wait == WAIT_AGENT && vm->state == BOOTING)
		now_ready(vm);
}

/* Its port closes also when QEMU ends or the guest resets; those say more, and
 * come within a moment. */
static void on_guest_lost(const char *why, void *arg)
{
	struct vm *vm = arg;

	if (vm->vmboot || vm->state == LINGERING || vm->state == ENDING)
		return;
	tty_restore();
	snprintf(vm->lost_why, sizeof(vm->lost_why), "%s", why);
	loop_timer_set(vm->lost_timer, LOST_MS);
}

static void on_lost_timer(void *arg)
{
	struct vm *vm = arg;

	vm_fail(vm, EXIT_VM_FAILED,
		"the guest's agent was lost before its command ended: %s",
		vm->lost_why);
}

/* -- QEMU ------------------------------------------------------------------ */

static void on_running(json_t *result, const char *error, void *arg)
{
	struct vm *vm = arg;

	if (error)
		vm_fail(vm, EXIT_VM_FAILED, "QEMU does not start the VM: %s",
			error);
}

static int pin_all(struct vm *vm, json_t *cpus, struct errmsg *err)
{
	size_t i;
	json_t *cpu;
	int r;

	r = pin_plan(vm->pin, vm->spec->cpus, vm->task->local_id,
		     vm->task->local_tasks, err);
	if (r <= 0) {
		if (r == 0)
			log_debug(
				"virtual CPUs are not pinned: the task's mask has fewer CPUs");
		return r;
	}
	json_array_foreach (cpus, i, cpu) {
		json_int_t tid =
			json_integer_value(json_object_get(cpu, "thread-id"));

		if (i >= vm->spec->cpus)
			break;
		r = pin_thread(vm->pin, (unsigned int)i, (pid_t)tid, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void on_cpus(json_t *result, const char *error, void *arg)
{
	struct vm *vm = arg;
	struct errmsg err;
	int r;

	if (error) {
		vm_fail(vm, EXIT_VM_FAILED, "QEMU does not tell its CPUs: %s",
			error);
		return;
	}
	r = pin_new(&vm->pin, &err);
	if (r == 0)
		r = pin_all(vm, result, &err);
	if (r < 0)
		log_warn("%s; the VM runs unpinned", err.text);
	qmp_send(vm->qmp, "cont", NULL, on_running, vm);
}

static void on_qmp_ready(void *arg)
{
	struct vm *vm = arg;

	if (vm->spec->bind == BIND_NONE)
		qmp_send(vm->qmp, "cont", NULL, on_running, vm);
	else
		qmp_send(vm->qmp, "query-cpus-fast", NULL, on_cpus, vm);
}

static void on_qmp_event(const char *name, json_t *data, void *arg)
{
	struct vm *vm = arg;

	log_debug("QEMU: %s", name);
	if (strcmp(name, "RESET") != 0 ||
	    !json_is_true(json_object_get(data, "guest")))
		return;
	vm->resets++;
	/* a kernel booted directly has no installer or firmware that would
	 * reboot: it panicked, and would do so again until the time is up */
	if (vm->state == RUNNING || vm->state == READY)
		vm_fail(vm, EXIT_VM_FAILED,
			"the guest reset itself before its command ended");
	else if (vm->state == BOOTING && vm->plan.kernel && !vm->vmboot)
		vm_fail(vm, EXIT_VM_FAILED,
			"the guest reset itself while it booted (a kernel panic?)");
}

static void on_qmp_gone(const char *why, void *arg)
{
	/* QEMU's exit, which comes with it, says more */
	log_debug("%s", why);
}

/* -- booting --------------------------------------------------------------- */

static void on_boot_timer(void *arg)
{
	struct vm *vm = arg;

	vm_fail(vm, EXIT_BOOT_TIMEOUT,
		"boot timeout: waited %u s for %s (--vm-boot-timeout)",
		vm->spec->boot_timeout_s,
		waiting_for(vm) ? waiting_for(vm) : "the guest");
}

/* One end for QEMU in the plan, the other returned. */
static int make_pair(struct vm *vm, enum qemu_fd which, struct errmsg *err)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return errmsg_set(err, -errno, "socket pair for QEMU");
	vm->plan.fd[which] = sv[0];
	return sv[1];
}

/* Where a copy of the console goes: *ret, -1 for nowhere. */
static int open_console_copy(const struct vm *vm, int *ret, struct errmsg *err)
{
	const char *to = vm->spec->console;

	*ret = -1;
	if (!to || strcmp(to, "off") == 0)
		return 0;
	if (strcmp(to, "stdout") == 0)
		*ret = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	else
		*ret = open(to,
			    O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
			    0666);
	return *ret >= 0 ? 0 : errmsg_set(err, -errno, "--vm-console=%s", to);
}

static int start_console(struct vm *vm, struct errmsg *err)
{
	int copy, fd, r;

	r = open_console_copy(vm, &copy, err);
	if (r < 0)
		return r;
	fd = make_pair(vm, QEMU_FD_CONSOLE, err);
	return fd < 0 ? fd : console_new(vm->loop, fd, copy, &vm->console, err);
}

static int start_qmp(struct vm *vm, struct errmsg *err)
{
	static const struct qmp_ops ops = { on_qmp_ready, on_qmp_event,
					    on_qmp_gone };
	int fd = make_pair(vm, QEMU_FD_QMP, err);

	return fd < 0 ? fd : qmp_new(vm->loop, fd, &ops, vm, &vm->qmp, err);
}

static int start_guest(struct vm *vm, struct errmsg *err)
{
	static const struct guest_ops ops = { on_hello, on_guest_lost };
	int fd = make_pair(vm, QEMU_FD_AGENT, err);

	return fd < 0 ? fd
		      : guest_new(vm->loop, fd, vm->task, vm->spec, &ops, vm,
				  &vm->guest, err);
}

static int start_qemu(struct vm *vm, struct errmsg *err)
{
	int fd = -1, r;

	r = qemu_start(&vm->plan, vm->qemu, &vm->pid, &fd, err);
	if (r < 0)
		return r;
	qemu_plan_close_fds(&vm->plan);
	r = console_new(vm->loop, fd, -1, &vm->qemu_stderr, err);
	if (r == 0)
		r = loop_child(vm->loop, vm->pid, on_qemu_exit, vm);
	return r;
}

static int start_machine(struct vm *vm, struct errmsg *err)
{
	int r = 0;

	if (vm->wants_seed) {
		vm->plan.fd[QEMU_FD_SEED] =
			seed_make(vm->task, vm->spec, vm->key, err);
		if (vm->plan.fd[QEMU_FD_SEED] < 0)
			return vm->plan.fd[QEMU_FD_SEED];
	}
	if (vm->spec->net != NET_NONE)
		vm->plan.fd[QEMU_FD_NET] = net_port_fd(vm->net);
	r = start_console(vm, err);
	if (r == 0)
		r = start_qmp(vm, err);
	if (r == 0)
		r = start_guest(vm, err);
	if (r == 0)
		r = start_qemu(vm, err);
	return r;
}

static void boot(struct vm *vm)
{
	struct errmsg err;

	enter(vm, BOOTING);
	if (start_machine(vm, &err) < 0)
		vm_fail(vm, EXIT_VM_FAILED, "%s", err.text);
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
	vm->have_key = true;
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
	struct errmsg err;
	int r = 0;

	if (vm->needs_wireup)
		r = wireup_start(vm->loop, vm->task, link, timeout_ms, on_wired,
				 vm, &vm->wireup, &err);
	else if (vm->wants_seed)
		r = seed_local_key(vm->task, vm->key, &err);
	if (r < 0)
		vm_fail(vm, EXIT_VM_FAILED, "%s", err.text);
	else if (vm->state == JOINING && !(vm->wants_seed && vm->needs_wireup))
		boot(vm);
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
			vm_end(vm, vm->status);
	}
}

/* Did the command end well here? Then what is lost now changes nothing. */
static bool is_over(const struct vm *vm)
{
	return vm->state == ENDING ||
	       (vm->state == LINGERING && vm->has_command);
}

static void on_lost(const char *text, void *arg)
{
	struct vm *vm = arg;

	if (is_over(vm))
		vm_end(vm, vm->status);
	else
		vm_give_up(vm, EXIT_VM_FAILED, text);
}

static void on_net_gone(void *arg)
{
	struct vm *vm = arg;
	struct errmsg words;
	char last[ERRMSG_MAX / 2];

	net_last_words(vm->task, last, sizeof(last));
	errmsg_say(&words, 0,
		   "vmstep-net, the step's network on this node, was lost%s%s",
		   last[0] ? ": " : "", last);
	if (is_over(vm))
		vm_end(vm, vm->status);
	else
		vm_give_up(vm, EXIT_VM_FAILED, words.text);
}

/* -- signals --------------------------------------------------------------- */

static bool ends_a_process(int sig)
{
	return sig == SIGTERM || sig == SIGINT || sig == SIGHUP ||
	       sig == SIGQUIT;
}

static void signal_vmboot(struct vm *vm, int sig)
{
	vm->status = 128 + sig;
	if (guest_shutdown(vm->guest) < 0)
		qmp_send(vm->qmp, "system_powerdown", NULL, NULL, NULL);
	loop_timer_set(vm->force_timer, (int64_t)vm->spec->grace_s * 1000);
}

static void on_signal(const struct signalfd_siginfo *si, void *arg)
{
	struct vm *vm = arg;
	int sig = (int)si->ssi_signo;
	struct winsize ws;

	log_debug("signal %d (%s)", sig, strsignal(sig));
	if (sig == SIGWINCH) {
		tty_size(&ws);
		if (vm->state == RUNNING)
			guest_resize(vm->guest, &ws);
	} else if (vm->vmboot && vm->pid && ends_a_process(sig) &&
		   vm->state != ENDING) {
		signal_vmboot(vm, sig);
	} else if (vm->state == RUNNING) {
		guest_signal(vm->guest, sig);
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

static int watch_signals(struct vm *vm, struct errmsg *err)
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

/* -------------------------------------------------------------------------- */

static int make_timers(struct vm *vm, struct errmsg *err)
{
	int64_t boot_ms =
		vm->vmboot ? -1 : (int64_t)vm->spec->boot_timeout_s * 1000;
	int r;

	r = loop_timer_add(vm->loop, boot_ms, on_boot_timer, vm,
			   &vm->boot_timer);
	if (r == 0)
		r = loop_timer_add(vm->loop, -1, on_say_timer, vm,
				   &vm->say_timer);
	if (r == 0)
		r = loop_timer_add(vm->loop, -1, on_force_timer, vm,
				   &vm->force_timer);
	if (r == 0)
		r = loop_timer_add(vm->loop, -1, on_lost_timer, vm,
				   &vm->lost_timer);
	return r < 0 ? errmsg_set(err, r, "timers") : 0;
}

/* All that can be refused before anything runs. */
static int prepare(struct vm *vm, struct errmsg *err)
{
	const struct task *t = vm->task;
	struct errmsg why_not;
	int r;

	vm->needs_wireup = rankset_count(&t->local_ranks) < t->ranks;
	vm->qemu = qemu_find(t->qemu, err);
	if (!vm->qemu)
		return -ENOENT;
	r = plan_accel(t, vm->spec, &vm->plan, &why_not, err);
	if (r == 0)
		r = plan_prepare(t, vm->spec, &vm->plan, &vm->wants_seed, err);
	if (r == 0 && vm->needs_wireup && !wireup_possible() &&
	    !vm->spec->dry_run)
		r = errmsg_say(
			err, -ENOSYS,
			"the step has tasks on several nodes, and VMs find each other by PMIx, which this step was not given: add --mpi=pmix");
	if (r == 0 && !vm->plan.kvm && vm->spec->accel == ACCEL_AUTO &&
	    t->rank == 0 && !vm->spec->dry_run)
		log_info(
			"no KVM on %s (%s): guests run under TCG, some 20 times slower",
			t->node, why_not.text);
	return r;
}

static int begin(struct vm *vm, struct errmsg *err)
{
	static const struct net_ops ops = { on_welcome, on_all, on_lost,
					    on_net_gone };
	int r;

	r = loop_new(&vm->loop, err);
	if (r == 0)
		r = watch_signals(vm, err);
	if (r == 0)
		r = make_timers(vm, err);
	if (r == 0)
		r = prepare(vm, err);
	if (r < 0 || vm->spec->dry_run)
		return r;
	enter(vm, JOINING);
	return net_new(vm->loop, vm->task, vm->spec, &ops, vm, &vm->net, err);
}

static void reap_qemu(struct vm *vm)
{
	if (!vm->pid)
		return;
	kill(vm->pid, SIGKILL);
	waitpid(vm->pid, NULL, 0);
}

static void vm_done(struct vm *vm)
{
	reap_qemu(vm);
	tty_restore();
	guest_free(vm->guest);
	qmp_free(vm->qmp);
	console_free(vm->console);
	console_free(vm->qemu_stderr);
	pin_free(vm->pin);
	net_free(vm->net);
	wireup_free(vm->wireup);
	qemu_plan_done(&vm->plan);
	loop_free(vm->loop);
	explicit_bzero(vm->key, sizeof(vm->key));
	free(vm->qemu);
}

int vm_main(const struct task *t, const struct spec *s, const char *const *argv)
{
	struct vm vm = { .task = t, .spec = s, .argv = argv };
	struct errmsg err;
	int status;

	vm.vmboot = strcmp(argv[0], "vmboot") == 0;
	vm.has_command = !s->run_head || t->rank == 0;
	qemu_plan_init(&vm.plan);
	if (begin(&vm, &err) < 0) {
		log_err("%s", err.text);
		vm_tell_failed(t, vm.net ? NULL : s, err.text);
		status = EXIT_VM_FAILED;
	} else if (s->dry_run) {
		status = plan_print(&vm.plan, vm.qemu) < 0 ? EXIT_VM_FAILED : 0;
	} else {
		status = loop_run(vm.loop);
	}
	vm_done(&vm);
	return status < 0 ? EXIT_VM_FAILED : status;
}

/* -- a task that failed early ---------------------------------------------- */

static void ignore_text(const char *text, void *arg)
{
}

static void ignore_all(enum netctl_state state, void *arg)
{
}

static void ignore(void *arg)
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
					    ignore_text, ignore };
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
