/* net - how fast vmstep-net is, beside what this machine can do
 *
 *	tests/bench/net [--json] [--only=PART,...] [--rounds=N] [--ms=N]
 *			[--frames=N] [--idle=SECONDS] [--program=PATH]
 *[--log=FILE]
 *
 * Built by `make check`. Runs real vmstep-net processes and plays their helpers
 * and guests (pmix-net/test_driver.h). As root it measures two nodes, too, as
 * network namespaces of its own. Wants two CPUs that nobody else uses: load
 * generators are on CPU 0, vmstep-net is on CPU 1; what disturbs one of them
 * shows in "least" and "most".
 *
 * Parts, as --only takes them:
 *   local   frames between two guests of a node, a thread that spins being
 *both: it writes every byte of a frame before it sends it, and reads every byte
 *of what arrives. Beside it "one copy", the least that such a path can do: one
 *thread writes frames into shared memory, another copies them once; "read
 *back": the first reads the copies, too. Stream guests send a frame a system
 *call, as QEMU does. rtt     a frame of 64 bytes there and back, beside as many
 *wake-ups by eventfd; asleep, after a rest, and with guests that poll. link the
 *same between two nodes, both guests asleep when they have nothing to do,
 *beside TCP that carries 64 KiB batches of the same frames, and iperf3. CPU
 *s/GB is that of both vmstep-net, and of TCP's two ends without what guests do.
 *   verify  numbered frames with checksums, both ways, several kinds of guest:
 *           lost, reordered and altered ones are counted, and make this program
 *           end with status 1.
 *   idle    CPU time of ports without traffic, memory of one more.
 *
 * Every round measures each figure of local, rtt and link once, so that what
 * disturbs the machine disturbs all of them; ratios are taken within a round. A
 * figure is measured again where others used the CPUs meanwhile; "this machine"
 * says how much that was in the end.
 */
#include <config.h>

#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef VMSTEP_NET
#define VMSTEP_NET "./vmstep-net"
#endif

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "net: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(2);
}

int check(int r, const char *what)
{
	if (r < 0)
		die("%s: %s", what, strerror(r == -1 ? errno : -r));
	return r;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t thread_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t process_cpu_ns(pid_t pid)
{
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0)
		die("the CPU time of process %d", (int)pid);
	return clock_ns(clock);
}

void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	check(sched_setaffinity(0, sizeof(set), &set), "one CPU of two");
}

void rest(unsigned int us, bool busy)
{
	int64_t until = now_ns() + us * 1000ll;

	if (us && !busy)
		usleep(us);
	while (us && now_ns() < until)
		;
}

/* -- options -------------------------------------------------------------- */

struct options {
	struct bench bench;
	const char *only;
	bool json;
};

static unsigned long number(const char *name, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n == 0)
		die("%s=%s: not a number above 0", name, text);
	return n;
}

/* The value of "--name=value"; NULL: @arg is another one. */
static const char *value(const char *arg, const char *name)
{
	size_t len = strlen(name);

	return strncmp(arg, name, len) == 0 && arg[len] == '=' ? arg + len + 1
							       : NULL;
}

static void parse(struct options *o, int argc, char **argv)
{
	const char *v;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			o->json = true;
		else if ((v = value(argv[i], "--only")))
			o->only = v;
		else if ((v = value(argv[i], "--program")))
			o->bench.program = v;
		else if ((v = value(argv[i], "--log")))
			o->bench.log = v;
		else if ((v = value(argv[i], "--rounds")))
			o->bench.rounds = (unsigned int)number("--rounds", v);
		else if ((v = value(argv[i], "--ms")))
			o->bench.ms = (unsigned int)number("--ms", v);
		else if ((v = value(argv[i], "--frames")))
			o->bench.frames = number("--frames", v);
		else if ((v = value(argv[i], "--idle")))
			o->bench.idle_s = (unsigned int)number("--idle", v);
		else
			die("%s: see the beginning of tests/bench/net.c",
			    argv[i]);
	}
}

static bool wanted(const struct options *o, const char *part)
{
	size_t len = strlen(part);

	for (const char *at = o->only; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, part, len) == 0 && strchr(",", at[len]))
			return true;
	}
	return !o->only;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*round)(const struct bench *b);
	} rounds[] = {
		{ "local", bench_local },
		{ "rtt", bench_rtt },
		{ "link", bench_link },
	};
	struct options o = {
		.bench = { .program = getenv("VMSTEP_NET"),
			   .rounds = 5,
			   .ms = 300,
			   .frames = 1000000,
			   .idle_s = 10 },
	};
	bool ok = true;

	if (!o.bench.program)
		o.bench.program = VMSTEP_NET;
	parse(&o, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	o.bench.report = report_new();
	for (unsigned int n = 0; n < o.bench.rounds; n++)
		for (size_t i = 0; i < sizeof(rounds) / sizeof(rounds[0]); i++)
			if (wanted(&o, rounds[i].name))
				rounds[i].round(&o.bench);
	if (wanted(&o, "verify"))
		ok = bench_verify(&o.bench);
	if (wanted(&o, "idle"))
		bench_idle(&o.bench);
	report_print(o.bench.report, o.json, stdout);
	report_free(o.bench.report);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
