#include <config.h>

#include <errno.h>
#include <jansson.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "between.h"
#include "cleanup.h"
#include "command.h"
#include "escape.h"
#include "events.h"
#include "figures.h"
#include "kernel.h"
#include "ops.h"
#include "relay.h"
#include "slurm.h"
#include "snapshot.h"
#include "ssh.h"
#include "step.h"

static struct invocation inv;
static struct errmsg err;

/* The words of a command line, without the program's. */
static int parse(const char *line)
{
	static char words[256];
	const char *argv[16] = { "vmstep" };
	int argc = 1;

	snprintf(words, sizeof(words), "%s", line);
	err.text[0] = '\0';
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	return command_parse(argc, argv, &inv, &err);
}

static void options_come_before_and_behind_the_command(void **state)
{
	assert_int_equal(parse("-j 12.0 stats --watch=5 --json"), 0);
	assert_string_equal(inv.command->name, "stats");
	assert_string_equal(inv.job, "12.0");
	assert_true(inv.json);
	assert_string_equal(inv.options[0], "5");
	assert_null(inv.options[1]);
	assert_int_equal(parse("-j12 -r0-3 stats --matrix=x.svg"), 0);
	assert_string_equal(inv.job, "12");
	assert_string_equal(inv.ranks, "0-3");
	assert_string_equal(inv.options[1], "x.svg");
}

static void an_argument_may_be_left_out_where_it_may(void **state)
{
	assert_int_equal(parse("stats --watch"), 0);
	assert_string_equal(inv.options[0], "");
	assert_int_equal(parse("stats --matrix"), -EINVAL);
	assert_string_equal(err.text,
			    "--matrix needs an argument: --matrix=FILE");
	assert_int_equal(parse("stats --matrix="), -EINVAL);
	assert_int_equal(parse("stats -j"), -EINVAL);
	assert_int_equal(parse("stats --verbose=1"), -EINVAL);
	assert_int_equal(parse("--json=1 stats"), -EINVAL);
}

static void what_is_not_known_is_refused(void **state)
{
	assert_int_equal(parse(""), -EINVAL);
	assert_int_equal(parse("fly"), -EINVAL);
	assert_non_null(strstr(err.text, "'fly'"));
	assert_int_equal(parse("stats --fly"), -EINVAL);
	assert_non_null(strstr(err.text, "vmstep stats --help"));
	assert_int_equal(parse("--watch stats"), -EINVAL);
	assert_int_equal(parse("stats now"), -EINVAL);
	assert_int_equal(parse("stats -"), -EINVAL);
	assert_int_equal(parse("exec"), -EINVAL);
	assert_int_equal(parse("op a b c"), -EINVAL);
	assert_int_equal(parse("exec -ix true"), -EINVAL);
}

static void a_command_for_a_guest_keeps_its_words(void **state)
{
	assert_int_equal(parse("exec -it ls -l --json"), 0);
	assert_true(inv.options[0] && inv.options[1] && !inv.options[2]);
	assert_false(inv.json);
	assert_int_equal(inv.n_args, 3);
	assert_string_equal(inv.args[1], "-l");
	assert_int_equal(parse("exec -- -x"), 0);
	assert_int_equal(inv.n_args, 1);
	assert_string_equal(inv.args[0], "-x");
	assert_int_equal(parse("op vm.state --json"), 0);
	assert_true(inv.json);
	assert_int_equal(inv.n_args, 1);
	assert_int_equal(parse("connect --raw -r 2"), 0);
	assert_true(inv.options[0] && !inv.options[1]);
	assert_int_equal(inv.n_args, 0);
	assert_int_equal(parse("connect --world=w x.py --raw"), 0);
	assert_string_equal(inv.options[2], "w");
	assert_int_equal(inv.n_args, 2);
	assert_string_equal(inv.args[1], "--raw");
}

static void help_needs_no_command(void **state)
{
	assert_int_equal(parse("--help"), 0);
	assert_true(inv.help);
	assert_int_equal(parse("stats --help"), 0);
	assert_true(inv.help && inv.command);
}

/* What @fn prints; to be freed. */
static char *printed(void (*fn)(FILE *f, const char *name), const char *name)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fn(f, name);
	fclose(f);
	return text;
}

static void print_help(FILE *f, const char *name)
{
	command_help(f, name ? command_find(name) : NULL);
}

static void a_shell_gets_the_words_that_parse(void **state)
{
	_cleanup_free_ char *all = printed(command_words, NULL);
	_cleanup_free_ char *stats = printed(command_words, "stats");
	_cleanup_free_ char *help = printed(print_help, "stats");

	assert_non_null(strstr(all, "\nstats\n"));
	assert_non_null(strstr(stats, "--matrix=\n"));
	assert_non_null(strstr(stats, "--watch\n"));
	assert_non_null(strstr(help, "--watch[=SEC]"));
	assert_non_null(strstr(help, "-j JOB[.STEP]"));
}

static void a_step_is_named_by_job_and_number(void **state)
{
	static const char *const bad[] = { "",
					   "x",
					   "1.",
					   ".1",
					   "1.x",
					   "1.2.3",
					   "1+1",
					   "1.0+",
					   "1 ",
					   "-1",
					   "99999999999999999999.0" };
	struct step_name n;

	assert_int_equal(step_name("12.3", &n, &err), 0);
	assert_string_equal(n.job, "12");
	assert_string_equal(n.step, "12.3");
	assert_int_equal(step_name("12", &n, &err), 0);
	assert_string_equal(n.step, "");
	assert_int_equal(step_name("12.3+1", &n, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(step_name(bad[i], &n, &err), -EINVAL);
	unsetenv("SLURM_JOB_ID");
	assert_int_equal(step_name(NULL, &n, &err), -ENOENT);
	setenv("SLURM_JOB_ID", "77", 1);
	assert_int_equal(step_name(NULL, &n, &err), 0);
	assert_string_equal(n.job, "77");
}

static void add_line(const struct step_name *n, const char *text,
		     struct strings *nodes)
{
	char line[128];

	snprintf(line, sizeof(line), "%s", text);
	assert_int_equal(slurm_add_line(n, line, nodes), 0);
}

static void nodes_are_those_of_steps_that_run_commands(void **state)
{
	const struct step_name any = { "12", "" }, one = { "12", "12.1" };
	struct strings nodes = { 0 };

	add_line(&any, "12.0 n[1-2]\n", &nodes);
	add_line(&any, "12.1 n3\n", &nodes);
	add_line(&any, "12.2 n3\n", &nodes);
	add_line(&any, "12.batch n9\n", &nodes);
	add_line(&any, "120.0 n9\n", &nodes);
	add_line(&any, "12.3 \n", &nodes);
	add_line(&any, "nonsense", &nodes);
	assert_int_equal(nodes.n, 2);
	assert_string_equal(nodes.v[0], "n[1-2]");
	assert_string_equal(nodes.v[1], "n3");
	strings_done(&nodes);
	add_line(&one, "12.0 n[1-2]", &nodes);
	add_line(&one, "12.1 n3", &nodes);
	assert_int_equal(nodes.n, 1);
	strings_done(&nodes);
}

static void a_job_is_forgotten_but_for_slurms_configuration(void **state)
{
	setenv("SLURM_CONF", "/x", 1);
	setenv("SLURM_NTASKS", "4", 1);
	setenv("SLURM_JOB_ID", "4", 1);
	setenv("SQUEUE_USERS", "x", 1);
	setenv("VMSTEP_IMAGE", "tiny", 1);
	setenv("VMSTEP_MEM", "1G", 1);
	slurm_forget_job();
	assert_string_equal(getenv("SLURM_CONF"), "/x");
	assert_null(getenv("SLURM_NTASKS"));
	assert_null(getenv("SLURM_JOB_ID"));
	assert_null(getenv("SQUEUE_USERS"));
	assert_null(getenv("VMSTEP_MEM"));
	assert_string_equal(getenv("VMSTEP_IMAGE"), "none");
}

static void figures_take_five_columns(void **state)
{
	static const struct {
		double n;
		const char *text;
	} figures[] = {
		{ 0, "0" },	     { 999, "999" },	 { 999.4, "999" },
		{ 999.6, "1.00k" },  { 1000, "1.00k" },	 { 1234, "1.23k" },
		{ 12345, "12.3k" },  { 99999, "100k" },	 { 999499, "999k" },
		{ 999500, "1.00M" }, { 2.5e9, "2.50G" }, { 18e18, "18.0E" },
	};
	char text[FIGURE_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
		assert_string_equal(figure(figures[i].n, text),
				    figures[i].text);
}

static void the_same_output_is_shown_once(void **state)
{
	static const char *const lines[] = { "3: b", "0: a",   "1: a", "12: b",
					     "0: x", "1: x y", "2:" };
	struct fold *f = fold_new();
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(fold_add(f, lines[i]), 0);
	assert_int_equal(fold_add(f, "no rank"), -EINVAL);
	assert_int_equal(fold_add(f, ": x"), -EINVAL);
	assert_int_equal(fold_add(f, "99999999999: x"), -EINVAL);
	fold_print(f, to);
	fclose(to);
	fold_free(f);
	assert_string_equal(text, "---- 0 ----\na\nx\n---- 1 ----\na\nx y\n"
				  "---- 2 ----\n\n---- 3,12 ----\nb\n");
}

static void what_srun_says_of_a_status_is_noise(void **state)
{
	assert_true(relay_is_noise(
		"srun: error: n1: task 0: Exited with exit code 1\n", false));
	assert_false(relay_is_noise("srun: error: Unable to confirm "
				    "allocation for job 9: Invalid job id\n",
				    true));
	assert_false(
		relay_is_noise("n1: task 0: Exited with exit code 1\n", true));
}

static void so_is_what_slurm_says_of_a_step_that_we_ended(void **state)
{
	static const char *const lines[] = {
		"slurmstepd-n1: error: *** STEP 1.7 ON n1 CANCELLED AT 2026-11-22T10:48:32 ***\n",
		"slurmstepd: error: *** STEP 1.7 ON n1 CANCELLED AT 2026-11-22T10:48:32 ***\n",
		"srun: Job step aborted: Waiting up to 7 seconds for job step to finish.\n",
		"srun: error: Timed out waiting for job step to complete\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_true(relay_is_noise(lines[i], true));
		assert_false(relay_is_noise(lines[i], false));
	}
	assert_false(relay_is_noise("said: error: *** STEP 1 ***\n", true));
}

/* -- leaving a console ----------------------------------------------------- */

static struct escape escape;

/* What goes to the guest of what is typed. */
static const char *typed(const char *text, enum escape_end want)
{
	static char out[64];
	size_t taken, len;

	assert_int_equal(
		escape_take(&escape, text, strlen(text), &taken, out, &len),
		want);
	if (want == ESCAPE_ALL)
		assert_int_equal(taken, strlen(text));
	out[len] = '\0';
	return out;
}

static void an_escape_is_at_the_beginning_of_a_line(void **state)
{
	memset(&escape, 0, sizeof(escape));
	assert_string_equal(typed("a~.b", ESCAPE_ALL), "a~.b");
	assert_string_equal(typed("\r~", ESCAPE_ALL), "\r");
	assert_string_equal(typed("x~.", ESCAPE_ALL), "~x~.");
	assert_string_equal(typed("\n~~.", ESCAPE_ALL), "\n~.");
	assert_string_equal(typed("\r~?", ESCAPE_HELP), "\r");
	assert_string_equal(typed("~", ESCAPE_ALL), "");
	assert_string_equal(typed("\r", ESCAPE_ALL), "~\r");
	assert_string_equal(typed("ls\r~.more", ESCAPE_LEAVE), "ls\r");
	memset(&escape, 0, sizeof(escape));
	assert_string_equal(typed("~.", ESCAPE_LEAVE), "");
}

static void words_for_sshs_proxy_stay_whole(void **state)
{
	char text[32];

	assert_int_equal(ssh_quote("", text, sizeof(text)), 0);
	assert_string_equal(text, "''");
	assert_int_equal(ssh_quote("a b$c", text, sizeof(text)), 0);
	assert_string_equal(text, "'a b$c'");
	assert_int_equal(ssh_quote("it's 5%h", text, sizeof(text)), 0);
	assert_string_equal(text, "'it'\\''s 5%%h'");
	assert_int_equal(ssh_quote("'%'", text, sizeof(text)), 0);
	assert_string_equal(text, "''\\''%%'\\'''");
	assert_int_equal(ssh_quote("abc", text, 5), -E2BIG);
	assert_int_equal(ssh_quote("abc", text, 6), 0);
}

/* What @show writes to a terminal of @o, which it frees. */
static const char *shown(ops_show_fn show, json_t *o)
{
	static char text[1024];
	int own = dup(STDOUT_FILENO), master, slave;
	size_t len = 0;
	ssize_t n = 1;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	fflush(stdout);
	dup2(slave, STDOUT_FILENO);
	show("0", o);
	puts("END");
	fflush(stdout);
	dup2(own, STDOUT_FILENO);
	for (*text = '\0'; n > 0 && !strstr(text, "END"); len += (size_t)n) {
		n = read(master, text + len, sizeof(text) - 1 - len);
		assert_true(n > 0);
		text[len + (size_t)n] = '\0';
	}
	close(own);
	close(master);
	close(slave);
	json_decref(o);
	return text;
}

#define EVIL                 \
	"\x1b]0;x\a\xc2\x9b" \
	"2J"

static void show_event(const char *rank, const json_t *o)
{
	events_show(false, EVIL, o);
}

static void show_log(const char *rank, const json_t *o)
{
	events_show(true, EVIL, o);
}

static void no_words_of_a_guest_rule_a_terminal(void **state)
{
	const struct {
		ops_show_fn show;
		json_t *result;
	} rows[] = {
		{ op_show, json_pack("{s:s}", EVIL, EVIL) },
		{ ps_show, json_pack("{s:{s:s}}", "guest", "os", EVIL) },
		{ recv_show, json_pack("[{s:s}]", "data", EVIL "\n" EVIL) },
		{ recv_show, json_pack("[{s:[s]}]", "data", EVIL) },
		{ store_show_keys, json_pack("{s:{s:i}}", "keys", EVIL, 1) },
		{ kernel_show_list, json_pack("{s:[{s:s, s:s}]}", "kernels",
					      "kernel", EVIL, "where", EVIL) },
		{ kernel_show_ops,
		  json_pack("{s:[{s:s, s:s, s:s}]}", "ops", "op", EVIL, "help",
			    EVIL, "params", EVIL) },
		{ snapshot_show_list, json_pack("{s:[{s:s, s:s}]}", "snapshots",
						"name", EVIL, "desc", EVIL) },
		{ show_event, json_pack("{s:s, s:s, s:[s]}", "kind", EVIL, EVIL,
					EVIL, "x", EVIL) },
		{ show_log, json_pack("{s:s, s:s, s:i}", "kind", EVIL, "text",
				      EVIL, "rank", 0) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *text = shown(rows[i].show, rows[i].result);

		if (strchr(text, '\x1b') || strchr(text, '\a') ||
		    strstr(text, "\xc2\x9b") || !strstr(text, "2J"))
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_come_before_and_behind_the_command),
		cmocka_unit_test(an_argument_may_be_left_out_where_it_may),
		cmocka_unit_test(what_is_not_known_is_refused),
		cmocka_unit_test(a_command_for_a_guest_keeps_its_words),
		cmocka_unit_test(the_same_output_is_shown_once),
		cmocka_unit_test(what_srun_says_of_a_status_is_noise),
		cmocka_unit_test(so_is_what_slurm_says_of_a_step_that_we_ended),
		cmocka_unit_test(help_needs_no_command),
		cmocka_unit_test(a_shell_gets_the_words_that_parse),
		cmocka_unit_test(a_step_is_named_by_job_and_number),
		cmocka_unit_test(nodes_are_those_of_steps_that_run_commands),
		cmocka_unit_test(
			a_job_is_forgotten_but_for_slurms_configuration),
		cmocka_unit_test(figures_take_five_columns),
		cmocka_unit_test(an_escape_is_at_the_beginning_of_a_line),
		cmocka_unit_test(words_for_sshs_proxy_stay_whole),
		cmocka_unit_test(no_words_of_a_guest_rule_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
