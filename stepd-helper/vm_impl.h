/* vm_impl.h - what the parts of the VM's life share; see vm.h for the contract
 *
 *   vm.c         the states but for the last: joining to running
 *   vm_end.c     the ways to the end, and the words for them
 *   vm_signal.c  signals of the step
 *
 * Only functions that are named here move a VM from one state to another.
 */
#ifndef VMSTEP_VM_IMPL_H
#define VMSTEP_VM_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"
#include "data.h"
#include "loop.h"
#include "machine.h"
#include "net.h"
#include "oom.h"
#include "parent.h"
#include "service.h"
#include "vm.h"
#include "wireup.h"

/* Of a disk that is to be saved, in ENDING. */
enum vm_saving { SAVES_NOT, SAVES_WAITS, SAVES_WRITES };

enum vm_state { JOINING, BOOTING, READY, RUNNING, LINGERING, ENDING };

struct vm {
	const struct task *task;
	const struct spec *spec;
	const char *const *argv;
	bool vmboot; /* the command is: boot, wait for the power-off */
	/* What the command was at, of --vm-restore or of a snapshot, ours. */
	const json_t *saved;
	json_t *snapshot;
	bool goes_on; /* the command is: go on with that */
	bool has_command;
	enum vm_state state;
	int status; /* the task's exit status, once it is known */

	struct loop *loop;
	struct loop_timer *boot_timer, *say_timer, *force_timer, *lost_timer;
	char lost_why[200]; /* of the agent */
	int64_t state_since_ms;

	struct parent *stepd;
	struct net *net;
	struct pcapfile *capture;
	struct service *service; /* NULL: not yet */
	bool all_ready, all_done, told_done;
	bool needs_wireup;
	enum vm_saving saving; /* waits: for the guest to shut down */
	bool forced;	 /* it had its grace for that, and we ended QEMU */
	bool wants_boot; /* when the copies of its disks are there */
	struct wireup *wireup;

	struct machine *machine;
	struct command *command; /* NULL: none runs here */
	struct data *data;
	/* of the guest, since its agent's last hello */
	bool data_ready, net_ready, setting_up;
	bool collecting; /* the command has ended, its results are fetched */
	uint8_t key[NETCTL_KEY_LEN];
	unsigned int resets;
	uint64_t held_signals; /* came before the command ran, by number */
	struct oom oom;	       /* kills before there was a QEMU */
	bool suspended;	       /* by SIGTSTP, until SIGCONT */
	bool paused_by_us;     /* for that */
	bool loading;	       /* what was saved, or others still do */
	bool step_saved;       /* it ends by vmstep save --stop */
};

/* -- vm.c ------------------------------------------------------------------ */

void vm_enter(struct vm *vm, enum vm_state state);

/* -- vm_end.c: each does nothing when the VM is ENDING already --------------
 */

/* The VM is at fault: say so, with what it said last. */
void vm_fail(struct vm *vm, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Has the command ended here, as far as there is one? What is lost now changes
 * nothing. A VM that serves the head's command (--vm-run=head) is needed until
 * it is told to end. */
bool vm_is_over(const struct vm *vm);
/* "its command ended", or whose end this VM is needed for. */
const char *vm_whose_end(const struct vm *vm);
/* It was saved, and goes on from there another time. */
void vm_end_saved(void *vm);
/* Something that is needed was lost: the network, another task. No fault
 * where the command has ended well here. */
void vm_lost(struct vm *vm, const char *why);
/* End QEMU, then the loop with @status. */
void vm_end(struct vm *vm, int status);
/* The command has ended with @status, or there is none here (0). */
void vm_command_ended(struct vm *vm, int status);
/* The command that this VM served is over: end it, with its results. */
void vm_served(struct vm *vm);
/* machine_ops' exited. */
void vm_on_exited(int wstatus, void *arg);
/* The time given by force_timer is up. */
void vm_on_force_timer(void *arg);

/* -- vm_signal.c ----------------------------------------------------------- */

int vm_watch_signals(struct vm *vm, struct errmsg *err);
/* The command runs: pass on what came before it did. */
void vm_pass_held_signals(struct vm *vm);

#endif
