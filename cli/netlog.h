/* netlog.h - the lines of vmstep-net's log on this node
 *
 * Owns:   the file. Thread: the loop's.
 */
#ifndef VMSTEP_CLI_NETLOG_H
#define VMSTEP_CLI_NETLOG_H

#include "loop.h"

struct netlog;

/* Each line of net.log in @dir, and with @l (NULL: no) each that is added. *ret
 * is NULL where there is no such log: it goes to a file of the user's. */
typedef void (*netlog_fn)(long long time_ms, const char *words, void *arg);
int netlog_open(struct loop *l, const char *dir, netlog_fn fn, void *arg,
		struct netlog **ret);
void netlog_free(struct netlog *n); /* NULL is fine */

/* "1700000000.123 vmstep: words": 0, or -EINVAL. @line is changed. */
int netlog_parse(char *line, long long *ret_ms, const char **ret_words);

#endif
