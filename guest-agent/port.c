#include <config.h>

#include "port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "cleanup.h"
#include "crc32c.h"
#include "frame.h"

#define PORTS_DIR "/sys/class/virtio-ports"

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Is the port @entry ("vport1p1") called PORT_NAME? */
static bool is_ours(const char *entry)
{
	char path[300], name[64] = "";
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), PORTS_DIR "/%s/name", entry);
	f = fopen(path, "re");
	if (!f || !fgets(name, sizeof(name), f))
		return false;
	name[strcspn(name, "\n")] = '\0';
	return strcmp(name, PORT_NAME) == 0;
}

/* By sysfs, which needs no udev; without sysfs, by udev's link. */
static void find(char path[300])
{
	_cleanup_(closedirp) DIR *d = opendir(PORTS_DIR);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && is_ours(e->d_name)) {
			snprintf(path, 300, "/dev/%s", e->d_name);
			return;
		}
	snprintf(path, 300, "/dev/virtio-ports/" PORT_NAME);
}

static int connect_to(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* A serial line or a pty may be the port, too. */
static void make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return;
	cfmakeraw(&t);
	tcsetattr(fd, TCSANOW, &t);
}

int port_open(const char *path, int *ret_fd, struct errmsg *err)
{
	char found[300];
	struct stat st;
	int fd;

	if (!path) {
		find(found);
		path = found;
	}
	if (stat(path, &st) < 0)
		return errmsg_set(err, -errno, "port %s", path);
	if (S_ISSOCK(st.st_mode)) {
		fd = connect_to(path);
	} else {
		fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
		else
			make_raw(fd);
	}
	if (fd < 0)
		return errmsg_set(err, fd, "port %s", path);
	*ret_fd = fd;
	return 0;
}

/* An abstract socket needs no writable file system and cannot be left behind.
 * Its name has room for a hash of a long path only. */
int port_claim(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int len;

	if (fd < 0)
		return -errno;
	len = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1,
		       "vmstep-agent:%08x:%.60s",
		       path ? crc32c(0, path, strlen(path)) : 0,
		       path ? path : PORT_NAME);
	if (bind(fd, (struct sockaddr *)&sa,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			     (size_t)len)) < 0)
		return -errno;
	return TAKE_FD(fd);
}
