/* analyze.h - what gcc's and clang's analyzers cannot know of one file
 *
 * contrib/analyze has them include it first. They look at one file at a time,
 * so what a function of another file promises is told here; nothing of this
 * is ever built.
 */
#ifndef VMSTEP_ANALYZE_H
#define VMSTEP_ANALYZE_H

#include <stddef.h>
#include <sys/queue.h>

/* LIST_REMOVE() changes the head through the element's le_prev, and TAILQ_ and
 * STAILQ_ have the like, which the analyzers do not follow: to them an element
 * that was removed and freed is the first for ever, and is used again. So the
 * first is any that there may be. */
void *analyze_any(const void *at);
#define ANALYZE_FIRST(at) ((__typeof__(at))analyze_any(&(at)))
#undef LIST_FIRST
#define LIST_FIRST(head) ANALYZE_FIRST((head)->lh_first)
#undef SLIST_FIRST
#define SLIST_FIRST(head) ANALYZE_FIRST((head)->slh_first)
#undef STAILQ_FIRST
#define STAILQ_FIRST(head) ANALYZE_FIRST((head)->stqh_first)
#undef TAILQ_FIRST
#define TAILQ_FIRST(head) ANALYZE_FIRST((head)->tqh_first)

/* errmsg_set() and the like return the code that they are given, and no
 * failure is 0 or more, but where 0 is written: then the words are wanted. */
#ifdef ANALYZE_ERRMSG
#include "errmsg.h"

#define ANALYZE_FAILED(call, code)                                        \
	({                                                                \
		int code_ = (code);                                       \
		(void)(call);                                             \
		if (code_ > 0 || (!code_ && !__builtin_constant_p(code))) \
			__builtin_unreachable();                          \
		code_;                                                    \
	})
#define errmsg_set(err, code, ...) \
	ANALYZE_FAILED(errmsg_set(err, code, __VA_ARGS__), code)
#define errmsg_say(err, code, ...) \
	ANALYZE_FAILED(errmsg_say(err, code, __VA_ARGS__), code)
#define errmsg_prefix(err, code, ...) \
	ANALYZE_FAILED(errmsg_prefix(err, code, __VA_ARGS__), code)
#endif

/* A test goes on only if what it asserts is so. */
#ifdef ANALYZE_CMOCKA
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

_Noreturn void _fail(const char *file, int line);
_Noreturn void _skip(const char *file, int line);
#define ANALYZE_HOLDS(c) ((c) ? (void)0 : abort())
#undef assert_true
#define assert_true(c) ANALYZE_HOLDS(c)
#undef assert_false
#define assert_false(c) ANALYZE_HOLDS(!(c))
#undef assert_non_null
#define assert_non_null(p) ANALYZE_HOLDS(p)
#undef assert_null
#define assert_null(p) ANALYZE_HOLDS(!(p))
#undef assert_int_equal
#define assert_int_equal(a, b) \
	ANALYZE_HOLDS((LargestIntegralType)(a) == (LargestIntegralType)(b))
#endif

#endif
