/* mux.h - one byte stream shared by control messages and many channels
 *
 * The port between vmstep-helper and vmstep-agent (doc/agent-port.md has the
 * frames on paper). Both ends use this module. It carries
 *   - control messages: JSON texts, in order, never behind data;
 *   - channels: byte streams in one direction each, with credit, end of file
 *     and reset, coupled to local descriptors or to callbacks.
 *
 * Owns:    buffers, channels, and the descriptors given to mux_send_fd() and
 *          mux_recv_fd(). Borrows the port's descriptor and the loop.
 * Thread:  the loop's.
 *
 * The peer is not trusted: a frame with a bad checksum, length, type or
 * channel, or more data than its credit, ends the conversation (down() with
 * the reason), and the bytes that follow are searched for the next SYNC.
 * Nothing here grows with what the peer sends: a control message is at most
 * MUX_CTRL_MAX, a channel holds at most its window, all together at most
 * MUX_WINDOW_SUM and a little more.
 *
 * SIGPIPE must be ignored. Callbacks come from the loop, never from a call of
 * ours, and any call may be made from any of them, mux_free() too.
 */
#ifndef VMSTEP_MUX_H
#define VMSTEP_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "loop.h"

#define MUX_PROTO_MIN 1
#define MUX_PROTO_MAX 1
/* Bytes of one control message: a message to a guest of a MiB, and what is
 * around it. */
#define MUX_CTRL_MAX   ((1024 + 64) * 1024)
#define MUX_CTRL_QUEUE (16 << 20) /* bytes of them that may wait unsent */
#define MUX_WINDOW     (1 << 20)  /* bytes in flight of one channel */
#define MUX_WINDOW_MIN (8 * 1024) /* ... where very many are open */
#define MUX_WINDOW_SUM (16 << 20) /* from here on windows are the least */
#define MUX_CHANNELS   1024	  /* open at once, both directions */

struct mux;

struct mux_peer {
	uint8_t boot_id[8]; /* random; another one means a new life */
	uint32_t proto;	    /* the version agreed on */
};

struct mux_ops {
	/* SYNC was exchanged; channels of an earlier life are gone. */
	void (*up)(const struct mux_peer *peer, void *arg);
	/* The peer is gone, restarted, or broke the rules: @why says so. All
	 * channels have been reset with ECONNRESET. up() may follow. */
	void (*down)(const char *why, void *arg);
	/* A whole control message, NUL-terminated, valid during the call. */
	void (*ctrl)(const char *text, size_t len, void *arg);
	/* May be NULL. The port itself has ended, after down() where it was up:
	 * nothing will come any more. (A character device does not end when
	 * nobody is at its other end: a guest's port waits for the host.) */
	void (*closed)(const char *why, void *arg);
};

/* Talk over @fd (borrowed; made non-blocking). Sends SYNC now, and again until
 * the peer has answered (the other end may not be there yet): after a second,
 * then ever more rarely, at least every 16 seconds. Conversations begin at
 * most five times a second. Returns 0 or -errno. */
int mux_new(struct loop *l, int fd, const struct mux_ops *ops, void *arg,
	    struct mux **ret, struct errmsg *err);
/* NULL is fine; closes what it owns. No callback is called any more. */
void mux_free(struct mux *m);
bool mux_is_up(const struct mux *m);
/* From the loop: the other end is known to be gone. As when it says so itself;
 * down() is called from here. */
void mux_end(struct mux *m, const char *why);

/* Queue a control message. -EMSGSIZE when longer than MUX_CTRL_MAX, -EINVAL
 * when empty, -ENOTCONN when down, -ENOBUFS when MUX_CTRL_QUEUE waits. */
int mux_ctrl(struct mux *m, const char *text, size_t len);

/* PING; @fn is called with the round trip in microseconds, or with -1 when
 * the peer went down first. -ENOTCONN when down, -EBUSY when MUX_PINGS are
 * unanswered. */
#define MUX_PINGS 16
typedef void (*mux_pong_fn)(int64_t rtt_us, void *arg);
int mux_ping(struct mux *m, mux_pong_fn fn, void *arg);

/* A channel has a number that the requester of the stream chose (1 and up; it
 * counts in one direction only: 3 out and 3 in are two), so both ends know it
 * before data flows. Either end may open first; the requester opens its end
 * before it asks, as the other end may be done with it at once.
 *
 * @error of the done callback: 0 at end of file with everything delivered into
 * the receiver's descriptor, else the errno that ended the stream (ECONNRESET
 * when the peer went away, what the peer's RESET said, or the local
 * descriptor's own). It is called once, from the loop, as soon as the end is
 * known; after an error the number is in use (-EBUSY) until the peer has
 * confirmed, so take another.
 *
 * Both return 0, -ENOTCONN when down, -EBUSY, -EMFILE past MUX_CHANNELS, or
 * another -errno. They own @fd from now on, also when they fail. It is made
 * non-blocking; as it may be a shared stdin or terminal, its flags are put back
 * when no channel uses it any more. */
typedef void (*mux_done_fn)(unsigned int chan, int error, void *arg);

/* Sender: read @fd until EOF and send it as channel @chan, as the peer's credit
 * allows. EIO of a pty counts as end of file. */
int mux_send_fd(struct mux *m, unsigned int chan, int fd, mux_done_fn done,
		void *arg);

/* Receiver: write what comes on @chan to @fd; credit goes back as it is
 * written; at end of file @fd is closed. A local write error (EPIPE) sends
 * RESET. */
int mux_recv_fd(struct mux *m, unsigned int chan, int fd, mux_done_fn done,
		void *arg);

/* End channel @chan of ours in mid-stream with @error for the peer. done() is
 * not called. -ENOENT when there is none. */
int mux_reset(struct mux *m, unsigned int chan, bool sending, int error);

/* Bytes that sending channel @chan has read from its descriptor and the
 * receiver's descriptor has not taken yet; -ENOENT when there is none. */
int64_t mux_unacked(const struct mux *m, unsigned int chan);

#endif
