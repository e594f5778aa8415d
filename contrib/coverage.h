/* coverage.h - in all C files that contrib/coverage builds
 *
 * A child that ends by _exit(), as one does after fork() without exec, writes
 * what it has counted. (gcc's library does that before exec and at exit().)
 */
#ifndef VMSTEP_COVERAGE_H
#define VMSTEP_COVERAGE_H

void __gcov_dump(void);
void libc_exit(int status) __asm__("_exit") __attribute__((noreturn));

static inline __attribute__((noreturn, unused)) void counted_exit(int status)
{
	__gcov_dump();
	libc_exit(status);
}

#define _exit counted_exit

#endif
