/* machine.h - QEMU with all that hangs on it, from its start to its exit
 *
 * Finds out what can be refused (image, accelerator) before anything runs,
 * starts QEMU stopped, pins its virtual CPUs, lets it run. What it reports
 * moves the VM's states, which are vm.c's.
 *
 * Owns:    QEMU, its plan, monitor, console, the agent's port.
 * Borrows: loop, task and spec, which outlive it.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_MACHINE_H
#define VMSTEP_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "guest.h"
#include "loop.h"
#include "netctl.h"
#include "qmp.h"
#include "spec.h"
#include "task.h"

struct machine;
struct console;
struct qemu_plan;
struct restore;
struct data_items;

struct machine_ops {
	struct guest_ops guest; /* the agent's */
	/* QEMU runs, but will not run the guest. */
	void (*failed)(const char *why, void *arg);
	/* The guest begins anew, by itself or not; QEMU runs on. */
	void (*reset)(bool by_guest, void *arg);
	/* What was saved is loaded; it goes on by machine_go_on(). */
	void (*loaded)(void *arg);
	/* Its CPUs were stopped, or go on. NULL: not wanted. */
	void (*paused)(bool paused, void *arg);
	/* QEMU has ended with @wstatus, and is reaped. Called once. */
	void (*exited)(int wstatus, void *arg);
};

/* Plan the machine; nothing runs yet, and in a dry run nothing is made. */
int machine_new(struct loop *l, const struct task *t, const struct spec *s,
		const struct machine_ops *ops, void *arg, struct machine **ret,
		struct errmsg *err);
/* Kills what still runs. NULL is fine. */
void machine_free(struct machine *m);

/* Does it want a seed of ours for cloud-init, and with that the step's key? */
bool machine_wants_seed(const struct machine *m);
/* The step's key, as its guest's seed had it; NULL: it had none. */
const uint8_t *machine_seed_key(const struct machine *m);
/* Is a kernel booted directly, without firmware or boot loader? */
bool machine_has_kernel(const struct machine *m);
/* Print addresses and QEMU's command line to stdout. */
int machine_print(const struct machine *m);

/* What has to be made before it can be started, copies of disks: @fn is called
 * when they are there, or with words. 1: it will be; 0: there is nothing to
 * make, @fn is not called. Call before there are threads. */
typedef void (*machine_prepared_fn)(const char *error, void *arg);
int machine_prepare(struct machine *m, machine_prepared_fn fn,
		    struct errmsg *err);
bool machine_is_prepared(const struct machine *m);

/* Start QEMU, once it is prepared. @net_fd (taken, also on failure): its end of
 * the network port, or -1. @key is looked at when a seed is wanted. */
int machine_start(struct machine *m, int net_fd,
		  const uint8_t key[NETCTL_KEY_LEN], struct errmsg *err);
bool machine_runs(const struct machine *m);
/* What of the node's data it was made to have, and how; borrowed. */
struct data_items *machine_data(struct machine *m);
struct guest *machine_guest(const struct machine *m); /* once started */

/* Its ports on the node's 127.0.0.1. */
const struct publish *machine_ports(const struct machine *m, size_t *ret_n);

/* The guest's serial console; NULL: not started. */
struct console *machine_console(const struct machine *m);

/* Have QEMU do @command, as qmp_send(); -ENOTCONN where it takes no orders. */
int machine_qmp(struct machine *m, const char *command, json_t *args,
		qmp_reply_fn fn, void *arg);
/* The same with @fd, as qmp_send_fd(). */
int machine_qmp_fd(struct machine *m, const char *command, json_t *args, int fd,
		   qmp_reply_fn fn, void *arg);
/* Have @fn called with what QEMU says of a migration: "completed", "failed",
 * ...; NULL: no more. */
typedef void (*machine_migration_fn)(const char *status, void *arg);
void machine_watch_migration(struct machine *m, machine_migration_fn fn,
			     void *arg);
/* The same of its jobs: "concluded", ... */
typedef void (*machine_job_fn)(const char *id, const char *status, void *arg);
void machine_watch_job(struct machine *m, machine_job_fn fn, void *arg);
/* What it is made of; borrowed. */
const struct qemu_plan *machine_plan(const struct machine *m);
/* What it was started from; NULL: it booted. */
struct restore *machine_restore(const struct machine *m);
/* It is restored, and loaded: let it run. */
void machine_go_on(struct machine *m);
/* Its state is being saved: it has to stay as it is. */
void machine_set_saving(struct machine *m, bool saving);
bool machine_is_saving(const struct machine *m);
/* Are its CPUs stopped, by someone's order? */
bool machine_is_paused(const struct machine *m);
pid_t machine_pid(const struct machine *m); /* 0: it does not run */

/* Is its disk to be saved? Was it the guest that switched off? */
bool machine_saves(const struct machine *m);
bool machine_was_shut_down(const struct machine *m);
/* QEMU has ended: save the disk. @done is called once, if this returns 0. */
typedef void (*machine_saved_fn)(const char *error, void *arg);
int machine_save(struct machine *m, machine_saved_fn done, struct errmsg *err);

/* Press the power button. */
void machine_powerdown(struct machine *m);
/* Ask QEMU to end. False where it cannot be asked; it is killed then. */
bool machine_quit(struct machine *m);
void machine_kill(struct machine *m);

/* Log what QEMU and the guest's console said last. */
void machine_last_words(struct machine *m);

#endif
