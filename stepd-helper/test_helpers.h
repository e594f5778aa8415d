/* test_helpers.h - the helpers of a step in one process, for tests
 *
 * With what they do for other tasks, and real vmstep-nets. A test asks as a
 * user's program or a guest does.
 */
#ifndef VMSTEP_HELPER_TEST_HELPERS_H
#define VMSTEP_HELPER_TEST_HELPERS_H

#include <jansson.h>
#include <stdint.h>

#include "op_mem.h"
#include "op_msg.h"
#include "op_store.h"
#include "op_sync.h"
#include "op_world.h"
#include "ops.h"
#include "peers.h"
#include "test_step.h"

#define WAIT_MS	    60000
#define TASKS_MAX   8
#define HELPERS_OPS 1250 /* at once, of a task: 10,000 in all */

extern struct step s;
extern struct loop *loop;
extern json_t *answers; /* by id */
extern int last_id;
extern uint64_t helpers_fam; /* each node has such a window; 0: none */

extern struct helper {
	struct task task;
	struct ops *ops;
	struct peers *peers;
	struct op_msg *msg;
	struct op_store *store;
	struct op_sync *sync;
	struct op_world *world;
	struct op_mem *mem;
	struct ops_origin user, guest;
	struct rpc *user_rpc, *guest_rpc;
} helpers[TASKS_MAX];

void begin(uint32_t nnodes, uint32_t per_node);
void end(void);
void run_a_little(void);
/* Its helper, port and all, which says nothing any more. */
void lose_task(uint32_t rank);
/* The user's, that has asked it; another may come. */
void end_program(uint32_t rank);
void restart_net(uint32_t node);
const char *window_file(uint32_t node);
/* The window of @node, mapped; helpers_fam bytes. */
uint8_t *map_window(uint32_t node);

/* @params may have ' for ". The id, to ask for the answer by. */
int ask_by(struct rpc *rpc, const char *method, const char *params);
int ask(uint32_t rank, const char *method, const char *params);

json_t *find_answer(int id); /* NULL: none yet */
json_t *answer(int id);	     /* waits for it */
json_t *result(int id);	     /* and it is no error */
int error_code(int id);
const char *words(int id); /* of an error */
json_int_t number(const json_t *o, const char *name);

#endif
