#include <config.h>

#include "qemu_sandbox.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define RW (SANDBOX_READ | SANDBOX_WRITE)

/* -- what is denied -------------------------------------------------------- */

static bool has_own_args(const struct qemu_plan *p)
{
	for (unsigned int i = 0; i < p->n_disks; i++)
		if (p->disk[i].drive)
			return true;
	return p->spec->qemu_args.n > 0;
}

/* In the step's directory. */
static bool makes_sockets(const struct qemu_plan *p)
{
	return p->spec->vnc || p->spec->net == NET_VHOST_USER;
}

/* Guests that reach what their node reaches do so by QEMU; published ports are
 * listened on. */
static unsigned int denied(const struct qemu_plan *p)
{
	const struct spec *s = p->spec;
	unsigned int deny = SANDBOX_OTHERS;

	if (has_own_args(p))
		return deny;
	deny |= SANDBOX_FILES;
	if (!s->outbound)
		deny |= SANDBOX_TCP_CONNECT | SANDBOX_CONNECT;
	if (!makes_sockets(p))
		deny |= SANDBOX_UNIX;
	if (!s->outbound && !s->n_ports)
		deny |= SANDBOX_TCP_BIND;
	return deny;
}

/* -- what is allowed ------------------------------------------------------- */

/* One that is not the distribution's has its files beside its directory. */
static int allow_program(struct sandbox *b, const char *qemu,
			 struct errmsg *err)
{
	static const char *const beside[] = { "lib", "lib64", "libexec",
					      "share" };
	_cleanup_free_ char *real = realpath(qemu, NULL);
	char path[PATH_MAX + 16];
	char *slash;
	int r = sandbox_path(b, qemu, SANDBOX_READ | SANDBOX_EXEC, err);

	slash = real ? strrchr(real, '/') : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(beside) && slash && r == 0; i++) {
		snprintf(path, sizeof(path), "%.*s/../%s", (int)(slash - real),
			 real, beside[i]);
		r = sandbox_path(b, path, SANDBOX_READ | SANDBOX_EXEC, err);
	}
	return r;
}

static int allow_disks(struct sandbox *b, const struct qemu_plan *p,
		       struct errmsg *err)
{
	int r = 0;

	/* images, with all that is below them, are held */
	for (size_t i = 0; i < p->hold.n && r == 0; i++)
		r = sandbox_fd(b, p->hold.fd[i], SANDBOX_READ, err);
	for (unsigned int i = 0; i < p->n_disks && r == 0; i++) {
		const struct qemu_disk *d = &p->disk[i];

		if (d->path)
			r = sandbox_path(b, d->path,
					 d->read_only ? SANDBOX_READ : RW, err);
		if (r == 0 && d->base)
			r = sandbox_path(b, d->base, SANDBOX_READ, err);
	}
	return r;
}

static int allow_boot(struct sandbox *b, const struct qemu_plan *p,
		      struct errmsg *err)
{
	const char *const files[] = { p->kernel, p->initrd, p->firmware.code,
				      p->spec->tftp };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
		if (files[i])
			r = sandbox_path(b, files[i], SANDBOX_READ, err);
	return r;
}

static int allow_shares(struct sandbox *b, const struct qemu_plan *p,
			struct errmsg *err)
{
	int r = 0;

	for (unsigned int i = 0; i < p->n_shares && r == 0; i++)
		if (!p->share[i].virtiofs)
			r = sandbox_path(b, p->share[i].path,
					 p->share[i].ro ? SANDBOX_READ
							: RW | SANDBOX_MAKE,
					 err);
	return r;
}

static int allow_devices(struct sandbox *b, const struct qemu_plan *p,
			 struct errmsg *err)
{
	int r = 0;

	if (p->kvm)
		r = sandbox_path(b, "/dev/kvm", RW, err);
	if (r == 0 && p->devices.n)
		r = sandbox_path(b, "/dev/vfio", RW, err);
	if (r == 0 && p->devices.n)
		r = sandbox_path(b, "/dev/iommu", RW, err);
	/* QEMU opens it anew, by its descriptor */
	if (r == 0 && p->fd[QEMU_FD_FAM] >= 0)
		r = sandbox_fd(b, p->fd[QEMU_FD_FAM], RW, err);
	return r;
}

/* It makes sockets in the step's directory; and asks the node's name servers
 * for its guest, which may become others while it runs: files in the place of
 * these. */
static int allow_net(struct sandbox *b, const struct qemu_plan *p,
		     struct errmsg *err)
{
	static const char *const resolvers[] = { "/etc", "/run/systemd/resolve",
						 "/run/resolvconf",
						 "/run/NetworkManager" };
	int r = 0;

	if (makes_sockets(p))
		r = sandbox_path(b, p->task->step_dir, SANDBOX_SOCKETS, err);
	if (r < 0 || !p->spec->outbound)
		return r;
	return sandbox_paths(b, resolvers, ARRAY_SIZE(resolvers), SANDBOX_READ,
			     err);
}

static int allow_all(struct sandbox *b, const struct qemu_plan *p,
		     const char *qemu, struct errmsg *err)
{
	int r = sandbox_system(b, true, p->task->sandbox_paths, err);

	if (r == 0)
		r = allow_program(b, qemu, err);
	if (r == 0)
		r = allow_disks(b, p, err);
	if (r == 0)
		r = allow_boot(b, p, err);
	if (r == 0)
		r = allow_shares(b, p, err);
	if (r == 0)
		r = allow_devices(b, p, err);
	return r < 0 ? r : allow_net(b, p, err);
}

int qemu_sandbox(const struct qemu_plan *p, const char *qemu,
		 struct sandbox **ret, struct errmsg *err)
{
	struct sandbox *b = NULL;
	int r = sandbox_new(denied(p), &b, err);

	if (r == 0)
		r = allow_all(b, p, qemu, err);
	if (r < 0) {
		sandbox_free(b);
		return r;
	}
	*ret = b;
	return 0;
}
