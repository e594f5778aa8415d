/* tar.h - tar archives, entry by entry
 *
 * Written: ustar, and before an entry that does not fit a pax header (long
 * names, large numbers, nanoseconds). Read: these, GNU's long names and large
 * numbers, and the tar of old. Names are bytes, whatever they are. What is read
 * is not trusted: numbers and lengths are checked here, names by who uses them
 * (tree.h). Blocking.
 */
#ifndef VMSTEP_TAR_H
#define VMSTEP_TAR_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "flow.h"

#define TAR_BLOCK    512
#define TAR_PATH_MAX 65536     /* bytes of a name */
#define TAR_PAX_MAX  (1 << 20) /* of a pax header */

enum tar_type {
	TAR_FILE = '0',
	TAR_HARDLINK = '1',
	TAR_SYMLINK = '2',
	TAR_CHAR = '3',
	TAR_BLOCKDEV = '4',
	TAR_DIR = '5',
	TAR_FIFO = '6',
};

struct tar_entry {
	enum tar_type type;
	char *path, *link; /* link: of both kinds of link, else "" */
	uint32_t mode;	   /* permissions */
	uint32_t uid, gid;
	uint64_t size; /* of a file's data */
	int64_t mtime_s;
	uint32_t mtime_ns;
	bool sparse; /* the file had holes, which are zeros here */
};

/* The header; a file's @size bytes follow, and then tar_write_padding(). */
int tar_write_header(struct flow *out, const struct tar_entry *e);
int tar_write_padding(struct flow *out, uint64_t size);
int tar_write_end(struct flow *out); /* and flush */

struct tar_reader;

struct tar_reader *tar_reader_new(struct flow *in); /* NULL without memory */
void tar_reader_free(struct tar_reader *t);	    /* NULL is fine */
/* Returns 1 with an entry, borrowed until the next call; 0 at the end of the
 * archive, all of @in read; -EBADMSG where this is no tar archive, -ENODATA
 * where it is cut, -ENOTSUP for a kind of entry that is not read; with words.
 */
int tar_next(struct tar_reader *t, const struct tar_entry **ret,
	     struct errmsg *err);
/* Of the data of the entry: up to @n bytes, 0 at its end. */
ssize_t tar_read(struct tar_reader *t, void *p, size_t n);

#endif
