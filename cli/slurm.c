#include <config.h>

#include "slurm.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "memstream.h"

extern char **environ;

static bool is_of_job(const char *name)
{
	return (strncmp(name, "SLURM_", 6) == 0 &&
		strncmp(name, "SLURM_CONF=", 11) != 0) ||
	       strncmp(name, "SQUEUE_", 7) == 0 ||
	       strncmp(name, "VMSTEP_", 7) == 0;
}

void slurm_forget_job(void)
{
	for (size_t i = 0; environ[i];) {
		_cleanup_free_ char *name = NULL;

		if (is_of_job(environ[i]))
			name = strndup(environ[i], strcspn(environ[i], "="));
		if (!name || unsetenv(name) < 0) /* else what follows moves */
			i++;
	}
	setenv("VMSTEP_IMAGE", "none", 1);
}

/* "1234.0", "1234.0+1", not "1234.batch" */
static bool is_meant(const struct step_name *name, const char *step)
{
	size_t len = strlen(name->job);

	if (name->step[0])
		return strcmp(step, name->step) == 0;
	return strncmp(step, name->job, len) == 0 && step[len] == '.' &&
	       isdigit((unsigned char)step[len + 1]);
}

static bool has(const struct strings *s, const char *text)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i], text) == 0)
			return true;
	return false;
}

int slurm_add_line(const struct step_name *name, char *line,
		   struct strings *ret)
{
	char *nodes = strchr(line, ' ');

	line[strcspn(line, "\n")] = '\0';
	if (!nodes)
		return 0;
	*nodes++ = '\0';
	if (!is_meant(name, line) || !*nodes || has(ret, nodes))
		return 0;
	return strings_add(ret, nodes, strlen(nodes));
}

static int read_lines(const struct step_name *name, FILE *f,
		      struct strings *ret)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int r = 0;

	while (r == 0 && getline(&line, &size, f) >= 0)
		r = slurm_add_line(name, line, ret);
	return r;
}

static char *join(const struct strings *s)
{
	struct memstream m;
	FILE *f = memstream_open(&m);

	if (!f)
		return NULL;
	for (size_t i = 0; i < s->n; i++)
		fprintf(f, "%s%s", i ? "," : "", s->v[i]);
	return memstream_close(&m, NULL);
}

int slurm_nodes(const struct step_name *name, char **ret, struct errmsg *err)
{
	struct strings nodes = { 0 };
	char command[96];
	FILE *f;
	int r, wstatus;

	/* step_name() has seen that the job is a number */
	snprintf(command, sizeof(command),
		 "exec squeue -h -s -j %s -o '%%i %%N'", name->job);
	f = popen(command, "re");
	if (!f)
		return errmsg_set(err, -errno, "squeue");
	r = read_lines(name, f, &nodes);
	wstatus = pclose(f);
	*ret = r == 0 && nodes.n ? join(&nodes) : NULL;
	strings_done(&nodes);
	if (*ret)
		return 0;
	if (r < 0 || !WIFEXITED(wstatus) || WEXITSTATUS(wstatus))
		return errmsg_say(err, r < 0 ? r : -EIO,
				  "squeue does not tell where job %s runs",
				  name->job);
	return errmsg_say(err, -ENOENT,
			  name->step[0] ? "Slurm knows no step %s that runs"
					: "job %s has no step that runs",
			  name->step[0] ? name->step : name->job);
}

/* The line of the job itself; of an array or a heterogeneous job its first. */
int slurm_job_state(const struct step_name *name, char **ret,
		    struct errmsg *err)
{
	_cleanup_free_ char *line = NULL;
	char command[96];
	size_t size = 0;
	ssize_t n;
	FILE *f;

	snprintf(command, sizeof(command),
		 "exec squeue -h -j %s -o '%%T (%%r)' 2>/dev/null", name->job);
	f = popen(command, "re");
	if (!f)
		return errmsg_set(err, -errno, "squeue");
	n = getline(&line, &size, f);
	pclose(f);
	if (n <= 0)
		return errmsg_say(err, -ENOENT,
				  "job %s has ended, or is not there",
				  name->job);
	line[strcspn(line, "\n")] = '\0';
	*ret = TAKE_PTR(line);
	return 0;
}
