/* newfile.h - a file that is there when it is whole
 *
 * It is written without a name, or under one that begins with ".vmstep-" where
 * the file system can do no better, and is put in the place of what is there
 * when it is whole. One that is not is gone when this process is, however that
 * ends; where it has a name, unless the machine ends first.
 */
#ifndef VMSTEP_NEWFILE_H
#define VMSTEP_NEWFILE_H

#include <stdbool.h>

#define NEWFILE_NAME 32

/* A directory that is there when it is whole: meanwhile its name begins so. */
#define NEWFILE_DIR ".vmstep-save-"

struct newfile {
	int dir;		 /* borrowed */
	int fd;			 /* owned; for writing; -1: none */
	char temp[NEWFILE_NAME]; /* "": it has no name */
};

/* In directory @dir, with mode 0600. Returns 0 or -errno. */
int newfile_open(int dir, struct newfile *ret);
/* Give it its name: in place of any file or symbolic link. -EISDIR. @sync: it
 * is on the disk, too, when this returns. */
int newfile_commit(struct newfile *f, const char *name, bool sync);
void newfile_done(struct newfile *f); /* whatever is not committed goes */

/* A name that is free in @dir, most likely. */
void newfile_temp_name(char ret[NEWFILE_NAME]);

#endif
