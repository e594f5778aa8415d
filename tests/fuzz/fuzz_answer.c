/* fuzz_answer.c - one frame from a guest: is it answered at the port?
 *
 * Input: the sender's rank (1 byte), then the frame.
 */
#include <config.h>

#include <stdlib.h>

#include "answer.h"
#include "link_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct answer_conf conf = {
		{ 0x0a000000, 8 }, 64, 9000, { "vm%t", "example.org" }
	};
	uint8_t reply[ANSWER_REPLY_MAX];
	size_t reply_len = 0;

	if (size < 1 + WIRE_FRAME_MIN || size > 1 + WIRE_FRAME_MAX)
		return 0;
	if (answer_frame(&conf, data[0] % conf.nranks, data + 1, size - 1,
			 reply, &reply_len) == ANSWER_REPLY &&
	    (reply_len < WIRE_FRAME_MIN || reply_len > sizeof(reply)))
		abort();
	return 0;
}
