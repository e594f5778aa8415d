/* yardstick.h - what the machine can do, measured beside what vmstep-net does
 *
 * Absolute figures are the machine's and the hour's. So each is set against a
 * loop that does the least that the task needs, in the same run.
 */
#ifndef VMSTEP_BENCH_YARDSTICK_H
#define VMSTEP_BENCH_YARDSTICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latency.h"

/* Frames/s of one copy: a producer on GENERATOR_CPU dirties frames in one
 * shared memory, a consumer on WORKER_CPU copies each to another; 256 slots,
 * indexes published every 32. @read_back: the producer reads the copies, too,
 * as the load generator does. */
double yardstick_copy(size_t len, unsigned int ms, bool read_back);

/* @trips times from GENERATOR_CPU to WORKER_CPU and back, by eventfds, both
 * ends asleep in epoll, for each sample of @l; @polling: the near end looks at
 * memory instead. @rest_us between samples. */
void yardstick_wakeups(unsigned int trips, bool polling, unsigned int rest_us,
		       unsigned int ms, struct latency *l);

struct yardstick_tcp {
	double frames_per_s, bits_per_s;
	double cpu_s_per_gb; /* of both ends, without what the guests do */
};
/* Batches of 64 KiB of frames of @len bytes over TCP, from network namespace
 * @from to @to, where @address is: written and read as guests do, copied once
 * on each side. */
void yardstick_tcp(const int netns[2], const char *address, size_t len,
		   unsigned int ms, struct yardstick_tcp *ret);
/* 64 bytes there and back, both ends asleep. */
void yardstick_tcp_trip(const int netns[2], const char *address,
			unsigned int ms, struct latency *l);

#endif
