/* copyhead.h - what is said of a file or directory before its data
 *
 * A copy is a stream between two vmsteps, or within one: a line of JSON, and
 * then the file as extents (lib/filedata.h) or the directory as a tar archive,
 * both of which tell their ends. Who sends it may say instead why there is
 * nothing: {"error": TEXT}.
 */
#ifndef VMSTEP_CLI_COPYHEAD_H
#define VMSTEP_CLI_COPYHEAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"

#define COPYHEAD_MAX 65536

struct copyhead {
	bool dir;
	char *name; /* owned; the last part of its path; "": it has none */
	int64_t mode, mtime_ns; /* -1: not known */
	int64_t size;		/* of a file; -1: not known */
};

/* Read the line from @fd, and no more than that. -ENODATA: there was nothing;
 * -EREMOTE: what was said instead is in @err; -EPROTO, -errno with words. */
int copyhead_read(int fd, struct copyhead *ret, struct errmsg *err);
void copyhead_done(struct copyhead *h);
int copyhead_write(int fd, const struct copyhead *h);
int copyhead_write_error(int fd, const char *text);
/* A line's text; for the above, and for fuzzing. */
int copyhead_parse(const char *text, size_t len, struct copyhead *ret,
		   struct errmsg *err);

/* The last part of @path, without slashes: to be freed. */
char *copyhead_name(const char *path);
/* Where it goes: @path, or @path/NAME where that is a directory, or is meant to
 * be one by its slash: to be freed. */
char *copyhead_place(const struct copyhead *h, const char *path, bool is_dir);

#endif
