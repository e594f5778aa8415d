/* tty.h - our own terminal, where there is one
 *
 * srun --pty gave a task one; a user of vmstep exec -t has one.
 * The guest has a terminal of its own with all line editing, so ours, between
 * srun's and that one, must pass every byte as it is.
 */
#ifndef VMSTEP_TTY_H
#define VMSTEP_TTY_H

#include <stdbool.h>
#include <sys/ioctl.h>

/* Are stdin and stdout terminals? */
bool tty_is_there(void);
/* Of stdin; 24 x 80 where it has none. */
void tty_size(struct winsize *ret);
void tty_raw(void);
void tty_restore(void); /* nothing happens unless tty_raw() did */

#endif
