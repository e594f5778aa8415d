/* op_ssh.h - sys.ssh: how to log in to a guest by ssh
 *
 * For guests with a seed (seed.h), which know the step's key pair. Only the
 * step's user is told.
 */
#ifndef VMSTEP_HELPER_OP_SSH_H
#define VMSTEP_HELPER_OP_SSH_H

#include "ops.h"
#include "service.h"

struct op_ssh;

extern const struct rpc_method op_ssh_methods[];

/* 0 or -errno. */
int op_ssh_new(const struct service_conf *conf, struct ops *ops,
	       struct op_ssh **ret);
void op_ssh_free(struct op_ssh *o); /* NULL is fine */

#endif
