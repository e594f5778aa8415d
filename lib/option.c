#include <config.h>

#include "option.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "cleanup.h"
#include "famspec.h"
#include "group.h"
#include "imagespec.h"
#include "memstream.h"
#include "mountspec.h"
#include "publish.h"
#include "rankset.h"
#include "value.h"

/* -- checks of one value --------------------------------------------------- */

static int check_size(const char *value, struct errmsg *err)
{
	uint64_t bytes;

	return value_size(value, &bytes, err);
}

/* Which of them a node has is seen there. */
static int check_hugepages(const char *value, struct errmsg *err)
{
	uint64_t bytes;
	int r = value_size(value, &bytes, err);

	if (r == 0 && (bytes & (bytes - 1) || bytes < OPTION_HUGEPAGE_LEAST))
		return errmsg_say(
			err, -EINVAL,
			"'%s' is no size of huge pages: 2M and 1G are", value);
	return r;
}

/* A share is compared on the node, where the whole is known. */
static int check_mem(const char *value, struct errmsg *err)
{
	uint64_t bytes;
	int r = value_size_pct(value, OPTION_MEM_LEAST * 100, &bytes, err);

	if (r == 0 && bytes < OPTION_MEM_LEAST)
		return errmsg_say(
			err, -EINVAL,
			"'%s' is too little: a VM needs 64M at the least",
			value);
	return r;
}

static int check_count(const char *value, struct errmsg *err)
{
	unsigned long n;

	return value_uint(value, 1, 4096, &n, err);
}

static int check_io_cpus(const char *value, struct errmsg *err)
{
	unsigned long n;

	return value_uint(value, 0, 4096, &n, err);
}

static int check_seconds(const char *value, struct errmsg *err)
{
	unsigned long n;

	return value_uint(value, 1, 30 * 86400, &n, err);
}

static int check_mtu(const char *value, struct errmsg *err)
{
	unsigned long n;

	return value_uint(value, 68, 65521, &n, err);
}

static int check_cidr(const char *value, struct errmsg *err)
{
	struct addr_net net;

	return addr_net_parse(value, &net, err);
}

static int check_path(const char *value, struct errmsg *err)
{
	if (!*value)
		return errmsg_say(err, -EINVAL, "the path is empty");
	return 0;
}

static int check_save(const char *value, struct errmsg *err)
{
	return check_path(strcmp(value, ",full") == 0 ? "" : value, err);
}

const char *const option_log_levels[] = { "err", "warn", "info", "debug",
					  NULL };

static int check_log(const char *value, struct errmsg *err)
{
	const char *comma = strrchr(value, ',');
	int level, r;

	if (comma == value)
		return errmsg_say(err, -EINVAL, "the path is empty");
	r = check_path(value, err);
	if (r < 0 || !comma)
		return r;
	r = value_word(comma + 1, option_log_levels, &level, err);
	return r < 0 ? errmsg_prefix(err, r, "level") : 0;
}

static int check_hostname(const char *value, struct errmsg *err)
{
	char plain[256];
	size_t n = 0;

	/* %t and the like become something that is fit for a host name */
	for (const char *p = value; *p && n < sizeof(plain) - 1; p++) {
		if (*p == '%' && p[1]) {
			if (!strchr("tjsJu", p[1]))
				return errmsg_say(
					err, -EINVAL,
					"'%s': of the %%-words only %%t, %%j, %%s, %%J and %%u can be in a host name, since each guest has to know all names",
					value);
			p++;
			plain[n++] = '0';
		} else {
			plain[n++] = *p;
		}
	}
	plain[n] = '\0';
	if (value_hostname(plain, NULL) < 0)
		return errmsg_say(
			err, -EINVAL,
			"'%s' does not make a host name: use letters, digits, '-' and %%t",
			value);
	return 0;
}

static int check_env(const char *value, struct errmsg *err)
{
	for (const char *p = value; *p; p++) {
		bool first = p == value || p[-1] == ',';

		if (*p == ',' ? first || !p[1]
			      : !(isalpha((unsigned char)*p) || *p == '_' ||
				  (!first && isdigit((unsigned char)*p))))
			return errmsg_say(
				err, -EINVAL,
				"'%s' is not a list of names: write it as in HOME,MY_VAR",
				value);
	}
	return *value ? 0 : errmsg_say(err, -EINVAL, "the list is empty");
}

static int check_user(const char *value, struct errmsg *err)
{
	if (!*value || strchr(value, ':') || strchr(value, ' '))
		return errmsg_say(err, -EINVAL, "'%s' is not a user's name",
				  value);
	return 0;
}

static int check_mounts(const char *value, struct errmsg *err)
{
	struct mountspecs m = { 0 };
	int r = mountspecs_parse(&m, value, err);

	mountspecs_done(&m);
	return r;
}

static int check_install(const char *value, struct errmsg *err)
{
	const char *comma = strrchr(value, ',');

	if (!comma || strncmp(comma, ",unattended=", 12) != 0)
		return check_path(value, err);
	if (!comma[12])
		return errmsg_say(err, -EINVAL,
				  "no directory after unattended=");
	return check_path(comma == value ? "" : value, err);
}

static int check_image(const char *value, struct errmsg *err)
{
	struct imagespec spec;
	int r = imagespec_parse(value, &spec, err);

	imagespec_done(&spec);
	return r < 0 ? errmsg_prefix(err, r, "'%s'", value) : 0;
}

static int check_fam(const char *value, struct errmsg *err)
{
	struct famspec spec;
	int r = famspec_parse(value, &spec, err);

	famspec_done(&spec);
	return r;
}

/* A group of a file that was read goes on in its place. */
static int check_config(const char *value, struct errmsg *err)
{
	return *value == '@' ? group_check(value, err) : check_path(value, err);
}

static int check_publish(const char *value, struct errmsg *err)
{
	struct publish list[PUBLISH_MAX];
	size_t n = 0;

	return publish_parse(value, list, &n, err);
}

static int check_qemu_arg(const char *value, struct errmsg *err)
{
	if (!*value)
		return errmsg_say(err, -EINVAL, "the argument is empty");
	return 0;
}

/* -- the table ------------------------------------------------------------- */

static const char *const words_accel[] = { "auto", "kvm", "tcg", NULL };
static const char *const words_bind[] = { "cores", "numa", "none", NULL };
static const char *const words_numa[] = { "mirror", "flat", NULL };
static const char *const words_net[] = { "vhost-user", "stream", "dgram",
					 "none", NULL };
static const char *const words_firmware[] = { "bios", "uefi", NULL };
static const char *const words_display[] = { "none", "vnc", NULL };
static const char *const words_outbound[] = { "none", "user", NULL };
static const char *const words_run[] = { "all", "head", NULL };
static const char *const words_linger[] = { "all", "none", NULL };
static const char *const words_wait[] = { "all", "net", "agent", NULL };
static const char *const words_exec[] = { "auto", "agent", "qga", "none",
					  NULL };

const struct option_def option_defs[OPT_COUNT] = {
	[OPT_IMAGE] = { "image", "PATH|NAME[,KEY=VALUE]...",
			"run the step's command in a virtual machine that boots this disk image or bundle; 'none' for no VM",
			"none", OPTF_RANKS | OPTF_TASKS | OPTF_SEMI | OPTF_ADDS,
			check_image, NULL },
	[OPT_RUNDIR] = { "rundir", "DIR",
			 "where private overlays and copies go", "the site's",
			 0, check_path, NULL },
	[OPT_SAVE] = { "save", "PATH[,full]",
		       "keep the disk of a task that ended well", NULL,
		       OPTF_RANKS, check_save, NULL },
	[OPT_INPUT] = { "input", "NAME|SQSH|DIR",
			"read-only data, /input in the guest", NULL,
			OPTF_RANKS | OPTF_TASKS | OPTF_ADDS, check_path, NULL },
	[OPT_OUTPUT] = { "output", "DIR",
			 "directory for results, /output in the guest", NULL,
			 OPTF_RANKS | OPTF_TASKS | OPTF_ADDS, check_path,
			 NULL },
	[OPT_MOUNTS] = { "mounts", "SRC:DST[:ro]",
			 "directories of the node in the guest", NULL,
			 OPTF_RANKS | OPTF_ADDS, check_mounts, NULL },
	[OPT_MOUNT_HOME] = { "mount-home", NULL,
			     "mount the home directory in the guest", "off",
			     OPTF_FLAG, NULL, NULL },
	[OPT_SCRATCH] = { "scratch", "SIZE",
			  "an empty disk at /scratch, thrown away", NULL,
			  OPTF_RANKS | OPTF_TASKS | OPTF_ADDS, check_size,
			  NULL },
	[OPT_CLOUD_INIT] = { "cloud-init", "auto|none|DIR|FILE",
			     "configure a cloud image through a NoCloud seed",
			     "auto", OPTF_RANKS, check_path, NULL },
	[OPT_KERNEL] = { "kernel", "PATH", "boot this kernel directly", NULL, 0,
			 check_path, NULL },
	[OPT_INITRD] = { "initrd", "PATH", "initial RAM disk for --vm-kernel",
			 NULL, 0, check_path, NULL },
	[OPT_APPEND] = { "append", "TEXT",
			 "more words for the kernel's command line", NULL, 0,
			 NULL, NULL },
	[OPT_FIRMWARE] = { "firmware", "bios|uefi",
			   "firmware that boots a disk", "bios",
			   OPTF_RANKS | OPTF_TASKS, NULL, words_firmware },
	[OPT_INSTALL] = { "install", "ISO[,unattended=DIR]",
			  "boot installation media once", NULL, 0,
			  check_install, NULL },
	[OPT_CPUS] = { "cpus", "N", "virtual CPUs of a task's VM", "the task's",
		       OPTF_RANKS | OPTF_TASKS, check_count, NULL },
	[OPT_MEM] = { "mem", "SIZE|PCT", "memory of a task's VM",
		      "the task's, less the site's reserve",
		      OPTF_RANKS | OPTF_TASKS, check_mem, NULL },
	[OPT_ACCEL] = { "accel", "auto|kvm|tcg", "how guest code is run",
			"auto", 0, NULL, words_accel },
	[OPT_CPU] = { "cpu", "MODEL", "QEMU's CPU model",
		      "host with KVM, " OPTION_TCG_CPU " with TCG", 0,
		      check_path, NULL },
	[OPT_MACHINE] = { "machine", "TYPE", "QEMU's machine type",
			  /* as QEMU 7.1 had it: one whose guests boot again
			   * with -kernel, which 7.2's own do not */
			  "pc-q35-7.1", 0, check_path, NULL },
	[OPT_BIND] = { "bind", "cores|numa|none",
		       "pin each virtual CPU to one CPU of the task, or to those of a NUMA node",
		       "cores", 0, NULL, words_bind },
	[OPT_IO_CPUS] = { "io-cpus", "N",
			  "CPUs of a task kept for I/O and network",
			  "0: shared", 0, check_io_cpus, NULL },
	[OPT_NUMA] = { "numa", "mirror|flat", "NUMA nodes of the guest",
		       "mirror", 0, NULL, words_numa },
	[OPT_HUGEPAGES] = { "hugepages", "SIZE",
			    "back guest memory with huge pages (2M)", "off",
			    OPTF_FLAGARG, check_hugepages, NULL },
	[OPT_FAM] = { "fam", "SIZE[,file=PATH]",
		      "memory shared by the step's VMs of a node", "off", 0,
		      check_fam, NULL },
	[OPT_DISPLAY] = { "display", "vnc|none", "a display on a unix socket",
			  "none", 0, NULL, words_display },
	[OPT_QEMU] = { "qemu", "BIN", "QEMU to use", "the site's", 0,
		       check_path, NULL },
	[OPT_QEMU_ARG] = { "qemu-arg", "ARG", "one more argument for QEMU",
			   NULL,
			   OPTF_RANKS | OPTF_TASKS | OPTF_SEMI | OPTF_ADDS,
			   check_qemu_arg, NULL },
	[OPT_NET] = { "net", "vhost-user|stream|dgram|none",
		      "the step's own Ethernet", "vhost-user", 0, NULL,
		      words_net },
	[OPT_NET_CIDR] = { "net-cidr", "A.B.C.D/N",
			   "network of the step; rank r has its address + 1 + r",
			   "10.0.0.0/8", 0, check_cidr, NULL },
	[OPT_NET_MTU] = { "net-mtu", "BYTES",
			  "largest packet of the step's network", "9000", 0,
			  check_mtu, NULL },
	[OPT_HOSTNAME] = { "hostname", "NAME", "host name of a guest", "vm%t",
			   0, check_hostname, NULL },
	[OPT_DOMAIN] = { "domain", "NAME", "domain of the guests", "the node's",
			 0, value_hostname, NULL },
	[OPT_OUTBOUND] = { "outbound", "none|user", "a way out for the guest",
			   "none", 0, NULL, words_outbound },
	[OPT_TFTP] = { "tftp", "DIR", "directory served to the guest by TFTP",
		       NULL, 0, check_path, NULL },
	[OPT_PUBLISH] = { "publish", "PORT[=HOSTPORT][/udp],...",
			  "guest ports on the node's 127.0.0.1", NULL,
			  OPTF_RANKS | OPTF_ADDS, check_publish, NULL },
	[OPT_CAPTURE] = { "capture", "FILE",
			  "a packet capture of a task's frames", NULL,
			  OPTF_RANKS, check_path, NULL },
	[OPT_USER] = { "user", "NAME",
		       "user of the guest that runs the command", "root", 0,
		       check_user, NULL },
	[OPT_RUN] = { "run", "all|head",
		      "run the command in every VM, or in rank 0's while the others serve",
		      "all", 0, NULL, words_run },
	[OPT_LINGER] = { "linger", "all|none",
			 "a VM whose command succeeded serves until all commands have ended",
			 "all", 0, NULL, words_linger },
	[OPT_WAIT] = { "wait", "agent|net|all",
		       "what a command waits for: its agent, its network, every VM of the step",
		       "all", 0, NULL, words_wait },
	[OPT_EXEC] = { "exec", "auto|agent|qga|none",
		       "how the command gets into the guest", "auto", 0, NULL,
		       words_exec },
	[OPT_WORKDIR] = { "workdir", "PATH", "working directory in the guest",
			  "the user's home", 0, check_path, NULL },
	[OPT_ENV] = { "env", "NAME,...",
		      "variables that the command gets from the job's environment",
		      NULL, OPTF_ADDS, check_env, NULL },
	[OPT_BOOT_TIMEOUT] = { "boot-timeout", "SEC",
			       "give up on a VM that has not come up by then",
			       "300", 0, check_seconds, NULL },
	[OPT_GRACE] = { "grace", "SEC",
			"time to end in order before force is used", "20", 0,
			check_seconds, NULL },
	[OPT_CONSOLE] = { "console", "FILE|stdout|off",
			  "where the guest's console goes",
			  "kept, shown on failure", OPTF_RANKS, check_path,
			  NULL },
	[OPT_LOG] = { "log", "FILE[,LEVEL]", "log of helper and forwarder",
		      NULL, OPTF_RANKS, check_log, NULL },
	[OPT_VERBOSE] = { "verbose", NULL, "say what happens", "off", OPTF_FLAG,
			  NULL, NULL },
	[OPT_STATS] = { "stats", "FILE",
			"what the step's network has carried, as JSON", NULL, 0,
			check_path, NULL },
	[OPT_CONFIG] = { "config", "FILE",
			 "options from a file, and names for groups of tasks",
			 NULL, OPTF_ADDS, check_config, NULL },
	[OPT_RESTORE] = { "restore", "DIR", "start from a saved step", NULL, 0,
			  check_path, NULL },
	[OPT_DRY_RUN] = { "dry-run", NULL,
			  "print QEMU's command line and the addresses, run nothing",
			  "off", OPTF_FLAG, NULL, NULL },
};

int option_find(const char *name)
{
	for (int i = 0; i < OPT_COUNT; i++)
		if (strcmp(option_defs[i].name, name) == 0)
			return i;
	return -1;
}

void option_env_name(enum option_id id, char name[64])
{
	size_t n =
		(size_t)snprintf(name, 64, "VMSTEP_%s", option_defs[id].name);

	for (size_t i = 0; i < n; i++)
		name[i] = name[i] == '-'
				  ? '_'
				  : (char)toupper((unsigned char)name[i]);
}

/* Copy at most 63 bytes of @name, without '_'. */
static void squeeze(const char *name, size_t len, char ret[64])
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < 63; i++)
		if (name[i] != '_')
			ret[n++] = name[i];
	ret[n] = '\0';
}

/* The same but for one letter that is other, missing or too many? */
static bool one_letter_off(const char *a, const char *b)
{
	size_t same = 0;

	while (a[same] && a[same] == b[same])
		same++;
	a += same;
	b += same;
	return strcmp(a + !!*a, b + !!*b) == 0 || strcmp(a + !!*a, b) == 0 ||
	       strcmp(a, b + !!*b) == 0;
}

int option_env_nearly(const char *name, size_t len)
{
	char given[64], own[64], var[64];
	int near = -1;

	squeeze(name, len, given);
	for (int i = 0; i < OPT_COUNT; i++) {
		option_env_name((enum option_id)i, var);
		if (strlen(var) == len && memcmp(var, name, len) == 0)
			return -1;
		squeeze(var, strlen(var), own);
		if (near < 0 && one_letter_off(given, own))
			near = i;
	}
	return near;
}

/* -- sets ------------------------------------------------------------------ */

void strings_done(struct strings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strings){ 0 };
}

int strings_add(struct strings *s, const char *text, size_t len)
{
	char **v = reallocarray(s->v, s->n + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	s->v = v;
	v[s->n] = strndup(text, len);
	if (!v[s->n])
		return -ENOMEM;
	s->n++;
	return 0;
}

void optset_clear(struct optset *set, enum option_id id)
{
	struct optvals *vals = &set->opt[id];

	for (size_t i = 0; i < vals->n; i++)
		free(vals->v[i]);
	free(vals->v);
	*vals = (struct optvals){ 0 };
}

void optset_keep_last(struct optset *set, enum option_id id, size_t n)
{
	struct optvals *vals = &set->opt[id];
	size_t first = vals->n > n ? vals->n - n : 0;

	for (size_t i = 0; i < first; i++)
		free(vals->v[i]);
	vals->n -= first;
	memmove(vals->v, vals->v + first, vals->n * sizeof(*vals->v));
}

void optset_done(struct optset *set)
{
	for (int i = 0; i < OPT_COUNT; i++)
		optset_clear(set, (enum option_id)i);
}

bool optset_has(const struct optset *set, enum option_id id)
{
	return set->opt[id].n > 0;
}

static int append_value(struct optset *set, enum option_id id, const char *text)
{
	struct optvals *vals = &set->opt[id];
	char **v = reallocarray(vals->v, vals->n + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	vals->v = v;
	v[vals->n] = strdup(text);
	if (!v[vals->n])
		return -ENOMEM;
	vals->n++;
	return 0;
}

/* "@NAME:" */
static bool is_group(const char *text)
{
	size_t len = group_name_len(text);

	return len && text[1 + len] == ':';
}

/* Split @text into an optional RANKS: prefix, parsed into @ranks with
 * *has_ranks, and the value, returned. NULL with @err where RANKS is bad. */
static const char *split_ranks(const struct option_def *def, const char *text,
			       struct rankset *ranks, bool *has_ranks,
			       struct errmsg *err)
{
	const char *colon = strchr(text, ':');

	*has_ranks = false;
	if (!(def->flags & OPTF_RANKS) || !colon)
		return text;
	if (colon == text)
		return text + 1;
	if (is_group(text)) { /* what ranks it has is seen later */
		*has_ranks = true;
		return colon + 1;
	}
	if (!rankset_looks_like(text, (size_t)(colon - text)))
		return text;
	if (rankset_parse(ranks, text, (size_t)(colon - text), err) < 0)
		return NULL;
	*has_ranks = true;
	return colon + 1;
}

/* The @index'th of a list by task, or its last; the whole text where the
 * option is no such list. */
static void pick_of_list(const struct option_def *def, const char *text,
			 uint64_t index, const char **ret, size_t *ret_len)
{
	const char *seps = def->flags & OPTF_SEMI ? ";" : ",;";

	*ret = text;
	*ret_len = strlen(text);
	if (!(def->flags & OPTF_TASKS))
		return;
	for (uint64_t i = 0;; i++) {
		size_t len = strcspn(text, seps);

		*ret = text;
		*ret_len = len;
		if (i == index || !text[len])
			return;
		text += len + 1;
	}
}

static int check_one(const struct option_def *def, const char *value,
		     struct errmsg *err)
{
	bool yes;
	int word;

	if (def->flags & OPTF_FLAG)
		return value_bool(value, &yes, err);
	if ((def->flags & OPTF_FLAGARG) && !*value)
		return 0;
	if (def->words) {
		if (value_word(value, def->words, &word, NULL) < 0)
			return errmsg_say(err, -EINVAL, "'%s' is not one of %s",
					  value, def->arginfo);
		return 0;
	}
	return def->check ? def->check(value, err) : 0;
}

static int check_text(const struct option_def *def, const char *text,
		      struct errmsg *err)
{
	struct rankset ranks = { 0 };
	bool has_ranks;
	const char *value = split_ranks(def, text, &ranks, &has_ranks, err);

	rankset_done(&ranks);
	if (!value)
		return -EINVAL;
	for (;;) {
		_cleanup_free_ char *piece = NULL;
		const char *p;
		size_t len;
		int r;

		pick_of_list(def, value, 0, &p, &len);
		piece = strndup(p, len);
		if (!piece)
			return errmsg_set(err, -ENOMEM, "options");
		r = check_one(def, piece, err);
		if (r < 0)
			return r;
		if (!p[len])
			return 0;
		value = p + len + 1;
	}
}

int optset_add(struct optset *set, enum option_id id, const char *text,
	       const char *origin, struct errmsg *err)
{
	const struct option_def *def = &option_defs[id];
	int r;

	if ((def->flags & OPTF_FLAG) && !text)
		text = "yes";
	if (!text)
		text = "";
	r = check_text(def, text, err);
	if (r < 0)
		return errmsg_prefix(err, r, "%s", origin);
	if (append_value(set, id, text) < 0)
		return errmsg_set(err, -ENOMEM, "%s", origin);
	return 0;
}

int optset_inherit(struct optset *set, const struct optset *lower,
		   struct errmsg *err)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		if (set->opt[i].n)
			continue;
		set->opt[i].from_env = lower->opt[i].from_env;
		for (size_t j = 0; j < lower->opt[i].n; j++)
			if (append_value(set, (enum option_id)i,
					 lower->opt[i].v[j]) < 0)
				return errmsg_set(err, -ENOMEM, "options");
	}
	return 0;
}

int optset_add_env(struct optset *set, struct errmsg *err)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		char name[64];
		const char *value;
		int r;

		option_env_name((enum option_id)i, name);
		value = getenv(name);
		if (!value)
			continue;
		r = optset_add(set, (enum option_id)i, value, name, err);
		if (r < 0)
			return r;
		set->opt[i].from_env = true;
	}
	return 0;
}

bool optset_wants_vm(const struct optset *set)
{
	const struct optvals *image = &set->opt[OPT_IMAGE];

	return image->n && strcmp(image->v[image->n - 1], "none") != 0;
}

/* Is "none" said for some ranks or tasks only? */
static bool none_for_some(const char *text)
{
	const struct option_def *def = &option_defs[OPT_IMAGE];
	struct rankset ranks = { 0 };
	bool has_ranks;
	const char *p;
	size_t len;

	if (*text == ':' || strcmp(text, "none") == 0)
		return false;
	p = split_ranks(def, text, &ranks, &has_ranks, NULL);
	rankset_done(&ranks);
	for (; p; p = p[len] ? p + len + 1 : NULL) {
		pick_of_list(def, p, 0, &p, &len);
		if (len == 4 && strncmp(p, "none", len) == 0)
			return true;
	}
	return false;
}

static int needs_image(const struct optset *set, enum option_id id,
		       struct errmsg *err)
{
	char var[64];

	option_env_name(id, var);
	if (set->opt[id].from_env)
		return errmsg_say(
			err, -EINVAL,
			"%s is set, which needs --vm-image: name the image to run, unset %s, or say --vm-image=none",
			var, var);
	return errmsg_say(
		err, -EINVAL,
		"--vm-%s needs --vm-image: name the image to run, or leave --vm-%s out",
		option_defs[id].name, option_defs[id].name);
}

int optset_check(const struct optset *set, struct errmsg *err)
{
	const struct optvals *image = &set->opt[OPT_IMAGE];

	for (size_t i = 0; i < image->n; i++)
		if (none_for_some(image->v[i]))
			return errmsg_say(
				err, -EINVAL,
				"--vm-image=%s: 'none' is for the whole step, not for some of its tasks",
				image->v[i]);
	for (size_t i = 0; i + 1 < image->n; i++)
		if (strcmp(image->v[i], "none") == 0)
			return errmsg_say(
				err, -EINVAL,
				"--vm-image=none does not go with another --vm-image");
	if (image->n > 1 && !optset_wants_vm(set))
		return errmsg_say(
			err, -EINVAL,
			"--vm-image=none does not go with another --vm-image");
	if (!image->n)
		for (int i = 0; i < OPT_COUNT; i++)
			if (set->opt[i].n)
				return needs_image(set, (enum option_id)i, err);
	if (set->opt[OPT_INITRD].n && !set->opt[OPT_KERNEL].n)
		return errmsg_say(err, -EINVAL,
				  "--vm-initrd needs --vm-kernel");
	return 0;
}

/* -- from srun to the nodes ------------------------------------------------ */

char *optset_encode(const struct optset *set)
{
	struct memstream m;
	FILE *f = memstream_open(&m);

	if (!f)
		return NULL;
	for (int i = 0; i < OPT_COUNT; i++)
		for (size_t j = 0; j < set->opt[i].n; j++) {
			fprintf(f, "%s=", option_defs[i].name);
			for (const char *p = set->opt[i].v[j]; *p; p++)
				if (*p == '%' || (unsigned char)*p < ' ')
					fprintf(f, "%%%02X", (unsigned char)*p);
				else
					fputc(*p, f);
			fputc('\n', f);
		}
	return memstream_close(&m, NULL);
}

static bool unescape(char *text)
{
	char *out = text;

	for (char *p = text; *p; p++) {
		if (*p == '%') {
			char hex[3] = { p[1], p[1] ? p[2] : '\0', '\0' };
			char *end;
			long c = strtol(hex, &end, 16);

			if (!isxdigit((unsigned char)hex[0]) ||
			    !isxdigit((unsigned char)hex[1]) || c == 0)
				return false;
			*out++ = (char)c;
			p += 2;
		} else {
			*out++ = *p;
		}
	}
	*out = '\0';
	return true;
}

int optset_decode(struct optset *set, const char *text, struct errmsg *err)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		_cleanup_free_ char *line = strndup(text, len);
		char origin[80];
		char *value;
		int id, r;

		if (!line)
			return errmsg_set(err, -ENOMEM, "options");
		value = strchr(line, '=');
		if (!value)
			return errmsg_say(
				err, -EINVAL,
				"options handed over are damaged: '%s'", line);
		*value++ = '\0';
		id = option_find(line);
		if (id < 0 || !unescape(value))
			return errmsg_say(
				err, -EINVAL,
				"options handed over are damaged: '%s'", line);
		snprintf(origin, sizeof(origin), "--vm-%s", line);
		r = optset_add(set, (enum option_id)id, value, origin, err);
		if (r < 0)
			return r;
		text += len;
		if (*text)
			text++;
	}
	return 0;
}

/* -- for one rank ---------------------------------------------------------- */

/* Which of a list by task @rank takes: its place among the ranks named. */
static uint64_t place_among(const struct rankset *ranks, uint32_t rank)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ranks->n; i++) {
		if (rank <= ranks->ranges[i].last)
			return n + rank - ranks->ranges[i].first;
		n += (uint64_t)ranks->ranges[i].last - ranks->ranges[i].first +
		     1;
	}
	return n;
}

int option_values(const struct optset *set, enum option_id id, uint32_t rank,
		  struct strings *ret, struct errmsg *err)
{
	const struct option_def *def = &option_defs[id];
	const struct optvals *vals = &set->opt[id];

	strings_done(ret);
	for (size_t i = 0; i < vals->n; i++) {
		struct rankset ranks = { 0 };
		bool has_ranks, applies;
		uint64_t place;
		const char *value, *piece;
		size_t len;

		if ((def->flags & OPTF_RANKS) && is_group(vals->v[i]))
			return errmsg_say(
				err, -EINVAL,
				"--vm-%s=%s: that names a group, and only files that --vm-config names have them",
				def->name, vals->v[i]);
		value = split_ranks(def, vals->v[i], &ranks, &has_ranks, err);
		if (!value)
			return -EINVAL;
		applies = !has_ranks || rankset_has(&ranks, rank);
		place = has_ranks && applies ? place_among(&ranks, rank) : rank;
		rankset_done(&ranks);
		if (!applies)
			continue;
		pick_of_list(def, value, place, &piece, &len);
		if (!(def->flags & OPTF_ADDS))
			strings_done(ret);
		if (strings_add(ret, piece, len) < 0)
			return errmsg_set(err, -ENOMEM, "options");
	}
	return 0;
}

bool option_is_idle(const struct optset *set, enum option_id id, size_t i,
		    uint32_t ranks)
{
	struct rankset named = { 0 };
	bool has_ranks, idle = false;

	if (split_ranks(&option_defs[id], set->opt[id].v[i], &named, &has_ranks,
			NULL) &&
	    has_ranks)
		idle = rankset_next(&named, 0) >= ranks &&
		       !rankset_has(&named, RANK_MAX);
	rankset_done(&named);
	return idle;
}
