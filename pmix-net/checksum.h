/* checksum.h - the Internet checksum (RFC 1071)
 *
 * Pure. Sums are numbers of 16 bits, as they are read from the wire, added in
 * ones' complement: 0 and 0xffff mean the same.
 */
#ifndef VMSTEP_CHECKSUM_H
#define VMSTEP_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The sum of @len bytes, with a 0 behind them if they are odd; at any address,
 * less than 4 GiB. */
uint16_t checksum_sum(const uint8_t *data, size_t len);

/* A sum of sums, as many as fit into 32 bits, back to 16. */
static inline uint16_t checksum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

#endif
