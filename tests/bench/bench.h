/* bench.h - what the benchmark's parts share
 *
 * The benchmark is a program of its own: what fails ends it, with a message.
 * Its children die with it, and its network namespaces have no names, so that
 * nothing is left however it ends.
 */
#ifndef VMSTEP_BENCH_H
#define VMSTEP_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "report.h"

#define GENERATOR_CPU 0
#define WORKER_CPU    1

struct bench {
	const char *program; /* vmstep-net */
	const char *log;     /* where it adds to; NULL: nowhere */
	const char *links;   /* further options of its; NULL: none */
	unsigned int rounds;
	unsigned int ms;     /* that one measurement takes */
	uint64_t frames;     /* of verify, for each flow */
	const char *variant; /* of verify; NULL: all */
	unsigned int idle_s, flood_s;
	struct report *report;
};

void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* @r < 0: die with "what: why". Returns @r. */
int check(int r, const char *what);

int64_t now_ns(void); /* monotonic */
/* What this thread, or process @pid, has run so far. */
int64_t thread_cpu_ns(void);
int64_t process_cpu_ns(pid_t pid);
void pin(int cpu); /* this thread */
/* Sleep, or keep this CPU busy. */
void rest(unsigned int us, bool busy);

/* Of the command line: @text as a number above 0, else die; what follows
 * "--@name=" in @arg, NULL where that is another option. */
unsigned long arg_number(const char *name, const char *text);
const char *arg_value(const char *arg, const char *name);

/* The parts of the benchmark: one round each. */
void bench_local(const struct bench *b);
void bench_rtt(const struct bench *b);
void bench_link(const struct bench *b);
void bench_iperf3(const struct bench *b, const int netns[2]);
/* Once. */
bool bench_verify(const struct bench *b); /* false: not as sent */
void bench_paused(const struct bench *b);
bool bench_flood(const struct bench *b); /* false: memory grew */
/* CPU ms that eight vhost-user ports took. */
double bench_idle(const struct bench *b);

/* Write every byte of a frame's payload, and read it: what a guest does. */
void dirty(uint8_t *p, size_t len, uint64_t seed);
uint64_t digest(const uint8_t *p, size_t len);

#endif
