#include <config.h>

#include "oom.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"

/* cgroup v1 says so for none, in whole pages. */
#define UNLIMITED (1ull << 60)

static bool has_word(const char *list, size_t len, const char *word)
{
	size_t n = strlen(word);

	while (len >= n) {
		if (strncmp(list, word, n) == 0 && (len == n || list[n] == ','))
			return true;
		while (len && *list != ',')
			list++, len--;
		if (len)
			list++, len--;
	}
	return false;
}

/* "4:memory:/slurm/..." and "0::/slurm/...", which counts where no other has
 * memory. */
static void find(struct oom *o, FILE *f, const char *root)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, f) >= 0) {
		char *list = strchr(line, ':'), *path;

		path = list ? strchr(++list, ':') : NULL;
		if (!path)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if (has_word(list, (size_t)(path - list), "memory")) {
			o->v2 = false;
			snprintf(o->root, sizeof(o->root), "%.50s/memory",
				 root);
		} else if (path == list && !*o->root) {
			o->v2 = true;
			snprintf(o->root, sizeof(o->root), "%.50s", root);
		} else {
			continue;
		}
		snprintf(o->dir, sizeof(o->dir), "%s%s", o->root, path + 1);
	}
}

/* False: there is no such number. */
static bool kills(const struct oom *o, uint64_t *ret)
{
	char path[PATH_MAX + 32], name[64];
	_cleanup_fclose_ FILE *f = NULL;
	uint64_t n;

	snprintf(path, sizeof(path), "%s/memory.%s", o->dir,
		 o->v2 ? "events" : "oom_control");
	f = *o->dir ? fopen(path, "re") : NULL;
	while (f && fscanf(f, "%63s %" SCNu64, name, &n) == 2)
		if (strcmp(name, "oom_kill") == 0) {
			*ret = n;
			return true;
		}
	return false;
}

void oom_look(struct oom *o, const char *proc, const char *root)
{
	_cleanup_fclose_ FILE *f = fopen(proc, "re");

	*o = (struct oom){ 0 };
	if (f)
		find(o, f, root);
	if (!kills(o, &o->kills))
		o->dir[0] = '\0';
}

static uint64_t limit_of(const struct oom *o, const char *dir)
{
	char path[PATH_MAX + 32];
	_cleanup_fclose_ FILE *f = NULL;
	uint64_t n = 0;

	snprintf(path, sizeof(path), "%s/memory.%s", dir,
		 o->v2 ? "max" : "limit_in_bytes");
	f = fopen(path, "re");
	if (!f || fscanf(f, "%" SCNu64, &n) != 1) /* "max" */
		return 0;
	return n < UNLIMITED ? n : 0;
}

bool oom_struck(const struct oom *o, uint64_t *ret_limit)
{
	char dir[PATH_MAX];
	uint64_t n;

	*ret_limit = 0;
	if (!kills(o, &n) || n <= o->kills)
		return false;
	snprintf(dir, sizeof(dir), "%s", o->dir);
	while (!*ret_limit && strlen(dir) > strlen(o->root)) {
		*ret_limit = limit_of(o, dir);
		*strrchr(dir, '/') = '\0';
	}
	return true;
}
