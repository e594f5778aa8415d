/* service.h - what a task answers: its ops, and the socket for its user
 *
 * task.RANK.sock in the step's directory (vmstep-api(7)); what the guest asks
 * comes by its agent. Each module of ops is made here and gets what it is
 * about.
 *
 * Owns:   the ops, their modules, the socket. Borrows the rest.
 * Thread: the loop's.
 */
#ifndef VMSTEP_SERVICE_H
#define VMSTEP_SERVICE_H

#include <jansson.h>

#include "errmsg.h"
#include "loop.h"
#include "machine.h"
#include "net.h"
#include "spec.h"
#include "task.h"

struct service;

struct service_conf {
	struct loop *loop;
	const struct task *task;
	const struct spec *spec;
	struct net *net;
	struct machine *machine;
	/* Of the VM, whose words they are: what its command is at, as
	 * restore_command() has it (a new reference; NULL: it is not there
	 * yet, or it ends); its end, as it was saved; and whether its guest
	 * has its network and data since its agent is there. NULL in tests. */
	json_t *(*command)(void *vm);
	void (*end)(void *vm);
	bool (*is_set_up)(void *vm);
	/* The guest is as it was when command() said @command; ops that it was
	 * asked end with @why. @command NULL: it is in pieces, as @why says. */
	void (*went_back)(void *vm, const json_t *command, const char *why);
	void *vm;
};

int service_new(const struct service_conf *conf, struct service **ret,
		struct errmsg *err);
/* NULL is fine; before the machine's and the net's ends. */
void service_free(struct service *s);

/* The machine has been started: its agent may ask, too. */
void service_has_guest(struct service *s);
/* The agent has said hello, is gone, or has set its guest up; the VM is paused,
 * or goes on. */
void service_changed(struct service *s);
/* The guest has reset itself. */
void service_reset(struct service *s);
/* All of us were stopped for a while, and did not see it come. NULL is fine. */
void service_woke(struct service *s);

/* The VM was restored, and is loaded: @fn is called when all of the step are.
 */
void service_meet(struct service *s, void (*fn)(const char *error, void *arg),
		  void *arg);

#endif
