/* relay.h - another vmstep in our place, and what it says cleaned up
 *
 * Of its standard error, srun's words about an exit status that the user will
 * see anyway are left out. With folding, lines "RANK: TEXT" of its standard
 * output are collected, and shown once for all ranks that said the same.
 */
#ifndef VMSTEP_CLI_RELAY_H
#define VMSTEP_CLI_RELAY_H

#include <stdbool.h>
#include <stdio.h>

/* Run @argv, with our input and, unless it is folded, our output. Returns its
 * exit status, 128 and a signal that ended it, or EXIT_NOT_RUN with words. */
int relay_run(const char *const *argv, bool fold);

/* For the above, and for tests. */
struct fold;
struct fold *fold_new(void);
void fold_free(struct fold *f); /* NULL is fine */
/* A line without its end; -EINVAL: it is not of that form; -ENOMEM. */
int fold_add(struct fold *f, const char *line);
void fold_print(const struct fold *f, FILE *to);
/* "srun: error: n1: task 0: Exited with exit code 1"; where we have @ended the
 * step, also what is said of that. */
bool relay_is_noise(const char *line, bool ended);

#endif
