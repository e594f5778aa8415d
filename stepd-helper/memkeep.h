/* memkeep.h - the helper that keeps a node's fabric-attached memory
 *
 * The lowest rank's of the node: what is where in the window it knows, and what
 * others want of the items there it carries out (memwire.h), each request once
 * and whole, in the order in which one task's come. All other helpers have the
 * window only.
 *
 * Owns:    the window, which is opened when it is first asked for; regions and
 *          items; requests that wait for room for their answers: so many bytes
 *          of them in all, then RPC_E_BUSY asks for others to be sent again.
 * Borrows: the task, its spec, the peers.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_HELPER_MEMKEEP_H
#define VMSTEP_HELPER_MEMKEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "memdir.h"
#include "peers.h"
#include "spec.h"
#include "task.h"
#include "window.h"

#define MEMKEEP_WAITING (64 * 1024 * 1024)

struct memkeep;

/* NULL: no memory. */
struct memkeep *memkeep_new(const struct task *t, const struct spec *s,
			    struct peers *p);
void memkeep_free(struct memkeep *k); /* NULL is fine */

/* The rank whose helper keeps this node's. */
uint32_t memkeep_keeper(const struct memkeep *k);
/* Is that task on this node? */
bool memkeep_is_here(const struct memkeep *k, uint32_t rank);
/* NULL with words: as window_open() says, in *ret_errno if not NULL. */
struct window *memkeep_window(struct memkeep *k, int *ret_errno,
			      struct errmsg *err);
/* The same; where we are not the keeper NULL, and -ENOENT. */
struct memdir *memkeep_dir(struct memkeep *k, int *ret_errno,
			   struct errmsg *err);

/* A request of @from's has come. */
void memkeep_request(struct memkeep *k, uint32_t from, const char *msg,
		     size_t len);
/* To @ret (PEERS_SHORT bytes) what is answered instead of that, which nobody
 * has taken for too long; returns its length. */
size_t memkeep_given_up(const char *answer, size_t len, char *ret);
/* There may be room for answers. */
void memkeep_go_on(struct memkeep *k);

/* So many bytes may wait (MEMKEEP_WAITING); so many do. */
void memkeep_let_wait(struct memkeep *k, size_t bytes);
size_t memkeep_waiting(const struct memkeep *k);

#endif
