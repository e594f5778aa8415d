/* fuzz_dhcp.c - what a guest sends to the DHCP port
 *
 * Input: the guest's rank (1 byte), then the message.
 */
#include <config.h>

#include <stdlib.h>

#include "answer.h"
#include "dhcp.h"
#include "inet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A whole message, of options that end where it does, before padding. */
static void check(const uint8_t *reply, size_t len, uint32_t own)
{
	uint32_t given = header_get32(reply + 16);
	size_t at = 240;

	if (len < 300 || len > DHCP_MAX || (given && given != own))
		abort();
	while (at < len && reply[at] != 255) {
		if (len - at < 2 || len - at - 2 < reply[at + 1])
			abort();
		at += 2 + (size_t)reply[at + 1];
	}
	if (at >= len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct answer_conf conf = {
		{ 0x0a000000, 8 }, 64, 9000, { "vm%t", "example.org" }
	};
	uint8_t reply[DHCP_MAX];
	uint32_t rank, to = 0;
	size_t len;

	if (size < 1)
		return 0;
	rank = data[0] % conf.nranks;
	len = dhcp_answer(&conf, rank, data + 1, size - 1, reply, &to);
	if (len)
		check(reply, len, addr_ip(&conf.net, rank));
	if (len && !to)
		abort();
	return 0;
}
