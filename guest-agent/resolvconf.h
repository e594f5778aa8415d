/* resolvconf.h - the step's name server, where the guest has none
 *
 * A guest whose address comes from us and not by DHCP has no name server
 * either. A file that names one, and a link, which is some resolver's own, are
 * left alone.
 */
#ifndef VMSTEP_RESOLVCONF_H
#define VMSTEP_RESOLVCONF_H

#include "errmsg.h"

/* @servers: one or more, with spaces between.
 * @domain: to look names up in, too; NULL or "": none. Returns 0 or -errno with
 * words. */
int resolvconf_set(const char *path, const char *servers, const char *domain,
		   struct errmsg *err);

#endif
