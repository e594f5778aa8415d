/* splice.h - standard input into a socket, and the socket to standard output */
#ifndef VMSTEP_CLI_SPLICE_H
#define VMSTEP_CLI_SPLICE_H

/* Until the other end of @sock is closed, or standard output is. After the end
 * of standard input the socket is read on. 0 or -errno. */
int splice_run(int sock);

#endif
