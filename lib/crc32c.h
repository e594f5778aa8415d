/* crc32c.h - CRC-32C: polynomial 0x1EDC6F41 (Castagnoli; RFC 3720, B.4)
 *
 * Finds what goes wrong by itself, not what someone has changed on purpose.
 */
#ifndef VMSTEP_CRC32C_H
#define VMSTEP_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of @len more bytes after those that came to @crc; 0 at first. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
/* The same, where the processor has no instruction for it. */
uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t len);

#endif
