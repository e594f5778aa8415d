#include <config.h>

#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "localsock.h"

#define ANSWER_MS 10000
#define LISTEN_FD 3

/* -- the daemon ------------------------------------------------------------ */

/* It is no program for users, and lies where PATH does not lead. */
static const char *find(const char *name, char *path, size_t size)
{
	static const char *const dirs[] = { "/usr/local/libexec",
					    "/usr/libexec", "/usr/lib",
					    "/usr/lib/qemu" };

	if (strchr(name, '/'))
		return name;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, size, "%s/%s", dirs[i], name);
		if (access(path, X_OK) == 0)
			return path;
	}
	return name;
}

/* The namespace has this user's number only; all of the guest's are it. */
static int run(struct share *s, const char *program, int listener, int errors,
	       struct errmsg *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char path[PATH_MAX], dir[PATH_MAX + 16], uid[64], gid[64];
	const char *const argv[] = {
		find(program, path, sizeof(path)),
		"--fd=3",
		dir,
		"--sandbox=namespace",
		"--inode-file-handles=never",
		"--log-level=error",
		uid,
		gid,
		s->ro ? "--readonly" : NULL,
		NULL,
	};
	const struct child_fd fds[] = {
		{ null, 0 }, { null, 1 }, { errors, 2 }, { listener, LISTEN_FD }
	};
	const struct child_spec spec = {
		.argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds), .deaf = true
	};

	if (null < 0)
		return errmsg_set(err, -errno, "/dev/null");
	snprintf(dir, sizeof(dir), "--shared-dir=%s", s->path);
	snprintf(uid, sizeof(uid), "--translate-uid=squash-guest:0:%u:%u",
		 (unsigned int)geteuid(), UINT32_MAX);
	snprintf(gid, sizeof(gid), "--translate-gid=squash-guest:0:%u:%u",
		 (unsigned int)getegid(), UINT32_MAX);
	return child_start(&spec, &s->pid, err);
}

/* -- does it work? --------------------------------------------------------- */

/* The first message of vhost-user, which changes nothing: QEMU asks again. */
struct vhost_msg {
	uint32_t request, flags, size;
	uint64_t features;
} __attribute__((packed));

#define GET_FEATURES 1
#define VERSION_1    1
#define IS_REPLY     4
#define HEADER	     12

static bool answers(int fd)
{
	struct vhost_msg m = { .request = GET_FEATURES, .flags = VERSION_1 };
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (send(fd, &m, HEADER, MSG_NOSIGNAL) != HEADER)
		return false;
	if (poll(&p, 1, ANSWER_MS) != 1)
		return false;
	return recv(fd, &m, sizeof(m), 0) == (ssize_t)sizeof(m) &&
	       m.request == GET_FEATURES && (m.flags & IS_REPLY);
}

/* What it has said, in one line. */
static void why_not(int errors, const char *program, struct errmsg *err)
{
	char text[400];
	ssize_t n;

	fcntl(errors, F_SETFL, O_NONBLOCK);
	n = read(errors, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	errmsg_say(err, 0, "%s does not work for user %u%s%s", program,
		   (unsigned int)geteuid(), *text ? ": " : "", text);
}

/* @listener is closed once it has been given away: where nobody has it, @fd
 * ends. */
static int try_it(struct share *s, const char *program, int *listener, int fd,
		  struct errmsg *err)
{
	_cleanup_close_ int rd = -1, wr = -1;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "pipe");
	rd = p[0];
	wr = p[1];
	/* a full pipe, which nobody reads later, loses words only */
	fcntl(wr, F_SETFL, O_NONBLOCK);
	r = run(s, program, *listener, wr, err);
	if (r < 0)
		return r;
	close(TAKE_FD(*listener));
	if (answers(fd))
		return 0;
	share_done(&(struct share){ .pid = s->pid });
	s->pid = 0;
	why_not(rd, program, err);
	return -ENOSYS;
}

int share_start(struct share *s, const char *program, const char *dir,
		struct errmsg *err)
{
	_cleanup_close_ int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1, listener = -1;
	char name[64];
	int r;

	if (strcmp(program, "none") == 0)
		return errmsg_say(err, -ENOSYS, "the site has no virtiofsd");
	snprintf(name, sizeof(name), "fs.%d.%s", (int)getpid(), s->tag);
	listener = at < 0 ? -errno : localsock_listen(at, name, SOCK_STREAM);
	if (listener < 0)
		return errmsg_set(err, listener, "socket in %s", dir);
	fd = localsock_connect(at, name, SOCK_STREAM);
	unlinkat(at, name, 0);
	if (fd < 0)
		return errmsg_set(err, fd, "socket in %s", dir);
	r = try_it(s, program, &listener, fd, err);
	if (r < 0)
		return r;
	s->virtiofs = true;
	return TAKE_FD(fd);
}

void share_done(struct share *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	free(s->path);
	*s = (struct share){ 0 };
}

/* -- QEMU ------------------------------------------------------------------ */

/* Without KVM QEMU 7.2 crashes when a vhost-user device has MSI-X vectors. */
static void virtiofs_args(struct args *a, const struct share *s, int fd,
			  bool kvm)
{
	args_add(a, "-chardev");
	args_add(a, "socket,id=%s,fd=%d", s->tag, fd);
	args_add(a, "-device");
	args_add(a, "vhost-user-fs-pci,chardev=%s,tag=%s,queue-size=1024%s",
		 s->tag, s->tag, kvm ? "" : ",vectors=0");
}

/* security_model=none: what the guest says of owners is not heard. */
static void p9_args(struct args *a, const struct share *s)
{
	_cleanup_free_ char *path = args_quoted(s->path);

	if (!path)
		a->error = -ENOMEM;
	args_add(a, "-fsdev");
	args_add(a, "local,id=%s,path=%s,security_model=none,multidevs=remap%s",
		 s->tag, path ? path : "", s->ro ? ",readonly=on" : "");
	args_add(a, "-device");
	args_add(a, "virtio-9p-pci,fsdev=%s,mount_tag=%s", s->tag, s->tag);
}

void share_args(struct args *a, const struct share *s, int fd, bool kvm)
{
	if (s->virtiofs)
		virtiofs_args(a, s, fd, kvm);
	else
		p9_args(a, s);
}
