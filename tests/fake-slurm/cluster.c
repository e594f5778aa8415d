#include <config.h>

#include "cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"

/* -- the cluster ----------------------------------------------------------- */

int cluster_setup(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	snprintf(c->dir, sizeof(c->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(c->dir))
		return -1;
	chmod(c->dir, 0755); /* tasks may be another user's */
	snprintf(c->conf, sizeof(c->conf), "%s/vmstep.conf", c->dir);
	snprintf(c->runtime, sizeof(c->runtime), "%s/run", c->dir);
	snprintf(c->args_text, sizeof(c->args_text), "config=%s", c->conf);
	c->default_args[0] = c->args_text;
	c->plugin_args = c->default_args;
	cluster_conf(c, "");
	*state = c;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(path);
}

int cluster_teardown(void **state)
{
	struct cluster *c = *state;

	nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(c);
	return 0;
}

void cluster_conf(struct cluster *c, const char *text)
{
	FILE *f = fopen(c->conf, "we");

	assert_non_null(f);
	fprintf(f, "runtime_dir = %s\n%s", c->runtime, text);
	assert_int_equal(fclose(f), 0);
}

/* -- programs -------------------------------------------------------------- */

void played_done(struct played *p)
{
	desc_free(p->report);
	*p = (struct played){ 0 };
}

static void order_list(struct desc_writer *w, const char *key,
		       const char *const *list)
{
	for (; list && *list; list++)
		desc_add(w, key, "%s", *list);
}

static void order_plugin(struct desc_writer *w, const struct cluster *c)
{
	desc_add(w, "plugin", "%s", PLUGIN);
	desc_add(w, "required", "%d", c->required);
	order_list(w, "plugin_arg", c->plugin_args);
	if (c->preload)
		desc_add(w, "preload", "%s", c->preload);
}

static _Noreturn void become(const char *const *argv, struct strings *env,
			     int orders, int report)
{
	char text[64];

	snprintf(text, sizeof(text), "FAKE_SLURM_ORDERS=%d", orders);
	strings_add(env, text, strlen(text));
	snprintf(text, sizeof(text), "FAKE_SLURM_REPORT=%d", report);
	strings_add(env, text, strlen(text));
	env->v = reallocarray(env->v, env->n + 1, sizeof(char *));
	env->v[env->n] = NULL;
	/* what getopt has to say is no line of TAP */
	dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
	execve(FAKE_SLURM, (char *const *)(uintptr_t)argv, env->v);
	_exit(99);
}

/* Takes @w and @env. */
static void run(const char *const *argv, struct strings *env,
		struct desc_writer *w, struct played *ret)
{
	int orders, status, report = memfd_create("report", 0);
	pid_t pid;

	played_done(ret);
	assert_true(report >= 0);
	assert_int_equal(desc_seal(w, &orders, NULL), 0);
	pid = fork();
	if (pid == 0)
		become(argv, env, orders, report);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	strings_done(env);
	close(orders);
	ret->status = WIFEXITED(status) ? WEXITSTATUS(status)
					: 128 + WTERMSIG(status);
	assert_int_not_equal(ret->status, 99);
	if (lseek(report, 0, SEEK_END) > 0)
		assert_int_equal(desc_read(report, &ret->report, NULL), 0);
	close(report);
}

static void add_list(struct strings *to, const char *const *list)
{
	for (; list && *list; list++)
		strings_add(to, *list, strlen(*list));
}

static void base_env(struct strings *env)
{
	const char *options = getenv("ASAN_OPTIONS");

	strings_add(env, "PATH=/usr/bin:/bin", 18);
	if (options) {
		char text[256];

		snprintf(text, sizeof(text), "ASAN_OPTIONS=%s", options);
		strings_add(env, text, strlen(text));
	}
}

void play(const struct cluster *c, const char *const *argv,
	  const char *const *env, struct played *ret)
{
	struct desc_writer w = { 0 };
	struct strings all = { 0 };

	base_env(&all);
	add_list(&all, env);
	order_plugin(&w, c);
	run(argv, &all, &w, ret);
}

/* The records of @group; @fn is called for each. */
typedef void (*record_fn)(const char *key, size_t len, const char *value,
			  void *arg);

static bool is(const char *key, size_t len, const char *name)
{
	return strlen(name) == len && strncmp(key, name, len) == 0;
}

static void each_record(const struct played *p, unsigned int group,
			record_fn fn, void *arg)
{
	const char *key, *value;
	long at = -1;
	size_t len;

	for (size_t i = 0;
	     p->report && (value = desc_at(p->report, i, &key, &len)); i++) {
		if (is(key, len, "component") || is(key, len, "task"))
			at++;
		else if (at == (long)group)
			fn(key, len, value, arg);
	}
}

struct copy {
	struct desc_writer *to;
	struct strings *env;
};

static void copy_env(const char *key, size_t len, const char *value, void *arg)
{
	struct copy *copy = arg;

	if (is(key, len, "env"))
		strings_add(copy->env, value, strlen(value));
}

static void copy_launch(const char *key, size_t len, const char *value,
			void *arg)
{
	struct copy *copy = arg;

	if (is(key, len, "arg"))
		desc_add(copy->to, "arg", "%s", value);
	else if (is(key, len, "option"))
		desc_add(copy->to, "option", "%s", value);
	else if (is(key, len, "env"))
		desc_add(copy->to, "env", "%s", value);
}

void play_in_job(const struct cluster *c, const struct played *job,
		 const char *const *argv, struct played *ret)
{
	struct desc_writer w = { 0 };
	struct strings env = { 0 };
	struct copy copy = { &w, &env };

	each_record(job, 0, copy_env, &copy);
	strings_add(&env, "SLURM_JOB_ID=1234", 17);
	order_plugin(&w, c);
	run(argv, &env, &w, ret);
}

static void order_user(struct desc_writer *w, uint32_t uid)
{
	desc_add(w, "uid", "%u", uid ? uid : getuid());
	desc_add(w, "gid", "%u", uid ? uid : getgid());
}

static void order_tasks(struct desc_writer *w, const struct step *s)
{
	static const char *const one[] = { "0", NULL };
	const char *const *ranks = s->ranks ? s->ranks : one;
	char gtids[256] = "";
	size_t len = 0;
	uint32_t n = 0;

	for (; ranks[n]; n++)
		len += (size_t)snprintf(gtids + len, sizeof(gtids) - len,
					"%s%s", n ? "," : "", ranks[n]);
	desc_add(w, "gtids", "%s", gtids);
	order_list(w, "rank", ranks);
	desc_add(w, "tasks", "%u", s->tasks ? s->tasks : n);
}

void play_step(const struct cluster *c, const struct played *srun,
	       unsigned int component, const struct step *s, struct played *ret)
{
	struct desc_writer w = { 0 };
	struct strings env = { 0 };
	struct copy copy = { &w, &env };
	char title[64];

	snprintf(title, sizeof(title), "slurmstepd: [%u.%u%s]", s->job, s->step,
		 s->het ? s->het : "");
	order_plugin(&w, c);
	order_user(&w, s->uid);
	order_tasks(&w, s);
	desc_add(&w, "job", "%u", s->job);
	desc_add(&w, "step", "%u", s->step);
	desc_add(&w, "leader", "%u", s->leader ? s->leader : s->job);
	desc_add(&w, "nodes", "1");
	desc_add(&w, "node_id", "0");
	desc_add(&w, "cpus", "%u", s->cpus ? s->cpus : 1);
	desc_add(&w, "mem_mib", "%u", s->mem_mib);
	if (s->no_helper)
		desc_add(&w, "no_helper", "1");
	if (s->run)
		desc_add(&w, "run", "%s", s->run);
	each_record(srun, component, copy_launch, &copy);
	order_list(&w, "env", s->env);
	base_env(&env);
	run(LIST(title), &env, &w, ret);
}

void play_epilog(const struct cluster *c, uint32_t job, uint32_t uid,
		 struct played *ret)
{
	struct desc_writer w = { 0 };
	struct strings env = { 0 };

	order_plugin(&w, c);
	order_user(&w, uid);
	desc_add(&w, "job", "%u", job);
	base_env(&env);
	run(LIST("epilog"), &env, &w, ret);
}

/* -- what they did --------------------------------------------------------- */

bool played_said(const struct played *p, const char *text)
{
	const char *key, *value;
	size_t len;

	for (size_t i = 0;
	     p->report && (value = desc_at(p->report, i, &key, &len)); i++)
		if (is(key, len, "log") && strstr(value, text))
			return true;
	return false;
}

const char *played_failure(const struct played *p)
{
	const char *key, *value;
	size_t len;

	for (size_t i = 0;
	     p->report && (value = desc_at(p->report, i, &key, &len)); i++)
		if (is(key, len, "rc") && strcmp(strchr(value, '='), "=0") != 0)
			return value;
	return NULL;
}

/* The @i'th value of @key that begins with @prefix and '='; without @prefix
 * the @i'th value. */
struct find {
	const char *key, *prefix;
	size_t i;
	const char *found;
};

static void find_record(const char *key, size_t len, const char *value,
			void *arg)
{
	struct find *f = arg;
	size_t n = f->prefix ? strlen(f->prefix) : 0;

	if (f->found || !is(key, len, f->key))
		return;
	if (f->prefix && (strncmp(value, f->prefix, n) != 0 || value[n] != '='))
		return;
	if (f->i-- == 0)
		f->found = f->prefix ? value + n + 1 : value;
}

static const char *find(const struct played *p, unsigned int group,
			const char *key, const char *prefix, size_t i)
{
	struct find f = { key, prefix, i, NULL };

	each_record(p, group, find_record, &f);
	return f.found;
}

const char *played_arg(const struct played *p, unsigned int group, size_t i)
{
	return find(p, group, "arg", NULL, i);
}

const char *played_env(const struct played *p, unsigned int group,
		       const char *name)
{
	return find(p, group, "env", name, 0);
}

const char *played_desc(const struct played *p, unsigned int group,
			const char *key)
{
	return find(p, group, "desc", key, 0);
}

const char *played_desc_at(const struct played *p, unsigned int group,
			   const char *key, size_t i)
{
	return find(p, group, "desc", key, i);
}

const char *played_get(const struct played *p, unsigned int group,
		       const char *key)
{
	return find(p, group, key, NULL, 0);
}
