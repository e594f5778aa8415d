/* op_console.h - vm.console: the guest's serial console, for who attaches */
#ifndef VMSTEP_HELPER_OP_CONSOLE_H
#define VMSTEP_HELPER_OP_CONSOLE_H

#include "machine.h"
#include "ops.h"

struct op_console;

extern const struct rpc_method op_console_methods[];

/* 0 or -errno. */
int op_console_new(struct machine *m, struct ops *ops, struct op_console **ret);
void op_console_free(struct op_console *o); /* NULL is fine */

#endif
