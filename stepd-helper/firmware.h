/* firmware.h - the UEFI of this node, as its package describes it
 *
 * QEMU's own way to find one (docs/interop/firmware.json): each build is told
 * of by a JSON file in /etc/qemu/firmware or /usr/share/qemu/firmware. The
 * first by name that fits is taken; a file of the first directory hides one of
 * the same name in the second.
 */
#ifndef VMSTEP_FIRMWARE_H
#define VMSTEP_FIRMWARE_H

#include "errmsg.h"

#define FIRMWARE_DIRS "/etc/qemu/firmware:/usr/share/qemu/firmware"

struct firmware {
	char *code, *vars; /* owned; paths: the code, its variables at first */
	char *code_format, *vars_format; /* owned; QEMU's drivers */
};

/* One for x86-64 machine type @machine that keeps variables and asks for no
 * SMM. @dirs: with ':' between. On failure @ret is empty. */
int firmware_find(const char *dirs, const char *machine, struct firmware *ret,
		  struct errmsg *err);
void firmware_done(struct firmware *f);

/* A copy of its variables in a file without a name in @dir: its descriptor, or
 * -errno. */
int firmware_vars(const struct firmware *f, const char *dir,
		  struct errmsg *err);

#endif
