#include <config.h>

#include "ssh.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "cleanup.h"
#include "exec.h"
#include "log.h"

enum { USER, PROXY };
const struct cmd_option ssh_options[] = {
	[USER] = { "--user", "NAME", "as this user of the guest" },
	[PROXY] = { "--proxy", "HOSTKEY", "for ssh: an sshd in the guest" },
	{ 0 },
};

#define EXIT_SSH 255 /* as ssh has it where it could not connect */

/* -- in the guest ---------------------------------------------------------- */

/* cloud-init comes to keys some time after the agent; until then the image's
 * own host key may lie there. */
static const char sshd[] =
	"n=0\n"
	"until grep -qsF -- \"$1\" /etc/ssh/ssh_host_ed25519_key.pub; do\n"
	"  n=$((n + 1))\n"
	"  if [ $n -gt 600 ]; then\n"
	"    echo 'vmstep: cloud-init has not given this guest its host key' >&2\n"
	"    exit 1\n"
	"  fi\n"
	"  sleep 0.2\n"
	"done\n"
	"PATH=$PATH:/usr/sbin:/usr/local/sbin\n"
	"if ! sshd=$(command -v sshd); then\n"
	"  echo 'vmstep: this guest has no sshd' >&2\n"
	"  exit 1\n"
	"fi\n"
	"mkdir -p -m 755 /run/sshd\n"
	"exec \"$sshd\" -i -o PermitRootLogin=prohibit-password\n";

static int run_proxy(const struct invocation *inv)
{
	const char *const argv[] = { "/bin/sh", "-c", sshd, "vmstep",
				     inv->options[PROXY] };

	return exec_as(inv, "root", argv, ARRAY_SIZE(argv));
}

/* -- the connection -------------------------------------------------------- */

int ssh_quote(const char *word, char *to, size_t size)
{
	size_t n = 0;

	for (const char *p = word;; p++) {
		const char *piece = p == word ? "'" : "";
		char one[8];

		if (*p == '\'')
			snprintf(one, sizeof(one), "%s'\\''", piece);
		else if (*p == '%')
			snprintf(one, sizeof(one), "%s%%%%", piece);
		else if (*p)
			snprintf(one, sizeof(one), "%s%c", piece, *p);
		else
			snprintf(one, sizeof(one), "%s'", piece);
		if (n + strlen(one) >= size)
			return -E2BIG;
		memcpy(to + n, one, strlen(one) + 1);
		n += strlen(one);
		if (!*p)
			return 0;
	}
}

/* @text in a file that is nowhere; ssh finds it by our /proc. */
static int hide(const char *text, char path[64], struct errmsg *err)
{
	int fd = memfd_create("vmstep-ssh", MFD_CLOEXEC);
	size_t len = strlen(text);

	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    write(fd, text, len) != (ssize_t)len)
		return errmsg_set(err, -errno, "the step's key");
	snprintf(path, 64, "/proc/%d/fd/%d", (int)getpid(), fd);
	return fd;
}

struct login {
	char *step, *rank; /* owned */
	json_t *result;	   /* of sys.ssh; owned */
	char key[64], hosts[64], proxy[SSH_PROXY_MAX + 16];
};

static const char *text_of(const struct login *l, const char *name)
{
	const char *text = json_string_value(json_object_get(l->result, name));

	return text ? text : "";
}

static int add_word(char *to, size_t size, const char *word)
{
	size_t n = strlen(to);

	if (n + 1 >= size)
		return -E2BIG;
	to[n++] = ' ';
	return ssh_quote(word, to + n, size - n);
}

int ssh_proxy(const struct invocation *inv, const char *step, const char *rank,
	      const char *host_key, char ret[SSH_PROXY_MAX], struct errmsg *err)
{
	const char *host = strchr(host_key, ' ');
	char self[PATH_MAX] = "", option[PATH_MAX + 16];
	const char *words[] = { "-j", step, "-r", rank, "ssh", NULL };
	int r;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return errmsg_set(err, -errno, "/proc/self/exe");
	r = ssh_quote(self, ret, SSH_PROXY_MAX);
	for (size_t i = 0; words[i] && r == 0; i++)
		r = add_word(ret, SSH_PROXY_MAX, words[i]);
	snprintf(option, sizeof(option), "--proxy=%s", host ? host + 1 : "?");
	if (r == 0)
		r = add_word(ret, SSH_PROXY_MAX, option);
	snprintf(option, sizeof(option), "--config=%s",
		 inv->config ? inv->config : "");
	if (r == 0 && inv->config)
		r = add_word(ret, SSH_PROXY_MAX, option);
	return r < 0 ? errmsg_set(err, r, "ssh's ProxyCommand") : 0;
}

static int make_proxy(const struct invocation *inv, struct login *l,
		      struct errmsg *err)
{
	char proxy[SSH_PROXY_MAX];
	int r = ssh_proxy(inv, l->step, l->rank, text_of(l, "host_key"), proxy,
			  err);

	if (r == 0)
		snprintf(l->proxy, sizeof(l->proxy), "ProxyCommand=%s", proxy);
	return r;
}

static int make_files(struct login *l, struct errmsg *err)
{
	char line[512];
	int r = hide(text_of(l, "key"), l->key, err);

	snprintf(line, sizeof(line), "%s %s\n", text_of(l, "name"),
		 text_of(l, "host_key"));
	return r < 0 ? r : hide(line, l->hosts, err);
}

static const char **make_argv(const struct invocation *inv,
			      const struct login *l)
{
	static const char *const given[] = {
		"GlobalKnownHostsFile=/dev/null",
		"StrictHostKeyChecking=yes",
		"UpdateHostKeys=no",
		"IdentitiesOnly=yes",
		"PreferredAuthentications=publickey",
	};
	const char **argv = calloc((size_t)inv->n_args + 32, sizeof(*argv));
	static char hosts[96], alias[300], user[300];
	size_t n = 0;

	if (!argv)
		return NULL;
	snprintf(hosts, sizeof(hosts), "UserKnownHostsFile=%s", l->hosts);
	snprintf(alias, sizeof(alias), "HostKeyAlias=%s", text_of(l, "name"));
	snprintf(user, sizeof(user), "User=%s",
		 inv->options[USER] ? inv->options[USER] : text_of(l, "user"));
	argv[n++] = "ssh";
	argv[n++] = "-i";
	argv[n++] = l->key;
	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		argv[n++] = "-o";
		argv[n++] = given[i];
	}
	argv[n++] = "-o";
	argv[n++] = hosts;
	argv[n++] = "-o";
	argv[n++] = alias;
	argv[n++] = "-o";
	argv[n++] = user;
	argv[n++] = "-o";
	argv[n++] = l->proxy;
	argv[n++] = text_of(l, "name");
	for (int i = 0; i < inv->n_args; i++)
		argv[n++] = inv->args[i];
	return argv;
}

/* What it reads of ours is there as long as we are. */
static int run(const char *const *argv)
{
	int wstatus = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		dprintf(STDERR_FILENO, "vmstep: %s: %s\n", argv[0],
			strerror(errno));
		_exit(EXIT_SSH);
	}
	if (pid < 0) {
		log_err("fork: %m");
		return EXIT_SSH;
	}
	signal(SIGINT, SIG_IGN); /* it is ssh's */
	signal(SIGQUIT, SIG_IGN);
	while (waitpid(pid, &wstatus, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(wstatus) ? WEXITSTATUS(wstatus)
				  : 128 + WTERMSIG(wstatus);
}

int ssh_run(const struct invocation *inv)
{
	_cleanup_free_ const char **argv = NULL;
	const struct call_conf conf = { inv, "sys.ssh", NULL, CALL_S };
	struct login l = { 0 };
	struct errmsg err;
	int status, r;

	if (inv->options[PROXY])
		return run_proxy(inv);
	status = call_one(&conf, "ssh", &l.result, &l.rank, &l.step);
	if (status == EXIT_DONE) {
		r = make_files(&l, &err);
		if (r >= 0)
			r = make_proxy(inv, &l, &err);
		argv = r == 0 ? make_argv(inv, &l) : NULL;
		if (r < 0)
			log_err("%s", err.text);
		status = argv ? run(argv) : EXIT_FAILED;
	}
	json_decref(l.result);
	free(l.rank);
	free(l.step);
	return status;
}
