/* ucx_lib.h - UCX's library, loaded when it is wanted
 *
 * libucp reads the user's environment, takes signals and changes malloc() as
 * soon as it is loaded: so it is not linked, and none of that happens where
 * links are of another kind. What the user has set for it (UCX_*) is taken out
 * of the environment before.
 *
 * Thread:  the one that runs the loop, before others are there.
 */
#ifndef VMSTEP_UCX_LIB_H
#define VMSTEP_UCX_LIB_H

#include <ucp/api/ucp.h>

#include "errmsg.h"

#define UCX_LIB_FUNCTIONS(X)              \
	X(ucp_config_read)                \
	X(ucp_config_modify)              \
	X(ucp_config_release)             \
	X(ucp_init_version)               \
	X(ucp_cleanup)                    \
	X(ucp_worker_create)              \
	X(ucp_worker_destroy)             \
	X(ucp_worker_get_address)         \
	X(ucp_worker_release_address)     \
	X(ucp_worker_get_efd)             \
	X(ucp_worker_arm)                 \
	X(ucp_worker_progress)            \
	X(ucp_worker_set_am_recv_handler) \
	X(ucp_ep_create)                  \
	X(ucp_ep_flush_nbx)               \
	X(ucp_ep_close_nbx)               \
	X(ucp_am_send_nbx)                \
	X(ucp_request_check_status)       \
	X(ucp_request_free)               \
	X(ucs_status_string)

struct ucx_lib {
#define UCX_LIB_MEMBER(name) __typeof__(name) *name;
	UCX_LIB_FUNCTIONS(UCX_LIB_MEMBER)
#undef UCX_LIB_MEMBER
};

/* @rdma: it will register memory, and has to see when that goes. 0 with the
 * library, which stays; -ENOENT with words where this machine has none. */
int ucx_lib_load(bool rdma, const struct ucx_lib **ret, struct errmsg *err);

#endif
