#include <config.h>

#include "relay.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "command.h"
#include "log.h"
#include "rankset.h"
#include "value.h"

/* -- folding --------------------------------------------------------------- */

struct said {
	struct said *next;
	uint32_t rank;
	char *text;
	size_t len;
	bool shown;
};

struct fold {
	struct said *all; /* by rank */
};

struct fold *fold_new(void)
{
	return calloc(1, sizeof(struct fold));
}

void fold_free(struct fold *f)
{
	if (!f)
		return;
	while (f->all) {
		struct said *s = f->all;

		f->all = s->next;
		free(s->text);
		free(s);
	}
	free(f);
}

static struct said *said_of(struct fold *f, uint32_t rank)
{
	struct said **at = &f->all, *s;

	while (*at && (*at)->rank < rank)
		at = &(*at)->next;
	if (*at && (*at)->rank == rank)
		return *at;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->text = strdup("");
	if (!s->text) {
		free(s);
		return NULL;
	}
	s->rank = rank;
	s->next = *at;
	*at = s;
	return s;
}

int fold_add(struct fold *f, const char *line)
{
	size_t digits = strspn(line, "0123456789"), len;
	char number[16];
	unsigned long rank;
	struct said *s;
	char *more;

	if (!digits || digits >= sizeof(number) || line[digits] != ':')
		return -EINVAL;
	memcpy(number, line, digits);
	number[digits] = '\0';
	if (value_uint(number, 0, RANK_MAX, &rank, NULL) < 0)
		return -EINVAL;
	line += digits + 1;
	line += *line == ' ';
	len = strlen(line);
	s = said_of(f, (uint32_t)rank);
	more = s ? realloc(s->text, s->len + len + 2) : NULL;
	if (!more)
		return -ENOMEM;
	s->text = more;
	memcpy(more + s->len, line, len);
	memcpy(more + s->len + len, "\n", 2);
	s->len += len + 1;
	return 0;
}

static void print_group(struct said *first, FILE *to)
{
	_cleanup_free_ char *ranks = NULL;
	struct rankset set = { 0 };

	for (struct said *s = first; s; s = s->next)
		if (!s->shown && strcmp(s->text, first->text) == 0) {
			s->shown = true;
			rankset_add(&set, s->rank, s->rank);
		}
	ranks = rankset_text(&set);
	fprintf(to, "---- %s ----\n%s", ranks ? ranks : "?", first->text);
	rankset_done(&set);
}

void fold_print(const struct fold *f, FILE *to)
{
	for (struct said *s = f->all; s; s = s->next)
		if (!s->shown)
			print_group(s, to);
}

/* -- the child ------------------------------------------------------------- */

/* The beginning of what Slurm says by itself: one is whole in the first @len
 * bytes of @line, or may become it. */
static bool may_be_slurms(const char *line, size_t len)
{
	static const char *const marks[] = { "srun: ", "slurmstepd" };

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		size_t n = strlen(marks[i]);

		if (strncmp(line, marks[i], len < n ? len : n) == 0)
			return true;
	}
	return false;
}

/* What comes of it that we had the step end. */
static bool is_farewell(const char *line)
{
	static const char *const begins[] = {
		"srun: Job step aborted",
		"srun: error: Timed out waiting for job step",
	};

	for (size_t i = 0; i < ARRAY_SIZE(begins); i++)
		if (strncmp(line, begins[i], strlen(begins[i])) == 0)
			return true;
	return strstr(line, ": error: *** STEP ");
}

bool relay_is_noise(const char *line, bool ended)
{
	if (!may_be_slurms(line, strlen(line)))
		return false;
	if (ended && is_farewell(line))
		return true;
	return strncmp(line, "srun: ", 6) == 0 &&
	       (strstr(line, ": Exited with exit code ") ||
		strstr(line, ": Terminated") ||
		strncmp(line, "srun: Terminating StepId", 24) == 0 ||
		strncmp(line, "srun: launch/slurm:", 19) == 0);
}

static volatile sig_atomic_t child, reader, told;

/* srun would only say its state at SIGINT; at SIGTERM it has the commands end,
 * which get it. */
static void pass_on(int sig)
{
	told = sig;
	if (reader > 0)
		kill((pid_t)reader, SIGUSR1);
	if (child > 0)
		kill((pid_t)child, SIGTERM);
}

static void watch_signals(void)
{
	struct sigaction sa = { .sa_handler = pass_on, .sa_flags = SA_RESTART };

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGQUIT, &sa, NULL);
}

/* A process group of its own keeps a terminal's SIGINT from it, unless it is to
 * read that terminal. */
static void become(const char *const *argv, int out, int err)
{
	signal(SIGPIPE, SIG_DFL);
	if (!isatty(STDIN_FILENO))
		setpgid(0, 0);
	if ((out >= 0 && dup2(out, STDOUT_FILENO) < 0) ||
	    dup2(err, STDERR_FILENO) < 0)
		_exit(EXIT_NOT_RUN);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "vmstep: %s: %s\n", argv[0], strerror(errno));
	_exit(EXIT_NOT_RUN);
}

static void read_lines(int fd, struct fold *f)
{
	_cleanup_fclose_ FILE *in = fdopen(fd, "r");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (in && getline(&line, &size, in) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (fold_add(f, line) < 0)
			printf("%s\n", line);
	}
}

/* Standard error goes on byte for byte, but what may be Slurm's own, which is
 * looked at as a line. */
struct sieve {
	char line[1024]; /* that may be noise */
	size_t len;
	bool inside; /* a line that is none */
};

static void put(const char *data, size_t len)
{
	fwrite(data, 1, len, stderr);
}

static void sieve_byte(struct sieve *s, char byte)
{
	if (s->inside) {
		put(&byte, 1);
		s->inside = byte != '\n';
		return;
	}
	s->line[s->len++] = byte;
	if (may_be_slurms(s->line, s->len) && byte != '\n' &&
	    s->len < sizeof(s->line) - 1)
		return;
	s->line[s->len] = '\0';
	if (byte != '\n' || !relay_is_noise(s->line, told))
		put(s->line, s->len);
	s->inside = byte != '\n';
	s->len = 0;
}

static void sieve_errors(int fd)
{
	struct sieve s = { .len = 0 };
	char data[16384];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		for (ssize_t i = 0; i < n; i++)
			sieve_byte(&s, data[i]);
		fflush(stderr);
	}
	put(s.line, s.len);
	fflush(stderr);
}

static void hear_of_end(int sig)
{
	told = sig;
}

/* By a child of its own: the output is looked at, or waited for, here. */
static pid_t read_errors(int fd, int other)
{
	static char buffer[16384];
	pid_t pid;

	signal(SIGUSR1, hear_of_end); /* before anybody can tell it */
	pid = fork();
	if (pid == 0) {
		signal(SIGTERM, SIG_IGN); /* it ends when the writer does */
		signal(SIGINT, SIG_IGN);
		if (other >= 0)
			close(other);
		setvbuf(stderr, buffer, _IOFBF, sizeof(buffer));
		sieve_errors(fd);
		_exit(0);
	}
	signal(SIGUSR1, SIG_DFL);
	return pid;
}

static int status_of(int wstatus)
{
	if (told)
		return 128 + (int)told;
	return WIFEXITED(wstatus) ? WEXITSTATUS(wstatus)
				  : 128 + WTERMSIG(wstatus);
}

int relay_run(const char *const *argv, bool fold)
{
	struct fold *f = fold ? fold_new() : NULL;
	int out[2] = { -1, -1 }, err[2], wstatus = 0;

	if (pipe(err) < 0 || (fold && (!f || pipe(out) < 0))) {
		log_err("pipe: %m");
		fold_free(f);
		return EXIT_NOT_RUN;
	}
	fflush(stdout);
	child = fork();
	if (child == 0) {
		close(err[0]);
		if (out[0] >= 0)
			close(out[0]);
		become(argv, out[1], err[1]);
	}
	close(err[1]);
	if (out[1] >= 0)
		close(out[1]);
	watch_signals();
	reader = read_errors(err[0], out[0]);
	close(err[0]);
	if (fold)
		read_lines(out[0], f);
	while (waitpid((pid_t)child, &wstatus, 0) < 0 && errno == EINTR)
		;
	while (waitpid((pid_t)reader, NULL, 0) < 0 && errno == EINTR)
		;
	if (fold)
		fold_print(f, stdout);
	fold_free(f);
	return fflush(stdout) == 0 ? status_of(wstatus) : EXIT_FAILED;
}
