/* ssh.h - vmstep ssh: log in to a guest without any port of its network
 *
 * OpenSSH's own client, which talks to an sshd that the guest's agent starts
 * for this connection (ProxyCommand is `vmstep ssh --proxy`, an exec). Key and
 * host key are the step's, by sys.ssh; they are in no file.
 */
#ifndef VMSTEP_CLI_SSH_H
#define VMSTEP_CLI_SSH_H

#include <limits.h>
#include <stddef.h>

#include "command.h"

extern const struct cmd_option ssh_options[];

int ssh_run(const struct invocation *inv);

/* ssh's ProxyCommand to the guest of @rank, whose public host key is @host_key:
 * as in its configuration, for a shell. */
#define SSH_PROXY_MAX (PATH_MAX + 1024)
int ssh_proxy(const struct invocation *inv, const char *step, const char *rank,
	      const char *host_key, char ret[SSH_PROXY_MAX],
	      struct errmsg *err);

/* @word for the shell that runs ssh's ProxyCommand, at @to: in single
 * quotes, and % twice. -E2BIG. For tests, too. */
int ssh_quote(const char *word, char *to, size_t size);

#endif
