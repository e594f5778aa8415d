/* outbox.h - a session's results, kept for who takes them later
 *
 * Bounded in number, bytes and age; what is too old or finds no room is
 * dropped, the oldest first, and counted.
 *
 * Owns:   the results.
 */
#ifndef VMSTEP_OUTBOX_H
#define VMSTEP_OUTBOX_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbox;

struct outbox_limits {
	int64_t results, bytes, age_ms;
};
#define OUTBOX_RESULTS 64
#define OUTBOX_BYTES   (1024 * 1024)
#define OUTBOX_AGE_MS  (10 * 60 * 1000)

struct outbox *outbox_new(void);    /* with these; NULL: no memory */
void outbox_free(struct outbox *o); /* NULL is fine */
struct outbox_limits *outbox_limits(struct outbox *o); /* to be changed */

/* @answer (stolen) is {"result"} or {"error"}; it gets "opid" and "method". One
 * that is larger than the limit is kept as an error that says so. @now_ms is
 * loop_now_ms(), as below. */
void outbox_put(struct outbox *o, const char *opid, const char *method,
		json_t *answer, int64_t now_ms);
/* Drop what the limits do not allow now; how many that were. */
size_t outbox_trim(struct outbox *o, int64_t now_ms);
/* When the oldest will be too old; -1: there is none. */
int64_t outbox_due_ms(const struct outbox *o);

/* The oldest @count (0: all), or the one of @opid (NULL: any), with "age_ms"; a
 * new array. @take: they are there no more. */
json_t *outbox_read(struct outbox *o, const char *opid, size_t count, bool take,
		    int64_t now_ms);
/* The answer to @opid, borrowed; NULL: it is not there. */
const json_t *outbox_find(const struct outbox *o, const char *opid);

size_t outbox_count(const struct outbox *o);
size_t outbox_bytes(const struct outbox *o);
uint64_t outbox_dropped(const struct outbox *o); /* ever */

#endif
