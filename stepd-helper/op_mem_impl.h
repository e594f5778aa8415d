/* op_mem_impl.h - what op_mem.c and op_mem_data.c share; see op_mem.h */
#ifndef VMSTEP_HELPER_OP_MEM_IMPL_H
#define VMSTEP_HELPER_OP_MEM_IMPL_H

#include <sys/queue.h>

#include "errmsg.h"
#include "memhome.h"
#include "memkeep.h"
#include "memlink.h"
#include "memword.h"
#include "op_mem.h"

#define OP_MEM_ASKERS 3 /* users, guests, tasks: enum ops_who */

struct op_mem {
	struct loop *loop;
	const struct task *task;
	struct ops *ops;
	struct peers *peers;
	struct memkeep *keep;
	struct memlink *link;
	struct memhome *home;
	LIST_HEAD(, quiet) quiets;
	/* What nobody waited for, and failed, since mem.quiet was last asked.
	 */
	struct late {
		unsigned int failed;
		int code;
		struct errmsg err;
	} late[OP_MEM_ASKERS];
};

/* Who asks. */
struct mem_who op_mem_who(const struct op_mem *m, const struct rpc_call *call);
/* Are region and item (with @item) numbers? If not, they are looked up, and
 * @call comes again with them as @method, or is answered. */
bool op_mem_resolved(struct op_mem *m, struct rpc_call *call,
		     const char *method, const json_t *params, bool item);
bool op_mem_item_resolved(struct op_mem *m, struct rpc_call *call,
			  const char *method, const json_t *params,
			  const char *region_key, const char *item_key);

/* A word's bits by its JSON (-EINVAL: not of that type), and the other way. */
int op_mem_word_from_json(const json_t *v, enum memword_type type,
			  uint64_t *ret);
json_t *op_mem_word_to_json(enum memword_type type, uint64_t bits);

/* Those of mem.quiet that wait for nothing any more are answered. */
void op_mem_end_quiets(void *op_mem);
void op_mem_data_done(struct op_mem *m);

#endif
