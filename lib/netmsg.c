#include <config.h>

#include "netmsg.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "sendfds.h"

int netmsg_send(int fd, const struct netctl *m, int pass_fd)
{
	ssize_t n = send_with_fds(fd, m, sizeof(*m), &pass_fd, pass_fd >= 0, 0);

	return n < 0 ? (int)n : 0;
}

ssize_t netmsg_receive(int fd, struct netctl *ret, int fds[NETCTL_FDS_MAX])
{
	union {
		char bytes[CMSG_SPACE(NETCTL_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { ret, sizeof(*ret) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t n;

	for (int i = 0; i < NETCTL_FDS_MAX; i++)
		fds[i] = -1;
	n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	return n;
}
