/* copylocal.h - a file or directory of this node, as a copy's stream and back
 *
 * Blocking; each in a process of its own (cp.c). The paths are the user's; "-"
 * is standard input or output.
 */
#ifndef VMSTEP_CLI_COPYLOCAL_H
#define VMSTEP_CLI_COPYLOCAL_H

/* Send @path to @fd: a copyhead, and the data. An EXIT_ status; what went wrong
 * has been said: in the stream where nothing else was. */
int copylocal_send(const char *path, int fd);

/* Receive a stream from @fd to @path. What is not whole is not left. An EXIT_
 * status; what went wrong has been said. */
int copylocal_receive(int fd, const char *path);

#endif
