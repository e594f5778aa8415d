#include <config.h>

#include "crc32c.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <nmmintrin.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected */

#define CPUID_HYPERVISOR (1u << 31) /* of leaf 1, ecx: this is a guest */

/* Eight bytes at a time: table[k][b] is what byte b comes to when k more bytes
 * of zero follow it. */
static uint32_t table[8][256];

static void make_table(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t v = b;

		for (int i = 0; i < 8; i++)
			v = v & 1 ? v >> 1 ^ POLYNOMIAL : v >> 1;
		table[0][b] = v;
	}
	for (int k = 1; k < 8; k++)
		for (uint32_t b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] >> 8 ^
				      table[0][table[k - 1][b] & 0xff];
}

#ifdef __x86_64__
/* QEMU carries the instruction out bit by bit where it has to translate it. */
static bool is_translated(void)
{
	unsigned int max, name[3];

	__cpuid(0x40000000, max, name[0], name[1], name[2]);
	return memcmp(name, "TCGTCGTCGTCG", sizeof(name)) == 0;
}

static bool has_instruction(void)
{
	unsigned int a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_2))
		return false;
	return !(c & CPUID_HYPERVISOR) || !is_translated();
}

__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t v, sum = ~crc;

	for (; len >= sizeof(v); p += sizeof(v), len -= sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		sum = _mm_crc32_u64(sum, v);
	}
	while (len--)
		sum = _mm_crc32_u8((uint32_t)sum, *p++);
	return ~(uint32_t)sum;
}
#else
static bool has_instruction(void)
{
	return false;
}

static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t len)
{
	return crc32c_by_table(crc, p, len);
}
#endif

static bool instruction;

/* Before main(): no thread has to be kept from seeing half of it. */
static void __attribute__((constructor)) prepare(void)
{
	make_table();
	instruction = has_instruction();
}

static uint32_t eight(uint32_t crc, const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	v = le64toh(v) ^ crc;
	return table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^
	       table[5][v >> 16 & 0xff] ^ table[4][v >> 24 & 0xff] ^
	       table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^
	       table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
}

uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	crc = ~crc;
	for (; len >= 8; p += 8, len -= 8)
		crc = eight(crc, p);
	while (len--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
	return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
	return instruction ? by_instruction(crc, bytes, len)
			   : crc32c_by_table(crc, bytes, len);
}
