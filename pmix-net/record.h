/* record.h - what a vmstep-net that takes our place has to know
 *
 * A vmstep-net that is killed is started again by a helper, and the helpers
 * come back and say what they know. What they do not know is here: what those
 * said that have left, what was agreed on, and who was here. It is text in the
 * step's lock file, which is in memory (tmpfs): lines of a roll (roll.h), and
 *
 *	came 3			the helper of this rank said hello
 *	left 3			its connection closed
 *
 * Owns:    the descriptor.
 * Thread:  the loop's.
 */
#ifndef VMSTEP_RECORD_H
#define VMSTEP_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

#define RECORD_BYTES_MAX (64 * 1024 * 1024)

struct record;

/* Read what @fd (owned from now on, also on failure) has, and write behind it;
 * -1: there is nothing to read, and nothing is kept. */
int record_open(int fd, struct record **ret, struct errmsg *err);
void record_free(struct record *r); /* NULL is fine */

/* The lines of rolls that were read; valid as long as @r. */
const char *record_text(const struct record *r, size_t *len);
/* Add a roll's lines. 0 or -errno. */
int record_add(struct record *r, const char *text, size_t len);

void record_came(struct record *r, uint32_t rank);
void record_left(struct record *r, uint32_t rank);
/* Has the helper of @rank ever come, here or before? */
bool record_has_come(const struct record *r, uint32_t rank);
/* Had it left when our predecessor ended? */
bool record_has_left(const struct record *r, uint32_t rank);
/* One whose helper was here when our predecessor ended, and has neither come
 * back nor been recorded as left since; UINT32_MAX: none. */
uint32_t record_awaited(const struct record *r);

#endif
