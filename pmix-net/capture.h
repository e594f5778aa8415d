/* capture.h - a port's frames as a pcap file
 *
 * What a wire at the port would have carried: checksums filled in, long packets
 * cut. Goes into a pipe, whose reader (the task's helper, or vmstep capture)
 * may be slow and stops nobody: what the pipe and our buffer have no room for
 * is counted and left out. The format is pcap's with nanoseconds (IETF:
 * draft-ietf-opsawg-pcap).
 *
 * Owns:    the pipe's end and a buffer of CAPTURE_BYTES.
 * Borrows: the loop, the rounds, the counters, of which only
 *          COUNT_UNCAPTURED is touched, and by captures only.
 * Thread:  the loop's; capture_frame() is for any, if it is shared.
 */
#ifndef VMSTEP_CAPTURE_H
#define VMSTEP_CAPTURE_H

#include "counters.h"
#include "errmsg.h"
#include "loop.h"
#include "packet.h"
#include "round.h"

#define CAPTURE_BYTES (1024 * 1024)

struct capture;

/* @fd: the pipe's end, owned from now on, also on failure. @over is called from
 * the loop when nobody reads it any more; capture_free() may follow from there.
 */
int capture_new(struct loop *l, struct round *r, int fd,
		struct counters *counts, void (*over)(void *arg), void *arg,
		struct capture **ret, struct errmsg *err);
void capture_share(struct capture *c); /* before its first frame */
void capture_free(struct capture *c);  /* NULL is fine; writes what it can */
/* @p has passed offload_check(); what is no frame by its length is left out. */
void capture_frame(struct capture *c, const struct packet *p);

#endif
