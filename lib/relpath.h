/* relpath.h - the way from a directory to a file */
#ifndef VMSTEP_RELPATH_H
#define VMSTEP_RELPATH_H

/* The path to @target from directory @dir, both absolute and without links, as
 * in "../images/a"; to be freed, NULL without memory. */
char *relpath(const char *dir, const char *target);

#endif
