/* ucx_worker.h - one UCX worker in the loop, and endpoints to others
 *
 * Blocks in epoll: whatever comes wakes the loop, and an idle one does nothing.
 *
 * Owns:    UCX's context and worker; endpoints until they are closed.
 * Borrows: the loop.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_UCX_WORKER_H
#define VMSTEP_UCX_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"

#define UCX_HEADER_LEN 32

struct ucx_worker;
struct ucx_ep;

struct ucx_worker_events {
	/* A message, whoever it is from; @header has UCX_HEADER_LEN bytes, and
	 * both are the callee's until it returns. */
	void (*message)(const uint8_t *header, const uint8_t *data, size_t len,
			void *arg);
	/* One that is none of ours. */
	void (*stray)(void *arg);
	/* What was given to ucx_send() is not needed any more; whether it
	 * arrived nobody knows. May be called by ucx_send() itself. */
	void (*sent)(void *what, void *arg);
	/* @ep's @owner: nothing goes through it any more. From the loop. */
	void (*failed)(void *owner, const char *why, void *arg);
};

/* @rdma: InfiniBand or RoCE, else TCP; at @device, NULL: any. */
int ucx_worker_new(struct loop *l, bool rdma, const char *device,
		   const struct ucx_worker_events *events, void *arg,
		   struct ucx_worker **ret, struct errmsg *err);
/* What is being sent has a moment to leave. NULL is fine. */
void ucx_worker_free(struct ucx_worker *w);

/* What others need to reach it. */
const uint8_t *ucx_worker_address(const struct ucx_worker *w, size_t *ret_len);
/* Take what is there now. */
void ucx_worker_poll(struct ucx_worker *w);

/* To the worker with @address, which came from one that proved the key: UCX
 * does not check much of it. */
int ucx_ep_new(struct ucx_worker *w, const uint8_t *address, void *owner,
	       struct ucx_ep **ret, struct errmsg *err);
/* @header, of UCX_HEADER_LEN, and @data stay as they are until sent(@what). */
void ucx_send(struct ucx_ep *ep, const uint8_t *header, const void *data,
	      size_t len, void *what);
/* @in_order: what was sent is to arrive; then @fd (-1: none), owned from now
 * on, is closed, at once otherwise. No failed() follows; sent() does. */
void ucx_ep_close(struct ucx_ep *ep, bool in_order, int fd);

#endif
