#include <config.h>

#include "command.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "between.h"
#include "capture.h"
#include "check.h"
#include "connect.h"
#include "console.h"
#include "cp.h"
#include "display.h"
#include "events.h"
#include "exec.h"
#include "hosts.h"
#include "image.h"
#include "kernel.h"
#include "ops.h"
#include "save.h"
#include "showconfig.h"
#include "snapshot.h"
#include "ssh.h"
#include "stats.h"
#include "top.h"
#include "topo.h"

/* In the order of struct invocation's fields, as set_common() has them. */
const struct cmd_option common_options[] = {
	{ "-j", "JOB[.STEP]", "the step; within a job its only VM step" },
	{ "-r", "RANKS", "these tasks only, as in 0,3,7-9 or @GROUP" },
	{ "--json", NULL, "JSON instead of text" },
	{ "--config", "FILE",
	  "vmstep.conf, where plugstack.conf names another" },
	{ "--help", NULL, "print this, or what there is to say of a command" },
	{ "--version", NULL, "print the version" },
	{ 0 },
};

const struct command commands[] = {
	{ "ps", "", "the step's VMs", ps_run, NULL },
	{ "wait", "[PHASE]", "wait for VMs: qemu, agent, init or exit",
	  wait_run, wait_options, 0, 1 },
	{ "exec", "[-it] CMD", "run a command in VMs", exec_run, exec_options,
	  1, ARGS_COMMAND },
	{ "cp", "SRC DST", "copy files into and out of VMs", cp_run, cp_options,
	  1, 2 },
	{ "console", "", "a VM's serial console", console_run,
	  console_options },
	{ "display", "", "where a VM's display is, or the way to it",
	  display_run, display_options },
	{ "ssh", "[ARG]...", "log in to a VM", ssh_run, ssh_options, 0,
	  ARGS_COMMAND },
	{ "pause", "", "stop VMs", pause_run, NULL },
	{ "resume", "", "let them go on", resume_run, NULL },
	{ "shutdown", "", "have VMs shut down", shutdown_run,
	  shutdown_options },
	{ "poweroff", "", "switch VMs off", poweroff_run, NULL },
	{ "reset", "", "reset VMs", reset_run, NULL },
	{ "save", "DIR", "save the step", save_run, save_options, 1, 1 },
	{ "snapshot", "save|list|load|delete", "moments of VMs, to go back to",
	  snapshot_run, snapshot_options, 1, 2 },
	{ "send", "DATA", "put a message into tasks' queues", send_run,
	  send_options, 1, 1 },
	{ "recv", "", "take messages from tasks' queues", recv_run,
	  recv_options },
	{ "barrier", "[NAME]", "have tasks meet, with those that come",
	  barrier_run, barrier_options, 0, 1 },
	{ "store", "put|get|pop|drop|list|state", "values of the step",
	  store_run, store_options, 1, 3 },
	{ "kernel", "list|ops|add|drop", "sets of ops", kernel_run, NULL, 1,
	  KERNEL_ARGS },
	{ "op", "METHOD [JSON|-]", "any op", op_run, op_options, 1, 2 },
	{ "ops", "", "what ops there are", ops_run, NULL },
	{ "events", "[KIND]...", "what happens in the step", events_run,
	  events_options, 0, 16 },
	{ "stats", "", "what the step's network carries", stats_run,
	  stats_options },
	{ "top", "", "what VMs use", top_run, top_options },
	{ "capture", "", "what goes through a VM's network card, as pcap",
	  capture_run, capture_options },
	{ "topo", "", "nodes, with the VMs on them", topo_run, topo_options },
	{ "hosts", "", "the step's guests, for what takes a list of hosts",
	  hosts_run, hosts_options },
	{ "log", "", "the logs of the step's helpers and networks", log_run,
	  log_options },
	{ "connect", "[FILE [ARG]...]", "Python with the step at hand",
	  connect_run, connect_options, 0, ARGS_COMMAND },
	{ "image", "info|resize|overlay|squash|seed",
	  "look at images, and make them", image_run, image_options, 2, 3 },
	{ "config", "", "the settings in force, and where from", config_run,
	  NULL },
	{ "check", "", "is the site set up, and this node ready?", check_run,
	  check_options },
	{ 0 },
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

/* -- parsing --------------------------------------------------------------- */

/* The index of @word's option, or -1; *ret_value is what follows '='. */
static int find_option(const struct cmd_option *options, const char *word,
		       const char **ret_value)
{
	size_t len = strcspn(word, "=");

	*ret_value = word[len] ? word + len + 1 : NULL;
	for (int i = 0; options && options[i].name; i++)
		if (strlen(options[i].name) == len &&
		    strncmp(options[i].name, word, len) == 0)
			return i;
	return -1;
}

static void set_common(struct invocation *inv, int i, const char *value)
{
	const char **texts[] = { &inv->job, &inv->ranks, NULL, &inv->config };
	bool *flags[] = { NULL, NULL,	    &inv->json,
			  NULL, &inv->help, &inv->version };

	if ((size_t)i < ARRAY_SIZE(texts) && texts[i])
		*texts[i] = value;
	else
		*flags[i] = true;
}

/* The value of @o, given as argv[*i], which moves on where it is a word of its
 * own. NULL with words. */
static const char *option_value(const struct cmd_option *o, const char *value,
				int argc, const char *const *argv, int *i,
				struct errmsg *err)
{
	bool optional = o->arginfo && o->arginfo[0] == '[';

	if (!o->arginfo && value)
		errmsg_say(err, -EINVAL, "%s takes no argument", o->name);
	else if (!o->arginfo || (optional && !value))
		return "";
	else if (value && (*value || optional))
		return value;
	else if (!value && o->name[1] != '-' && *i + 1 < argc)
		return argv[++*i];
	else
		errmsg_say(err, -EINVAL, "%s needs an argument: %s%s%s",
			   o->name, o->name, o->name[1] == '-' ? "=" : " ",
			   o->arginfo);
	return NULL;
}

/* -it is -i -t, where both are flags of the command. */
static bool set_cluster(const char *word, struct invocation *inv)
{
	const struct cmd_option *options = inv->command->options;
	const char *value;

	if (word[0] != '-' || word[1] == '-' || strlen(word) < 3)
		return false;
	for (int pass = 0; pass < 2; pass++)
		for (const char *p = word + 1; *p; p++) {
			const char one[] = { '-', *p, '\0' };
			int n = find_option(options, one, &value);

			if (n < 0 || options[n].arginfo)
				return false;
			if (pass == 1)
				inv->options[n] = "";
		}
	return true;
}

/* -j12.0 is -j 12.0. */
static int find_joined(const char *word, const char **ret_value)
{
	if (word[0] != '-' || !strchr("jr", word[1]) || !word[1] || !word[2])
		return -1;
	*ret_value = word + 2;
	return word[1] == 'j' ? 0 : 1;
}

static int parse_option(int argc, const char *const *argv, int *i,
			struct invocation *inv, struct errmsg *err)
{
	const struct cmd_option *options =
		inv->command ? inv->command->options : NULL;
	const char *word = argv[*i], *value;
	int n = find_option(options, word, &value);

	if (n >= 0) {
		inv->options[n] =
			option_value(&options[n], value, argc, argv, i, err);
		return inv->options[n] ? 0 : -EINVAL;
	}
	if (inv->command && set_cluster(word, inv))
		return 0;
	n = find_option(common_options, word, &value);
	if (n < 0)
		n = find_joined(word, &value);
	if (n < 0)
		return errmsg_say(err, -EINVAL,
				  "unknown option %s: see vmstep %s%s--help",
				  word, inv->command ? inv->command->name : "",
				  inv->command ? " " : "");
	value = option_value(&common_options[n], value, argc, argv, i, err);
	if (!value)
		return -EINVAL;
	set_common(inv, n, value);
	return 0;
}

static int parse_command(const char *word, struct invocation *inv,
			 struct errmsg *err)
{
	inv->command = command_find(word);
	if (!inv->command)
		return errmsg_say(
			err, -EINVAL,
			"unknown command '%s': vmstep --help has the list",
			word);
	return 0;
}

/* Its arguments are at the end of argv: are they as many as it takes? */
static int check_args(const struct invocation *inv, struct errmsg *err)
{
	const struct command *c = inv->command;

	if (inv->help || inv->version)
		return 0;
	if (inv->n_args < c->min_args)
		return errmsg_say(err, -EINVAL,
				  "%s needs more arguments: %s %s", c->name,
				  c->name, c->arginfo);
	if (c->max_args != ARGS_COMMAND && inv->n_args > c->max_args)
		return errmsg_say(err, -EINVAL, "%s takes no argument '%s'",
				  c->name, inv->args[c->max_args]);
	return 0;
}

static bool is_option(const char *word, bool *options_end)
{
	if (*options_end || word[0] != '-' || !word[1])
		return false;
	*options_end = strcmp(word, "--") == 0;
	return true;
}

/* Options may stand behind arguments that are no command. */
static int parse_rest(struct invocation *inv, bool end, struct errmsg *err)
{
	int argc = inv->n_args, r = 0;
	const char *const *argv = inv->args;

	if (inv->command->max_args != ARGS_COMMAND)
		while (argc && r == 0 && !end && argv[argc - 1][0] == '-' &&
		       argv[argc - 1][1]) {
			int at = argc - 1;

			r = parse_option(argc, argv, &at, inv, err);
			argc--;
		}
	inv->n_args = argc;
	return r < 0 ? r : check_args(inv, err);
}

int command_parse(int argc, const char *const *argv, struct invocation *ret,
		  struct errmsg *err)
{
	bool end = false;
	int i, r = 0;

	*ret = (struct invocation){ 0 };
	for (i = 1; i < argc && r == 0; i++) {
		if (is_option(argv[i], &end))
			r = end ? 0 : parse_option(argc, argv, &i, ret, err);
		else if (!ret->command)
			r = parse_command(argv[i], ret, err);
		else
			break;
	}
	if (r == 0 && i < argc) {
		ret->args = argv + i;
		ret->n_args = argc - i;
	}
	if (r == 0 && ret->command)
		r = parse_rest(ret, end, err);
	if (r == 0 && !ret->command && !ret->help && !ret->version)
		return errmsg_say(err, -EINVAL,
				  "no command: vmstep --help has the list");
	return r;
}

/* -- help and words -------------------------------------------------------- */

static void option_help(FILE *f, const struct cmd_option *o)
{
	char text[64];
	bool optional = o->arginfo && o->arginfo[0] == '[';

	for (; o && o->name; o++) {
		optional = o->arginfo && o->arginfo[0] == '[';
		if (!o->arginfo)
			snprintf(text, sizeof(text), "%s", o->name);
		else if (optional) /* "[SEC]": --watch[=SEC] */
			snprintf(text, sizeof(text), "%s[=%s", o->name,
				 o->arginfo + 1);
		else
			snprintf(text, sizeof(text), "%s%s%s", o->name,
				 o->name[1] == '-' ? "=" : " ", o->arginfo);
		fprintf(f, "  %-16s %s\n", text, o->help);
	}
}

void command_help(FILE *f, const struct command *c)
{
	fprintf(f, "Usage: vmstep [OPTION]... %s%s%s\n",
		c ? c->name : "COMMAND", c && *c->arginfo ? " " : "",
		c ? c->arginfo : "");
	if (c) {
		fprintf(f, "%s\n\n", c->help);
		option_help(f, c->options);
	} else {
		fputs("Looks at, drives and talks to a job step in virtual machines (vmstep(7)).\n\n",
		      f);
		for (const struct command *one = commands; one->name; one++)
			fprintf(f, "  %-16s %s\n", one->name, one->help);
		fputc('\n', f);
	}
	option_help(f, common_options);
}

static void option_words(FILE *f, const struct cmd_option *o)
{
	for (; o && o->name; o++)
		fprintf(f, "%s%s\n", o->name,
			o->arginfo && o->arginfo[0] != '[' && o->name[1] == '-'
				? "="
				: "");
}

void command_words(FILE *f, const char *name)
{
	const struct command *c = name ? command_find(name) : NULL;

	option_words(f, common_options);
	if (c)
		option_words(f, c->options);
	for (c = name ? NULL : commands; c && c->name; c++)
		fprintf(f, "%s\n", c->name);
}
