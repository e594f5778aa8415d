/* hosts.h - vmstep hosts: the step's guests for what takes a list of hosts
 *
 * As /etc/hosts has them, as mpirun's --hostfile does, and as ssh_config(5)
 * does, so that scp, rsync and editors find them; for these the step's key has
 * to be in a file, which `vmstep ssh` does without.
 */
#ifndef VMSTEP_CLI_HOSTS_H
#define VMSTEP_CLI_HOSTS_H

#include "command.h"

extern const struct cmd_option hosts_options[];

int hosts_run(const struct invocation *inv);

#endif
