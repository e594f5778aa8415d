#include <config.h>

#include "localsock.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"

#define BACKLOG 1024

static void set_address(int dir, const char *name, struct sockaddr_un *un)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(un->sun_path, sizeof(un->sun_path), "/proc/self/fd/%d/%.64s",
		 dir, name);
}

int localsock_connect(int dir, const char *name, int type)
{
	_cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;

	if (fd < 0)
		return -errno;
	set_address(dir, name, &un);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int localsock_listen(int dir, const char *name, int type)
{
	_cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;

	if (fd < 0)
		return -errno;
	unlinkat(dir, name, 0);
	set_address(dir, name, &un);
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

bool localsock_is_trusted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}
