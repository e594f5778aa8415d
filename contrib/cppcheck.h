/* cppcheck.h - what cppcheck has to be told; contrib/analyze has it read this
 * before each file
 *
 * It reads no system header, but for jansson.h and sys/queue.h, whose macros
 * are as much as syntax; contrib/analyze finds them for it.
 */

/* For cleanup.h, which it knows nothing about: what ends with its scope is no
 * leak, as what is static is none; and taking it is using it. */
#define VMSTEP_CLEANUP_H
#define _cleanup_(f)	 static
#define _cleanup_free_	 static
#define _cleanup_close_	 static
#define _cleanup_fclose_ static
#define TAKE_PTR(p)	 analyze_take(p)
#define TAKE_FD(fd)	 analyze_take(fd)
#define ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))

/* Its gnu.cfg says that the address must not be NULL. */
#define accept4(fd, addr, len, flags) analyze_accept(fd)

/* Of cmocka.h: a test goes on only if what it asserts is so. */
#define assert_true(c)		   ((c) ? (void)0 : abort())
#define assert_false(c)		   ((c) ? abort() : (void)0)
#define assert_non_null(p)	   ((p) ? (void)0 : abort())
#define assert_null(p)		   ((p) ? abort() : (void)0)
#define assert_int_equal(a, b)	   ((a) == (b) ? (void)0 : abort())
#define assert_int_not_equal(a, b) ((a) != (b) ? (void)0 : abort())
