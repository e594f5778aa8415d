/* op_capture.h - net.capture: what goes through the VM's port, as it goes
 *
 * vmstep-net writes it, as for --vm-capture; who reads it may be slow, and ends
 * it by leaving.
 */
#ifndef VMSTEP_OP_CAPTURE_H
#define VMSTEP_OP_CAPTURE_H

#include "ops.h"
#include "service.h"

struct op_capture;

extern const struct rpc_method op_capture_methods[];

int op_capture_new(const struct service_conf *conf, struct ops *ops,
		   struct op_capture **ret);
void op_capture_free(struct op_capture *o); /* NULL is fine */

#endif
