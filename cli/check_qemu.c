/* check_qemu.c - which QEMU there is, what it can, and whether by KVM */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accel.h"
#include "check_impl.h"
#include "child.h"
#include "cleanup.h"
#include "disk.h"
#include "qemu_find.h"

#define QEMU_MS	    20000
#define QEMU_MAX    (256 * 1024)
#define LEAST_MAJOR 7
#define LEAST_MINOR 2

/* What a machine is made of. */
static const struct {
	const char *list; /* of QEMU's -LIST help */
	const char *name;
	const char
		*without; /* NULL: no VM can be without it; or what is lost */
} parts[] = {
	{ "device", "virtio-net-pci", NULL },
	{ "device", "virtio-blk-pci", NULL },
	{ "device", "virtio-serial-pci", NULL },
	{ "device", "virtserialport", NULL },
	{ "device", "virtio-rng-pci", NULL },
	{ "device", "ivshmem-plain", "--vm-fam" },
	{ "device", "virtio-9p-pci", "directories without virtiofsd" },
	{ "device", "vhost-user-fs-pci", "directories by virtiofsd" },
	{ "device", "virtio-scsi-pci", "disks with bus=scsi" },
	{ "device", "vfio-pci", "devices that --gres gives" },
	{ "object", "memory-backend-memfd", NULL },
	{ "netdev", "vhost-user", NULL },
	{ "netdev", "stream", "--vm-net=stream" },
	{ "netdev", "dgram", "--vm-net=dgram" },
	{ "netdev", "user", "--vm-outbound, --vm-publish and --vm-tftp" },
};

/* @name is a word of @text. */
static bool has_word(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = text; (p = strstr(p, name)); p += len)
		if ((p == text || strchr(" \"\n", p[-1])) &&
		    strchr(" \",\n", p[len]))
			return true;
	return false;
}

static bool check_parts(struct checking *c, const char *qemu, const char *list)
{
	_cleanup_free_ char *text = malloc(QEMU_MAX);
	char option[32];
	const char *const argv[] = { qemu,   "-machine", "none",
				     option, "help",	 NULL };
	struct errmsg err = { "no memory" };
	bool all = true;
	int r = -ENOMEM;

	snprintf(option, sizeof(option), "-%s", list);
	if (text)
		r = child_output(argv, QEMU_MS, text, QEMU_MAX, &err);
	if (r < 0)
		check_fail(c, "mend this QEMU", "%s", err.text);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(parts); i++) {
		if (strcmp(parts[i].list, list) != 0 ||
		    has_word(text, parts[i].name))
			continue;
		all = false;
		if (parts[i].without)
			check_warn(c, "take a QEMU that has it",
				   "%s has no %s %s: no %s", qemu, list,
				   parts[i].name, parts[i].without);
		else
			check_fail(c, "take a QEMU that has it",
				   "%s has no %s %s, and no VM can be without",
				   qemu, list, parts[i].name);
	}
	return r >= 0 && all;
}

static bool check_version(struct checking *c, const char *qemu, char *ret,
			  size_t size)
{
	const char *const argv[] = { qemu, "--version", NULL };
	unsigned int major, minor;
	char text[1024];
	const char *at;
	struct errmsg err;
	int r = child_output(argv, QEMU_MS, text, sizeof(text), &err);

	text[r < 0 ? 0 : strcspn(text, "\n")] = '\0';
	at = strstr(text, "version ");
	if (r < 0)
		check_fail(c, "mend this QEMU", "%s", err.text);
	else if (r > 0 || !at || sscanf(at + 8, "%u.%u", &major, &minor) != 2)
		check_fail(c, "mend this QEMU", "%s --version: %s", qemu,
			   *text ? text : "no words");
	else if (major < LEAST_MAJOR ||
		 (major == LEAST_MAJOR && minor < LEAST_MINOR))
		check_fail(c, "take a newer one",
			   "%s is version %u.%u, and %d.%d is the least", qemu,
			   major, minor, LEAST_MAJOR, LEAST_MINOR);
	else {
		snprintf(ret, size, "%s", at);
		return true;
	}
	return false;
}

/* Overlays are made by it. */
static void check_img(struct checking *c, const char *qemu)
{
	char tool[PATH_MAX];
	const char *const argv[] = { tool, "--version", NULL };
	struct errmsg err;

	disk_tool(qemu, tool, sizeof(tool));
	if (child_run(argv, -1, QEMU_MS, &err) < 0)
		check_fail(c, "install it: on Debian qemu-utils", "%s",
			   err.text);
}

void check_qemu(struct checking *c)
{
	_cleanup_free_ char *qemu = NULL;
	char version[128];
	struct errmsg err;
	bool all;

	qemu = qemu_find(c->s->site.qemu, "qemu in vmstep.conf", &err);
	if (!qemu) {
		check_fail(c, "install it: on Debian qemu-system-x86", "%s",
			   err.text);
		return;
	}
	if (!check_version(c, qemu, version, sizeof(version)))
		return;
	check_img(c, qemu);
	all = check_parts(c, qemu, "device");
	all = check_parts(c, qemu, "object") && all;
	if (check_parts(c, qemu, "netdev") && all)
		check_ok(c, "%s, %s", qemu, version);
}

void check_accel(struct checking *c)
{
	struct errmsg why;

	if (accel_kvm_usable(&why) == 0)
		check_ok(c, "/dev/kvm makes VMs");
	else if (c->s->site.allow_tcg)
		check_warn(
			c,
			"switch virtualization on in the firmware, and let users open /dev/kvm (group kvm, or a udev rule)",
			"no KVM: %s; guests run under TCG, some 20 times slower",
			why.text);
	else
		check_fail(
			c,
			"switch virtualization on in the firmware, let users open /dev/kvm (group kvm, or a udev rule), or set allow_tcg",
			"no KVM: %s, and allow_tcg is no", why.text);
}
