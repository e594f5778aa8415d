#include <config.h>

#include "host.h"

#include <ctype.h>
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "report.h"

struct spank_handle {
	enum host_call call;
};

struct host host;

static struct {
	void *lib;
	char **argv;
	int argc;
	const char *name;
} plugin;

/* -- the plugin ------------------------------------------------------------ */

static const char *const call_names[CALL_COUNT] = {
	[CALL_INIT] = "slurm_spank_init",
	[CALL_POST_OPT] = "slurm_spank_init_post_opt",
	[CALL_LOCAL_USER_INIT] = "slurm_spank_local_user_init",
	[CALL_USER_INIT] = "slurm_spank_user_init",
	[CALL_TASK_INIT_PRIVILEGED] = "slurm_spank_task_init_privileged",
	[CALL_TASK_INIT] = "slurm_spank_task_init",
	[CALL_TASK_POST_FORK] = "slurm_spank_task_post_fork",
	[CALL_TASK_EXIT] = "slurm_spank_task_exit",
	[CALL_EXIT] = "slurm_spank_exit",
	[CALL_JOB_PROLOG] = "slurm_spank_job_prolog",
	[CALL_JOB_EPILOG] = "slurm_spank_job_epilog",
	[CALL_SLURMD_EXIT] = "slurm_spank_slurmd_exit",
};

void host_load(const char *path, char **argv, int argc)
{
	plugin.lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!plugin.lib)
		errx(1, "%s", dlerror());
	plugin.name = dlsym(plugin.lib, "plugin_name");
	if (!plugin.name)
		errx(1, "%s has no plugin_name", path);
	plugin.argv = argv;
	plugin.argc = argc;
}

bool host_call(enum host_call which)
{
	struct spank_handle sp = { .call = which };
	int (*fn)(spank_t, int, char **);
	int rc;

	fn = (int (*)(spank_t, int, char **))dlsym(plugin.lib,
						   call_names[which]);
	if (!fn)
		return true;
	rc = fn(&sp, plugin.argc, plugin.argv);
	report("rc", "%s=%d", call_names[which], rc);
	if (rc && host.required)
		report("log",
		       "error: spank: required plugin %s: %s() failed with rc=%d",
		       plugin.name, call_names[which], rc);
	return !rc || !host.required;
}

/* -- options --------------------------------------------------------------- */

static char *env_name_of(const char *option)
{
	char *name;

	if (asprintf(&name, "_SLURM_SPANK_OPTION_%s_%s", plugin.name, option) <
	    0)
		abort();
	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
	return name;
}

spank_err_t spank_option_register(spank_t sp, struct spank_option *opt)
{
	struct host_option *o;

	if (sp->call != CALL_INIT || !opt->name || !opt->usage ||
	    strlen(opt->name) > SPANK_OPTION_MAXLEN)
		return ESPANK_BAD_ARG;
	host.options =
		reallocarray(host.options, host.n_options + 1, sizeof(*o));
	if (!host.options)
		abort();
	o = &host.options[host.n_options++];
	*o = (struct host_option){ .def = *opt };
	o->def.name = strdup(opt->name);
	o->env_name = env_name_of(opt->name);
	return ESPANK_SUCCESS;
}

int host_option_given(size_t i, const char *arg, int remote)
{
	struct host_option *o = &host.options[i];
	int rc = o->def.cb(o->def.val, arg, remote);

	if (rc)
		return rc;
	if (o->def.has_arg) {
		free(o->last);
		o->last = arg ? strdup(arg) : NULL;
	}
	o->found = true;
	return 0;
}

/* -- questions ------------------------------------------------------------- */

spank_context_t spank_context(void)
{
	return host.context;
}

int spank_remote(spank_t sp)
{
	return host.context == S_CTX_REMOTE;
}

static spank_err_t item_allowed(spank_item_t item)
{
	switch (host.context) {
	case S_CTX_REMOTE:
		return ESPANK_SUCCESS;
	case S_CTX_JOB_SCRIPT:
		return item == S_JOB_ID || item == S_JOB_UID ||
				       item == S_JOB_GID
			       ? ESPANK_SUCCESS
			       : ESPANK_NOT_AVAIL;
	case S_CTX_LOCAL:
		switch (item) {
		case S_JOB_UID:
		case S_JOB_GID:
		case S_JOB_ID:
		case S_JOB_STEPID:
		case S_JOB_ARGV:
		case S_JOB_ENV:
		case S_JOB_TOTAL_TASK_COUNT:
		case S_JOB_NNODES:
			return host.has_job ? ESPANK_SUCCESS : ESPANK_NOT_AVAIL;
		default:
			return ESPANK_NOT_REMOTE;
		}
	default:
		return ESPANK_NOT_AVAIL;
	}
}

static spank_err_t task_item(spank_item_t item, va_list ap)
{
	const struct host_job *j = &host.job;

	if (!j->in_task || (item == S_TASK_EXIT_STATUS && !j->exited))
		return ESPANK_NOT_TASK;
	if (item == S_TASK_EXIT_STATUS)
		*va_arg(ap, int *) = j->wait_status;
	else if (item == S_TASK_ID)
		*va_arg(ap, int *) = (int)j->local_id;
	else
		*va_arg(ap, uint32_t *) = j->rank;
	return ESPANK_SUCCESS;
}

static spank_err_t get_item(spank_item_t item, va_list ap)
{
	const struct host_job *j = &host.job;
	bool stepd = host.context == S_CTX_REMOTE;
	int argc = 0;

	switch (item) {
	case S_JOB_UID:
		*va_arg(ap, uid_t *) = j->uid;
		return ESPANK_SUCCESS;
	case S_JOB_GID:
		*va_arg(ap, gid_t *) = j->gid;
		return ESPANK_SUCCESS;
	case S_JOB_ID:
		*va_arg(ap, uint32_t *) = j->job;
		return ESPANK_SUCCESS;
	case S_JOB_STEPID:
		*va_arg(ap, uint32_t *) = j->step;
		return ESPANK_SUCCESS;
	case S_JOB_NNODES:
		*va_arg(ap, uint32_t *) = j->nodes;
		return ESPANK_SUCCESS;
	case S_JOB_NODEID:
		*va_arg(ap, uint32_t *) = j->node_id;
		return ESPANK_SUCCESS;
	case S_JOB_LOCAL_TASK_COUNT:
		*va_arg(ap, uint32_t *) = j->local_tasks;
		return ESPANK_SUCCESS;
	case S_JOB_TOTAL_TASK_COUNT:
		*va_arg(ap, uint32_t *) = j->tasks;
		return ESPANK_SUCCESS;
	case S_STEP_CPUS_PER_TASK:
		*va_arg(ap, uint32_t *) = j->cpus;
		return ESPANK_SUCCESS;
	case S_STEP_ALLOC_MEM:
		*va_arg(ap, uint64_t *) = j->mem_mib;
		return ESPANK_SUCCESS;
	case S_JOB_ARGV:
		while (j->argv && j->argv[argc])
			argc++;
		*va_arg(ap, int *) = argc;
		*va_arg(ap, char ***) = j->argv;
		return ESPANK_SUCCESS;
	case S_JOB_ENV:
		*va_arg(ap, char ***) = stepd ? j->env : NULL;
		return ESPANK_SUCCESS;
	case S_TASK_ID:
	case S_TASK_GLOBAL_ID:
	case S_TASK_EXIT_STATUS:
		return task_item(item, ap);
	default:
		return ESPANK_BAD_ARG;
	}
}

spank_err_t spank_get_item(spank_t sp, spank_item_t item, ...)
{
	spank_err_t rc = item_allowed(item);
	va_list ap;

	if (rc != ESPANK_SUCCESS)
		return rc;
	va_start(ap, item);
	rc = get_item(item, ap);
	va_end(ap);
	return rc;
}

/* -- the step's environment ------------------------------------------------ */

static char **find_env(const char *name)
{
	size_t len = strlen(name);
	char **e = host.job.env;

	while (e && *e && (strncmp(*e, name, len) != 0 || (*e)[len] != '='))
		e++;
	return e;
}

const char *host_env_get(const char *name)
{
	char **e = find_env(name);

	return e && *e ? strchr(*e, '=') + 1 : NULL;
}

void host_env_unset(const char *name)
{
	char **e = find_env(name);

	if (!e || !*e)
		return;
	free(*e);
	for (; *e; e++)
		e[0] = e[1];
}

void host_env_set(const char *name, const char *fmt, ...)
{
	_cleanup_free_ char *value = NULL;
	size_t n = 0;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0)
		abort();
	va_end(ap);
	host_env_unset(name);
	while (host.job.env && host.job.env[n])
		n++;
	host.job.env = reallocarray(host.job.env, n + 2, sizeof(char *));
	if (!host.job.env ||
	    asprintf(&host.job.env[n], "%s=%s", name, value) < 0)
		abort();
	host.job.env[n + 1] = NULL;
}

spank_err_t spank_getenv(spank_t sp, const char *var, char *buf, int len)
{
	const char *value;

	if (host.context != S_CTX_REMOTE)
		return ESPANK_NOT_REMOTE;
	if (len < 0)
		return ESPANK_BAD_ARG;
	value = host_env_get(var);
	if (!value)
		return ESPANK_ENV_NOEXIST;
	return snprintf(buf, (size_t)len, "%s", value) >= len ? ESPANK_NOSPACE
							      : ESPANK_SUCCESS;
}

spank_err_t spank_setenv(spank_t sp, const char *var, const char *val,
			 int overwrite)
{
	if (host.context != S_CTX_REMOTE)
		return ESPANK_NOT_REMOTE;
	if (!var || !val)
		return ESPANK_BAD_ARG;
	if (host_env_get(var) && !overwrite)
		return ESPANK_ENV_EXISTS;
	host_env_set(var, "%s", val);
	return ESPANK_SUCCESS;
}

spank_err_t spank_unsetenv(spank_t sp, const char *var)
{
	if (host.context != S_CTX_REMOTE)
		return ESPANK_NOT_REMOTE;
	if (!var)
		return ESPANK_BAD_ARG;
	host_env_unset(var);
	return ESPANK_SUCCESS;
}

/* -- the task's arguments -------------------------------------------------- */

#if HAVE_DECL_SPANK_PREPEND_TASK_ARGV
spank_err_t spank_prepend_task_argv(spank_t sp, int argc, const char *argv[])
{
	size_t n = 0;
	char **all;

	if (!argv)
		return ESPANK_BAD_ARG;
	if (!host.job.in_task)
		return ESPANK_NOT_TASK;
	while (host.job.argv && host.job.argv[n])
		n++;
	all = calloc((size_t)argc + n + 1, sizeof(*all));
	if (!all)
		abort();
	for (int i = 0; i < argc; i++)
		all[i] = strdup(argv[i]);
	if (n)
		memcpy(all + argc, host.job.argv, n * sizeof(*all));
	host.job.argv = all;
	return ESPANK_SUCCESS;
}
#endif

/* -- what it says ---------------------------------------------------------- */

#define SAYS(function, prefix)                        \
	void function(const char *format, ...)        \
	{                                             \
		_cleanup_free_ char *text = NULL;     \
		va_list ap;                           \
                                                      \
		va_start(ap, format);                 \
		if (vasprintf(&text, format, ap) < 0) \
			abort();                      \
		va_end(ap);                           \
		report("log", "%s%s", prefix, text);  \
	}

SAYS(slurm_error, "error: ")
SAYS(slurm_info, "info: ")
SAYS(slurm_verbose, "verbose: ")
SAYS(slurm_debug, "debug: ")
SAYS(slurm_spank_log, "")
