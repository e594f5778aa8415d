/* fuzz_dns.c - what a guest asks the name server
 *
 * Input: which names the step has (1 byte), then the message.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "cleanup.h"
#include "dns.h"
#include "inet.h"
#include "rankset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns where a name of the reply ends. Pointers lead into the question. */
static size_t skip_name(const uint8_t *reply, size_t len, size_t at)
{
	while (at < len && reply[at] != 0) {
		if (reply[at] >= 0xc0) {
			if (len - at < 2 ||
			    (header_get16(reply + at) & 0x3fff) < 12)
				abort();
			return at + 2;
		}
		if (reply[at] > 63)
			abort();
		at += 1 + (size_t)reply[at];
	}
	return at + 1;
}

/* As many questions and records as it says, and nothing behind them. */
static void check(const uint8_t *ask, const uint8_t *reply, size_t len)
{
	size_t at = 12, records = 0;

	if (len < 12 || len > DNS_MAX || !(reply[2] & 0x80))
		abort();
	if (header_get16(reply + 4)) {
		at = skip_name(reply, len, at) + 4;
		if (at > len || memcmp(ask + 12, reply + 12, at - 12) != 0)
			abort();
	}
	for (size_t i = 6; i < 12; i += 2)
		records += header_get16(reply + i);
	for (; records; records--) {
		at = skip_name(reply, len, at) + 10;
		if (at > len)
			abort();
		at += header_get16(reply + at - 2);
	}
	if (at != len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct answer_conf confs[] = {
		{ { 0x0a000000, 8 }, 64, 9000, { "vm%t", "example.org" } },
		{ { 0xc0a80000, 16 }, 300, 1500, { "n%t.rack-%t", NULL } },
		{ { 0x80000000, 1 }, RANK_MAX + 1, 1500, { "%t", "1.2" } },
	};
	uint8_t reply[DNS_MAX];
	size_t len;

	if (size < 1)
		return 0;
	len = dns_answer(&confs[data[0] % ARRAY_SIZE(confs)], data + 1,
			 size - 1, reply);
	if (len)
		check(data + 1, reply, len);
	return 0;
}
