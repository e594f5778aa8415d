/* net - how fast vmstep-net is, beside what this machine can do
 *
 *	tests/bench/net [--json] [--only=PART,...] [--rounds=N] [--ms=N]
 *			[--frames=N] [--variant=TEXT] [--idle=SECONDS]
 *			[--flood=SECONDS] [--program=PATH] [--log=FILE]
 *
 * Built by `make check`. Runs real vmstep-net processes and plays their helpers
 * and guests (pmix-net/test_driver.h). As root it measures two nodes, too, as
 * network namespaces of its own. Wants two CPUs that nobody else uses: load
 * generators are on CPU 0, vmstep-net is on CPU 1; what disturbs one of them
 * shows in "least" and "most".
 *
 * Parts, as --only takes them; the last two only where it names them:
 *   local   frames between two guests of a node, a thread that spins being
 *           both: it writes every byte of a frame before it sends it, and reads
 *           every byte of what arrives. Beside it "one copy", the least that
 *           such a path can do: one thread writes frames into shared memory,
 *           another copies them once; "read back": the first reads the copies,
 *           too. Stream guests send a frame a system call, as QEMU does.
 *   rtt     a frame of 64 bytes there and back, beside as many wake-ups by
 *           eventfd; asleep, after a rest, and with guests that poll.
 *   link    the same between two nodes, both guests asleep when they have
 *           nothing to do, beside TCP that carries 64 KiB batches of the same
 *           frames, and iperf3. CPU s/GB is that of both vmstep-net, and of
 *           TCP's two ends without what guests do.
 *   verify  numbered frames with checksums, both ways, several kinds of guest:
 *           lost, reordered and altered ones are counted, and make this program
 *           end with status 1. --frames: of each flow; --variant: only those
 *           whose names have TEXT in them; of link, too, beside vhost-user,
 *           and of paused.
 *   idle    CPU time of ports without traffic, memory of one more.
 *   paused  one guest sends to four in turn; then one of these stops taking
 *           frames: what the other three get, with it and without. Also four
 *           that send to one each, over a link, and with three workers.
 *   flood   for a minute each (--flood): frames to a guest that has stopped, to
 *           an address that nobody has, broadcasts, and ones with senders by
 *           chance, as fast as they are taken: memory, every second.
 *
 * Every round measures each figure of local, rtt and link once, so that what
 * disturbs the machine disturbs all of them; ratios are taken within a round. A
 * figure is measured again where others used the CPUs meanwhile; "this machine"
 * says how much that was in the end.
 */
#include <config.h>

#include "bench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef VMSTEP_NET
#define VMSTEP_NET "./vmstep-net"
#endif

/* -- options -------------------------------------------------------------- */

struct options {
	struct bench bench;
	const char *only;
	bool json;
};

static void parse(struct options *o, int argc, char **argv)
{
	const char *v;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			o->json = true;
		else if ((v = arg_value(argv[i], "--only")))
			o->only = v;
		else if ((v = arg_value(argv[i], "--program")))
			o->bench.program = v;
		else if ((v = arg_value(argv[i], "--log")))
			o->bench.log = v;
		else if ((v = arg_value(argv[i], "--rounds")))
			o->bench.rounds =
				(unsigned int)arg_number("--rounds", v);
		else if ((v = arg_value(argv[i], "--ms")))
			o->bench.ms = (unsigned int)arg_number("--ms", v);
		else if ((v = arg_value(argv[i], "--frames")))
			o->bench.frames = arg_number("--frames", v);
		else if ((v = arg_value(argv[i], "--variant")))
			o->bench.variant = v;
		else if ((v = arg_value(argv[i], "--flood")))
			o->bench.flood_s =
				(unsigned int)arg_number("--flood", v);
		else if ((v = arg_value(argv[i], "--idle")))
			o->bench.idle_s = (unsigned int)arg_number("--idle", v);
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
			   .idle_s = 10,
			   .flood_s = 60 },
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
	if (o.only && wanted(&o, "paused"))
		bench_paused(&o.bench);
	if (o.only && wanted(&o, "flood"))
		ok &= bench_flood(&o.bench);
	report_print(o.bench.report, o.json, stdout);
	report_free(o.bench.report);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
