/* command.h - run one of the guest's own programs, as modprobe or systemctl */
#ifndef VMSTEP_COMMAND_H
#define VMSTEP_COMMAND_H

#include "errmsg.h"
#include "loop.h"

/* How it ended, as waitpid() says; exit status 127: it could not be run. */
typedef void (*command_fn)(int wstatus, void *arg);

/* As root, with /dev/null as its stdin and stdout and our stderr. Returns 0 or
 * -errno with words, and then @fn is not called. */
int command_run(struct loop *l, const char *const *argv, command_fn fn,
		void *arg, struct errmsg *err);

#endif
