/* filecopy.h - files and trees into the guest and out of it, by a channel
 *
 * Methods of rpc.h; each is a job (job.h). doc/agent-port.md says what they
 * take and give, lib/filedata.h and lib/tree.h what goes through the channel.
 */
#ifndef VMSTEP_FILECOPY_H
#define VMSTEP_FILECOPY_H

#include "agent.h"

void filecopy_get(struct rpc_call *call, const json_t *params, void *agent);
void filecopy_put(struct rpc_call *call, const json_t *params, void *agent);
void filecopy_tree_get(struct rpc_call *call, const json_t *params,
		       void *agent);
void filecopy_tree_put(struct rpc_call *call, const json_t *params,
		       void *agent);

#endif
