/* hostsfile.h - our lines in /etc/hosts, between two marks
 *
 * The rest of the file is the guest's and stays as it is. The file is replaced
 * by rename, so nobody sees half of it; where it cannot be (it is a mount), it
 * is written in place. Lines that are there already are not written again.
 */
#ifndef VMSTEP_HOSTSFILE_H
#define VMSTEP_HOSTSFILE_H

#include "errmsg.h"

/* @lines: as they shall stand, the last one with or without its newline; ""
 * takes the block out. Returns 0 or -errno with words. */
int hostsfile_set(const char *path, const char *lines, struct errmsg *err);

#endif
