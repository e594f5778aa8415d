/* portio - what a bare port, or a bare link, can do: the yardstick of `ops`
 *
 *	portio sink TARGET BYTES [FILE]	read so many, into a file; then say so
 *					with one byte
 *	portio send TARGET BYTES [FILE]	write so many, from a file, in pieces of
 *					32 KiB, until the sink has said so
 *	portio echo TARGET		write back what comes
 *	portio ping TARGET N		round trips of 16 bytes: microseconds,
 *					the median of N
 *	portio ask SOCKET N REQUEST	the same, of a task's socket and a line
 *	portio spawn N PROGRAM [ARG...]	the same, of fork, exec and wait
 *
 * TARGET is a port's device in a guest, a unix socket (QEMU's end of a port),
 * tcp:HOST:PORT or listen:PORT. Static, for guests that have no libraries. It
 * says nothing but figures: seconds for sink and send.
 */
#include <config.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE	  32768 /* what virtio_console takes at once */
#define PING	  16
#define PINGS_MAX 100000
#define RETRY_MS  100 /* a guest's port may lose a wake-up */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* -- targets --------------------------------------------------------------- */

static int open_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		err(1, "%s", path);
	return fd;
}

static int no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int open_tcp(const char *where)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	const char *colon = strrchr(where, ':');
	char host[64];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (!colon)
		errx(1, "%s: tcp:ADDRESS:PORT is meant", where);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	sa.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		err(1, "tcp:%s", where);
	return no_delay(fd);
}

static int open_listen(const char *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 1) < 0)
		err(1, "port %s", port);
	fd = accept(fd, NULL, NULL);
	if (fd < 0)
		err(1, "accept");
	return no_delay(fd);
}

static int open_target(const char *target)
{
	struct stat st;
	int fd;

	if (strncmp(target, "tcp:", 4) == 0)
		return open_tcp(target + 4);
	if (strncmp(target, "listen:", 7) == 0)
		return open_listen(target + 7);
	if (stat(target, &st) == 0 && S_ISSOCK(st.st_mode))
		return open_unix(target);
	fd = open(target, O_RDWR | O_NONBLOCK);
	if (fd < 0)
		err(1, "%s", target);
	return fd;
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	poll(&p, 1, RETRY_MS);
	/* A device of which nobody has the other end reports that at once. */
	if (p.revents & POLLHUP)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* A socket that has ended ends us; a device's other end may come back. */
static size_t get_some(int fd, void *buf, size_t len)
{
	for (;;) {
		ssize_t n = read(fd, buf, len);
		struct stat st;

		if (n > 0)
			return (size_t)n;
		if (n == 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
			exit(0);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			err(1, "read");
		wait_for(fd, POLLIN);
	}
}

static void get(int fd, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		size_t n = get_some(fd, p, len);

		p += n;
		len -= n;
	}
}

static void put(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			err(1, "write");
		if (n <= 0) {
			wait_for(fd, POLLOUT);
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}

/* -- what it does ---------------------------------------------------------- */

static char buf[PIECE];

/* @file -1: none. */
static void source(int fd, uint64_t bytes, int file)
{
	memset(buf, 'x', sizeof(buf));
	while (bytes) {
		size_t n = bytes < PIECE ? (size_t)bytes : PIECE;

		if (file >= 0 && read(file, buf, n) != (ssize_t)n)
			errx(1, "the file is too short");
		put(fd, buf, n);
		bytes -= n;
	}
}

static void sink(int fd, uint64_t bytes, int file)
{
	while (bytes) {
		size_t want = bytes < PIECE ? (size_t)bytes : PIECE;
		size_t n = get_some(fd, buf, want);

		if (file >= 0)
			put(file, buf, n);
		bytes -= n;
	}
	put(fd, "", 1);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_median(double *t, int n)
{
	qsort(t, (size_t)n, sizeof(*t), by_value);
	printf("%.1f\n", t[n / 2] * 1e6);
}

static double ping(int fd)
{
	double begin = now();

	put(fd, buf, PING);
	get(fd, buf, PING);
	return now() - begin;
}

static void hear_line(int fd)
{
	static char line[PIECE];
	size_t n;

	do
		n = get_some(fd, line, sizeof(line));
	while (line[n - 1] != '\n');
}

static double ask(int fd, const char *request)
{
	double begin = now();

	put(fd, request, strlen(request));
	put(fd, "\n", 1);
	hear_line(fd);
	return now() - begin;
}

static double spawn(char **argv)
{
	double begin = now();
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		errx(1, "%s: status %d", argv[0], status);
	return now() - begin;
}

static void repeat(const char *count, int fd, const char *request, char **argv)
{
	static double t[PINGS_MAX];
	int n = atoi(count);

	if (n < 1 || n > PINGS_MAX)
		errx(1, "%s: 1 to %d are meant", count, PINGS_MAX);
	for (int i = 0; i < n; i++)
		t[i] = argv	 ? spawn(argv)
		       : request ? ask(fd, request)
				 : ping(fd);
	print_median(t, n);
}

static int open_file(const char *path, bool sinks)
{
	int fd = path ? open(path,
			     sinks ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY,
			     0600)
		      : -1;

	if (path && fd < 0)
		err(1, "%s", path);
	return fd;
}

static void carry(const char *what, const char *target, const char *count,
		  const char *path)
{
	bool sinks = strcmp(what, "sink") == 0;
	int fd = open_target(target), file = open_file(path, sinks);
	uint64_t bytes = strtoull(count, NULL, 10);
	double begin = now();

	if (sinks) {
		sink(fd, bytes, file);
	} else {
		source(fd, bytes, file);
		get(fd, buf, 1);
	}
	printf("%.6f\n", now() - begin);
}

int main(int argc, char **argv)
{
	if (argc > 3 && strcmp(argv[1], "spawn") == 0) {
		repeat(argv[2], -1, NULL, argv + 3);
	} else if (argc == 4 && strcmp(argv[1], "ping") == 0) {
		repeat(argv[3], open_target(argv[2]), NULL, NULL);
	} else if (argc == 5 && strcmp(argv[1], "ask") == 0) {
		int fd = open_target(argv[2]);

		hear_line(fd); /* the greeting */
		repeat(argv[3], fd, argv[4], NULL);
	} else if (argc >= 4 && (strcmp(argv[1], "sink") == 0 ||
				 strcmp(argv[1], "send") == 0)) {
		carry(argv[1], argv[2], argv[3], argv[4]);
	} else if (argc == 3 && strcmp(argv[1], "echo") == 0) {
		int fd = open_target(argv[2]);

		for (;;)
			put(fd, buf, get_some(fd, buf, sizeof(buf)));
	} else {
		errx(2,
		     "sink|send TARGET BYTES [FILE], echo TARGET, ping TARGET N, ask SOCKET N REQUEST, spawn N PROGRAM");
	}
	return 0;
}
