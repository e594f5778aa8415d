#include <config.h>

#include "fam.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

static bool has_line(const char *dir, const char *name, const char *want)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[PATH_MAX + 16], line[32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return strcmp(line, want) == 0;
}

static int link_memory(const char *dir, const char *path)
{
	char memory[PATH_MAX + 16];

	snprintf(memory, sizeof(memory), "%s/resource2", dir);
	if (chmod(memory, 0666) < 0)
		return -errno;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return symlink(memory, path) < 0 ? -errno : 1;
}

int fam_link(const char *devices, const char *path)
{
	DIR *all = opendir(devices);
	char dir[PATH_MAX];
	struct dirent *e;
	int r = 0;

	while (all && r == 0 && (e = readdir(all))) {
		snprintf(dir, sizeof(dir), "%s/%s", devices, e->d_name);
		if (has_line(dir, "vendor", "0x1af4") &&
		    has_line(dir, "device", "0x1110"))
			r = link_memory(dir, path);
	}
	if (all)
		closedir(all);
	return r;
}
