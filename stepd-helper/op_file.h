/* op_file.h - file.* and tree.*: files of the guest, for the step's user
 *
 * The agent does it (doc/agent-port.md has what it takes and gives), as the
 * user that the step's command runs as, unless another is named. The data of a
 * copy goes between the user's descriptor, which comes with the request, and a
 * channel of the agent's port: through this process, and not through JSON.
 */
#ifndef VMSTEP_HELPER_OP_FILE_H
#define VMSTEP_HELPER_OP_FILE_H

#include "errmsg.h"
#include "ops.h"
#include "service.h"

struct op_file;

extern const struct rpc_method op_file_methods[];

/* The descriptor that came for the data of @call, as "io" of @params says; the
 * caller's. -EINVAL with words. */
int op_file_take_data(struct rpc_call *call, const json_t *params,
		      struct errmsg *err);

int op_file_new(const struct service_conf *conf, struct ops *ops,
		struct op_file **ret);
void op_file_free(struct op_file *f); /* NULL is fine */

#endif
