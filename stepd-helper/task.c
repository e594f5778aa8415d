#include <config.h>

#include "task.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "digest.h"
#include "memstream.h"
#include "publish.h"
#include "value.h"

static int get_text(const struct desc *d, const char *key, const char **ret,
		    struct errmsg *err)
{
	*ret = desc_get(d, key);
	if (!*ret)
		return errmsg_say(
			err, -EPROTO,
			"the plugin's description of this task lacks '%s': plugin and helper do not fit together",
			key);
	return 0;
}

static int get_number(const struct desc *d, const char *key, uint64_t max,
		      uint64_t *ret, struct errmsg *err)
{
	const char *text;
	unsigned long n;
	int r;

	r = get_text(d, key, &text, err);
	if (r < 0)
		return r;
	r = value_uint(text, 0, (unsigned long)max, &n, err);
	if (r < 0)
		return errmsg_prefix(err, r, "description of this task: %s",
				     key);
	*ret = n;
	return 0;
}

static int get_u32(const struct desc *d, const char *key, uint32_t *ret,
		   struct errmsg *err)
{
	uint64_t n;
	int r = get_number(d, key, UINT32_MAX, &n, err);

	if (r == 0)
		*ret = (uint32_t)n;
	return r;
}

static uint64_t node_mem_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

/* Measured, with a guest that uses all it has: QEMU of itself, its thread's
 * stacks and the kernel's tables take some 55 MiB, beside what TCG translates
 * (see qemu.c), helper and vmstep-net a few. More for large guests is for what
 * TCG translates of them. */
#define RESERVE_LEAST	  (116ull << 20)
#define RESERVE_SHARE	  64
#define RESERVE_UNCOUNTED (4ull << 30) /* as if a task had that */

static uint64_t auto_reserve(uint64_t mem_bytes)
{
	return RESERVE_LEAST +
	       (mem_bytes ? mem_bytes : RESERVE_UNCOUNTED) / RESERVE_SHARE;
}

static int load_numbers(struct task *t, struct errmsg *err)
{
	const struct {
		const char *key;
		uint32_t *at;
	} numbers[] = {
		{ "job", &t->job },
		{ "stepid", &t->stepid },
		{ "stepd", &t->stepd },
		{ "rank", &t->rank },
		{ "ranks", &t->ranks },
		{ "local_id", &t->local_id },
		{ "local_tasks", &t->local_tasks },
		{ "node_id", &t->node_id },
		{ "cpus", &t->cpus },
		{ "argv_from", &t->argv_from },
		{ "site.beacon_interval", &t->beacon_interval_s },
		{ "site.lost_after", &t->lost_after_s },
		{ "site.net_workers", &t->net_workers },
	};
	uint64_t mib;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(numbers) && r == 0; i++)
		r = get_u32(t->desc, numbers[i].key, numbers[i].at, err);
	if (r == 0)
		r = get_number(t->desc, "site.mem_reserve", UINT64_MAX >> 1,
			       &t->mem_reserve, err);
	if (r == 0)
		r = get_number(t->desc, "site.max_fam", UINT64_MAX >> 1,
			       &t->max_fam, err);
	if (r == 0)
		r = get_number(t->desc, "step_mem_mib", UINT64_MAX >> 1, &mib,
			       err);
	if (r < 0)
		return r;
	if (t->rank >= t->ranks || t->rank > RANK_MAX || t->local_tasks < 1)
		return errmsg_say(err, -EPROTO,
				  "description of this task: rank %u of %u",
				  t->rank, t->ranks);
	if (t->cpus < 1)
		t->cpus = 1;
	/* more than 1 PiB is Slurm's way to say that it does not count */
	t->mem_bytes = mib < (1ull << 30) ? (mib << 20) / t->local_tasks : 0;
	if (!t->mem_reserve)
		t->mem_reserve = auto_reserve(t->mem_bytes);
	t->node_mem_bytes = node_mem_bytes();
	return 0;
}

static int get_bool(const struct desc *d, const char *key, bool *ret,
		    struct errmsg *err)
{
	const char *text;
	int r = get_text(d, key, &text, err);

	return r < 0 ? r : value_bool(text, ret, err);
}

static int load_texts(struct task *t, struct errmsg *err)
{
	const struct {
		const char *key;
		const char **at;
	} texts[] = {
		{ "step", &t->step },
		{ "step_dir", &t->step_dir },
		{ "user", &t->user },
		{ "node", &t->node },
		{ "argv0", &t->argv0 },
		{ "site.image_path", &t->image_path },
		{ "site.rundir", &t->rundir },
		{ "site.kernel", &t->kernel },
		{ "site.initrd", &t->initrd },
		{ "site.qemu", &t->qemu },
		{ "site.net_device", &t->net_device },
		{ "site.net_port_range", &t->net_port_range },
		{ "site.net_link", &t->net_link },
		{ "site.allow_images", &t->allow_images },
		{ "site.allow_devices", &t->allow_devices },
		{ "site.allow_mounts", &t->allow_mounts },
		{ "site.data_path", &t->data_path },
		{ "site.virtiofsd", &t->virtiofsd },
		{ "site.sandbox_paths", &t->sandbox_paths },
	};
	const char *text;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
		r = get_text(t->desc, texts[i].key, texts[i].at, err);
	if (r == 0)
		r = get_text(t->desc, "local_ranks", &text, err);
	if (r == 0)
		r = rankset_parse(&t->local_ranks, text, strlen(text), err);
	if (r == 0)
		r = get_bool(t->desc, "site.allow_tcg", &t->allow_tcg, err);
	if (r == 0)
		r = get_bool(t->desc, "site.allow_qmp", &t->allow_qmp, err);
	if (r == 0)
		r = get_bool(t->desc, "site.allow_qemu_args",
			     &t->allow_qemu_args, err);
	if (r == 0)
		r = get_bool(t->desc, "site.net_encrypt", &t->net_encrypt, err);
	if (r == 0)
		r = get_text(t->desc, "site.sandbox", &text, err);
	if (r == 0) {
		t->sandbox = strcmp(text, "no") != 0;
		t->sandbox_required = strcmp(text, "require") == 0;
		r = get_text(t->desc, "site.allow_publish", &text, err);
	}
	if (r == 0)
		r = publish_allowed(text, &t->publish_first, &t->publish_last,
				    err);
	return r;
}

static int load_options(struct task *t, struct errmsg *err)
{
	const char *key, *value;
	size_t len;

	for (size_t i = 0; (value = desc_at(t->desc, i, &key, &len)); i++) {
		char name[64], origin[80];
		int id, r;

		if (len < 5 || len - 4 >= sizeof(name) ||
		    strncmp(key, "opt.", 4) != 0)
			continue;
		memcpy(name, key + 4, len - 4);
		name[len - 4] = '\0';
		snprintf(origin, sizeof(origin), "--vm-%s", name);
		id = option_find(name);
		if (id < 0)
			return errmsg_say(
				err, -EPROTO,
				"description of this task: unknown option %s",
				origin);
		r = optset_add(&t->options, (enum option_id)id, value, origin,
			       err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_version(const struct desc *d, struct errmsg *err)
{
	const char *version = desc_get(d, "version");

	if (version && strcmp(version, PACKAGE_VERSION) == 0)
		return 0;
	return errmsg_say(
		err, -EPROTO,
		"the plugin is version %s, vmstep-helper is %s: install one version everywhere",
		version ? version : "(unknown)", PACKAGE_VERSION);
}

/* What is needed to say who failed, and to tell the other tasks, as far as it
 * is there. */
static void load_place(struct task *t)
{
	const char *local = desc_get(t->desc, "local_ranks");

	t->node = desc_get(t->desc, "node");
	t->step_dir = desc_get(t->desc, "step_dir");
	get_u32(t->desc, "rank", &t->rank, NULL);
	get_u32(t->desc, "ranks", &t->ranks, NULL);
	get_u32(t->desc, "local_tasks", &t->local_tasks, NULL);
	if (local)
		rankset_parse(&t->local_ranks, local, strlen(local), NULL);
}

int task_load(struct task *t, struct errmsg *err)
{
	const char *fd = getenv(DESC_FD_ENV), *rank = getenv("SLURM_PROCID");
	const char *text;
	unsigned long n;
	int r;

	*t = (struct task){ .node = getenv("SLURMD_NODENAME") };
	if (rank)
		t->rank = (uint32_t)strtoul(rank, NULL, 10);
	if (!fd)
		return errmsg_say(
			err, -ENOSYS,
			"vmstep-helper has no description of a VM: the vmstep plugin is not loaded on this node; nothing was run");
	if (value_uint(fd, 3, 1 << 20, &n, err) < 0)
		return errmsg_prefix(err, -EINVAL, DESC_FD_ENV);
	r = desc_read((int)n, &t->desc, err);
	close((int)n);
	unsetenv(DESC_FD_ENV);
	if (r < 0)
		return r;
	load_place(t);
	text = desc_get(t->desc, "refuse");
	if (text)
		return errmsg_say(err, -ECANCELED, "%s", text);
	r = check_version(t->desc, err);
	if (r == 0)
		r = load_texts(t, err);
	if (r == 0)
		r = load_numbers(t, err);
	if (r == 0)
		r = load_options(t, err);
	return r;
}

void task_done(struct task *t)
{
	optset_done(&t->options);
	rankset_done(&t->local_ranks);
	desc_free(t->desc);
	*t = (struct task){ 0 };
}

/* As a random UUID looks (RFC 4122, 4.4): 122 bits of a sum that has in it
 * what no other VM of the site has. */
void task_machine_id(const struct task *t, char ret[TASK_MACHINE_ID])
{
	const char *cluster = getenv("SLURM_CLUSTER_NAME");
	const char *job_start = getenv("SLURM_JOB_START_TIME");
	char text[512], sum[DIGEST_TEXT];
	struct digest d;

	snprintf(text, sizeof(text), "vmstep\n%s\n%s\n%s\n%u",
		 cluster ? cluster : "", job_start ? job_start : "", t->step,
		 t->rank);
	digest_init(&d, DIGEST_SHA256);
	digest_add(&d, text, strlen(text));
	digest_text(&d, sum);
	sum[12] = '4';
	sum[16] = "89ab"[sum[16] & 3];
	snprintf(ret, TASK_MACHINE_ID, "%.32s", sum);
}

void task_uuid(const struct task *t, char ret[TASK_UUID])
{
	char id[TASK_MACHINE_ID];

	task_machine_id(t, id);
	snprintf(ret, TASK_UUID, "%.8s-%.4s-%.4s-%.4s-%.12s", id, id + 8,
		 id + 12, id + 16, id + 20);
}

char *task_expand(const struct task *t, uint32_t rank, const char *text,
		  struct errmsg *err)
{
	_cleanup_free_ char *out = NULL;
	struct memstream m;
	FILE *f = memstream_open(&m);
	bool bad = false;

	if (!f) {
		errmsg_set(err, -ENOMEM, "%s", text);
		return NULL;
	}
	for (const char *p = text; !bad && *p; p++) {
		if (*p != '%') {
			fputc(*p, f);
			continue;
		}
		switch (*++p) {
		case 't':
			if (rank == TASK_ANY_RANK)
				fputs("%t", f);
			else
				fprintf(f, "%" PRIu32, rank);
			break;
		case 'n':
			fprintf(f, "%" PRIu32, t->node_id);
			break;
		case 'N':
			fputs(t->node, f);
			break;
		case 'j':
			fprintf(f, "%" PRIu32, t->job);
			break;
		case 'J':
			fputs(t->step, f);
			break;
		case 's':
			fprintf(f, "%" PRIu32, t->stepid);
			break;
		case 'u':
			fputs(t->user, f);
			break;
		case '%':
			fputc('%', f);
			break;
		default:
			bad = true;
		}
	}
	out = memstream_close(&m, NULL);
	if (!out) {
		errmsg_set(err, -ENOMEM, "%s", text);
	} else if (bad) {
		errmsg_say(
			err, -EINVAL,
			"'%s': %% is followed by one of t n N j J s u, or by another %%",
			text);
		return NULL;
	}
	return TAKE_PTR(out);
}
