#include <config.h>

#include "programs.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "desc.h"
#include "orders.h"
#include "report.h"

extern char **environ;

/* -- slurmstepd ------------------------------------------------------------ */

static void report_description(char *const *env)
{
	const char *key, *value, *number = NULL;
	struct desc *d = NULL;
	struct errmsg err;
	size_t len;
	int fd;

	for (; *env; env++)
		if (strncmp(*env, DESC_FD_ENV "=", strlen(DESC_FD_ENV "=")) ==
		    0)
			number = strchr(*env, '=') + 1;
	if (!number)
		return;
	fd = atoi(number);
	if (desc_read(fd, &d, &err) < 0) {
		report("refused", "%s", err.text);
		return;
	}
	report("fd", "%d", fd);
	report("cloexec", "%d", fcntl(fd, F_GETFD) & FD_CLOEXEC);
	report("seals", "%d", fcntl(fd, F_GET_SEALS));
	for (size_t i = 0; (value = desc_at(d, i, &key, &len)); i++)
		report("desc", "%.*s=%s", (int)len, key, value);
	if (desc_get(d, "step_dir"))
		setenv("STEP_DIR", desc_get(d, "step_dir"), 1);
	desc_free(d);
}

/* In place of the task's exec: tell of it, and do what the test wants done
 * while the task runs. */
static _Noreturn void exec_task(const char *path, char *const *argv,
				char *const *env)
{
	const char *run = order_text("run");
	const char *const shell[] = { "/bin/sh", "-c", run, NULL };

	report("task", "%u", host.job.rank);
	report("arg", "%s", path);
	for (size_t i = 1; argv[0] && argv[i]; i++)
		report("arg", "%s", argv[i]);
	for (char *const *e = env; *e; e++)
		report("env", "%s", *e);
	report_description(env);
	if (run)
		syscall(SYS_execve, shell[0], shell, environ);
	_exit(0);
}

/* A plugin that runs a program itself, in the task's place, finds this. */
__attribute__((visibility("default"))) int
execve(const char *path, char *const argv[], char *const envp[])
{
	exec_task(path, argv, envp);
}

/* No vmstep-helper need be installed for tests, and some want none. */
__attribute__((visibility("default"))) int access(const char *path, int mode)
{
	if (strcmp(path, PKGLIBEXECDIR "/vmstep-helper") != 0)
		return faccessat(AT_FDCWD, path, mode, 0);
	errno = ENOENT;
	return order_number("no_helper") ? -1 : 0;
}

static void become_user(void)
{
	if (geteuid() != 0 || host.job.uid == 0)
		return;
	if (setgroups(0, NULL) < 0 ||
	    setresgid(host.job.gid, host.job.gid, host.job.gid) < 0 ||
	    setresuid(host.job.uid, host.job.uid, host.job.uid) < 0)
		err(1, "become the user");
}

static _Noreturn void task(void)
{
	host_env_set("SLURM_PROCID", "%u", host.job.rank);
	host_env_set("SLURM_LOCALID", "%u", host.job.local_id);
	if (!host_call(CALL_TASK_INIT_PRIVILEGED))
		_exit(1);
	become_user();
	if (!host_call(CALL_TASK_INIT))
		_exit(1);
	exec_task(host.job.argv[0], host.job.argv, host.job.env);
}

/* One after the other, so that what they report is not mixed. */
static void run_tasks(char **ranks, int *wait_status)
{
	host.job.in_task = true;
	for (uint32_t i = 0; ranks[i]; i++) {
		pid_t pid;

		host.job.rank = (uint32_t)atoi(ranks[i]);
		host.job.local_id = i;
		pid = fork();
		if (pid == 0)
			task();
		if (pid < 0 || waitpid(pid, &wait_status[i], 0) < 0)
			err(1, "task");
	}
	for (uint32_t i = 0; ranks[i]; i++) {
		host.job.rank = (uint32_t)atoi(ranks[i]);
		host.job.local_id = i;
		host.job.exited = true;
		host.job.wait_status = wait_status[i];
		host_call(CALL_TASK_EXIT);
	}
	host.job.in_task = false;
}

static void remote_option(const char *name, size_t len, const char *value)
{
	for (size_t i = 0; i < host.n_options; i++) {
		const char *own = host.options[i].def.name;

		if (strlen(own) == len && strncmp(own, name, len) == 0) {
			if (host_option_given(i, value, 1) != 0)
				report("log",
				       "error: spank: failed to process option %s=%s",
				       own, value);
			return;
		}
	}
	report("log", "error: Warning: SPANK plugin option \"%s\" not found",
	       name);
}

/* First from the message, then from the environment. */
static void remote_options(void)
{
	for (char **o = order_list("option", NULL); *o; o++) {
		const char *eq = strchrnul(*o, '=');

		remote_option(*o, (size_t)(eq - *o), *eq ? eq + 1 : NULL);
	}
	for (size_t i = 0; i < host.n_options; i++) {
		const char *name = host.options[i].env_name;
		const char *arg = host_env_get(name);

		if (arg && host_option_given(i, arg, 1) != 0)
			report("log",
			       "error: spank: failed to process option %s=%s",
			       name, arg);
		host_env_unset(name);
	}
}

#define TASKS_MAX 16

static void load_step(void)
{
	host.has_job = true;
	host.job = (struct host_job){
		.job = order_number("job"),
		.step = order_number("step"),
		.uid = order_number("uid"),
		.gid = order_number("gid"),
		.nodes = order_number("nodes"),
		.node_id = order_number("node_id"),
		.tasks = order_number("tasks"),
		.cpus = order_number("cpus"),
		.mem_mib = order_number("mem_mib"),
		.argv = order_list("arg", NULL),
		.env = order_list("env", NULL),
	};
	host_env_set("SLURM_JOB_ID", "%u", order_number("leader"));
	host_env_set("SLURM_NODEID", "%u", host.job.node_id);
	host_env_set("SLURM_GTIDS", "%s", order_text("gtids"));
	host_env_set("SLURMD_NODENAME", "node%02u", host.job.node_id);
}

int play_slurmstepd(int argc, char **argv)
{
	int n, wait_status[TASKS_MAX];
	char **ranks = order_list("rank", &n);

	if (n > TASKS_MAX)
		abort();
	load_step();
	host.job.local_tasks = (uint32_t)n;
	if (!start_plugin(S_CTX_REMOTE))
		return 1;
	remote_options();
	if (!host_call(CALL_POST_OPT) || !host_call(CALL_USER_INIT))
		return 1;
	run_tasks(ranks, wait_status);
	host_call(CALL_EXIT);
	return 0;
}

/* -- slurmd and the epilog ------------------------------------------------- */

int play_slurmd(int argc, char **argv)
{
	if (!start_plugin(S_CTX_SLURMD))
		return 1;
	host_call(CALL_SLURMD_EXIT);
	return 0;
}

int play_epilog(int argc, char **argv)
{
	int n;
	char **args = order_list("plugin_arg", &n);

	host.context = S_CTX_JOB_SCRIPT;
	host.required = order_number("required");
	host.has_job = true;
	host.job.job = order_number("job");
	host.job.uid = order_number("uid");
	host.job.gid = order_number("gid");
	host_load(order_text("plugin"), args, n);
	return host_call(CALL_JOB_EPILOG) ? 0 : 1;
}
