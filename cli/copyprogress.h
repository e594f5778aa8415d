/* copyprogress.h - how far a copy is, on a terminal
 *
 * One line on standard error, at most four times a second, which goes at the
 * end; nothing where that is no terminal.
 */
#ifndef VMSTEP_CLI_COPYPROGRESS_H
#define VMSTEP_CLI_COPYPROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct copyprogress {
	bool shown;
	int64_t total; /* bytes; < 0: not known */
	int64_t start_ms, last_ms;
	const char *name; /* borrowed */
};

void copyprogress_begin(struct copyprogress *p, const char *name,
			int64_t total);
void copyprogress_at(struct copyprogress *p, uint64_t bytes);
void copyprogress_end(struct copyprogress *p);

/* "12.3 MiB"; for the above, and for tests. */
void copyprogress_size(uint64_t bytes, char ret[16]);

#endif
