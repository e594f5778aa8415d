/* power.h - vm.shutdown: end the guest in an orderly way
 *
 * The request is answered at once. Then the guest's own means are tried: one
 * systemctl, else poweroff or reboot as SysV's or busybox's init has them; and
 * where none of these does it, sync and reboot(2).
 */
#ifndef VMSTEP_POWER_H
#define VMSTEP_POWER_H

#include <jansson.h>

#include "errmsg.h"
#include "agent.h"

/* @params of vm.shutdown. */
int power_parse(const json_t *params, int *ret_how, struct errmsg *err);
void power_free(struct agent *a);
void power_shutdown(struct rpc_call *call, const json_t *params, void *agent);

#endif
