/* log.h - one line a message, written at the edge of a program
 *
 * Only programs log; what they are made of returns words instead (errmsg.h).
 * A line is "vmstep: vm[3]@node07: text"; the tag is set once. A message is
 * one line whatever is in it: control characters are shown as \xNN (plain.h),
 * for the words of a guest or a peer get here, too.
 *   err    we gave up        warn   we carry on and say so
 *   info   once a life event debug  free
 * Lines of level info and above that one call site may repeat because of what
 * a guest or peer does use log_limited().
 */
#ifndef VMSTEP_LOG_H
#define VMSTEP_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* Write to @fd (borrowed; stderr to begin with) what is at @level or more
 * urgent. */
void log_setup(const char *tag, int fd, enum log_level level);
/* And what is at @level or more urgent, with the time, to @fd (borrowed), a
 * log file; -1: none. */
void log_to_file(int fd, enum log_level level);

/* And every line, of any level, to @fn, without tag and newline; NULL: to
 * nobody. What @fn logs itself does not come back to it. */
typedef void (*log_sink_fn)(enum log_level level, const char *words, void *arg);
void log_to_sink(log_sink_fn fn, void *arg);

void log_at(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_err(...)   log_at(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* At most five a second from this call site; then counts, and says how many
 * it kept back with the next line that passes. */
struct log_limit {
	long second;
	unsigned int said, kept_back;
};
bool log_limit_pass(struct log_limit *limit);
#define log_limited(level, ...)                          \
	do {                                             \
		static __thread struct log_limit limit_; \
		if (log_limit_pass(&limit_)) {           \
			log_at(level, __VA_ARGS__);      \
		}                                        \
	} while (0)

#endif
