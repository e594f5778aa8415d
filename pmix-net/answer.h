/* answer.h - what need not travel: answered or swallowed at the sender's port
 *
 * The step's addresses follow from ranks, so questions about them are answered
 * on the spot. Pure functions on one frame, which is not trusted.
 */
#ifndef VMSTEP_ANSWER_H
#define VMSTEP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "names.h"

#define ANSWER_REPLY_MAX 128
#define ANSWER_FRAME_MAX 1522 /* longer ones are nobody's question */

enum answer {
	ANSWER_NOT_OURS, /* forward it like any other */
	ANSWER_REPLY,	 /* give the sender the reply */
	ANSWER_SWALLOW,	 /* it concerns nobody here */
	ANSWER_SPOOFED,	 /* it claims another rank's address */
};

struct answer_conf {
	struct addr_net net;
	uint32_t nranks;
	unsigned int mtu;
	struct names names;
};

/* Can answer_frame() have anything to say of a frame that begins with these 14
 * bytes? Most frames end here. */
bool answer_may_be_ours(const uint8_t *header);

/* @frame, of at least 14 bytes, came from the guest of @rank. @reply_len is
 * set with ANSWER_REPLY only. */
enum answer answer_frame(const struct answer_conf *conf, uint32_t rank,
			 const uint8_t *frame, size_t len,
			 uint8_t reply[ANSWER_REPLY_MAX], size_t *reply_len);

#endif
