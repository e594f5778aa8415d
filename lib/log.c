#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "plain.h"

#define LINE_MAX_BYTES 2048

static struct {
	char tag[128];
	int fd, file_fd;
	enum log_level level, file_level;
	log_sink_fn sink; /* NULL: none */
	void *sink_arg;
} logger = { .fd = STDERR_FILENO, .file_fd = -1, .level = LOG_LEVEL_INFO };

void log_setup(const char *tag, int fd, enum log_level level)
{
	snprintf(logger.tag, sizeof(logger.tag), "%s", tag);
	logger.fd = fd;
	logger.level = level;
}

void log_to_file(int fd, enum log_level level)
{
	logger.file_fd = fd;
	logger.file_level = level;
}

void log_to_sink(log_sink_fn fn, void *arg)
{
	logger.sink = fn;
	logger.sink_arg = arg;
}

static void tell_sink(enum log_level level, const char *words)
{
	log_sink_fn fn = logger.sink;

	logger.sink = NULL;
	fn(level, words, logger.sink_arg);
	logger.sink = fn;
}

/* One write a line, so that lines of several tasks do not mix. */
static void write_line(int fd, const char *line, size_t len)
{
	while (len) {
		ssize_t n = write(fd, line, len);

		if (n <= 0)
			return; /* nobody left to tell */
		line += n;
		len -= (size_t)n;
	}
}

/* The words, with their newline at the end if they have one, as one line that
 * is harmless to a terminal: some are a guest's or a peer's. */
__attribute__((format(printf, 3, 0))) static size_t
put_words(char *line, size_t size, const char *fmt, va_list ap)
{
	char words[LINE_MAX_BYTES];
	size_t len;

	vsnprintf(words, sizeof(words), fmt, ap);
	len = strlen(words);
	if (len && words[len - 1] == '\n')
		words[len - 1] = '\0';
	return plain_line(words, line, size);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = { "error: ", "warning: ", "", "" };
	char line[LINE_MAX_BYTES];
	struct timespec ts;
	va_list ap;
	int stamp, n;
	size_t len, words;

	bool to_file = logger.file_fd >= 0 && level <= logger.file_level;

	if (level > logger.level && !to_file && !logger.sink)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	stamp = snprintf(line, sizeof(line), "%lld.%03ld ",
			 (long long)ts.tv_sec, ts.tv_nsec / 1000000);
	n = snprintf(line + stamp, sizeof(line) - (size_t)stamp,
		     "vmstep: %s%s%s", logger.tag, logger.tag[0] ? ": " : "",
		     names[level]);
	len = (size_t)(stamp + n);
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	words = len;
	va_start(ap, fmt);
	len += put_words(line + len, sizeof(line) - 1 - len, fmt, ap);
	va_end(ap);
	if (logger.sink)
		tell_sink(level, line + words);
	line[len++] = '\n';
	if (level <= logger.level)
		write_line(logger.fd, line + stamp, len - (size_t)stamp);
	if (to_file)
		write_line(logger.file_fd, line, len);
}

bool log_limit_pass(struct log_limit *limit)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (ts.tv_sec != limit->second) {
		unsigned int kept_back = limit->kept_back;

		*limit = (struct log_limit){ .second = ts.tv_sec };
		if (kept_back)
			log_warn("%u more lines like the last were kept back",
				 kept_back);
	}
	if (limit->said < 5) {
		limit->said++;
		return true;
	}
	limit->kept_back++;
	return false;
}
