/* boot.h - what a guest sends while it boots, as another one would
 *
 * The frames are a capture's (--vm-capture), of the guest whose rank its first
 * frame names.
 */
#ifndef VMSTEP_BENCH_BOOT_H
#define VMSTEP_BENCH_BOOT_H

#include <stddef.h>
#include <stdint.h>

#define BOOT_FRAME_MAX 1514

struct boot;

/* The frames that the guest sent, of pcap file @path. */
struct boot *boot_load(const char *path);
void boot_free(struct boot *b);
unsigned int boot_frames(const struct boot *b);
/* Frame @n with the addresses of @rank, and right checksums; its length. */
size_t boot_frame(const struct boot *b, unsigned int n, uint32_t rank,
		  uint8_t frame[BOOT_FRAME_MAX]);

#endif
