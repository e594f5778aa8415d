/* mcast.c - multicast by a guest's own sockets, for t0182-multicast.t
 *
 *	mcast serve             answer questions at UDP port 5000
 *	mcast ask HOST WORD...  ask that of HOST's, and print its answer: "join
 *	                        GROUP", "leave GROUP"; "count": datagrams that
 *	                        came for groups, frames that the card had, and
 *	                        the last mark that was seen; "quit"
 *	mcast send GROUP N      N datagrams to GROUP
 *	mcast mark N            the mark N to all: who has it has what was sent
 *	                        before and was for it
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ASK_PORT   5000
#define GROUP_PORT 5001
#define MARK_PORT  5002
#define ALL_NODES  "ff02::1" /* no guest has to join it */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* "10.0.0.1" or "ff15::1" */
static struct sockaddr_in6 address(const char *text, int port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6,
				  .sin6_port = htons((uint16_t)port),
				  .sin6_scope_id = 2 }; /* the only card */
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "::ffff:%s", text);
	if (inet_pton(AF_INET6, text, &a.sin6_addr) != 1 &&
	    inet_pton(AF_INET6, mapped, &a.sin6_addr) != 1)
		die(text);
	return a;
}

static int socket_at(int port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6,
				    .sin6_port = htons((uint16_t)port) };
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		die("socket");
	return fd;
}

/* -- what a guest answers -------------------------------------------------- */

static int change(int fd, const char *group, int join)
{
	struct sockaddr_in6 a = address(group, GROUP_PORT);
	struct ipv6_mreq six = { a.sin6_addr, 2 };
	struct ip_mreqn four = { .imr_ifindex = 2 };

	if (!IN6_IS_ADDR_V4MAPPED(&a.sin6_addr))
		return setsockopt(fd, IPPROTO_IPV6,
				  join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP,
				  &six, sizeof(six));
	memcpy(&four.imr_multiaddr, a.sin6_addr.s6_addr + 12, 4);
	return setsockopt(fd, IPPROTO_IP,
			  join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &four,
			  sizeof(four));
}

static unsigned long card_frames(void)
{
	unsigned long n = 0, bytes;
	char line[512], name[32];
	FILE *f = fopen("/proc/net/dev", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %31[^:]: %lu %lu", name, &bytes, &n) == 3 &&
		    strcmp(name, "lo") != 0)
			break;
	if (f)
		fclose(f);
	return n;
}

static unsigned long take(int groups)
{
	unsigned long n = 0;
	char data[2048];

	while (recv(groups, data, sizeof(data), MSG_DONTWAIT) > 0)
		n++;
	return n;
}

/* It came behind what the groups had until then, which is there. */
static void see_mark(int marks, unsigned long *mark)
{
	char text[32];
	ssize_t n = recv(marks, text, sizeof(text) - 1, 0);

	if (n < 0)
		return;
	text[n] = '\0';
	*mark = strtoul(text, NULL, 10);
}

/* False: that was all. */
static int answer(int ask, int groups, unsigned long got, unsigned long mark)
{
	char text[256], reply[256], word[16] = "", group[64] = "";
	struct sockaddr_in6 from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(ask, text, sizeof(text) - 1, 0,
			     (struct sockaddr *)&from, &len);

	if (n < 0)
		return 1;
	text[n] = '\0';
	sscanf(text, "%15s %63s", word, group);
	snprintf(reply, sizeof(reply), "%s",
		 strcmp(word, "quit") == 0 ? "bye" : "what?");
	if (strcmp(word, "count") == 0)
		snprintf(reply, sizeof(reply), "%lu %lu %lu", got,
			 card_frames(), mark);
	else if (strcmp(word, "join") == 0 || strcmp(word, "leave") == 0)
		snprintf(reply, sizeof(reply), "%s",
			 change(groups, group, *word == 'j') < 0 ? "failed"
								 : "done");
	sendto(ask, reply, strlen(reply), 0, (struct sockaddr *)&from, len);
	return strcmp(word, "quit") != 0;
}

static void watch(int wait, int fd)
{
	struct epoll_event e = { EPOLLIN, { .fd = fd } };

	epoll_ctl(wait, EPOLL_CTL_ADD, fd, &e);
}

static int serve(void)
{
	int ask = socket_at(ASK_PORT), groups = socket_at(GROUP_PORT);
	int marks = socket_at(MARK_PORT), wait = epoll_create1(0);
	unsigned long got = 0, mark = 0;
	struct epoll_event e;

	watch(wait, ask);
	watch(wait, groups);
	watch(wait, marks);
	while (epoll_wait(wait, &e, 1, -1) == 1) {
		if (e.data.fd == marks)
			see_mark(marks, &mark);
		got += take(groups);
		if (e.data.fd == ask && !answer(ask, groups, got, mark))
			return 0;
	}
	return 1;
}

/* -- who asks -------------------------------------------------------------- */

/* Again until there is an answer: the other may not be there yet. */
static int ask(const char *host, int n, char **words)
{
	struct sockaddr_in6 to = address(host, ASK_PORT);
	struct timeval second = { 1, 0 };
	char text[256] = "", reply[256];
	int fd = socket_at(0);
	ssize_t len = -1;

	for (int i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%s ", words[i]);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	for (int i = 0; i < 60 && len < 0; i++) {
		sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to,
		       sizeof(to));
		len = recv(fd, reply, sizeof(reply), 0);
	}
	if (len < 0)
		die("no answer");
	printf("%.*s\n", (int)len, reply);
	return 0;
}

static int send_to(const char *group, int n)
{
	struct sockaddr_in6 to = address(group, GROUP_PORT);
	struct timespec rest = { 0, 1000000 };
	struct ip_mreqn card = { .imr_ifindex = 2 }; /* there is no route */
	int fd = socket_at(0), hops = 4;
	char data[500] = "";

	setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &card, sizeof(card));
	setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof(hops));
	for (int i = 0; i < n; i++) {
		if (sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&to,
			   sizeof(to)) < 0)
			die("send");
		nanosleep(&rest, NULL);
	}
	return 0;
}

static int mark_all(const char *mark)
{
	struct sockaddr_in6 to = address(ALL_NODES, MARK_PORT);
	int fd = socket_at(0);

	if (sendto(fd, mark, strlen(mark), 0, (struct sockaddr *)&to,
		   sizeof(to)) < 0)
		die("send");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "serve") == 0)
		return serve();
	if (argc >= 4 && strcmp(argv[1], "ask") == 0)
		return ask(argv[2], argc - 3, argv + 3);
	if (argc == 4 && strcmp(argv[1], "send") == 0)
		return send_to(argv[2], atoi(argv[3]));
	if (argc == 3 && strcmp(argv[1], "mark") == 0)
		return mark_all(argv[2]);
	return 2;
}
