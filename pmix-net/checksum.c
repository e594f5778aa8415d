#include <config.h>

#include "checksum.h"

#include <endian.h>
#include <string.h>

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Up to 7 bytes, with zeroes behind them. */
static uint64_t load_tail(const uint8_t *p, size_t len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

/* Words of any width add up to the same, in either byte order (RFC 1071, 2):
 * 64 bits are loaded, their halves added, so that no carry gets lost. Two sums
 * of each keep the additions from waiting for one another. */
static uint64_t sum_words(const uint8_t *p, size_t len)
{
	uint64_t low[2] = { 0 }, high[2] = { 0 }, a, b;

	for (; len >= 16; len -= 16, p += 16) {
		a = load64(p);
		b = load64(p + 8);
		low[0] += (uint32_t)a;
		high[0] += a >> 32;
		low[1] += (uint32_t)b;
		high[1] += b >> 32;
	}
	if (len >= 8) {
		a = load64(p);
		low[0] += (uint32_t)a;
		high[0] += a >> 32;
		len -= 8;
		p += 8;
	}
	a = load_tail(p, len);
	return low[0] + low[1] + high[0] + high[1] + (uint32_t)a + (a >> 32);
}

uint16_t checksum_sum(const uint8_t *data, size_t len)
{
	uint64_t sum = sum_words(data, len);

	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	return be16toh(checksum_fold((uint32_t)sum));
}
