#include <config.h>

#include "proc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The sum of the lines of @path that begin with one of @names, of which every
 * one is there. */
static double sum_lines(const char *path, const char *const names[],
			unsigned int n)
{
	unsigned int found = 0;
	char line[256];
	double sum = 0;
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		for (unsigned int i = 0; i < n; i++)
			if (strncmp(line, names[i], strlen(names[i])) == 0) {
				sum += strtod(line + strlen(names[i]), NULL);
				found++;
			}
	if (f)
		fclose(f);
	return found == n ? sum : -1;
}

double proc_status(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	return sum_lines(path, &name, 1);
}

double proc_pss_kib(pid_t pid)
{
	static const char *const names[] = { "Pss_Anon:", "Pss_Shmem:" };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	return sum_lines(path, names, 2);
}

double proc_fds(pid_t pid)
{
	const struct dirent *e;
	char path[64];
	double n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (!d)
		return -1;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}
