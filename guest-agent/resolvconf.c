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

int resolvconf_set(const char *path, const char *server, const char *domain,
		   struct errmsg *err)
{
	_cleanup_free_ char *lines = NULL;
	bool has_domain = domain && *domain;
	struct stat st;

	if (lstat(path, &st) == 0 &&
	    (S_ISLNK(st.st_mode) || names_server(path)))
		return 0;
	if (asprintf(&lines, "%s%s%snameserver %s\n",
		     has_domain ? "search " : "", has_domain ? domain : "",
		     has_domain ? "\n" : "", server) < 0) {
		lines = NULL;
		return errmsg_set(err, -ENOMEM, "%s", path);
	}
	return hostsfile_set(path, lines, err); /* comments look the same */
}
