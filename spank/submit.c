/* submit.c - in srun, sbatch and salloc: parse, merge, check, hand over
 *
 * An option's value may come from the command line, VMSTEP_* variables, or the
 * sbatch or salloc that made the job. Slurm can tell these apart no more once
 * it has called back, and passes on only the last value of a repeated option.
 * So:
 *   - submit_init() hides from Slurm what it would replay as if typed, and
 *     keeps our own record of it (SLURM_VMSTEP_INHERIT) apart;
 *   - Slurm's callbacks then bring what was really typed;
 *   - submit_post_opt() merges by precedence and hands over whole lists.
 *
 * srun calls submit_post_opt() once for each component of a heterogeneous
 * step, in order, each time after the callbacks for that component; the
 * environment it leaves is the one all components are launched with.
 *
 * A bad value must end the program before anything is allocated. A failing
 * init_post_opt() of an `optional` plugin only warns, so submit_post_opt()
 * ends the program itself: srun, sbatch and salloc are the user's own
 * processes, and at that point they have nothing to clean up.
 */
#include <config.h>

#include "plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pwd.h>
#include <slurm/slurm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allow.h"
#include "cleanup.h"
#include "cmdline.h"
#include "configfile.h"
#include "group.h"
#include "site.h"

#define EXIT_REFUSED 255 /* as srun does for its own bad options */

/* One environment string may be 128 KiB (MAX_ARG_STRLEN of the kernel). */
#define HANDOVER_MAX (120 * 1024)

extern char **environ;

static struct {
	struct optset typed;	   /* of the component being parsed */
	struct optset inherited;   /* from sbatch or salloc */
	unsigned int components;   /* of the step, counted by post_opt */
	bool wants_vm;		   /* the last one did */
	bool multi_prog;	   /* --multi-prog was given */
	struct strings args;	   /* srun's, and the user's behind them */
	struct cmdline_part first; /* of them; parsed by now */
} submit;

/* -- options of Slurm's command line --------------------------------------- */

static struct spank_option slurm_options[OPT_COUNT];
static char usage_texts[OPT_COUNT][256];
static char option_names[OPT_COUNT][64];

/* Called by Slurm, as the user, for each option of the command line; and in
 * slurmstepd (@remote), where what srun handed over counts instead. */
static int on_option(int id, const char *arg, int remote)
{
	struct errmsg err;
	char origin[80];

	if (remote)
		return ESPANK_SUCCESS;
	snprintf(origin, sizeof(origin), "--%s", option_names[id]);
	if (optset_add(&submit.typed, (enum option_id)id, arg, origin, &err) <
	    0) {
		slurm_error("vmstep: %s", err.text);
		return ESPANK_BAD_ARG;
	}
	return ESPANK_SUCCESS;
}

static void usage_text(const struct option_def *def, char ret[256])
{
	if (def->dflt)
		snprintf(ret, 256, "[vmstep] %s (default: %s)", def->help,
			 def->dflt);
	else
		snprintf(ret, 256, "[vmstep] %s", def->help);
}

static int register_options(spank_t sp)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		const struct option_def *def = &option_defs[i];
		struct spank_option *o = &slurm_options[i];

		snprintf(option_names[i], sizeof(option_names[i]), "vm-%s",
			 def->name);
		usage_text(def, usage_texts[i]);
		o->name = option_names[i];
		o->arginfo = (char *)(uintptr_t)def->arginfo;
		o->usage = usage_texts[i];
		o->has_arg = def->flags & OPTF_FLAG	 ? 0
			     : def->flags & OPTF_FLAGARG ? 2
							 : 1;
		o->val = i;
		o->cb = on_option;
		if (spank_option_register(sp, o) != ESPANK_SUCCESS)
			slurm_error(
				"vmstep: option --%s cannot be registered: another plugin may have it",
				o->name);
	}
	return ESPANK_SUCCESS;
}

/* -- before options are parsed --------------------------------------------- */

/* Slurm replays what sbatch was given from [SLURM_SPANK_]_SLURM_SPANK_OPTION_*
 * as if it had been typed here; our own record of it is better. */
static void hide_replay(void)
{
	static const char *const prefixes[] = {
		"SLURM_SPANK__SLURM_SPANK_OPTION_vmstep_",
		"_SLURM_SPANK_OPTION_vmstep_",
		STEP_ENV,
		ARGV0_ENV,
		MULTI_ENV,
	};
	char name[256];

	for (char **e = environ; e && *e;) {
		size_t len = strcspn(*e, "=");
		bool ours = false;

		for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
			if (strncmp(*e, prefixes[i], strlen(prefixes[i])) == 0)
				ours = len < sizeof(name);
		if (!ours) {
			e++;
			continue;
		}
		memcpy(name, *e, len);
		name[len] = '\0';
		unsetenv(name); /* moves the rest of environ down */
	}
}

static int load_inherited(struct errmsg *err)
{
	const char *text = getenv(INHERIT_ENV);

	if (!text)
		return 0;
	return optset_decode(&submit.inherited, text, err);
}

/* Where Slurm's own plugins are: beside one that srun has loaded already. */
static int find_mpi_pmix(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *slash = strrchr(info->dlpi_name, '/');
	char path[PATH_MAX];

	if (!slash || !strstr(slash, "/select_"))
		return 0;
	snprintf(path, sizeof(path), "%.*s/mpi_pmix.so",
		 (int)(slash - info->dlpi_name), info->dlpi_name);
	return access(path, R_OK) == 0;
}

/* Has the file that --vm-config names, if any, an image? */
static bool file_wants_vm(const char *path)
{
	struct optset set = { 0 };
	bool wants = path && configfile_load(path, &set, NULL) == 0 &&
		     optset_wants_vm(&set);

	optset_done(&set);
	return wants;
}

/* Does this command line, not yet parsed, look as if it asked for VMs in one of
 * its components? */
static bool looks_like_vm(bool dflt)
{
	struct cmdline_part part = cmdline_first(&submit.args);
	bool wants = false;

	do {
		const char *image = cmdline_value(
			&submit.args, &part, "--vm-image", strlen("--vm-im"));

		if (!image && cmdline_value(&submit.args, &part, "--vm-restore",
					    strlen("--vm-re")))
			wants = true;
		else if (!image && !file_wants_vm(cmdline_value(
					   &submit.args, &part, "--vm-config",
					   strlen("--vm-conf"))))
			wants |= dflt;
		else
			wants |= !image || strcmp(image, "none") != 0;
	} while (cmdline_next(&submit.args, &part));
	return wants;
}

/* VMs on several nodes are wired up by PMIx. Slurm takes its --mpi type from
 * the environment now, before it parses options (22.05 reads it no later), and
 * an --mpi= on the command line still wins. */
static void arrange_pmix(void)
{
	const char *image = getenv("VMSTEP_IMAGE");
	const char *nodes = getenv("SLURM_JOB_NUM_NODES");
	bool wants = optset_wants_vm(&submit.inherited) ||
		     file_wants_vm(getenv("VMSTEP_CONFIG")) ||
		     getenv("VMSTEP_RESTORE");

	if (image)
		wants = *image && strcmp(image, "none") != 0;
	if (!looks_like_vm(wants) || getenv("SLURM_MPI_TYPE"))
		return;
	if (nodes && strcmp(nodes, "1") == 0)
		return; /* one node needs none, and it costs start-up time */
	if (dl_iterate_phdr(find_mpi_pmix, NULL))
		setenv("SLURM_MPI_TYPE", "pmix", 1);
}

static _Noreturn void refuse(const char *words)
{
	slurm_error("vmstep: %s", words);
	exit(EXIT_REFUSED); /* see the top of this file */
}

int submit_init(spank_t sp, int ac, char **av)
{
	struct errmsg err;

	if (spank_context() != S_CTX_REMOTE) {
		hide_replay();
		if (load_inherited(&err) < 0)
			refuse(err.text);
		cmdline_load(&submit.args);
		if (spank_context() == S_CTX_LOCAL)
			arrange_pmix();
	}
	return register_options(sp);
}

/* -- options are parsed ---------------------------------------------------- */

/* Arguments of the component that is being parsed; none, where a line in a
 * script made it. --het-group may make several components of one, and then
 * this looks too far. */
static struct cmdline_part current_part(void)
{
	struct cmdline_part part = submit.first;

	for (unsigned int i = 0; i < submit.components; i++)
		if (!cmdline_next(&submit.args, &part))
			return (struct cmdline_part){ 0, 0 };
	return part;
}

/* sbatch brings what its script's #SBATCH lines say first, and its own
 * arguments then, which beat them. */
static void drop_directives(void)
{
	struct cmdline_part part = current_part();

	for (int i = 0; i < OPT_COUNT; i++) {
		enum option_id id = (enum option_id)i;
		size_t n = cmdline_count(&submit.args, &part, id);

		if (n)
			optset_keep_last(&submit.typed, id, n);
	}
}

static int merge(struct optset *set, struct errmsg *err)
{
	struct optset env = { 0 };
	int r;

	*set = submit.typed;
	submit.typed = (struct optset){ 0 };
	r = configfile_take(set, err);
	if (r == 0)
		r = optset_add_env(&env, err);
	if (r == 0)
		r = configfile_take(&env, err);
	if (r == 0)
		r = optset_inherit(set, &env, err);
	if (r == 0)
		r = optset_inherit(set, &submit.inherited, err);
	optset_done(&env);
	if (r == 0)
		r = configfile_take_saved(set, err);
	if (r == 0)
		r = group_resolve(set, err);
	if (r == 0)
		r = optset_check(set, err);
	return r;
}

/* To the sruns of the job. What was typed here beats what is still in the
 * environment there, so a variable that lost is taken out. */
static int hand_to_job(const struct optset *typed, const struct optset *set,
		       struct errmsg *err)
{
	_cleanup_free_ char *text = optset_encode(set);

	if (!text)
		return errmsg_set(err, -ENOMEM, "options");
	if (strlen(text) > HANDOVER_MAX)
		return errmsg_say(err, -E2BIG,
				  "the options take %zu bytes, more than %d",
				  strlen(text), HANDOVER_MAX);
	for (int i = 0; i < OPT_COUNT; i++) {
		char name[64];

		option_env_name((enum option_id)i, name);
		if (optset_has(typed, (enum option_id)i))
			unsetenv(name);
	}
	if (*text)
		setenv(INHERIT_ENV, text, 1);
	else
		unsetenv(INHERIT_ENV);
	return 0;
}

static int set_step_env(unsigned int component, const char *options,
			struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	char name[64];

	if (asprintf(&text, "%s\n%s", PACKAGE_VERSION, options) < 0) {
		text = NULL;
		return errmsg_set(err, -ENOMEM, "options");
	}
	if (strlen(text) > HANDOVER_MAX)
		return errmsg_say(err, -E2BIG,
				  "the options take %zu bytes, more than %d",
				  strlen(text), HANDOVER_MAX);
	snprintf(name, sizeof(name), STEP_ENV "%u", component);
	if (setenv(name, text, 1) < 0)
		return errmsg_set(err, -errno, "options");
	return 0;
}

/* To slurmstepd. A step that was asked to be none says so, for a node could
 * find VMSTEP_IMAGE in the job's environment; and where one component of a
 * heterogeneous step has VMs, those that have none say so. */
static int hand_to_step(const struct optset *set, struct errmsg *err)
{
	_cleanup_free_ char *options = NULL;
	bool before = false;
	char name[64];

	for (unsigned int i = 0; i < submit.components; i++) {
		snprintf(name, sizeof(name), STEP_ENV "%u", i);
		before |= getenv(name) != NULL;
	}
	if (!optset_has(set, OPT_IMAGE) && !before)
		return 0;
	for (unsigned int i = 0; i < submit.components; i++) {
		snprintf(name, sizeof(name), STEP_ENV "%u", i);
		if (!getenv(name) && set_step_env(i, "", err) < 0)
			return -ENOMEM;
	}
	options = optset_encode(set);
	if (!options)
		return errmsg_set(err, -ENOMEM, "options");
	return set_step_env(submit.components, options, err);
}

/* root may ask for another user (--uid), whose step it then is. */
static int check_user(const struct site *site, struct errmsg *err)
{
	const struct passwd *pw = getuid() ? getpwuid(getuid()) : NULL;

	return pw ? allow_user(site, pw->pw_name, getgid(), err) : 0;
}

/* What is wrong with the site's configuration, or not allowed by it, as far as
 * it can be seen from here; the node looks again. */
static int check_site(int ac, char **av, struct errmsg *err)
{
	struct site site;
	const char *path;
	bool given;
	int r;

	r = site_args(ac, av, &path, &given, err);
	if (r == 0)
		r = site_load(path, false, &site, err);
	if (r < 0)
		return r;
	r = check_user(&site, err);
	site_done(&site);
	return r;
}

/* A variable that is mistyped is not one of ours, and has no effect. */
static void warn_of_env(void)
{
	for (char **e = environ; e && *e; e++) {
		size_t len = strcspn(*e, "=");
		int id = option_env_nearly(*e, len);
		char name[64];

		if (id < 0)
			continue;
		option_env_name((enum option_id)id, name);
		slurm_info(
			"vmstep: %.*s is no option's variable, ignoring; %s is",
			(int)len, *e, name);
	}
}

/* NAME or NAME=VALUE, up to the next comma that is not within quotes. */
static size_t exported_len(const char *text)
{
	char quote = '\0';
	size_t n = 0;

	for (; text[n] && (quote || text[n] != ','); n++)
		if (text[n] == quote)
			quote = '\0';
		else if (!quote && (text[n] == '"' || text[n] == '\''))
			quote = text[n];
	return n;
}

/* What --export says for this component: an earlier one's holds for it, too.
 * --het-group may make several of one, and then this looks too far. */
static const char *export_list(void)
{
	struct cmdline_part part = submit.first;
	const char *list = getenv("SLURM_EXPORT_ENV");

	for (unsigned int i = 0; i <= submit.components; i++) {
		const char *value = cmdline_value(
			&submit.args, &part, "--export", strlen("--export"));

		if (value)
			list = value;
		if (!cmdline_next(&submit.args, &part))
			break;
	}
	return list;
}

/* What --export names beyond ALL and NONE goes into the guests too. */
static int add_exported(struct optset *set, struct errmsg *err)
{
	const char *list = export_list();
	int r = 0;

	for (const char *p = list ? list : ""; *p && r == 0;) {
		size_t n = exported_len(p), name = strcspn(p, ",=");
		_cleanup_free_ char *text = strndup(p, name);

		if (!text)
			return errmsg_set(err, -ENOMEM, "--export");
		if (*text && strcasecmp(text, "ALL") != 0 &&
		    strcasecmp(text, "NONE") != 0 &&
		    strcasecmp(text, "NIL") != 0)
			r = optset_add(set, OPT_ENV, text, "--export", err);
		p += n + (p[n] == ',');
	}
	return r;
}

/* srun's getopt_long() has just been through the first component. */
static void look_at_first(void)
{
	submit.first = cmdline_first(&submit.args);
	if (optind >= 1 && (size_t)optind <= submit.args.n)
		submit.first.to = (size_t)optind;
	submit.multi_prog = cmdline_value(&submit.args, &submit.first,
					  "--multi-prog", strlen("--mu"));
}

int submit_post_opt(spank_t sp, int ac, char **av)
{
	struct optset typed = { 0 }, set = { 0 };
	struct errmsg err;
	int r;

	if (submit.components == 0)
		look_at_first();
	if (spank_context() == S_CTX_ALLOCATOR)
		drop_directives();
	r = optset_inherit(&typed, &submit.typed, &err);
	if (r == 0)
		r = configfile_take(&typed, &err);
	if (r == 0)
		r = merge(&set, &err);
	submit.wants_vm = r == 0 && optset_wants_vm(&set);
	if (r == 0 && submit.wants_vm)
		r = check_site(ac, av, &err);
	if (r == 0 && submit.wants_vm && spank_context() == S_CTX_LOCAL)
		r = add_exported(&set, &err);
	if (r == 0)
		r = spank_context() == S_CTX_ALLOCATOR
			    ? hand_to_job(&typed, &set, &err)
			    : hand_to_step(&set, &err);
	if (r < 0)
		refuse(err.text);
	if (submit.wants_vm && submit.components == 0)
		warn_of_env();
	submit.components++;
	optset_done(&typed);
	optset_done(&set);
	return ESPANK_SUCCESS;
}

/* A slurmd without this plugin would ignore our options and run the user's
 * command on the host; so the program becomes vmstep-helper here already, by
 * its absolute path, which such a node does not have. Not for a heterogeneous
 * step: there Slurm calls this for one component of its choice only, and its
 * nodes change the program themselves. */
int submit_user_init(spank_t sp)
{
	static char helper[] = HELPER_PATH;
	uint32_t step;
	char **argv;
	int argc;

	if (!submit.wants_vm || submit.components != 1)
		return ESPANK_SUCCESS;
	if (spank_get_item(sp, S_JOB_STEPID, &step) != ESPANK_SUCCESS ||
	    step == SLURM_INTERACTIVE_STEP)
		return ESPANK_SUCCESS;
	if (spank_get_item(sp, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS ||
	    argc < 1)
		return ESPANK_SUCCESS;
	if (submit.multi_prog) {
		/* srun has put the text of the file argv[0] in as argv[1], and
		 * the nodes take each task's command from there */
		setenv(MULTI_ENV, "1", 1); /* for them to refuse */
		return ESPANK_SUCCESS;
	}
	setenv(ARGV0_ENV, argv[0], 1);
	argv[0] = helper;
	return ESPANK_SUCCESS;
}
