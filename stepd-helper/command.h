/* command.h - the step's own command in this task's guest
 *
 * A process as any other (procs.h), with the task's standard streams, whose end
 * is the task's.
 */
#ifndef VMSTEP_HELPER_COMMAND_H
#define VMSTEP_HELPER_COMMAND_H

#include <sys/ioctl.h>

#include "guest.h"
#include "start_params.h"

struct command;

/* How it ended, as an exit status for srun; @error has words where it could not
 * be run. */
typedef void (*command_fn)(int status, const char *error, void *arg);

/* Run @cmd with our stdin, stdout and stderr; @fn is called once, when it has
 * ended and its output is written, but not where the agent is lost. */
int command_run(struct guest *g, const struct task *t, const struct spec *s,
		const struct guest_cmd *cmd, command_fn fn, void *arg,
		struct command **ret, struct errmsg *err);
/* NULL is fine, with these: there is none. */
void command_signal(struct command *c, int sig);
/* Does it wait for the end of our stdin before it starts? */
bool command_reads_input(const struct command *c);
/* The agent's number and the program of one that runs; 0: none does. */
json_int_t command_agents_id(const struct command *c, const char **ret_program);
void command_resize(struct command *c, const struct winsize *ws);
void command_free(struct command *c);

#endif
