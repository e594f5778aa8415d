/* args.h - a program's arguments in the making
 *
 * What fails is remembered, so that a caller looks once, at the end.
 */
#ifndef VMSTEP_ARGS_H
#define VMSTEP_ARGS_H

#include "option.h"

struct args {
	struct strings *list; /* borrowed */
	int error;
};

void args_add(struct args *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void args_add2(struct args *a, const char *option, const char *value);

/* In QEMU's option lists a comma in a value is written twice. To be freed;
 * NULL without memory. */
char *args_quoted(const char *value);

#endif
