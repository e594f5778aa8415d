/* test_frontend.h - vhost-user as QEMU speaks it, for tests
 *
 * The front end's half of the protocol (QEMU: docs/interop/vhost-user.rst),
 * written from its text and not from vmstep-net's half, so that a test finds
 * where the two differ. Messages are plain structs: a hostile test changes one
 * before it goes out, or sends any bytes with any descriptors.
 *
 * Borrows: the socket.
 * Errors:  -errno; -ETIMEDOUT when nothing comes within FE_WAIT_MS,
 *          -ENOTCONN when the other end hangs up, -EPROTO for an answer that
 *          is none.
 */
#ifndef VMSTEP_TEST_FRONTEND_H
#define VMSTEP_TEST_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/vhost_types.h>

#define FE_WAIT_MS     60000
#define FE_FDS_MAX     16
#define FE_REGIONS_MAX 8

enum fe_request {
	FE_GET_FEATURES = 1,
	FE_SET_FEATURES,
	FE_SET_OWNER,
	FE_RESET_OWNER,
	FE_SET_MEM_TABLE,
	FE_SET_LOG_BASE,
	FE_SET_LOG_FD,
	FE_SET_VRING_NUM,
	FE_SET_VRING_ADDR,
	FE_SET_VRING_BASE,
	FE_GET_VRING_BASE,
	FE_SET_VRING_KICK,
	FE_SET_VRING_CALL,
	FE_SET_VRING_ERR,
	FE_GET_PROTOCOL_FEATURES,
	FE_SET_PROTOCOL_FEATURES,
	FE_GET_QUEUE_NUM,
	FE_SET_VRING_ENABLE,
	FE_SEND_RARP,
	FE_NET_SET_MTU,
	FE_SET_BACKEND_REQ_FD,
	FE_GET_MAX_MEM_SLOTS = 36,
	FE_ADD_MEM_REG,
	FE_REM_MEM_REG,
};

/* Bits of the protocol's features. */
enum fe_protocol {
	FE_PROTOCOL_MQ = 0,
	FE_PROTOCOL_LOG_SHMFD = 1,
	FE_PROTOCOL_RARP = 2,
	FE_PROTOCOL_REPLY_ACK = 3,
	FE_PROTOCOL_MTU = 4,
	FE_PROTOCOL_BACKEND_REQ = 5,
	FE_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
};

#define FE_F_PROTOCOL_FEATURES 30 /* a bit among the virtio features */

#define FE_VERSION    1u
#define FE_REPLY      (1u << 2)
#define FE_NEED_REPLY (1u << 3)
#define FE_NO_FD      (1u << 8) /* of SET_VRING_KICK and its like */

struct fe_region {
	uint64_t gpa, bytes, user, offset;
};

struct fe_msg {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct {
			uint32_t n, padding;
			struct fe_region regions[FE_REGIONS_MAX];
		} memory;
		struct {
			uint64_t padding;
			struct fe_region region;
		} mem_reg;
		struct {
			uint64_t bytes, offset;
		} log;
		uint8_t bytes[512];
	};
} __attribute__((packed));

#define FE_HEADER offsetof(struct fe_msg, u64)

struct fe {
	int fd;
	bool ack; /* REPLY_ACK was negotiated */
	/* Called again and again while an answer is awaited, where the back
	 * end runs in the test's own thread; NULL: it does not. */
	void (*pump)(void *arg);
	void *arg;
};

/* Any bytes, with any descriptors. */
int fe_send(struct fe *fe, const void *bytes, size_t len, const int *fds,
	    size_t n_fds);
/* The next message from the back end. */
int fe_recv(struct fe *fe, struct fe_msg *ret);
/* Did it hang up? Waits for it. */
bool fe_hung_up(struct fe *fe);

/* One message of @size bytes of payload, with flags as they should be. What
 * has no answer of its own is acknowledged, where that was negotiated; a
 * refusal is -EREMOTEIO. */
int fe_tell(struct fe *fe, struct fe_msg *msg, uint32_t request, size_t size,
	    const int *fds, size_t n_fds);
int fe_tell_u64(struct fe *fe, uint32_t request, uint64_t value);
int fe_tell_state(struct fe *fe, uint32_t request, uint32_t ring,
		  uint32_t value);
/* KICK, CALL or ERR; @fd -1: none. */
int fe_tell_fd(struct fe *fe, uint32_t request, uint32_t ring, int fd);
/* Send @msg as fe_tell(), and put its answer in its place. */
int fe_ask(struct fe *fe, struct fe_msg *msg, uint32_t request, size_t size);
int fe_ask_u64(struct fe *fe, uint32_t request, uint64_t *ret);

/* Until @fd is readable: 1, or 0 after @ms. */
int fe_wait(struct fe *fe, int fd, int ms);

#endif
