#include <config.h>

#include "resolvconf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "hostsfile.h"
#include "memstream.h"

/* Is there a file that says who answers? */
static bool names_server(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	char word[16];
	size_t size = 0;

	while (f && getline(&line, &size, f) >= 0)
		if (sscanf(line, " %15s", word) == 1 &&
		    strcmp(word, "nameserver") == 0)
			return true;
	return false;
}

/* NULL: no memory. */
static char *make_lines(const char *servers, const char *domain)
{
	struct memstream m;
	FILE *f = memstream_open(&m);

	if (!f)
		return NULL;
	if (domain && *domain)
		fprintf(f, "search %s\n", domain);
	for (const char *p = servers; *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		fprintf(f, "nameserver %.*s\n", (int)n, p);
		p += n;
	}
	return memstream_close(&m, NULL);
}

int resolvconf_set(const char *path, const char *servers, const char *domain,
		   struct errmsg *err)
{
	_cleanup_free_ char *lines = NULL;
	struct stat st;

	if (lstat(path, &st) == 0 &&
	    (S_ISLNK(st.st_mode) || names_server(path)))
		return 0;
	lines = make_lines(servers, domain);
	if (!lines)
		return errmsg_set(err, -ENOMEM, "%s", path);
	return hostsfile_set(path, lines, err); /* comments look the same */
}
