/* test_driver.h - a guest's virtio-net driver, without the guest
 *
 * What QEMU and a guest's kernel do with a vhost-user port, in the process of
 * a test or benchmark: sealed memory, split rings of virtio 1.x in it, frames
 * behind virtio_net_hdr. A ring is numbered as in vhost-user: 2 * pair
 * receives, 2 * pair + 1 sends.
 *
 * Frames are written and read where they lie: a ring has so many slots, each a
 * buffer in the guest's memory with its descriptors made in advance. Nothing
 * is allocated or asked of the kernel for a frame; indexes are published when
 * told to, and eventfds are written only where the device wants them.
 *
 * A hostile test reaches the rings (driver_ring(), driver_gpa()) and the
 * protocol (driver_fe()) behind the driver's back.
 *
 * Owns:   the memory, the eventfds; the socket, from driver_new() on.
 * Thread: one at a time.
 * Errors: -errno; -EPROTO for what a device may not do. The driver is of no
 *         more use then.
 */
#ifndef VMSTEP_TEST_DRIVER_H
#define VMSTEP_TEST_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "errmsg.h"
#include "test_frontend.h"

#define DRIVER_BUFFERS_MAX 128 /* that one received frame may fill */
#define DRIVER_PIECES_MAX  32  /* descriptors of one frame to send */
#define DRIVER_PAIRS_MAX   8
#define DRIVER_HDR	   sizeof(struct virtio_net_hdr_v1)

#define DRIVER_RX(pair) (2 * (pair))
#define DRIVER_TX(pair) (2 * (pair) + 1)

#define DRIVER_BIT(name) (1ull << (name))

/* What a Linux guest on QEMU usually has. */
#define DRIVER_OFFLOADS                                                        \
	(DRIVER_BIT(VIRTIO_NET_F_CSUM) | DRIVER_BIT(VIRTIO_NET_F_GUEST_CSUM) | \
	 DRIVER_BIT(VIRTIO_NET_F_HOST_TSO4) |                                  \
	 DRIVER_BIT(VIRTIO_NET_F_HOST_TSO6) |                                  \
	 DRIVER_BIT(VIRTIO_NET_F_HOST_ECN) |                                   \
	 DRIVER_BIT(VIRTIO_NET_F_GUEST_TSO4) |                                 \
	 DRIVER_BIT(VIRTIO_NET_F_GUEST_TSO6) |                                 \
	 DRIVER_BIT(VIRTIO_NET_F_GUEST_ECN))
#define DRIVER_USUAL                           \
	(DRIVER_BIT(VIRTIO_NET_F_MRG_RXBUF) |  \
	 DRIVER_BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 DRIVER_BIT(VIRTIO_RING_F_INDIRECT_DESC) | DRIVER_OFFLOADS)

/* 0 is a default, everywhere. */
struct driver_conf {
	unsigned int pairs;	 /* 1 */
	unsigned int num;	 /* descriptors of a ring: 256 */
	uint64_t features;	 /* wanted besides VERSION_1: none */
	size_t tx_bytes;	 /* longest frame to send: 2048 */
	size_t rx_bytes;	 /* a receive buffer, header included: 2048 */
	unsigned int pieces;	 /* most descriptors of a frame to send: 1 */
	unsigned int rx_pieces;	 /* descriptors of a receive buffer: 1 */
	unsigned int mtu;	 /* NET_SET_MTU, where the device offers it */
	bool indirect;		 /* use INDIRECT_DESC, if it was negotiated */
	bool regions;		 /* memory in three regions, not in one */
	bool unsealed;		 /* memory may be cut, as DPDK's */
	bool mem_slots;		 /* by ADD_MEM_REG, not by SET_MEM_TABLE */
	bool no_ack;		 /* without REPLY_ACK */
	void (*pump)(void *arg); /* see struct fe */
	void *arg;
};

struct driver;

/* A driver for the back end behind @fd, which is taken, also on failure. Says
 * nothing yet. */
int driver_new(int fd, const struct driver_conf *conf, struct driver **ret,
	       struct errmsg *err);
void driver_free(struct driver *d); /* NULL is fine; just hangs up */

/* All that QEMU says until frames flow: the four below, in this order, for
 * every ring. */
int driver_start(struct driver *d, struct errmsg *err);

int driver_negotiate(struct driver *d, struct errmsg *err);
int driver_share_memory(struct driver *d, struct errmsg *err);
int driver_set_ring(struct driver *d, unsigned int ring, struct errmsg *err);
int driver_enable(struct driver *d, unsigned int ring, bool on);

/* As QEMU does when the guest stops: the device's place in the ring. */
int driver_stop_ring(struct driver *d, unsigned int ring, uint16_t *ret);
/* The rings as they were at first, with all receive buffers offered: a guest
 * that resets its device. Only while the rings are stopped. */
void driver_reset(struct driver *d);

/* -- sending -------------------------------------------------------------- */

/* Room for the next frame: 1, or 0 when the ring is full. The frame is written
 * to **@ret, and driver_post() has it sent. */
int driver_room(struct driver *d, unsigned int pair, uint8_t **ret);
/* Post the frame of @len bytes that was written to driver_room(); in @pieces
 * descriptors, 1..conf.pieces, of which the first has the header alone if
 * there are more. @hdr NULL: all 0. */
void driver_post(struct driver *d, unsigned int pair,
		 const struct virtio_net_hdr_v1 *hdr, size_t len,
		 unsigned int pieces);
/* Both, with a copy of @frame, published and kicked. -EAGAIN: full. */
int driver_send(struct driver *d, unsigned int pair,
		const struct virtio_net_hdr_v1 *hdr, const void *frame,
		size_t len, unsigned int pieces);
/* Frames that were posted and that the device still has. */
unsigned int driver_pending(struct driver *d, unsigned int pair);

/* -- receiving ------------------------------------------------------------ */

struct driver_frame {
	struct virtio_net_hdr_v1 hdr;
	size_t len; /* without the header */
	unsigned int n;
	struct iovec piece[DRIVER_BUFFERS_MAX];
	uint16_t slot[DRIVER_BUFFERS_MAX];
};

/* The next frame: 1, or 0 when there is none now. It stays in the guest's
 * memory until driver_refill() offers its buffers again; that is published by
 * driver_publish() on the receive ring. */
int driver_recv(struct driver *d, unsigned int pair, struct driver_frame *ret);
void driver_refill(struct driver *d, unsigned int pair,
		   const struct driver_frame *f);
/* Copy it out; returns its length, cut at @size. */
size_t driver_frame_copy(const struct driver_frame *f, void *to, size_t size);

/* -- notifications -------------------------------------------------------- */

/* Let the device see what was posted or refilled on @ring; kick it if it asks
 * for that. Returns whether it was kicked. */
bool driver_publish(struct driver *d, unsigned int ring);
void driver_kick(struct driver *d, unsigned int ring); /* in any case */
/* Ask for a call when the device has used @after (1..) more entries than the
 * driver has seen. True: it has already. */
bool driver_arm(struct driver *d, unsigned int ring, unsigned int after);
int driver_call_fd(const struct driver *d, unsigned int ring); /* borrowed */
void driver_called(struct driver *d, unsigned int ring); /* its fd was ready */
/* Until the device has used something on @ring: 1, or 0 after @ms. */
int driver_wait(struct driver *d, unsigned int ring, int ms);

/* -- behind its back ------------------------------------------------------ */

struct fe *driver_fe(struct driver *d);
struct vring *driver_ring(struct driver *d, unsigned int ring);
uint64_t driver_features(const struct driver *d); /* as negotiated */
uint64_t driver_protocol(const struct driver *d);
int driver_memory_fd(const struct driver *d);
size_t driver_regions(const struct driver *d, const struct fe_region **ret);
/* Where @p, in the guest's memory, is for the guest. */
uint64_t driver_gpa(const struct driver *d, const void *p);
/* The buffer of a slot: its header begins there. */
uint8_t *driver_buffer(struct driver *d, unsigned int ring, unsigned int slot);

#endif
