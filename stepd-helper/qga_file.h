/* qga_file.h - files of the guest by QEMU's guest agent, in blocks
 *
 * file.read, file.write, file.get and file.put where ours is not there:
 * guest-file-open, -seek, -read or -write, -close. As the agent's own user, in
 * place, without modes and times: what asks for more is refused by E_NOTSUP.
 *
 * Owns:   what is under way, and its descriptors. Borrows loop and agent.
 * Thread: the loop's.
 */
#ifndef VMSTEP_QGA_FILE_H
#define VMSTEP_QGA_FILE_H

#include <jansson.h>
#include <sys/queue.h>

#include "loop.h"
#include "qga.h"
#include "rpc.h"

#define QGA_FILE_BLOCK (256 * 1024)

enum qga_file_kind {
	QGA_FILE_READ,
	QGA_FILE_WRITE,
	QGA_FILE_GET,
	QGA_FILE_PUT,
};

struct qga_file;
struct qga_files {
	LIST_HEAD(, qga_file) list;
};

void qga_files_init(struct qga_files *all);
/* Those that are under way are answered: the task ends. */
void qga_files_done(struct qga_files *all);

/* Do it, and answer @call. @params as vmstep-api(7) has them. */
void qga_file_begin(struct qga_files *all, struct loop *l, struct qga *q,
		    struct rpc_call *call, enum qga_file_kind kind,
		    const json_t *params);

#endif
