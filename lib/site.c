#include <config.h>

#include "site.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "publish.h"
#include "value.h"

#define AT(member) offsetof(struct site, member)

const struct site_key site_keys[] = {
	{ "runtime_dir", SITE_PATH, AT(runtime_dir), "/run/vmstep",
	  "directory for sockets and small files of running steps; made if missing" },
	{ "image_path", SITE_SEARCH, AT(image_path), "/usr/share/vmstep/images",
	  "directories where --vm-image looks names up, separated by ':'" },
	{ "rundir", SITE_PATH, AT(rundir), "/tmp",
	  "directory for overlays; they have no name there and vanish with QEMU" },
	{ "kernel", SITE_PATH, AT(kernel), "",
	  "kernel that root file systems boot with: SquashFS, directories" },
	{ "initrd", SITE_PATH, AT(initrd), "",
	  "initial RAM disk for it, as contrib/mkimage tiny makes one" },
	{ "qemu", SITE_PROGRAM, AT(qemu), "qemu-system-x86_64",
	  "QEMU, a path or a name looked up in PATH" },
	{ "mem_reserve", SITE_RESERVE, AT(mem_reserve), "auto",
	  "memory of each task kept back for QEMU itself; auto: 116M and a 64th" },
	{ "max_fam", SITE_SIZE, AT(max_fam), "1024T",
	  "the most that --vm-fam may ask for on a node" },
	{ "allow_users", SITE_TEXT, AT(allow_users), "",
	  "users who may run VMs; empty: all" },
	{ "allow_groups", SITE_TEXT, AT(allow_groups), "",
	  "groups whose members may run VMs; empty: all" },
	{ "allow_tcg", SITE_BOOL, AT(allow_tcg), "yes",
	  "may guests run without KVM, some 20 times slower?" },
	{ "allow_qmp", SITE_BOOL, AT(allow_qmp), "no",
	  "may users give QEMU commands of its own (vmstep op vm.qmp)?" },
	{ "allow_images", SITE_SEARCH, AT(allow_images), "",
	  "directories that images and kernels may come from, separated by ':'; empty: all" },
	{ "allow_qemu_args", SITE_BOOL, AT(allow_qemu_args), "no",
	  "may users give QEMU arguments of their own (--vm-qemu-arg, --vm-image=file=...)?" },
	{ "allow_outbound", SITE_BOOL, AT(allow_outbound), "no",
	  "may guests reach what their node reaches (--vm-outbound, --vm-tftp)?" },
	{ "allow_publish", SITE_PUBLISH, AT(allow_publish), "no",
	  "may ports of guests be had at their node's 127.0.0.1 (--vm-publish)? yes, no, or ports of the node as in 40000-40999" },
	{ "allow_devices", SITE_TEXT, AT(allow_devices), "",
	  "PCI devices that --gres gives and guests get, as in 0000:3b:00.0, separated by commas, or all; empty: none" },
	{ "allow_mounts", SITE_SEARCH, AT(allow_mounts), "",
	  "directories whose files may be given to guests (--vm-input, --vm-output, --vm-mounts, --vm-mount-home), separated by ':'; empty: all" },
	{ "sandbox", SITE_SANDBOX, AT(sandbox), "yes",
	  "close what QEMU and vmstep-net do not need, as far as the kernel can (Landlock)? require: refuse VMs where it cannot" },
	{ "sandbox_paths", SITE_SEARCH, AT(sandbox_paths), "",
	  "directories that QEMU and vmstep-net may read beside /usr, as where their libraries are, separated by ':'" },
	{ "data_path", SITE_SEARCH, AT(data_path), "",
	  "directories where --vm-input looks names up, separated by ':'" },
	{ "virtiofsd", SITE_PROGRAM, AT(virtiofsd), "virtiofsd",
	  "what shares directories with guests, a path or a name; where it does not work for an ordinary user, QEMU's 9p does" },
	{ "net_device", SITE_TEXT, AT(net_device), "",
	  "interface or subnet for the links between nodes; empty: the one that leads to srun's host" },
	{ "net_port_range", SITE_PORTS, AT(net_port_range), "",
	  "TCP ports for the links between nodes, as in 40000-40999; empty: any" },
	{ "net_link", SITE_LINK, AT(net_link), "auto",
	  "what carries the links: tcp, ucx, or auto: ucx where there is an RDMA device" },
	{ "net_encrypt", SITE_BOOL, AT(net_encrypt), "no",
	  "encrypt what goes over the links between nodes?" },
	{ "net_workers", SITE_WORKERS, AT(net_workers), "1",
	  "threads of a node that carry frames, up to 16" },
	{ "beacon_interval", SITE_SECONDS, AT(beacon_interval_s), "10",
	  "seconds between two signs of life of a guest's agent; it is late after 3, lost after 4.5 of them" },
	{ "lost_after", SITE_SECONDS, AT(lost_after_s), "30",
	  "seconds that a node may be cut off before its VMs count as failed" },
	{ "boot_timeout", SITE_OPTION, OPT_BOOT_TIMEOUT, NULL,
	  "seconds a VM may take to come up; as default_boot_timeout" },
	{ "grace", SITE_OPTION, OPT_GRACE, NULL,
	  "seconds to end in order; as default_grace" },
	{ "max_vms_per_node", SITE_VMS, AT(max_vms), "65536",
	  "the most VMs that a node may have at once" },
};
const size_t n_site_keys = ARRAY_SIZE(site_keys);

static int set_text(char **at, const char *value, struct errmsg *err)
{
	char *copy = strdup(value);

	if (!copy)
		return errmsg_set(err, -ENOMEM, "'%s'", value);
	free(*at);
	*at = copy;
	return 0;
}

/* Kept as text: vmstep-net gets it so. */
static int set_ports(char **at, const char *value, struct errmsg *err)
{
	uint16_t first, last;
	int r = *value ? value_ports(value, &first, &last, err) : 0;

	return r < 0 ? r : set_text(at, value, err);
}

static int set_publish(char **at, const char *value, struct errmsg *err)
{
	uint16_t first, last;
	int r = publish_allowed(value, &first, &last, err);

	return r < 0 ? r : set_text(at, value, err);
}

static int set_reserve(uint64_t *at, const char *value, struct errmsg *err)
{
	if (strcmp(value, "auto") != 0)
		return value_size(value, at, err);
	*at = 0;
	return 0;
}

static int set_sandbox(char **at, const char *value, struct errmsg *err)
{
	bool yes;

	if (strcmp(value, "require") == 0)
		return set_text(at, value, err);
	if (value_bool(value, &yes, NULL) < 0)
		return errmsg_say(err, -EINVAL,
				  "'%s' is not yes, no or require", value);
	return set_text(at, yes ? "yes" : "no", err);
}

static int set_link(char **at, const char *value, struct errmsg *err)
{
	if (strcmp(value, "auto") != 0 && strcmp(value, "tcp") != 0 &&
	    strcmp(value, "ucx") != 0)
		return errmsg_say(err, -EINVAL, "'%s' is not auto, tcp or ucx",
				  value);
	return set_text(at, value, err);
}

#define SECONDS_MAX 1000000

static int set_uint(unsigned int *at, unsigned long max, const char *value,
		    struct errmsg *err)
{
	unsigned long n;
	int r = value_uint(value, 1, max, &n, err);

	if (r == 0)
		*at = (unsigned int)n;
	return r;
}

static int set_search(char **at, const char *value, struct errmsg *err)
{
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *dir;
	int r = copy ? 0 : errmsg_set(err, -ENOMEM, "'%s'", value);

	while (r == 0 && (dir = strsep(&rest, ":")))
		r = *dir ? value_abs_path(dir, err) : 0;
	return r < 0 ? r : set_text(at, value, err);
}

static int set_program(char **at, const char *value, struct errmsg *err)
{
	int r = *value && !strchr(value, '/') ? 0 : value_abs_path(value, err);

	return r < 0 ? r : set_text(at, value, err);
}

static int set_path(char **at, const char *value, struct errmsg *err)
{
	int r = value_abs_path(value, err);

	return r < 0 ? r : set_text(at, value, err);
}

static int set_key(struct site *s, const struct site_key *key,
		   const char *value, struct errmsg *err)
{
	char *at = (char *)s + key->offset;

	switch (key->kind) {
	case SITE_TEXT:
		return set_text((char **)(void *)at, value, err);
	case SITE_PORTS:
		return set_ports((char **)(void *)at, value, err);
	case SITE_LINK:
		return set_link((char **)(void *)at, value, err);
	case SITE_SANDBOX:
		return set_sandbox((char **)(void *)at, value, err);
	case SITE_PUBLISH:
		return set_publish((char **)(void *)at, value, err);
	case SITE_PATH:
		if (!*value && key->dflt && !*key->dflt)
			return set_text((char **)(void *)at, value, err);
		return set_path((char **)(void *)at, value, err);
	case SITE_PROGRAM:
		return set_program((char **)(void *)at, value, err);
	case SITE_SEARCH:
		return set_search((char **)(void *)at, value, err);
	case SITE_SIZE:
		return value_size(value, (uint64_t *)(void *)at, err);
	case SITE_RESERVE:
		return set_reserve((uint64_t *)(void *)at, value, err);
	case SITE_SECONDS:
		return set_uint((unsigned int *)(void *)at, SECONDS_MAX, value,
				err);
	case SITE_WORKERS:
		return set_uint((unsigned int *)(void *)at, SITE_WORKERS_MAX,
				value, err);
	case SITE_VMS:
		return set_uint((unsigned int *)(void *)at, SITE_VMS_MAX, value,
				err);
	case SITE_BOOL:
		return value_bool(value, (bool *)at, err);
	case SITE_OPTION:
		optset_clear(&s->defaults, (enum option_id)key->offset);
		return optset_add(&s->defaults, (enum option_id)key->offset,
				  value, key->name, err);
	}
	return -EINVAL;
}

static int set_default(struct site *s, const char *name, const char *value,
		       struct errmsg *err)
{
	char origin[80], option[64];
	int id;

	snprintf(option, sizeof(option), "%s", name + strlen("default_"));
	for (char *p = option; *p; p++)
		if (*p == '_')
			*p = '-';
	id = option_find(option);
	if (id < 0)
		return errmsg_say(
			err, -EINVAL,
			"unknown key '%s': there is no option --vm-%s", name,
			option);
	if (id == OPT_IMAGE)
		return errmsg_say(
			err, -EINVAL,
			"default_image would turn every step into virtual machines; leave it to the users");
	if (id == OPT_RESTORE)
		return errmsg_say(
			err, -EINVAL,
			"default_restore would start every step from one that was saved; leave it to the users");
	if (id == OPT_INSTALL)
		return errmsg_say(
			err, -EINVAL,
			"default_install would make every step an installation; leave it to the users");
	if (id == OPT_CONFIG)
		return errmsg_say(
			err, -EINVAL,
			"default_config: the site's options stand here, as default_NAME");
	snprintf(origin, sizeof(origin), "%s", name);
	return optset_add(&s->defaults, (enum option_id)id, value, origin, err);
}

static int set_named(struct site *s, const char *name, const char *value,
		     struct errmsg *err)
{
	int r;

	if (strncmp(name, "default_", 8) == 0)
		return set_default(s, name, value, err);
	for (size_t i = 0; i < n_site_keys; i++) {
		if (strcmp(site_keys[i].name, name) != 0)
			continue;
		r = set_key(s, &site_keys[i], value, err);
		return r < 0 && site_keys[i].kind != SITE_OPTION
			       ? errmsg_prefix(err, r, "%s", name)
			       : r;
	}
	return errmsg_say(err, -EINVAL,
			  "unknown key '%s'; vmstep.conf(5) has the list",
			  name);
}

/* What is read, and who wants to know. */
struct reading {
	struct site *site;
	const struct site_listener *listener; /* NULL: nobody */
	const char *file;
	unsigned int line;
};

static int set_line(const struct reading *in, char *line, struct errmsg *err)
{
	char *name, *value, *eq;
	int r;

	name = value_strip(line);
	if (!*name || *name == '#')
		return 0;
	eq = strchr(name, '=');
	if (!eq)
		return errmsg_say(err, -EINVAL,
				  "'%s' is not of the form key = value", name);
	*eq = '\0';
	value = value_strip(eq + 1);
	name = value_strip(name);
	r = set_named(in->site, name, value, err);
	if (r == 0 && in->listener)
		in->listener->said(name, value, in->file, in->line,
				   in->listener->arg);
	return r;
}

/* Whoever can write it says what the site allows: root believes only itself.
 * For others, as in srun, it is words for the user. */
static int check_owner(FILE *f, const char *path, struct errmsg *err)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (fstat(fileno(f), &st) < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (st.st_uid != 0)
		return errmsg_say(
			err, -EPERM,
			"%s belongs to user %u, who could change what the site allows: chown root %s",
			path, st.st_uid, path);
	if ((st.st_mode & S_IWOTH) || (st.st_mode & S_IWGRP && st.st_gid != 0))
		return errmsg_say(
			err, -EPERM,
			"%s can be written by others than root, who could change what the site allows: chmod go-w %s",
			path, path);
	return 0;
}

static int load_file(struct reading *in, const char *path, bool must_exist,
		     struct errmsg *err)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int r;

	if (!f && errno == ENOENT && !must_exist)
		return 0;
	if (!f)
		return errmsg_set(err, -errno, "%s", path);
	r = check_owner(f, path, err);
	if (r < 0)
		return r;
	in->file = path;
	in->line = 0;
	while (getline(&line, &size, f) >= 0) {
		in->line++;
		r = set_line(in, line, err);
		if (r < 0)
			return errmsg_prefix(err, r, "%s:%u", path, in->line);
	}
	if (ferror(f))
		return errmsg_set(err, -EIO, "%s", path);
	return 0;
}

static int load_dir(struct reading *in, const char *path, struct errmsg *err)
{
	char pattern[4096];
	glob_t found;
	int r = 0;

	snprintf(pattern, sizeof(pattern), "%s.d/*.conf", path);
	if (glob(pattern, 0, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; i < found.gl_pathc && r == 0; i++)
		r = load_file(in, found.gl_pathv[i], true, err);
	globfree(&found);
	return r;
}

int site_load_told(const char *path, bool must_exist,
		   const struct site_listener *listener, struct site *ret,
		   struct errmsg *err)
{
	struct reading in = { .site = ret, .listener = listener };
	int r = 0;

	*ret = (struct site){ 0 };
	for (size_t i = 0; i < n_site_keys && r == 0; i++)
		if (site_keys[i].dflt)
			r = set_key(ret, &site_keys[i], site_keys[i].dflt, err);
	if (r == 0)
		r = load_file(&in, path, must_exist, err);
	if (r == -ENOENT)
		errmsg_set(err, r, "config=%s in plugstack.conf", path);
	if (r == 0)
		r = load_dir(&in, path, err);
	if (r < 0)
		site_done(ret);
	return r;
}

int site_load(const char *path, bool must_exist, struct site *ret,
	      struct errmsg *err)
{
	return site_load_told(path, must_exist, NULL, ret, err);
}

int site_args(int ac, char *const *av, const char **ret_path, bool *ret_given,
	      struct errmsg *err)
{
	*ret_path = SITE_DEFAULT_PATH;
	*ret_given = false;
	for (int i = 0; i < ac; i++) {
		if (strncmp(av[i], "config=/", 8) != 0)
			return errmsg_say(
				err, -EINVAL,
				"plugstack.conf: unknown argument '%s' of vmstep.so; it takes config=/PATH only",
				av[i]);
		*ret_path = av[i] + strlen("config=");
		*ret_given = true;
	}
	return 0;
}

static bool is_text(enum site_kind kind)
{
	return kind == SITE_TEXT || kind == SITE_PATH || kind == SITE_PROGRAM ||
	       kind == SITE_SEARCH || kind == SITE_PORTS || kind == SITE_LINK ||
	       kind == SITE_PUBLISH || kind == SITE_SANDBOX;
}

void site_done(struct site *s)
{
	for (size_t i = 0; i < n_site_keys; i++) {
		const struct site_key *key = &site_keys[i];

		if (is_text(key->kind))
			free(*(char **)(void *)((char *)s + key->offset));
	}
	optset_done(&s->defaults);
	*s = (struct site){ 0 };
}
