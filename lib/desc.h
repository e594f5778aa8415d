/* desc.h - the description of one task's VM, from the plugin to the helper
 *
 * A sealed memfd that the helper inherits: records "key=value", each ended by
 * a NUL byte; a key may repeat. doc/description.md lists the keys. The
 * descriptor's number is in DESC_FD_ENV.
 */
#ifndef VMSTEP_DESC_H
#define VMSTEP_DESC_H

#include <stddef.h>

#include "errmsg.h"

#define DESC_FD_ENV    "VMSTEP_DESCRIPTION_FD"
#define DESC_MAX_BYTES (4u << 20)

/* Writing: desc_add() as often as there are records, then desc_seal(). A
 * failure is remembered and returned by desc_seal(). */
struct desc_writer {
	char *buf; /* owned */
	size_t len;
	int error;
};
void desc_add(struct desc_writer *w, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A memfd without CLOEXEC, of at least number 10, sealed; frees the buffer. */
int desc_seal(struct desc_writer *w, int *ret_fd, struct errmsg *err);

struct desc;
/* Read all of @fd (borrowed). */
int desc_read(int fd, struct desc **ret, struct errmsg *err);
void desc_free(struct desc *d); /* NULL is fine */
/* The first value of @key, valid as long as @d; NULL if there is none. */
const char *desc_get(const struct desc *d, const char *key);
/* The @i'th record: its value, its key in *ret_key (length @ret_len); NULL
 * past the end. */
const char *desc_at(const struct desc *d, size_t i, const char **ret_key,
		    size_t *ret_len);

#endif
