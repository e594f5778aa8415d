#include <config.h>

#include "splice.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "writeall.h"

/* Blocks until it is all written: who does not read what we bring is not sent
 * more, and nothing of it piles up here. Returns 1, 0 at the end, or -errno. */
static int move(int from, int to)
{
	char data[65536];
	ssize_t n = read(from, data, sizeof(data));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	if (n <= 0)
		return n < 0 ? -errno : 0;
	n = write_all(to, data, (size_t)n);
	return n < 0 ? (int)n : 1;
}

int splice_run(int sock)
{
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
			       { .fd = sock, .events = POLLIN } };

	for (;;) {
		int r = 1;

		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (p[1].revents)
			r = move(sock, STDOUT_FILENO);
		if (r <= 0)
			return r;
		if (!p[0].revents)
			continue;
		if (move(STDIN_FILENO, sock) <= 0) {
			shutdown(sock, SHUT_WR);
			p[0].fd = -1;
		}
	}
}
