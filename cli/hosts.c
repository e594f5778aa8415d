#include <config.h>

#include "hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "log.h"
#include "ops.h"
#include "ssh.h"
#include "value.h"
#include "writeall.h"

enum { FORMAT, KEY };
const struct cmd_option hosts_options[] = {
	[FORMAT] = { "--format", "hosts|mpi|ssh", "for whom (hosts)" },
	[KEY] = { "--key", "FILE", "of ssh: where the step's key is to be" },
	{ 0 },
};
static const char *const formats[] = { "hosts", "mpi", "ssh", NULL };
enum { HOSTS, MPI, SSH };

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

/* -- hosts, mpi ------------------------------------------------------------ */

static void show_hosts(const char *rank, const json_t *result)
{
	fputs(text_of(result, "text"), stdout);
}

static void show_slots(const char *rank, const json_t *result)
{
	printf("%s slots=%lld\n", text_of(result, "name"),
	       (long long)json_integer_value(json_object_get(result, "cpus")));
}

/* -- ssh ------------------------------------------------------------------- */

static struct {
	const struct invocation *inv;
	const char *step;
	char key[PATH_MAX], hosts[PATH_MAX]; /* files */
	bool failed;
} login;

/* Absolute, and for a configuration file: in quotes, without what ssh takes for
 * something else there. */
static int name_files(const char *file, struct errmsg *err)
{
	char copy[PATH_MAX], base[PATH_MAX];
	_cleanup_free_ char *dir = NULL;

	if (!*file || strlen(file) >= PATH_MAX - 16)
		return errmsg_say(err, -EINVAL, "--key: '%s' is no file's name",
				  file);
	strcpy(copy, file);
	strcpy(base, file);
	dir = realpath(dirname(copy), NULL);
	if (!dir)
		return errmsg_set(err, -errno, "--key: directory of %s", file);
	if (snprintf(login.key, PATH_MAX, "%s/%s", dir, basename(base)) >=
		    PATH_MAX - 8 ||
	    strpbrk(login.key, "\"%\n\r"))
		return errmsg_say(
			err, -EINVAL,
			"--key: ssh cannot have %s in its configuration", file);
	snprintf(login.hosts, PATH_MAX, "%.4088s.hosts", login.key);
	return 0;
}

static bool holds(const char *path, const char *text)
{
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char there[8192];
	ssize_t n = fd < 0 ? -1 : read(fd, there, sizeof(there));

	return n >= 0 && (size_t)n == strlen(text) &&
	       memcmp(there, text, (size_t)n) == 0;
}

/* One that is there already must be the same. */
static int write_once(const char *path, const char *text, struct errmsg *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_all(fd, text, strlen(text));

	if (fd >= 0 && close(fd) < 0 && r == 0)
		r = -errno;
	if (fd >= 0 && r < 0)
		unlink(path);
	if (r == -EEXIST && holds(path, text))
		return 0;
	if (r == -EEXIST)
		return errmsg_say(
			err, r,
			"%s is there, and not of step %s: remove it, or name another file",
			path, login.step);
	return r < 0 ? errmsg_set(err, r, "%s", path) : 0;
}

static void show_login(const char *rank, const json_t *result)
{
	const char *name = text_of(result, "name"),
		   *host_key = text_of(result, "host_key");
	char proxy[SSH_PROXY_MAX], hosts[1024];
	struct errmsg err;
	int r;

	if (login.failed)
		return;
	snprintf(hosts, sizeof(hosts), "* %s\n", host_key);
	r = write_once(login.key, text_of(result, "key"), &err);
	if (r == 0)
		r = write_once(login.hosts, hosts, &err);
	if (r == 0)
		r = ssh_proxy(login.inv, login.step, rank, host_key, proxy,
			      &err);
	if (r < 0) {
		log_err("%s", err.text);
		login.failed = true;
		return;
	}
	printf("Host %s\n"
	       "\tUser %s\n"
	       "\tIdentityFile \"%s\"\n"
	       "\tIdentitiesOnly yes\n"
	       "\tPreferredAuthentications publickey\n"
	       "\tUserKnownHostsFile \"%s\"\n"
	       "\tGlobalKnownHostsFile /dev/null\n"
	       "\tStrictHostKeyChecking yes\n"
	       "\tUpdateHostKeys no\n"
	       "\tProxyCommand %s\n",
	       name, text_of(result, "user"), login.key, login.hosts, proxy);
}

static int show_as_ssh(const struct invocation *inv)
{
	const struct call_conf conf = { inv, "sys.ssh", NULL, CALL_S };
	struct errmsg err;
	json_t *answer;
	int status;

	if (!inv->options[KEY] || inv->json) {
		log_err("%s",
			inv->json
				? "--format=ssh has no --json"
				: "--format=ssh wants --key=FILE, where the step's key is to be (vmstep ssh needs none)");
		return EXIT_USAGE;
	}
	if (name_files(inv->options[KEY], &err) < 0) {
		log_err("%s", err.text);
		return EXIT_USAGE;
	}
	status = call_tasks(&conf, &answer);
	if (status != EXIT_DONE)
		return status;
	login.inv = inv;
	login.step = text_of(answer, "step");
	status = ops_show(answer, show_login);
	json_decref(answer);
	if (fflush(stdout) != 0) {
		log_err("standard output: %m");
		status = EXIT_FAILED;
	}
	return login.failed ? EXIT_FAILED : status;
}

/* -------------------------------------------------------------------------- */

int hosts_run(const struct invocation *inv)
{
	const char *text = inv->options[FORMAT];
	struct errmsg err;
	int format = HOSTS;

	if (text && value_word(text, formats, &format, &err) < 0) {
		log_err("--format: %s", err.text);
		return EXIT_USAGE;
	}
	if (format != SSH && inv->options[KEY]) {
		log_err("--key is for --format=ssh");
		return EXIT_USAGE;
	}
	if (format == SSH)
		return show_as_ssh(inv);
	if (format == HOSTS)
		return ops_ask_one(inv, "world.hosts", NULL, show_hosts);
	return ops_ask(inv, "task.state", NULL, CALL_S, show_slots);
}
