/* ports - a vmstep-net with ports to running QEMUs, for tests/bench/guests
 *
 *	tests/bench/ports [--program=PATH] KIND PATH...
 *
 * KIND is vhost-user, stream or dgram; PATH is where a QEMU listens, by rank.
 * Prints vmstep-net's pid once all have their port; ends, and vmstep-net with
 * it, when stdin does.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"
#include "nodes.h"

#ifndef VMSTEP_NET
#define VMSTEP_NET "./vmstep-net"
#endif

#define WAIT_MS 20000

static enum netctl_port kind_of(const char *name)
{
	static const struct {
		const char *name;
		enum netctl_port kind;
	} kinds[] = { { "vhost-user", NETCTL_VHOST_USER },
		      { "stream", NETCTL_STREAM },
		      { "dgram", NETCTL_DGRAM } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i].kind;
	die("%s: a port is vhost-user, stream or dgram", name);
}

static struct sockaddr_un address(const char *path, const char *suffix)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (snprintf(un.sun_path, sizeof(un.sun_path), "%s%s", path, suffix) >=
	    (int)sizeof(un.sun_path))
		die("%s: too long for a socket", path);
	return un;
}

/* QEMU may only be about to listen. As -netdev dgram wants it, our end of such
 * a pair has a name, PATH.peer. */
static int connect_port(enum netctl_port kind, const char *path)
{
	int type = kind == NETCTL_DGRAM ? SOCK_DGRAM : SOCK_STREAM;
	int fd = check(socket(AF_UNIX, type | SOCK_CLOEXEC, 0), "socket");
	struct sockaddr_un peer = address(path, ".peer");
	struct sockaddr_un un = address(path, "");
	int64_t until = now_ns() + WAIT_MS * 1000000ll;

	if (kind == NETCTL_DGRAM)
		check(bind(fd, (struct sockaddr *)&peer, sizeof(peer)), path);
	while (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		if (now_ns() > until)
			die("%s: %s", path, strerror(errno));
		poll(NULL, 0, 5);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct nodes_conf conf = { .program = getenv("VMSTEP_NET"),
				   .nnodes = 1 };
	const char *program = argc > 1 ? arg_value(argv[1], "--program") : NULL;
	int first = program ? 3 : 2;
	struct nodes *s;
	char end;

	if (argc <= first)
		die("see the beginning of tests/bench/ports.c");
	if (program)
		conf.program = program;
	else if (!conf.program)
		conf.program = VMSTEP_NET;
	conf.per_node = (uint32_t)(argc - first);
	s = nodes_start(&conf);
	for (uint32_t r = 0; r < conf.per_node; r++) {
		enum netctl_port kind = kind_of(argv[first - 1]);

		nodes_join(s, r, kind,
			   connect_port(kind, argv[first + (int)r]));
	}
	printf("%d\n", (int)nodes_pid(s, 0));
	fflush(stdout);
	while (read(STDIN_FILENO, &end, 1) > 0)
		;
	nodes_end(s);
	return EXIT_SUCCESS;
}
