/* check_full.c - which node this is, and a step of one VM there */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "check_impl.h"
#include "child.h"
#include "cleanup.h"
#include "loop.h"

#define SINFO_MS  20000
#define SINFO_MAX (1024 * 1024)
#define STEP_MS	  (15 * 60 * 1000)
#define START_S	  "60" /* that a free node may take to be found */
#define MARK	  "the guest runs "

extern char **environ;

/* -- which node ------------------------------------------------------------ */

/* Lines of "HOSTNAME NODENAME". */
static void find_host(const char *lines, const char *host, char *ret,
		      size_t size)
{
	size_t len = strcspn(host, ".");

	for (const char *p = lines; *p; p += strspn(p, "\n")) {
		size_t n = strcspn(p, " \n");
		const char *name = p + n + strspn(p + n, " ");
		size_t short_n = strcspn(p, ". \n");

		if ((n == strlen(host) && strncasecmp(p, host, n) == 0) ||
		    (short_n == len && strncasecmp(p, host, len) == 0)) {
			snprintf(ret, size, "%.*s", (int)strcspn(name, " \n"),
				 name);
			return;
		}
		p += strcspn(p, "\n");
	}
}

void check_find_node(char *ret, size_t size)
{
	const char *const argv[] = { "sinfo", "-h", "-N", "-o", "%n %N", NULL };
	const char *given = getenv("SLURMD_NODENAME");
	_cleanup_free_ char *text = malloc(SINFO_MAX);
	char host[HOST_NAME_MAX + 1];

	snprintf(ret, size, "%s", given ? given : "");
	if (*ret || !text || gethostname(host, sizeof(host)) < 0)
		return;
	if (child_output(argv, SINFO_MS, text, SINFO_MAX, NULL) == 0)
		find_host(text, host, ret, size);
}

/* -- a step ---------------------------------------------------------------- */

/* The user's variables would make it another step than the site's. */
static void forget_options(void)
{
	for (size_t i = 0; environ[i];) {
		_cleanup_free_ char *name = NULL;

		if (strncmp(environ[i], "VMSTEP_", 7) == 0)
			name = strndup(environ[i], strcspn(environ[i], "="));
		if (!name || unsetenv(name) < 0) /* else what follows moves */
			i++;
	}
}

static const char *last_line(char *text)
{
	size_t n = strlen(text);
	char *line;

	while (n && text[n - 1] == '\n')
		text[--n] = '\0';
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

/* The first that says what went wrong; else the last of all. */
static const char *telling_line(char *text)
{
	char *at = strstr(text, "error: ");

	if (!at)
		return last_line(text);
	at[strcspn(at, "\n")] = '\0';
	return at;
}

static void report(struct checking *c, int status, char *text, double seconds)
{
	char *at = strstr(text, MARK);
	bool tcg = strstr(text, "under TCG");

	if (status != 0 || !at) {
		check_fail(
			c,
			"`srun --vm-image=... --vm-verbose true` says more, vmstep(7) has what else to look at",
			"a step of one VM, image %s, ended with %d: %s",
			c->image, status, telling_line(text));
		return;
	}
	at += strlen(MARK);
	at[strcspn(at, "\n")] = '\0';
	check_ok(
		c,
		"a step of one VM, image %s: %s, %.1f s from srun to its end%s",
		c->image, at, seconds, tcg ? ", without KVM" : "");
}

/* In a job: as a step of it, beside what runs there. */
void check_full(struct checking *c)
{
	bool in_job = getenv("SLURM_JOB_ID");
	char image[PATH_MAX + 16], node[300], text[16384];
	const char *argv[16] = { "srun", "-N1", "-n1", "--input=none" };
	int64_t start = loop_now_ms();
	struct errmsg err;
	size_t n = 4;
	int r;

	if (!c->image)
		return;
	forget_options();
	snprintf(image, sizeof(image), "--vm-image=%s", c->image);
	snprintf(node, sizeof(node), "--nodelist=%s", c->node);
	argv[n++] = in_job ? "--overlap" : "--immediate=" START_S;
	if (*c->node)
		argv[n++] = node;
	argv[n++] = image;
	argv[n++] = "sh";
	argv[n++] = "-c";
	argv[n++] = "echo \"" MARK "$(uname -sr)\"";
	r = child_output(argv, STEP_MS, text, sizeof(text), &err);
	if (r < 0)
		check_fail(c, "look at the node's slurmd.log", "%s", err.text);
	else
		report(c, r, text, (double)(loop_now_ms() - start) / 1000);
}
