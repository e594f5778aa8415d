/* command.h - vmstep's one table of commands
 *
 * A row is a command: what parses it, its line of help, an entry of vmstep(1),
 * and what a shell completes. Options that all commands have are rows, too.
 * Commands of the contract that are not there yet are refused by name.
 */
#ifndef VMSTEP_CLI_COMMAND_H
#define VMSTEP_CLI_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

#include "errmsg.h"

#define COMMAND_OPTIONS_MAX 8
/* Any number; they may look like options, as they are another command's. */
#define ARGS_COMMAND (-1)
#define KERNEL_ARGS  64

/* What vmstep ends with; vmstep(1) says the same. */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_STEP = 3,
	/* of a command that was to run in a guest, as vmstep(7) has them */
	EXIT_NOT_RUN = 125,
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
};

struct cmd_option {
	const char *name;    /* "--watch", "-j" */
	const char *arginfo; /* "SEC"; NULL: a flag; "[SEC]": may be left out */
	const char *help;
};

/* What was given; texts are borrowed from argv, "" for a flag or an argument
 * that was left out, NULL where an option was not given. */
struct invocation {
	const struct command *command; /* NULL: none */
	const char *job;	       /* -j */
	const char *ranks;	       /* -r */
	const char *config;
	bool json, help, version;
	const char *options[COMMAND_OPTIONS_MAX]; /* the command's, in order */
	const char *const *args;		  /* what follows */
	int n_args;
};

struct command {
	const char *name;
	const char *arginfo; /* "CMD"; "": none */
	const char *help;
	/* Returns an exit status. */
	int (*run)(const struct invocation *inv);
	const struct cmd_option *options; /* NULL: none; ended by a NULL name */
	int min_args, max_args;		  /* words that follow; ARGS_COMMAND: */
};

extern const struct command commands[]; /* ended by a NULL name */
extern const struct cmd_option common_options[];

/* 0, or -EINVAL, or -ENOTSUP for a command that is not there yet, with words
 * that say what to do. */
int command_parse(int argc, const char *const *argv, struct invocation *ret,
		  struct errmsg *err);
/* For a person: of one command, or of all with NULL. */
void command_help(FILE *f, const struct command *c);
/* For a shell: the commands, or what follows the command @name; a word a
 * line. */
void command_words(FILE *f, const char *name);
const struct command *command_find(const char *name);

#endif
