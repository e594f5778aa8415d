/* frame.h - the 16 bytes that begin every message on the agent's port
 *
 *  0        1        2        3        4        8        12       16
 *  +--------+--------+--------+--------+--------+--------+--------+
 *  |  'V'   |  'M'   |  type  | flags  |channel | length | crc32c | payload
 *  +--------+--------+--------+--------+--------+--------+--------+
 *
 * Little endian. The checksum covers the bytes before it: it is there to find
 * the start of a conversation in what an earlier one left behind, not to guard
 * the payload, which never leaves the machine. doc/agent-port.md says more.
 */
#ifndef VMSTEP_FRAME_H
#define VMSTEP_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

#define FRAME_HEADER	  16
#define FRAME_MAX	  32768 /* with its header: one write, one descriptor */
#define FRAME_PAYLOAD_MAX (FRAME_MAX - FRAME_HEADER)

enum frame_type {
	FRAME_SYNC,   /* struct frame_sync */
	FRAME_CTRL,   /* a piece of a JSON text */
	FRAME_DATA,   /* bytes of a channel */
	FRAME_CREDIT, /* struct frame_credit */
	FRAME_EOF,   /* the last frame of a channel's sender; BACK: all taken */
	FRAME_RESET, /* le32 errno; the last frame of either end */
	FRAME_PING,  /* le64 */
	FRAME_PONG,  /* the same le64 */
	FRAME_TYPES,
};

enum frame_flag {
	FRAME_MORE = 1 << 0, /* CTRL: the text goes on in the next one */
	FRAME_BACK = 1 << 1, /* EOF, RESET: from the channel's receiver */
	FRAME_ASK = 1 << 2,  /* SYNC: answer, please */
};

struct frame {
	uint8_t type, flags;
	uint32_t channel, length;
};

void frame_encode(const struct frame *f, uint8_t bytes[FRAME_HEADER]);
/* Take a header apart and check all that can be told from it alone. Returns 0,
 * or -EBADMSG with the reason in @err; *ret is then untouched. */
int frame_decode(const uint8_t bytes[FRAME_HEADER], struct frame *ret,
		 struct errmsg *err);

#define FRAME_NONCE_LEN	  16
#define FRAME_BOOT_ID_LEN 8
#define FRAME_SYNC_LEN	  56  /* longer ones have fields of later versions */
#define FRAME_SYNC_MAX	  120 /* ... which are skipped */

struct frame_sync {
	uint8_t nonce[FRAME_NONCE_LEN]; /* of this end's conversation */
	uint8_t echo[FRAME_NONCE_LEN];	/* the other end's, 0: not known yet */
	uint8_t boot_id[FRAME_BOOT_ID_LEN];
	uint16_t proto_min, proto_max;
	uint32_t max_frame; /* the longest frame that may be sent to this end */
	uint64_t sent;	    /* frames of this conversation before this one */
};
void frame_sync_encode(const struct frame_sync *s,
		       uint8_t bytes[FRAME_SYNC_LEN]);
void frame_sync_decode(const uint8_t bytes[FRAME_SYNC_LEN],
		       struct frame_sync *ret);

#define FRAME_CREDIT_LEN 12

struct frame_credit {
	uint64_t consumed; /* bytes of the channel that its sink has taken */
	uint32_t window;   /* so many more may be sent */
};
void frame_credit_encode(const struct frame_credit *c,
			 uint8_t bytes[FRAME_CREDIT_LEN]);
void frame_credit_decode(const uint8_t bytes[FRAME_CREDIT_LEN],
			 struct frame_credit *ret);

#endif
