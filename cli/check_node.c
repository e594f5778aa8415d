/* check_node.c - what a node has: programs, directories, limits, its kernel */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../stepd-helper/image.h"
#include "check_impl.h"
#include "child.h"
#include "cleanup.h"
#include "firmware.h"
#include "local_address.h"
#include "rdma.h"
#include "sandbox.h"
#include "share.h"
#include "value.h"

#define TOOL_MS 10000

/* -- programs -------------------------------------------------------------- */

static bool check_program(struct checking *c, const char *name)
{
	char path[PATH_MAX], text[256], want[128];
	const char *const argv[] = { path, "--version", NULL };
	struct errmsg err;

	snprintf(path, sizeof(path), "%s/%s", c->libexec, name);
	snprintf(want, sizeof(want), "%s " PACKAGE_VERSION "\n", name);
	if (child_output(argv, TOOL_MS, text, sizeof(text), &err) < 0) {
		check_fail(c, "install vmstep on this node", "%s", err.text);
		return false;
	}
	if (strcmp(text, want) == 0)
		return true;
	text[strcspn(text, "\n")] = '\0';
	check_fail(c, "install one version everywhere",
		   "%s --version says '%s', this vmstep is " PACKAGE_VERSION,
		   path, text);
	return false;
}

void check_programs(struct checking *c)
{
	static const char *const names[] = { "vmstep-helper", "vmstep-net",
					     "vmstep-agent" };
	bool all = true;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		all = check_program(c, names[i]) && all;
	if (all)
		check_ok(
			c,
			"helper, net and agent in %s, version " PACKAGE_VERSION,
			c->libexec);
}

/* What not every step needs. */
void check_tools(struct checking *c)
{
	static const struct {
		const char *name, *option, *without, *cure;
	} tools[] = {
		{ "mksquashfs", "-version",
		  "no directory boots as a root file system",
		  "on Debian squashfs-tools" },
		{ "ssh", "-V", "no vmstep ssh", "on Debian openssh-client" },
		{ "lstopo-no-graphics", "--version", "no vmstep topo",
		  "on Debian hwloc-nox" },
		{ "python3", "--version", "no vmstep connect",
		  "on Debian python3" },
	};
	bool all = true;

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		const char *const argv[] = { tools[i].name, tools[i].option,
					     NULL };
		char text[64];
		struct errmsg err;

		if (child_output(argv, TOOL_MS, text, sizeof(text), &err) >= 0)
			continue;
		check_warn(c, tools[i].cure, "%s: %s", err.text,
			   tools[i].without);
		all = false;
	}
	if (all)
		check_ok(c, "mksquashfs, ssh, lstopo, python3");
}

void check_virtiofsd(struct checking *c)
{
	const char *name = c->s->site.virtiofsd;
	char dir[] = "/tmp/vmstep-check-XXXXXX";
	struct share s = { .path = dir, .ro = true };
	struct errmsg err;
	int fd;

	if (geteuid() == 0) {
		check_ok(c, "%s: an ordinary user's check tries it", name);
		return;
	}
	if (!mkdtemp(dir)) {
		check_fail(c, "make room there", "/tmp: %s", strerror(errno));
		return;
	}
	fd = share_start(&s, name, dir, &err);
	rmdir(dir);
	if (fd >= 0) {
		close(fd);
		s.path = NULL; /* not its own */
		share_done(&s);
		check_ok(c, "%s works for users", name);
	} else if (strcmp(name, "virtiofsd") == 0) {
		check_ok(c, "QEMU's 9p serves instead: %s", err.text);
	} else {
		check_warn(c, "name one that does, as virtiofsd 1.10 or later",
			   "%s, and QEMU's 9p serves instead", err.text);
	}
}

void check_firmware(struct checking *c)
{
	struct firmware fw;
	struct errmsg err;

	if (firmware_find(FIRMWARE_DIRS, "q35", &fw, &err) < 0) {
		check_warn(c, NULL, "%s", err.text);
		return;
	}
	check_ok(c, "%s", fw.code);
	firmware_done(&fw);
}

/* -- images ---------------------------------------------------------------- */

static bool readable(struct checking *c, const char *key, const char *path)
{
	if (!*path || access(path, R_OK) == 0)
		return true;
	check_fail(c, "make it by contrib/mkimage tiny, or take the key out",
		   "%s = %s: %s", key, path, strerror(errno));
	return false;
}

void check_roots(struct checking *c)
{
	const struct site *s = &c->s->site;

	if (!*s->kernel)
		check_ok(c, "none: vmstep.conf names no kernel for them");
	else if (readable(c, "kernel", s->kernel) &&
		 readable(c, "initrd", s->initrd))
		check_ok(c, "%s, %s", s->kernel,
			 *s->initrd ? s->initrd : "no initrd");
}

/* Each directory of a list with ':' between. */
static unsigned int check_search(struct checking *c, const char *key,
				 const char *list)
{
	unsigned int there = 0;

	for (const char *p = list; *p; p += *p == ':') {
		char dir[PATH_MAX];
		int n = (int)strcspn(p, ":");
		struct stat st;

		snprintf(dir, sizeof(dir), "%.*s", n, p);
		p += n;
		if (n && stat(dir, &st) < 0)
			check_warn(c, "make it, or take it out of vmstep.conf",
				   "%s: %s: %s", key, dir, strerror(errno));
		else
			there += n > 0;
	}
	return there;
}

void check_images(struct checking *c)
{
	const struct site *s = &c->s->site;

	check_search(c, "data_path", s->data_path);
	check_search(c, "allow_images", s->allow_images);
	check_search(c, "allow_mounts", s->allow_mounts);
	if (check_search(c, "image_path", s->image_path))
		check_ok(c, "image_path = %s", s->image_path);
}

/* -- directories ----------------------------------------------------------- */

/* Is it on a disk that other nodes share? */
static bool is_remote(const char *path)
{
	static const long types[] = { 0x6969 /* NFS */,
				      0x0bd00bd0 /* Lustre */,
				      0x47504653 /* GPFS */,
				      0x19830326 /* BeeGFS */,
				      0x00c36400 /* Ceph */,
				      (long)0xff534d42 /* CIFS */ };
	struct statfs st;

	if (statfs(path, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((long)st.f_type == types[i])
			return true;
	return false;
}

static void free_text(const char *path, char ret[16])
{
	struct statvfs st;

	if (statvfs(path, &st) < 0)
		snprintf(ret, 16, "?");
	else
		value_size_text((uint64_t)st.f_bavail * st.f_frsize, ret);
}

void check_runtime_dir(struct checking *c)
{
	const char *dir = c->s->site.runtime_dir;
	struct stat st;

	if (lstat(dir, &st) < 0 && errno == ENOENT)
		check_ok(c, "%s: the first step makes it", dir);
	else if (lstat(dir, &st) < 0)
		check_fail(c, "let users pass the directories above it",
			   "%s: %s", dir, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		check_fail(c, "remove it", "%s is no directory", dir);
	else if (is_remote(dir))
		check_fail(c, "name one that is the node's own, as /run/vmstep",
			   "%s is on a file system that nodes share", dir);
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		check_warn(c, "chmod 755 it; the next step does",
			   "%s: others than its owner may write there", dir);
	else
		check_ok(c, "%s", dir);
}

/* %u is the user; what else differs by step is not known here. */
static bool expand_rundir(const char *rundir, char *ret, size_t size)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *u = strstr(rundir, "%u");

	snprintf(ret, size, "%.*s%s%s",
		 u ? (int)(u - rundir) : (int)strlen(rundir), rundir,
		 u ? (pw ? pw->pw_name : "?") : "", u ? u + 2 : "");
	return !strchr(ret, '%');
}

void check_rundir(struct checking *c)
{
	const char *rundir = c->s->site.rundir;
	char dir[PATH_MAX], room[16];

	if (!expand_rundir(rundir, dir, sizeof(dir))) {
		check_ok(c, "%s: another for each step", rundir);
		return;
	}
	free_text(dir, room);
	if (access(dir, W_OK | X_OK) < 0)
		check_fail(c, "make it, and let users write there",
			   "%s: %s: steps whose images are disks fail", dir,
			   strerror(errno));
	else if (is_remote(dir))
		check_warn(
			c, "name one on a disk of the node",
			"%s, %s free, is on a file system that nodes share: guests' disks are slow",
			dir, room);
	else
		check_ok(c, "%s, %s free", dir, room);
}

/* -- memory ---------------------------------------------------------------- */

void check_shm(struct checking *c)
{
	char path[PATH_MAX], size[16], most[16];
	uint64_t bytes;
	struct statvfs st;

	snprintf(path, sizeof(path), "%s/dev/shm", c->root);
	if (statvfs(path, &st) < 0) {
		check_warn(c, "mount a tmpfs there", "%s: no --vm-fam",
			   strerror(errno));
		return;
	}
	bytes = (uint64_t)st.f_blocks * st.f_frsize;
	value_size_text(bytes, size);
	value_size_text(c->s->site.max_fam, most);
	check_ok(c, "%s for --vm-fam, of which max_fam allows %s", size,
		 c->s->site.max_fam < bytes ? most : "all");
}

/* Devices and RDMA want memory that stays where it is. */
void check_memlock(struct checking *c)
{
	const struct site *s = &c->s->site;
	bool rdma = strcmp(s->net_link, "tcp") != 0 && rdma_is_there();
	struct rlimit l;
	char most[16];

	if (getrlimit(RLIMIT_MEMLOCK, &l) < 0)
		return;
	value_size_text(l.rlim_max, most);
	if (l.rlim_max == RLIM_INFINITY)
		check_ok(c, "unlimited");
	else if (*s->allow_devices || rdma)
		check_warn(
			c,
			"let slurmd have LimitMEMLOCK=infinity, and slurm.conf PropagateResourceLimitsExcept=MEMLOCK",
			"%s here, and %s more", most,
			*s->allow_devices ? "guests with devices need"
					  : "links over RDMA may need");
	else
		check_ok(c, "%s; neither devices nor RDMA need more", most);
}

/* -- the network between nodes --------------------------------------------- */

void check_net(struct checking *c)
{
	const struct site *s = &c->s->site;
	struct sockaddr_storage sa;
	struct errmsg err;

	if (strcmp(s->net_link, "ucx") == 0 && !rdma_is_there())
		check_fail(c, "set net_link to auto or tcp",
			   "net_link = ucx, and no RDMA device here is active");
	else if (*s->net_device &&
		 local_address(s->net_device, NULL, NULL, &sa, &err) < 0)
		check_fail(c, "see net_device in vmstep.conf(5)", "%s",
			   err.text);
	else
		check_ok(c, "net_device = %s, net_link = %s%s",
			 *s->net_device ? s->net_device
					: "(that towards srun's host)",
			 s->net_link,
			 strcmp(s->net_link, "auto") != 0 ? ""
			 : rdma_is_there()		  ? ": ucx"
							  : ": tcp");
}

/* -- the kernel ------------------------------------------------------------ */

void check_cgroup(struct checking *c)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/sys/fs/cgroup/cgroup.controllers",
		 c->root);
	if (access(path, F_OK) == 0) {
		check_ok(c, "version 2");
		return;
	}
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup/memory", c->root);
	if (access(path, F_OK) == 0)
		check_ok(c, "version 1");
	else
		check_warn(c, "mount it: Slurm limits memory by cgroups",
			   "%s/sys/fs/cgroup has none", c->root);
}

#define KERNEL_MAJOR 5
#define KERNEL_MINOR 3

void check_kernel(struct checking *c)
{
	unsigned int major, minor;
	struct utsname u;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		check_warn(c, NULL, "it does not tell its version");
	else if (major < KERNEL_MAJOR ||
		 (major == KERNEL_MAJOR && minor < KERNEL_MINOR))
		check_warn(
			c, "take a newer one",
			"%s has no pidfd: the ends of programs are polled for",
			u.release);
	else
		check_ok(c, "%s", u.release);
}

void check_sandbox(struct checking *c)
{
	const char *wanted = c->s->site.sandbox;
	bool wants = strcmp(wanted, "no") != 0;
	char text[SANDBOX_TEXT];
	struct errmsg err;

	if (strcmp(wanted, "require") == 0 &&
	    sandbox_require("this node", &err) < 0)
		check_fail(c, NULL, "%s", err.text);
	else if (wants && !sandbox_abi())
		check_warn(
			c,
			"take Linux 5.19 or later, with landlock among its lsm=",
			"%s", sandbox_text(wants, text));
	else
		check_ok(c, "%s", sandbox_text(wants, text));
}
