#include <config.h>

#include "qemu_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

void qemu_disk_done(struct qemu_disk *d)
{
	free(d->path);
	free(d->drive);
	free(d->serial);
	free(d->base);
	*d = (struct qemu_disk){ 0 };
}

/* Is @key= among the pieces of @text, which single commas divide? */
static bool has_key(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p;) {
		if (strncmp(p, key, n) == 0 && p[n] == '=')
			return true;
		p = strchr(p, ',');
		while (p && p[1] == ',')
			p = strchr(p + 2, ',');
		p = p ? p + 1 : NULL;
	}
	return false;
}

/* What is no -drive for a virtio disk says so itself. */
static void drive_args(struct args *a, const char *text)
{
	args_add(a, "-drive");
	args_add(a, "%s%s%s", text, has_key(text, "media") ? "" : ",media=disk",
		 has_key(text, "if") ? "" : ",if=virtio");
}

static void blockdev_args(struct args *a, const struct qemu_disk *d,
			  const char *node, int set)
{
	_cleanup_free_ char *file = NULL;
	bool direct = d->cache == CACHE_NONE || d->cache == CACHE_DIRECTSYNC;
	/* what is thrown away need not reach the platter */
	bool no_flush = d->cache == CACHE_UNSAFE ||
			(!d->lasts && d->cache == CACHE_UNSAID);
	char fdset[32];

	snprintf(fdset, sizeof(fdset), "/dev/fdset/%d", set);
	file = args_quoted(d->path ? d->path : fdset);
	if (!file)
		a->error = -ENOMEM;
	args_add(a, "-blockdev");
	args_add(
		a,
		"driver=%s,node-name=%s,read-only=%s,discard=unmap%s%s,file.driver=file,file.filename=%s",
		d->format, node, d->read_only ? "on" : "off",
		direct ? ",cache.direct=on" : "",
		no_flush ? ",cache.no-flush=on" : "", file ? file : "");
}

static const char *device_of(const struct qemu_disk *d)
{
	switch (d->bus) {
	case BUS_IDE:
		return d->cdrom ? "ide-cd" : "ide-hd";
	case BUS_SCSI:
		return d->cdrom ? "scsi-cd,bus=scsi0.0" : "scsi-hd,bus=scsi0.0";
	default:
		return "virtio-blk-pci";
	}
}

static void device_args(struct args *a, const struct qemu_disk *d,
			const char *node)
{
	bool through =
		d->cache == CACHE_WRITETHROUGH || d->cache == CACHE_DIRECTSYNC;
	_cleanup_free_ char *serial = args_quoted(d->serial ? d->serial : node);
	char boot[32] = "";

	if (!serial)
		a->error = -ENOMEM;
	args_add(a, "-device");
	if (d->bootindex)
		snprintf(boot, sizeof(boot), ",bootindex=%u", d->bootindex);
	args_add(a, "%s,drive=%s,serial=%s%s%s%s%s", device_of(d), node,
		 serial ? serial : "", through ? ",write-cache=off" : "",
		 d->id ? ",id=" : "", d->id ? d->id : "", boot);
}

void qemu_disk_args(struct args *a, const struct qemu_disk *d, const char *node,
		    int fd, int set)
{
	if (d->drive) {
		drive_args(a, d->drive);
		return;
	}
	if (!d->path) {
		args_add(a, "-add-fd");
		args_add(a, "fd=%d,set=%d", fd, set);
	}
	blockdev_args(a, d, node, set);
	device_args(a, d, node);
}

void qemu_scsi_args(struct args *a, const struct qemu_disk *d, unsigned int n)
{
	bool any = false;

	for (unsigned int i = 0; i < n; i++)
		any = any || (!d[i].drive && d[i].bus == BUS_SCSI);
	if (any)
		args_add2(a, "-device", "virtio-scsi-pci,id=scsi0");
}
