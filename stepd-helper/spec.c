#include <config.h>

#include "spec.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "value.h"

/* Where Slurm does not count memory, a guest gets this much. */
#define MEM_UNCOUNTED (1ull << 30)

/* The one value of @id for this rank in *ret (to be freed), or a copy of
 * @dflt, which may be NULL. */
static int one_value(const struct task *t, enum option_id id, const char *dflt,
		     char **ret, struct errmsg *err)
{
	struct strings vals = { 0 };
	int r = option_values(&t->options, id, t->rank, &vals, err);

	*ret = NULL;
	if (r == 0 && (vals.n || dflt)) {
		*ret = strdup(vals.n ? vals.v[0] : dflt);
		if (!*ret)
			r = errmsg_set(err, -ENOMEM, "options");
	}
	strings_done(&vals);
	return r;
}

static int expanded_value(const struct task *t, enum option_id id,
			  const char *dflt, char **ret, struct errmsg *err)
{
	_cleanup_free_ char *raw = NULL;
	int r = one_value(t, id, dflt, &raw, err);

	*ret = NULL;
	if (r < 0 || !raw)
		return r;
	*ret = task_expand(t, t->rank, raw, err);
	if (!*ret)
		return errmsg_prefix(err, -EINVAL, "--vm-%s",
				     option_defs[id].name);
	return 0;
}

static int word_value(const struct task *t, enum option_id id, int *ret,
		      struct errmsg *err)
{
	const struct option_def *def = &option_defs[id];
	_cleanup_free_ char *text = NULL;
	int r = one_value(t, id, def->dflt, &text, err);

	return r < 0 ? r : value_word(text, def->words, ret, err);
}

static int flag_value(const struct task *t, enum option_id id, bool *ret,
		      struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	int r = one_value(t, id, "no", &text, err);

	return r < 0 ? r : value_bool(text, ret, err);
}

static int uint_from(const struct task *t, enum option_id id, unsigned long min,
		     const char *dflt, unsigned int *ret, struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	unsigned long n;
	int r = one_value(t, id, dflt, &text, err);

	if (r == 0)
		r = value_uint(text, min, UINT_MAX, &n, err);
	if (r == 0)
		*ret = (unsigned int)n;
	return r;
}

static int uint_value(const struct task *t, enum option_id id, const char *dflt,
		      unsigned int *ret, struct errmsg *err)
{
	return uint_from(t, id, 1, dflt, ret, err);
}

static int resolve_io_cpus(const struct task *t, struct spec *s,
			   struct errmsg *err)
{
	int r = uint_from(t, OPT_IO_CPUS, 0, "0", &s->io_cpus, err);

	if (r < 0 || !s->io_cpus)
		return r;
	if (s->bind == BIND_NONE)
		return errmsg_say(
			err, -EINVAL,
			"--vm-io-cpus=%u: with --vm-bind=none no CPU is kept for anything; take one of them out",
			s->io_cpus);
	if (s->io_cpus >= t->cpus)
		return errmsg_say(
			err, -ERANGE,
			"--vm-io-cpus=%u: the task has %u CPU%s, and its VM needs one of its own; keep fewer, or give the task more by --cpus-per-task",
			s->io_cpus, t->cpus, t->cpus == 1 ? "" : "s");
	return 0;
}

static int resolve_cpus(const struct task *t, struct spec *s,
			struct errmsg *err)
{
	char dflt[16];
	int r = resolve_io_cpus(t, s, err);

	if (r < 0)
		return r;
	snprintf(dflt, sizeof(dflt), "%u", t->cpus - s->io_cpus);
	r = uint_value(t, OPT_CPUS, dflt, &s->cpus, err);
	if (r == 0 && s->cpus > t->cpus)
		return errmsg_say(
			err, -ERANGE,
			"--vm-cpus=%u: the task has %u; ask for fewer, or give it more by --cpus-per-task",
			s->cpus, t->cpus);
	if (r == 0 && s->cpus > t->cpus - s->io_cpus)
		return errmsg_say(
			err, -ERANGE,
			"--vm-cpus=%u with --vm-io-cpus=%u: the task has %u CPUs; ask for fewer, or give it more by --cpus-per-task",
			s->cpus, s->io_cpus, t->cpus);
	return r;
}

/* One window a node: it must not differ by task. */
static int resolve_fam(const struct task *t, struct spec *s, struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	char want[16], most[16], *path;
	int r = one_value(t, OPT_FAM, NULL, &text, err);

	if (r < 0 || !text)
		return r;
	r = famspec_parse(text, &s->fam, err);
	if (r < 0)
		return errmsg_prefix(err, r, "--vm-fam");
	if (s->fam.bytes > t->max_fam) {
		value_size_text(s->fam.bytes, want);
		value_size_text(t->max_fam, most);
		return errmsg_say(
			err, -EPERM,
			"--vm-fam=%s: the site allows %s on a node (max_fam)",
			want, most);
	}
	if (!s->fam.file)
		return 0;
	path = task_expand(t, TASK_ANY_RANK, s->fam.file, err);
	if (path && strstr(path, "%t"))
		r = errmsg_say(err, -EINVAL,
			       "%s: the VMs of a node share it: leave %%t out",
			       s->fam.file);
	if (!path || r < 0) {
		free(path);
		return errmsg_prefix(err, -EINVAL, "--vm-fam: file");
	}
	free(s->fam.file);
	s->fam.file = path;
	return 0;
}

/* What a task keeps back of its memory: for QEMU, and its share of the step's
 * own fabric-attached memory. */
static uint64_t kept_back(const struct task *t, const struct spec *s)
{
	uint64_t fam = s->fam.file ? 0 : s->fam.bytes;

	return t->mem_reserve + (fam + t->local_tasks - 1) / t->local_tasks;
}

static const char *keeper(const struct spec *s)
{
	return s->fam.bytes && !s->fam.file
		       ? "the site for QEMU and --vm-fam for its share keep"
		       : "the site keeps";
}

/* The most that the task's VM may be given, in *ret. */
static int most_mem(const struct task *t, const struct spec *s, uint64_t *ret,
		    struct errmsg *err)
{
	uint64_t kept = kept_back(t, s);
	char have[16], reserve[16], least[16];

	*ret = t->node_mem_bytes ? t->node_mem_bytes : UINT64_MAX;
	if (!t->mem_bytes)
		return 0;
	*ret = t->mem_bytes - kept;
	if (t->mem_bytes >= kept + OPTION_MEM_LEAST)
		return 0;
	value_size_text(t->mem_bytes, have);
	value_size_text(kept, reserve);
	value_size_text(kept + OPTION_MEM_LEAST, least);
	return errmsg_say(
		err, -ERANGE,
		"the task has %s of memory on %s, too little for a VM and the %s that %s back: give each task %s or more by --mem or --mem-per-cpu",
		have, t->node, reserve, keeper(s), least);
}

static int too_much_mem(const struct task *t, const struct spec *s,
			uint64_t most, struct errmsg *err)
{
	char have[16], reserve[16], want[16], can[16];

	value_size_text(s->mem_bytes, want);
	value_size_text(most, can);
	if (!t->mem_bytes)
		return errmsg_say(err, -ERANGE,
				  "--vm-mem=%s: %s has %s; ask for less", want,
				  t->node, can);
	value_size_text(t->mem_bytes, have);
	value_size_text(kept_back(t, s), reserve);
	return errmsg_say(
		err, -ERANGE,
		"--vm-mem=%s: the task has %s on %s, of which %s %s back; ask for %s or less, or give the step more by --mem",
		want, have, t->node, keeper(s), reserve, can);
}

static int whole_pages(struct spec *s, const char *mem, struct errmsg *err)
{
	uint64_t page = s->hugepage_bytes;
	char text[16];

	if (!page)
		return 0;
	value_size_text(page, text);
	s->mem_bytes -= s->mem_bytes % page;
	return s->mem_bytes
		       ? 0
		       : errmsg_say(
				 err, -ERANGE,
				 "--vm-hugepages=%s: the VM has %s of memory, less than one of them: give it more, or take smaller pages",
				 text, mem);
}

static int resolve_hugepages(const struct task *t, struct spec *s,
			     struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	int r = one_value(t, OPT_HUGEPAGES, NULL, &text, err);

	if (r < 0 || !text)
		return r;
	return value_size(*text ? text : "2M", &s->hugepage_bytes, err);
}

static int resolve_mem(const struct task *t, struct spec *s, struct errmsg *err)
{
	uint64_t whole = t->mem_bytes ? t->mem_bytes : MEM_UNCOUNTED;
	uint64_t most = 0;
	_cleanup_free_ char *text = NULL;
	char want[16];
	int r = one_value(t, OPT_MEM, NULL, &text, err);

	if (r == 0)
		r = most_mem(t, s, &most, err);
	if (r < 0)
		return r;
	s->mem_given = text != NULL;
	s->mem_bytes = t->mem_bytes ? most : MEM_UNCOUNTED;
	if (text) {
		r = value_size_pct(text, whole, &s->mem_bytes, err);
		if (r < 0)
			return errmsg_prefix(err, r, "--vm-mem");
		if (s->mem_bytes > most)
			return too_much_mem(t, s, most, err);
	}
	value_size_text(s->mem_bytes, want);
	if (s->mem_bytes < OPTION_MEM_LEAST)
		return errmsg_say(err, -ERANGE,
				  "--vm-mem=%s: a VM needs 64M at the least",
				  want);
	s->mem_bytes &= ~((1ull << 20) - 1); /* QEMU counts in MiB */
	return whole_pages(s, want, err);
}

static int resolve_net(const struct task *t, struct spec *s, struct errmsg *err)
{
	_cleanup_free_ char *cidr = NULL;
	int r = word_value(t, OPT_NET, &s->net, err);

	if (r == 0)
		r = one_value(t, OPT_NET_CIDR, "10.0.0.0/8", &cidr, err);
	if (r == 0)
		r = addr_net_parse(cidr, &s->cidr, err);
	if (r == 0)
		r = uint_value(t, OPT_NET_MTU, "9000", &s->mtu, err);
	if (r < 0)
		return r;
	if (t->ranks > addr_net_ranks(&s->cidr))
		return errmsg_say(
			err, -ERANGE,
			"--vm-net-cidr=%s has room for %u guests, the step has %u: name a larger network",
			cidr, addr_net_ranks(&s->cidr), t->ranks);
	return 0;
}

/* The node's own domain: of its host name, else as its resolver has it. No
 * question goes to a name server: nothing here may wait. */
static void node_domain(char *domain, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	char host[256], line[512], word[256];
	const char *dot;

	domain[0] = '\0';
	if (gethostname(host, sizeof(host) - 1) == 0) {
		host[sizeof(host) - 1] = '\0';
		dot = strchr(host, '.');
		snprintf(domain, size, "%s", dot ? dot + 1 : "");
	}
	f = domain[0] ? NULL : fopen("/etc/resolv.conf", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "domain %255s", word) == 1 ||
		    sscanf(line, "search %255s", word) == 1)
			snprintf(domain, size, "%s", word);
	if (domain[0] && value_hostname(domain, NULL) < 0)
		domain[0] = '\0';
}

static int resolve_names(const struct task *t, struct spec *s,
			 struct errmsg *err)
{
	_cleanup_free_ char *given = NULL;
	char domain[256] = "";
	int r;

	r = one_value(t, OPT_HOSTNAME, "vm%t", &given, err);
	if (r < 0)
		return r;
	if (t->ranks > 1 && !strstr(given, "%t"))
		return errmsg_say(
			err, -EINVAL,
			"--vm-hostname=%s gives %u guests one name: put %%t into it",
			given, t->ranks);
	s->hostname = task_expand(t, t->rank, given, err);
	s->hostname_pattern = task_expand(t, TASK_ANY_RANK, given, err);
	if (!s->hostname || !s->hostname_pattern)
		return errmsg_prefix(err, -EINVAL, "--vm-hostname");
	r = value_hostname(s->hostname, err);
	if (r < 0)
		return errmsg_prefix(err, r, "--vm-hostname=%s", given);
	if (!optset_has(&t->options, OPT_DOMAIN))
		node_domain(domain, sizeof(domain));
	return one_value(t, OPT_DOMAIN, domain, &s->domain, err);
}

/* --vm-env=A,B --vm-env=C: one name each. */
static int resolve_env(const struct task *t, struct spec *s, struct errmsg *err)
{
	struct strings lists = { 0 };
	int r = option_values(&t->options, OPT_ENV, t->rank, &lists, err);

	for (size_t i = 0; i < lists.n && r == 0; i++)
		for (const char *p = lists.v[i]; *p && r == 0;) {
			size_t n = strcspn(p, ",");

			r = strings_add(&s->env, p, n);
			p += n + (p[n] == ',');
		}
	strings_done(&lists);
	return r;
}

/* FILE or FILE,LEVEL */
static int resolve_log(const struct task *t, struct spec *s, struct errmsg *err)
{
	int r = expanded_value(t, OPT_LOG, NULL, &s->log, err);
	char *comma = r == 0 && s->log ? strrchr(s->log, ',') : NULL;

	s->log_level = LOG_LEVEL_DEBUG;
	if (!comma)
		return r;
	*comma = '\0';
	r = value_word(comma + 1, option_log_levels, &s->log_level, err);
	return r < 0 ? errmsg_prefix(err, r, "--vm-log: level") : 0;
}

/* One file a step: what differs by task is rank 0's. */
static int resolve_stats(const struct task *t, struct spec *s,
			 struct errmsg *err)
{
	_cleanup_free_ char *raw = NULL;
	int r = one_value(t, OPT_STATS, NULL, &raw, err);

	if (r < 0 || !raw)
		return r;
	s->stats = task_expand(t, 0, raw, err);
	return s->stats ? 0 : errmsg_prefix(err, -EINVAL, "--vm-stats");
}

/* A named port of the node is the first task's; others count on from it. */
static int add_rank(const struct task *t, struct publish *p, struct errmsg *err)
{
	uint64_t host = (uint64_t)p->host + t->rank;

	if (!p->host)
		return 0;
	if (host > UINT16_MAX)
		return errmsg_say(
			err, -ERANGE,
			"--vm-publish=%u=%u: task %u would have port %llu; name a lower one, or none, for a free one",
			p->guest, p->host, t->rank, (unsigned long long)host);
	if (host < t->publish_first || host > t->publish_last)
		return errmsg_say(
			err, -EPERM,
			"--vm-publish=%u=%u: task %u's port %llu is not among those that the site allows (allow_publish): %u-%u",
			p->guest, p->host, t->rank, (unsigned long long)host,
			t->publish_first, t->publish_last);
	p->host = (uint16_t)host;
	return 0;
}

static int resolve_ports(const struct task *t, struct spec *s,
			 struct errmsg *err)
{
	struct strings vals = { 0 };
	int r = option_values(&t->options, OPT_PUBLISH, t->rank, &vals, err);

	for (size_t i = 0; i < vals.n && r == 0; i++) {
		r = publish_parse(vals.v[i], s->ports, &s->n_ports, err);
		if (r < 0)
			errmsg_prefix(err, r, "--vm-publish");
	}
	for (size_t i = 0; i < s->n_ports && r == 0; i++)
		r = add_rank(t, &s->ports[i], err);
	strings_done(&vals);
	return r;
}

static int resolve_tftp(const struct task *t, struct spec *s,
			struct errmsg *err)
{
	int r = expanded_value(t, OPT_TFTP, NULL, &s->tftp, err);
	struct stat st;

	if (r < 0 || !s->tftp)
		return r;
	if (stat(s->tftp, &st) < 0 || access(s->tftp, R_OK | X_OK) < 0)
		return errmsg_set(err, -errno, "--vm-tftp=%s", s->tftp);
	return S_ISDIR(st.st_mode)
		       ? 0
		       : errmsg_say(err, -ENOTDIR,
				    "--vm-tftp=%s: that is no directory",
				    s->tftp);
}

static int resolve_ways(const struct task *t, struct spec *s,
			struct errmsg *err)
{
	int outbound = 0, display = 0;
	int r = word_value(t, OPT_OUTBOUND, &outbound, err);

	if (r == 0)
		r = word_value(t, OPT_DISPLAY, &display, err);
	s->outbound = outbound == 1;
	s->vnc = display == 1;
	if (r == 0)
		r = resolve_tftp(t, s, err);
	return r < 0 ? r : resolve_ports(t, s, err);
}

static int resolve_capture(const struct task *t, struct spec *s,
			   struct errmsg *err)
{
	int r = expanded_value(t, OPT_CAPTURE, NULL, &s->capture, err);

	if (r == 0 && s->capture && s->net == NET_NONE)
		return errmsg_say(
			err, -EINVAL,
			"--vm-capture: there is nothing to capture with --vm-net=none");
	return r;
}

/* "me" is the caller: who that is on the node. */
static int resolve_user(const struct task *t, struct spec *s,
			struct errmsg *err)
{
	int r = one_value(t, OPT_USER, "root", &s->guest_user, err);

	if (r < 0 || strcmp(s->guest_user, "me") != 0)
		return r;
	if (!*t->user)
		return errmsg_say(
			err, -ENOENT,
			"--vm-user=me: %s has no name for user %u; name a user that the image has",
			t->node, (unsigned int)getuid());
	free(s->guest_user);
	s->guest_user = strdup(t->user);
	/* who is root already is made by nobody */
	s->user_is_me = getuid() != 0;
	return s->guest_user ? 0 : errmsg_set(err, -ENOMEM, "options");
}

/* Where the guest has directory @cwd of the node: NULL, it has not. */
static char *in_guest(const struct spec *s, const char *cwd)
{
	for (size_t i = 0; i < s->mounts.n; i++) {
		const struct mountspec *m = &s->mounts.v[i];
		_cleanup_free_ char *src = realpath(m->src, NULL);
		size_t n = src ? strlen(src) : 0;
		char *path;

		if (!n || strncmp(cwd, src, n) != 0 ||
		    (cwd[n] && cwd[n] != '/' && n > 1))
			continue;
		if (n == 1) /* all of the node */
			n = 0;
		return asprintf(&path, "%s%s", m->dst, cwd + n) < 0 ? NULL
								    : path;
	}
	return NULL;
}

static int resolve_workdir(const struct task *t, struct spec *s,
			   struct errmsg *err)
{
	_cleanup_free_ char *cwd = NULL;
	int r = expanded_value(t, OPT_WORKDIR, NULL, &s->workdir, err);

	s->workdir_given = s->workdir;
	if (r < 0 || s->workdir)
		return r;
	cwd = getcwd(NULL, 0);
	s->workdir = cwd ? in_guest(s, cwd) : NULL;
	return 0;
}

static int resolve_run(const struct task *t, struct spec *s, struct errmsg *err)
{
	int run, linger, r;

	r = word_value(t, OPT_RUN, &run, err);
	if (r == 0)
		r = word_value(t, OPT_LINGER, &linger, err);
	if (r == 0)
		r = word_value(t, OPT_WAIT, &s->wait, err);
	if (r == 0)
		r = word_value(t, OPT_EXEC, &s->exec, err);
	if (r == 0)
		r = resolve_user(t, s, err);
	if (r == 0)
		r = resolve_workdir(t, s, err);
	if (r == 0)
		r = uint_value(t, OPT_BOOT_TIMEOUT, "300", &s->boot_timeout_s,
			       err);
	if (r == 0)
		r = uint_value(t, OPT_GRACE, "20", &s->grace_s, err);
	if (r < 0)
		return r;
	s->run_head = run == 1;
	s->linger = linger == 0;
	return 0;
}

/* All values of @id for this rank, their words replaced. */
static int expanded_values(const struct task *t, enum option_id id,
			   struct strings *ret, struct errmsg *err)
{
	struct strings raw = { 0 };
	int r = option_values(&t->options, id, t->rank, &raw, err);

	for (size_t i = 0; i < raw.n && r == 0; i++) {
		_cleanup_free_ char *text =
			task_expand(t, t->rank, raw.v[i], err);

		if (!text)
			r = errmsg_prefix(err, -EINVAL, "--vm-%s",
					  option_defs[id].name);
		else if (strings_add(ret, text, strlen(text)) < 0)
			r = errmsg_set(err, -ENOMEM, "options");
	}
	strings_done(&raw);
	return r;
}

static int resolve_images(const struct task *t, struct spec *s,
			  struct errmsg *err)
{
	int r = expanded_values(t, OPT_IMAGE, &s->images, err);

	if (r == 0 && !s->images.n)
		r = errmsg_say(
			err, -EINVAL,
			"--vm-image names no image for task %u: give each task one, or a last one without ranks",
			t->rank);
	return r;
}

static int resolve_home(const struct task *t, struct spec *s,
			struct errmsg *err)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *home = pw ? pw->pw_dir : getenv("HOME");
	struct errmsg why;
	bool wanted;
	int r = flag_value(t, OPT_MOUNT_HOME, &wanted, err);

	if (r < 0 || !wanted)
		return r;
	if (!home || mountspec_check_dst(home, &why) < 0)
		return errmsg_say(
			err, -ENOENT,
			"--vm-mount-home: the user's home directory on %s is %s: name directories by --vm-mounts",
			t->node, home ? home : "not known");
	r = mountspecs_add(&s->mounts, home, home, false);
	return r < 0 ? errmsg_set(err, r, "--vm-mount-home") : 0;
}

static int resolve_data(const struct task *t, struct spec *s,
			struct errmsg *err)
{
	struct strings mounts = { 0 };
	int r = expanded_values(t, OPT_INPUT, &s->inputs, err);

	if (r == 0)
		r = expanded_values(t, OPT_OUTPUT, &s->outputs, err);
	if (r == 0)
		r = expanded_values(t, OPT_MOUNTS, &mounts, err);
	for (size_t i = 0; i < mounts.n && r == 0; i++) {
		r = mountspecs_parse(&s->mounts, mounts.v[i], err);
		if (r < 0)
			errmsg_prefix(err, r, "--vm-mounts");
	}
	strings_done(&mounts);
	return r < 0 ? r : resolve_home(t, s, err);
}

/* PATH or PATH,full */
static int resolve_save(const struct task *t, struct spec *s,
			struct errmsg *err)
{
	int r = expanded_value(t, OPT_SAVE, NULL, &s->save, err);
	char *comma = r == 0 && s->save ? strrchr(s->save, ',') : NULL;

	s->save_full = comma && strcmp(comma, ",full") == 0;
	if (s->save_full)
		*comma = '\0';
	return r;
}

static int resolve_qemu_args(const struct task *t, struct spec *s,
			     struct errmsg *err)
{
	int r = option_values(&t->options, OPT_QEMU_ARG, t->rank, &s->qemu_args,
			      err);

	if (r == 0 && s->qemu_args.n && !t->allow_qemu_args)
		return errmsg_say(
			err, -EPERM,
			"--vm-qemu-arg=%s: the site does not allow QEMU arguments of a user's own (allow_qemu_args)",
			s->qemu_args.v[0]);
	return r;
}

static int resolve_cloud_init(const struct task *t, struct spec *s,
			      struct errmsg *err)
{
	_cleanup_free_ char *word = NULL;
	int r = one_value(t, OPT_CLOUD_INIT, "auto", &word, err);

	if (r < 0)
		return r;
	s->cloud_init = strcmp(word, "none") != 0;
	if (!s->cloud_init || strcmp(word, "auto") == 0)
		return 0;
	return expanded_value(t, OPT_CLOUD_INIT, NULL, &s->cloud_from, err);
}

/* ISO or ISO,unattended=DIR. What is installed runs no command of ours. */
static int resolve_install(const struct task *t, struct spec *s,
			   struct errmsg *err)
{
	static const char key[] = ",unattended=";
	int r = expanded_value(t, OPT_INSTALL, NULL, &s->install, err);
	char *comma = r == 0 && s->install ? strrchr(s->install, ',') : NULL;

	if (r < 0 || !s->install)
		return r;
	if (comma && strncmp(comma, key, strlen(key)) == 0) {
		s->unattended = strdup(comma + strlen(key));
		*comma = '\0';
		if (!s->unattended)
			return errmsg_set(err, -ENOMEM, "--vm-install");
	}
	s->exec = EXEC_NONE;
	return 0;
}

static int resolve_machine(const struct task *t, struct spec *s,
			   struct errmsg *err)
{
	int r = resolve_images(t, s, err);

	if (r == 0)
		r = resolve_save(t, s, err);
	if (r == 0)
		r = resolve_qemu_args(t, s, err);
	if (r == 0)
		r = option_values(&t->options, OPT_SCRATCH, t->rank,
				  &s->scratch, err);
	if (r == 0)
		r = expanded_value(t, OPT_RUNDIR, t->rundir, &s->rundir, err);
	if (r == 0)
		r = resolve_cloud_init(t, s, err);
	if (r == 0)
		r = expanded_value(t, OPT_QEMU, NULL, &s->qemu, err);
	if (r == 0)
		r = expanded_value(t, OPT_KERNEL, NULL, &s->kernel, err);
	if (r == 0)
		r = expanded_value(t, OPT_INITRD, NULL, &s->initrd, err);
	if (r == 0)
		r = expanded_value(t, OPT_APPEND, NULL, &s->append, err);
	if (r == 0)
		r = word_value(t, OPT_ACCEL, &s->accel, err);
	if (r == 0)
		r = one_value(t, OPT_CPU, NULL, &s->cpu, err);
	if (r == 0)
		r = one_value(t, OPT_MACHINE, option_defs[OPT_MACHINE].dflt,
			      &s->machine, err);
	if (r == 0)
		r = word_value(t, OPT_FIRMWARE, &s->firmware, err);
	if (r == 0)
		r = word_value(t, OPT_BIND, &s->bind, err);
	if (r == 0)
		r = word_value(t, OPT_NUMA, &s->numa, err);
	if (r == 0)
		r = resolve_hugepages(t, s, err);
	return r;
}

int spec_resolve(const struct task *t, struct spec *ret, struct errmsg *err)
{
	int r;

	*ret = (struct spec){ 0 };
	r = resolve_machine(t, ret, err);
	if (r == 0)
		r = resolve_cpus(t, ret, err);
	if (r == 0)
		r = resolve_fam(t, ret, err);
	if (r == 0)
		r = resolve_mem(t, ret, err);
	if (r == 0)
		r = resolve_net(t, ret, err);
	if (r == 0)
		r = resolve_names(t, ret, err);
	if (r == 0)
		r = resolve_data(t, ret, err);
	if (r == 0)
		r = resolve_run(t, ret, err);
	if (r == 0)
		r = resolve_install(t, ret, err);
	if (r == 0)
		r = resolve_env(t, ret, err);
	if (r == 0)
		r = expanded_value(t, OPT_CONSOLE, NULL, &ret->console, err);
	if (r == 0)
		r = resolve_capture(t, ret, err);
	if (r == 0)
		r = resolve_ways(t, ret, err);
	if (r == 0)
		r = resolve_log(t, ret, err);
	if (r == 0)
		r = resolve_stats(t, ret, err);
	if (r == 0)
		r = one_value(t, OPT_RESTORE, NULL, &ret->restore, err);
	if (r == 0)
		r = flag_value(t, OPT_VERBOSE, &ret->verbose, err);
	if (r == 0)
		r = flag_value(t, OPT_DRY_RUN, &ret->dry_run, err);
	if (r < 0)
		spec_done(ret);
	return r;
}

void spec_done(struct spec *s)
{
	strings_done(&s->images);
	strings_done(&s->qemu_args);
	strings_done(&s->scratch);
	strings_done(&s->inputs);
	strings_done(&s->outputs);
	mountspecs_done(&s->mounts);
	strings_done(&s->env);
	famspec_done(&s->fam);
	free(s->rundir);
	free(s->cloud_from);
	free(s->install);
	free(s->unattended);
	free(s->save);
	free(s->restore);
	free(s->kernel);
	free(s->initrd);
	free(s->append);
	free(s->cpu);
	free(s->machine);
	free(s->hostname);
	free(s->hostname_pattern);
	free(s->domain);
	free(s->guest_user);
	free(s->workdir);
	free(s->console);
	free(s->capture);
	free(s->qemu);
	free(s->tftp);
	free(s->log);
	if (s->log_fd > STDERR_FILENO)
		close(s->log_fd);
	free(s->stats);
	*s = (struct spec){ 0 };
}

/* -- the guest's environment ----------------------------------------------- */

static int add_env(struct strings *env, const char *name, const char *value)
{
	_cleanup_free_ char *text = NULL;

	if (!value)
		return 0;
	if (asprintf(&text, "%s=%s", name, value) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return strings_add(env, text, strlen(text));
}

static int add_env_number(struct strings *env, const char *name, uint32_t n)
{
	char text[16];

	snprintf(text, sizeof(text), "%" PRIu32, n);
	return add_env(env, name, text);
}

int spec_guest_env(const struct task *t, const struct spec *s,
		   struct strings *ret)
{
	char ip[INET_ADDRSTRLEN];
	int r = 0;

	addr_ip_text(addr_ip(&s->cidr, t->rank), ip);
	for (size_t i = 0; i < s->env.n && r == 0; i++)
		r = add_env(ret, s->env.v[i], getenv(s->env.v[i]));
	if (r == 0)
		r = add_env_number(ret, "SLURM_PROCID", t->rank);
	if (r == 0)
		r = add_env_number(ret, "SLURM_NPROCS", t->ranks);
	if (r == 0)
		r = add_env_number(ret, "SLURM_LOCALID", t->local_id);
	if (r == 0)
		r = add_env_number(ret, "SLURM_NODEID", t->node_id);
	if (r == 0)
		r = add_env(ret, "SLURM_JOB_ID", getenv("SLURM_JOB_ID"));
	if (r == 0)
		r = add_env_number(ret, "SLURM_STEP_ID", t->stepid);
	if (r == 0)
		r = add_env_number(ret, "VMSTEP_RANK", t->rank);
	if (r == 0)
		r = add_env_number(ret, "VMSTEP_RANKS", t->ranks);
	if (r == 0)
		r = add_env(ret, "VMSTEP_STEP", t->step);
	if (r == 0)
		r = add_env(ret, "VMSTEP_NODE", t->node);
	if (r == 0 && s->net != NET_NONE)
		r = add_env(ret, "VMSTEP_IP", ip);
	return r;
}
