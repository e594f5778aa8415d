/* op_code.h - code.run: a piece of code of some language, run in the guest
 *
 * By a process of the guest's (opcall.h) that is fed the code: never by the
 * agent itself. How the code gets its arguments, and we its value, is the
 * language's affair: shells, Python, and all others.
 */
#ifndef VMSTEP_OP_CODE_H
#define VMSTEP_OP_CODE_H

#include "ops.h"
#include "service.h"

struct op_code;

extern const struct rpc_method op_code_methods[];

int op_code_new(const struct service_conf *conf, struct ops *ops,
		struct op_code **ret);
void op_code_free(struct op_code *c); /* NULL is fine */

/* Part the output of code (@len bytes) from its value, behind the last @mark:
 * *ret_len is what was output. NULL: it has none. A text that is no JSON is
 * itself the value where @text is set. */
json_t *op_code_value(const char *out, size_t len, const char *mark, bool text,
		      size_t *ret_len, struct errmsg *err);

#endif
