/* mux_impl.h - what the parts of the mux share; see mux.h for the contract
 *
 *   mux.c       the conversation: SYNC, control messages, pings
 *   mux_chan.c  channels and their descriptors
 *   mux_port.c  the port: bytes in and out, and whose turn it is
 */
#ifndef VMSTEP_MUX_IMPL_H
#define VMSTEP_MUX_IMPL_H

#include <stdlib.h>
#include <sys/queue.h>

#include "frame.h"
#include "mux.h"

#define MUX_SYNC_MIN_MS 1000 /* between two SYNCs that are not answered */

enum owes {
	OWES_CREDIT = 1 << 0,
	OWES_EOF = 1 << 1,
	OWES_RESET = 1 << 2,
};

struct chan {
	struct mux *mux;
	TAILQ_ENTRY(chan) all, owing, ready;
	unsigned int id;
	bool sending;
	bool half_open; /* the peer's wish, nobody here has opened it */
	bool eof;	/* sender: read to its end; receiver: EOF came */
	bool ended;	/* the owner knows; only last frames are missing */
	bool last_sent, last_got;
	bool is_ready; /* sender: in the list of those with data */
	unsigned int owes;
	int error; /* that RESET will tell */

	int fd;	      /* owned */
	int fd_flags; /* to be put back, or -1 */
	struct loop_io *io;
	mux_done_fn done;
	void *arg;

	uint64_t moved;	   /* bytes sent, or received */
	uint64_t consumed; /* of these, bytes in the receiver's descriptor */
	uint64_t limit;	   /* how far the sender may go */
	uint32_t window;   /* receiver's */

	uint8_t *buf; /* receiver's: window bytes, a ring, when needed */
	size_t head, len;
};
TAILQ_HEAD(chan_list, chan);

struct message {
	STAILQ_ENTRY(message) next;
	size_t len, off;
	char text[];
};

struct ping {
	STAILQ_ENTRY(ping) next;
	bool sent;
	int64_t start_us;
	mux_pong_fn fn;
	void *arg;
};

struct mux {
	struct loop *loop;
	int fd; /* borrowed */
	struct loop_io *io;
	struct loop_timer *pump_timer, *sync_timer, *retry_timer;
	struct loop_timer *credit_timer, *away_timer;
	struct mux_ops ops;
	void *arg;
	unsigned int busy; /* callbacks of ours on the stack */
	bool dead;	   /* freed by one of them */
	bool may_return;   /* the port is a device: its end is not for ever */
	bool closed, blocked;
	int64_t away_ms;

	bool up, quiet, owes_sync;
	uint8_t nonce[FRAME_NONCE_LEN], peer_nonce[FRAME_NONCE_LEN];
	uint8_t boot_id[FRAME_BOOT_ID_LEN];
	uint32_t peer_max; /* payload bytes */
	uint64_t sent;
	int64_t up_ms, sync_ms;

	struct chan_list chans, owing, ready;
	unsigned int n_chans;
	size_t window_sum;
	bool credit_due;

	STAILQ_HEAD(, message) ctrl_out;
	size_t ctrl_out_bytes;
	char *ctrl_in; /* the message that is coming; NULL: none is */
	size_t ctrl_in_len;

	STAILQ_HEAD(, ping) pings;
	unsigned int n_pings, n_pongs;
	uint64_t pongs[MUX_PINGS];

	int64_t partial_ms; /* since when a frame is incomplete; 0: none is */
	size_t in_off, in_len, out_off, out_len;
	uint8_t in[4 * FRAME_MAX], out[FRAME_MAX];
};

/* A callback of the loop is inside: mux_free() leaves the memory to it. */
static inline void mux_enter(struct mux *m)
{
	m->busy++;
}

static inline void mux_leave(struct mux *m)
{
	if (--m->busy == 0 && m->dead)
		free(m);
}

/* There is something to send: from the loop, soon. */
static inline void mux_kick(struct mux *m)
{
	loop_timer_set(m->pump_timer, 0);
}

/* -- mux.c ----------------------------------------------------------------- */

/* End the conversation, if there is one; the mux may be dead afterwards. */
void mux_down(struct mux *m, const char *why);
/* ... because the peer has done @what it must not. */
void mux_refuse(struct mux *m, const char *what);

void mux_take_sync(struct mux *m, const struct frame *f, const uint8_t *p);
void mux_take_ctrl(struct mux *m, const struct frame *f, const uint8_t *p);
void mux_take_ping(struct mux *m, const uint8_t *p);
void mux_take_pong(struct mux *m, const uint8_t *p);
/* What is due of each goes to the batch, as far as there is room. */
void mux_put_sync(struct mux *m);
void mux_put_pings(struct mux *m);
void mux_put_ctrl(struct mux *m);
void mux_on_sync_timer(void *mux);

/* -- mux_chan.c ------------------------------------------------------------ */

/* DATA, CREDIT, EOF, RESET */
void mux_chan_take(struct mux *m, const struct frame *f, const uint8_t *p);
void mux_chan_put_owed(struct mux *m);
/* One frame of the channel whose turn it is; false: none has data. */
bool mux_chan_put_data(struct mux *m);
/* All channels end with ECONNRESET; the mux may be dead afterwards. */
void mux_chan_end_all(struct mux *m);
void mux_chan_free_all(struct mux *m); /* and nobody is told */
void mux_chan_on_credit_timer(void *mux);

/* -- mux_port.c ------------------------------------------------------------ */

size_t mux_room(const struct mux *m); /* bytes of the batch */
/* Add a frame; its payload is at @p, or already in its place (NULL). */
void mux_put(struct mux *m, struct frame f, const void *p);
void mux_port_on_ready(uint32_t events, void *mux);
void mux_port_on_timer(void *mux);
void mux_port_on_away(void *mux);

#endif
