#include <config.h>

#include "plugstack.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define INCLUDES_MAX 16 /* one that includes itself ends somewhere */
#define BLANKS	     " \t\n"

static int read_file(struct plugstack *p, const char *path, unsigned int depth,
		     struct errmsg *err);

/* Names are relative to the file that has them, and may be patterns. */
static int include(struct plugstack *p, const char *from, const char *what,
		   unsigned int depth, struct errmsg *err)
{
	const char *slash = strrchr(from, '/');
	char pattern[2 * PATH_MAX];
	glob_t found;
	int r = 0;

	snprintf(pattern, sizeof(pattern), "%.*s%s",
		 *what == '/' || !slash ? 0 : (int)(slash - from + 1), from,
		 what);
	if (glob(pattern, 0, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; i < found.gl_pathc && r == 0; i++)
		r = read_file(p, found.gl_pathv[i], depth + 1, err);
	globfree(&found);
	return r;
}

static int take(struct plugstack *p, const char *path, unsigned int line,
		const char *word, const char *plugin, char *rest)
{
	char *arg;
	int r = 0;

	if (p->n++)
		return 0;
	snprintf(p->file, sizeof(p->file), "%s", path);
	p->line = line;
	p->required = strcmp(word, "required") == 0;
	p->plugin = strdup(plugin);
	while (r == 0 && (arg = strtok_r(NULL, BLANKS, &rest)))
		r = strings_add(&p->args, arg, strlen(arg));
	return p->plugin ? r : -ENOMEM;
}

static bool is_ours(const char *plugin)
{
	const char *slash = strrchr(plugin, '/');

	return strcmp(slash ? slash + 1 : plugin, "vmstep.so") == 0;
}

static int read_line(struct plugstack *p, const char *path, unsigned int n,
		     char *line, unsigned int depth, struct errmsg *err)
{
	char *rest, *word, *what;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, BLANKS, &rest);
	what = word ? strtok_r(NULL, BLANKS, &rest) : NULL;
	if (!what)
		return 0;
	if (strcmp(word, "include") == 0)
		return include(p, path, what, depth, err);
	return is_ours(what) ? take(p, path, n, word, what, rest) : 0;
}

static int read_file(struct plugstack *p, const char *path, unsigned int depth,
		     struct errmsg *err)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (depth > INCLUDES_MAX)
		return errmsg_say(err, -ELOOP, "%s: it includes itself", path);
	if (!f)
		return errmsg_set(err, -errno, "%s", path);
	for (unsigned int n = 1; r == 0 && getline(&line, &size, f) >= 0; n++)
		r = read_line(p, path, n, line, depth, err);
	if (r == -ENOMEM)
		errmsg_set(err, r, "%s", path);
	return r == 0 && ferror(f) ? errmsg_set(err, -EIO, "%s", path) : r;
}

int plugstack_load(const char *path, struct plugstack *ret, struct errmsg *err)
{
	int r;

	*ret = (struct plugstack){ 0 };
	r = read_file(ret, path, 0, err);
	if (r < 0)
		plugstack_done(ret);
	return r;
}

void plugstack_done(struct plugstack *p)
{
	free(p->plugin);
	strings_done(&p->args);
	*p = (struct plugstack){ 0 };
}
