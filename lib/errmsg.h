/* errmsg.h - the words of an error, on its caller's stack
 *
 * A function that can fail returns -errno and, where a person will read it,
 * takes a `struct errmsg *err` as its last argument. Whoever knows most
 * writes the text; each level above may prefix what it was doing. The edge
 * logs it, once.
 */
#ifndef VMSTEP_ERRMSG_H
#define VMSTEP_ERRMSG_H

#include <stdarg.h>

#define ERRMSG_MAX 1024 /* bytes with the final NUL; a longer text is cut */

struct errmsg {
	char text[ERRMSG_MAX];
};

/* Write the text. For @code < 0 other than -EINVAL, ": " and strerror() are
 * appended, so the format need not. Returns @code, so that
 * `return errmsg_set(err, -ENOENT, "image %s", path);` is one line.
 * @err may be NULL. */
int errmsg_set(struct errmsg *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, without strerror(): the text says all. */
int errmsg_say(struct errmsg *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "prefix: " before the text that is there. Returns @code. */
int errmsg_prefix(struct errmsg *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
