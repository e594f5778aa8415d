/* vmop.h - vmop(1): ops of a guest's programs
 */
#ifndef VMSTEP_VMOP_H
#define VMSTEP_VMOP_H

/* Its main(). */
int vmop_main(int argc, char **argv);

#endif
