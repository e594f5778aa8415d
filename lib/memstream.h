/* memstream.h - text that grows, written by stdio
 *
 * Instead of open_memstream(3), which in glibc (2.36) cuts a text short when
 * there is no memory, and neither ferror() nor fclose() says so.
 */
#ifndef VMSTEP_MEMSTREAM_H
#define VMSTEP_MEMSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Stays where it is from memstream_open() to memstream_close(). */
struct memstream {
	FILE *f;
	char *text;
	size_t len, room;
	bool lost; /* there was no memory for some of it */
	char buffer[512];
};

/* The stream to write to; whatever comes of that, memstream_close() ends it.
 * NULL: no memory, and there is nothing to close. */
FILE *memstream_open(struct memstream *m);

/* What was written, ended by a NUL that *ret_len, which may be NULL, does not
 * count; to be freed. NULL: there was not memory for all of it. */
char *memstream_close(struct memstream *m, size_t *ret_len);

#endif
