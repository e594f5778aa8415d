/* fsmount.h - data that the host gives: mounted where it is wanted
 *
 *	fs.mount  a disk by its serial number, or a directory of the host's by
 *	          its tag (virtiofs, 9p); where it is mounted already, nothing
 *	fs.unmount
 *	fs.sync   all that was written is where it belongs
 *
 * Methods of rpc.h; each is a job (job.h). doc/agent-port.md says what they
 * take and give.
 */
#ifndef VMSTEP_FSMOUNT_H
#define VMSTEP_FSMOUNT_H

#include "agent.h"

void fsmount_mount(struct rpc_call *call, const json_t *params, void *agent);
void fsmount_unmount(struct rpc_call *call, const json_t *params, void *agent);
void fsmount_sync(struct rpc_call *call, const json_t *params, void *agent);

#endif
