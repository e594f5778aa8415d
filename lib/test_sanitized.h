/* test_sanitized.h - is this test slower, and hungrier, than the code is?
 *
 * SANITIZED: built for AddressSanitizer or ThreadSanitizer; UNDER_TSAN: for the
 * latter. 1 or 0.
 */
#ifndef VMSTEP_TEST_SANITIZED_H
#define VMSTEP_TEST_SANITIZED_H

#ifndef __has_feature /* clang's */
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

#if UNDER_TSAN || defined(__SANITIZE_ADDRESS__) || \
	__has_feature(address_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#endif
