/* vhost_wire.h - what QEMU and a vhost-user back end say to each other
 *
 * After the vhost-user specification (QEMU: docs/interop/vhost-user.rst).
 * Over a unix stream socket, in the host's byte order: a header, then size
 * bytes of payload; descriptors ride along.
 */
#ifndef VMSTEP_VHOST_WIRE_H
#define VMSTEP_VHOST_WIRE_H

#include <assert.h>
#include <stdint.h>

enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_LOG_BASE = 6,
	VHOST_SET_LOG_FD = 7,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_NET_SET_MTU = 20,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
	VHOST_REM_MEM_REG = 38,
	VHOST_REQUESTS,
};

#define VHOST_VERSION	   1u /* in the low two bits of flags */
#define VHOST_VERSION_MASK 3u
#define VHOST_REPLY	   (1u << 2)
#define VHOST_NEED_REPLY   (1u << 3)

#define VHOST_F_PROTOCOL_FEATURES 30 /* of GET_FEATURES */

enum vhost_protocol_feature {
	VHOST_PROTOCOL_MQ = 0,
	VHOST_PROTOCOL_LOG_SHMFD = 1,
	VHOST_PROTOCOL_REPLY_ACK = 3,
	VHOST_PROTOCOL_NET_MTU = 4,
	VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
};

#define VHOST_FDS_MAX	    8 /* with one message */
#define VHOST_TABLE_REGIONS 8 /* in one SET_MEM_TABLE */

#define VHOST_RING_INDEX 0xffu	   /* of KICK, CALL and ERR's u64 */
#define VHOST_RING_NO_FD (1u << 8) /* no descriptor: poll */

#define VHOST_ADDR_LOG (1u << 0) /* log writes to the used ring */

struct vhost_header {
	uint32_t request; /* enum vhost_request */
	uint32_t flags;
	uint32_t size; /* of the payload */
};
static_assert(sizeof(struct vhost_header) == 12, "as specified");

struct vhost_state {
	uint32_t index, num;
};
static_assert(sizeof(struct vhost_state) == 8, "as specified");

/* Addresses in the front end's own address space. */
struct vhost_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail;
	uint64_t log; /* guest address of the used ring, for the log */
};
static_assert(sizeof(struct vhost_addr) == 40, "as specified");

struct vhost_region {
	uint64_t guest, size; /* guest physical address */
	uint64_t user;	      /* in the front end's address space */
	uint64_t offset;      /* of the region in its descriptor */
};
static_assert(sizeof(struct vhost_region) == 32, "as specified");

struct vhost_table {
	uint32_t n, padding;
	struct vhost_region regions[VHOST_TABLE_REGIONS];
};
static_assert(sizeof(struct vhost_table) == 264, "as specified");

struct vhost_one_region {
	uint64_t padding;
	struct vhost_region region;
};
static_assert(sizeof(struct vhost_one_region) == 40, "as specified");

struct vhost_log {
	uint64_t size, offset;
};
static_assert(sizeof(struct vhost_log) == 16, "as specified");

union vhost_payload {
	uint64_t u64;
	struct vhost_state state;
	struct vhost_addr addr;
	struct vhost_table table;
	struct vhost_one_region region;
	struct vhost_log log;
};

#endif
