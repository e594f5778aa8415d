/* filedata.h - a file's bytes in a stream, and back into a file
 *
 * Two formats. "plain": the bytes themselves. "extents": what the file has, and
 * where; its holes are not sent, and the end is told from a stream that broke:
 *
 *	0        8        16
 *	| offset | length | length bytes      any number; offsets only grow
 *	| size   |   0    | sum |             the end
 *
 * All little endian, 64 bits; the sum is XXH64 (digest.h) of all bytes of the
 * stream before it. Blocking.
 */
#ifndef VMSTEP_FILEDATA_H
#define VMSTEP_FILEDATA_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"
#include "flow.h"

enum filedata_format { FILEDATA_PLAIN, FILEDATA_EXTENTS };
extern const char *const filedata_formats[]; /* their names, NULL at the end */

#define FILEDATA_ALL INT64_MAX

/* Send @size bytes of @fd from @offset, or what there is of them, and flush.
 * What is no regular file is read as it comes, to its end. *ret: bytes of the
 * file, with its holes. */
int filedata_send(int fd, enum filedata_format format, uint64_t offset,
		  uint64_t size, struct flow *out, uint64_t *ret);

/* Receive all of @in into @fd, plain bytes from @offset on. @fresh: the file
 * is regular, new and empty, so that holes need not be written; with @sparse
 * neither need blocks of zeros. *ret: bytes of the file, with its holes.
 * -EBADMSG where the stream is broken, -ENODATA where it ends too early. */
struct filedata_sink {
	int fd;
	uint64_t offset;
	bool fresh, sparse;
};
int filedata_receive(struct flow *in, enum filedata_format format,
		     const struct filedata_sink *sink, uint64_t *ret,
		     struct errmsg *err);

/* Write @n bytes at @offset; to a fresh file, without its blocks of zeros. */
int filedata_write(int fd, const void *p, size_t n, uint64_t offset);
int filedata_write_sparse(int fd, const void *p, size_t n, uint64_t offset);

#endif
