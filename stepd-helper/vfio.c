#include <config.h>

#include "vfio.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "value.h"

#define SEPARATORS ", "
#define LOCK_BEYOND                                              \
	(64ull << 20) /* of QEMU's own, with the devices' memory \
		       */
#define WITHOUT "; take it out of the step by --gres=none"

/* -- what the site allows -------------------------------------------------- */

static bool is_allowed(const char *list, const char *address)
{
	size_t len = strlen(address);

	if (strcmp(list, "all") == 0)
		return true;
	for (const char *p = list; *p;) {
		size_t n = strcspn(p, SEPARATORS);

		if (n == len && strncasecmp(p, address, n) == 0)
			return true;
		p += n;
		p += strspn(p, SEPARATORS);
	}
	return false;
}

/* -- one device ------------------------------------------------------------ */

static unsigned long class_of(const struct vfio_ask *ask, const char *address)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[PATH_MAX];
	unsigned long class = 0;

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/class", ask->sys,
		 address);
	f = fopen(path, "re");
	if (f && fscanf(f, "%lx", &class) != 1)
		class = 0;
	return class;
}

/* "vfio-pci"; "" where it has none. */
static void driver_of(const struct vfio_ask *ask, const char *address,
		      char *name, size_t size)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/driver", ask->sys,
		 address);
	n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	slash = strrchr(target, '/');
	snprintf(name, size, "%.60s", slash ? slash + 1 : target);
}

/* Returns 1 for one that QEMU is given, 0 for a bridge. */
static int check_device(const struct vfio_ask *ask, const char *address,
			struct errmsg *err)
{
	char driver[64];

	if (class_of(ask, address) >> 8 == 0x0604)
		return 0;
	if (!is_allowed(ask->allowed, address))
		return errmsg_say(
			err, -EPERM,
			"--gres gave this task the PCI device %s of %s, which the site does not pass to VMs (allow_devices)" WITHOUT,
			address, ask->node);
	driver_of(ask, address, driver, sizeof(driver));
	if (strcmp(driver, "vfio-pci") != 0)
		return errmsg_say(
			err, -EBUSY,
			"--gres gave this task the PCI device %s of %s, whose driver is %s and not vfio-pci: the administrator has to bind it" WITHOUT,
			address, ask->node, *driver ? driver : "none");
	return 1;
}

/* -- a group --------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* So that a guest finds them in the same places each time. */
static int list_group(const struct vfio_ask *ask, unsigned long group,
		      struct strings *ret, struct errmsg *err)
{
	char path[PATH_MAX];
	struct dirent *e;
	int r = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%lu/devices",
		 ask->sys, group);
	d = opendir(path);
	if (!d)
		return errmsg_say(
			err, -ENODEV,
			"--gres gave this task device %lu of %s, which is no IOMMU group there: only devices that gres.conf names by /dev/vfio/GROUP can be passed to a VM" WITHOUT,
			group, ask->node);
	while (r == 0 && (e = readdir(d)))
		if (e->d_name[0] != '.')
			r = strings_add(ret, e->d_name, strlen(e->d_name));
	closedir(d);
	if (r < 0)
		return errmsg_set(err, r, "devices");
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_name);
	return 0;
}

static int check_file(const struct vfio_ask *ask, unsigned long group,
		      struct errmsg *err)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/vfio/%lu", ask->dev, group);
	if (access(path, R_OK | W_OK) == 0)
		return 0;
	return errmsg_set(
		err, -errno,
		"--gres gave this task device %lu of %s, but its user may not open %s",
		group, ask->node, path);
}

static int add_group(const struct vfio_ask *ask, unsigned long group,
		     struct strings *ret, struct errmsg *err)
{
	struct strings list = { 0 };
	int r = list_group(ask, group, &list, err);

	for (size_t i = 0; i < list.n && r >= 0; i++) {
		r = check_device(ask, list.v[i], err);
		if (r > 0 && strings_add(ret, list.v[i], strlen(list.v[i])) < 0)
			r = errmsg_set(err, -ENOMEM, "devices");
	}
	strings_done(&list);
	return r < 0 ? r : check_file(ask, group, err);
}

/* -- all that are this task's ---------------------------------------------- */

/* A device writes into the guest's memory, which has to stay where it is. */
static int check_lock(const struct vfio_ask *ask, struct errmsg *err)
{
	uint64_t need = ask->mem_bytes + LOCK_BEYOND;
	char may[16], has[16];

	if (ask->lock_bytes >= need)
		return 0;
	value_size_text(ask->lock_bytes, may);
	value_size_text(need, has);
	return errmsg_say(
		err, -EPERM,
		"--gres gave this task a PCI device, for which %s of memory have to be locked, and %s lets it lock %s: have the administrator raise that (LimitMEMLOCK of slurmd, ulimit -l), or give the VM less by --vm-mem",
		has, ask->node, may);
}

static size_t count(const char *list)
{
	size_t n = *list != '\0';

	for (; *list; list++)
		n += *list == ',';
	return n;
}

/* Has Slurm given all of the step's to each of its tasks? */
static bool is_shared(const struct vfio_ask *ask)
{
	return ask->local_tasks > 1 && ask->on_node &&
	       strtoul(ask->on_node, NULL, 10) == count(ask->given);
}

int vfio_devices(const struct vfio_ask *ask, struct strings *ret,
		 struct errmsg *err)
{
	bool shared;
	uint32_t place = 0;
	int r = 0;

	if (!ask->given || !*ask->given)
		return 0;
	shared = is_shared(ask);
	for (const char *p = ask->given; *p && r == 0; place++) {
		char text[16];
		unsigned long group;

		snprintf(text, sizeof(text), "%.*s", (int)strcspn(p, ","), p);
		p += strcspn(p, ",");
		p += *p == ',';
		r = value_uint(text, 0, INT_MAX, &group, err);
		if (r < 0)
			errmsg_prefix(err, r, "SLURM_STEP_GPUS=%s", ask->given);
		else if (!shared || place % ask->local_tasks == ask->local_id)
			r = add_group(ask, group, ret, err);
	}
	return r < 0 || !ret->n ? r : check_lock(ask, err);
}
