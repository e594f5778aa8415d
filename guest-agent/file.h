/* file.h - what the host asks about files, but for copies (filecopy.h)
 *
 * Methods of rpc.h; each is a job (job.h). doc/agent-port.md says what they
 * take and give.
 */
#ifndef VMSTEP_FILE_H
#define VMSTEP_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "agent.h"

#define FILE_IO_MAX 65536 /* bytes of file.read and file.write */

void file_hash(struct rpc_call *call, const json_t *params, void *agent);
void file_list(struct rpc_call *call, const json_t *params, void *agent);
void file_mkdir(struct rpc_call *call, const json_t *params, void *agent);
void file_read(struct rpc_call *call, const json_t *params, void *agent);
void file_readlink(struct rpc_call *call, const json_t *params, void *agent);
void file_remove(struct rpc_call *call, const json_t *params, void *agent);
void file_rename(struct rpc_call *call, const json_t *params, void *agent);
void file_set(struct rpc_call *call, const json_t *params, void *agent);
void file_stat(struct rpc_call *call, const json_t *params, void *agent);
void file_symlink(struct rpc_call *call, const json_t *params, void *agent);
void file_truncate(struct rpc_call *call, const json_t *params, void *agent);
void file_write(struct rpc_call *call, const json_t *params, void *agent);

/* -- for those who do it --------------------------------------------------- */

/* Parameter @name, which has to be there. */
int file_need(const json_t *params, const char *name, char **ret,
	      struct errmsg *err);
/* Make the directories that lead to @path; with @all, @path itself, too. *made
 * (may be NULL): the last one was not there before. -errno. */
int file_make_parents(const char *path, bool all, bool *made);
/* {"type", "size", "mode", "uid", "gid", "mtime_ns"} */
json_t *file_stat_json(const struct stat *st);

#endif
