#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "cleanup.h"
#include "imagespec.h"

static void test_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "", "path or name is empty" },
		{ ",ctl=c", "path or name is empty" },
		{ "a,", "'' behind a comma" },
		{ "a,b", "'b' behind a comma is not of the form" },
		{ "a,,,b", "'b' behind a comma" },
		{ "a,colour=red", "no key 'colour'" },
		{ "a,CTL=c", "no key 'CTL'" },
		{ "a,fmt=qcow", "fmt=: 'qcow' is none of" },
		{ "a,format=", "format=: '' is none of" },
		{ "a,if=floppy", "if=: 'floppy'" },
		{ "a,media=tape", "media=: 'tape'" },
		{ "a,cache=all", "cache=: 'all'" },
		{ "a,readonly=maybe", "readonly=: 'maybe'" },
		{ "a,serial=", "1 to 20 characters" },
		{ "a,size=1G", "size= is for a disk that is made" },
		{ "a,ctl=w,size=big", "size=: 'big'" },
		{ "a,overlay=big", "overlay=: 'big'" },
		{ "a,overlay=15M", "16M is the least" },
		{ "a,serial=123456789012345678901", "1 to 20 characters" },
		{ "a,ctl=x", "there is no flag 'x': use some of cjrdJRDpsw" },
		{ "a,ctl=c,,", "there is no flag ','" },
		{ "a,mvpctl=C", "there is no flag 'C'" },
		{ "a,ctl=j", "ctl=j: j, r and d are about the copy" },
		{ "a,ctl=r", "add c" },
		{ "a,ctl=d", "add c" },
		{ "a,ctl=wc", "ctl=cw: c is there so that" },
		{ "a,ctl=w,mvpctl=p", "ctl=pw: w writes to the image" },
		{ "a,ctl=sw", "take one of them out" },
		{ "a,ctl=w,readonly=on", "take one of them out" },
		{ "a,ctl=w,media=cdrom", "take one of them out" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct errmsg err = { "" };
		struct imagespec s;

		assert_int_equal(imagespec_parse(bad[i].text, &s, &err),
				 -EINVAL);
		if (!strstr(err.text, bad[i].words))
			fail_msg("%s: '%s' has no '%s'", bad[i].text, err.text,
				 bad[i].words);
		assert_null(s.name);
	}
}

static void test_names(void **state)
{
	static const char *const names[][2] = {
		{ "a", "a" },
		{ "/a b/c.qcow2,ctl=c", "/a b/c.qcow2" },
		{ "a,,b", "a,b" },
		{ ",,a,,,,,ctl=p", ",a,," },
		{ "a=b,fmt=raw", "a=b" },
		{ "./file=a", "./file=a" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct imagespec s;

		assert_int_equal(imagespec_parse(names[i][0], &s, NULL), 0);
		assert_string_equal(s.name, names[i][1]);
		assert_null(s.drive);
		imagespec_done(&s);
	}
}

/* Each flag alone, and all that go together. */
static void test_ctl(void **state)
{
	static const struct {
		const char *text;
		unsigned int ctl;
	} flags[] = {
		{ "a", 0 },
		{ "a,ctl=", 0 },
		{ "a,ctl=c", CTL_COPY },
		{ "a,mvpctl=c", CTL_COPY },
		{ "a,ctl=cj", CTL_COPY | CTL_COPY_JOB },
		{ "a,ctl=rc", CTL_COPY | CTL_COPY_RANK },
		{ "a,ctl=cd", CTL_COPY | CTL_COPY_REMOVE },
		{ "a,ctl=J", CTL_JOB },
		{ "a,ctl=R", CTL_RANK },
		{ "a,ctl=D", CTL_REMOVE },
		{ "a,ctl=p", CTL_PROTECT },
		{ "a,readonly=on", CTL_PROTECT },
		{ "a,ctl=p,readonly=off", 0 },
		{ "a,media=cdrom", CTL_PROTECT },
		{ "a,ctl=s", CTL_SNAPSHOT },
		{ "a,snapshot=yes", CTL_SNAPSHOT },
		{ "a,ctl=ps", CTL_PROTECT | CTL_SNAPSHOT },
		{ "a,ctl=w", CTL_WRITE },
		{ "a,ctl=wJRD", CTL_WRITE | CTL_JOB | CTL_RANK | CTL_REMOVE },
		{ "a,ctl=cjrd",
		  CTL_COPY | CTL_COPY_JOB | CTL_COPY_RANK | CTL_COPY_REMOVE },
		{ "a,ctl=cjrdJRDps", CTL_COPY | CTL_COPY_JOB | CTL_COPY_RANK |
					     CTL_COPY_REMOVE | CTL_JOB |
					     CTL_RANK | CTL_REMOVE |
					     CTL_PROTECT | CTL_SNAPSHOT },
		{ "a,ctl=c,ctl=d", CTL_COPY | CTL_COPY_REMOVE },
		{ "a,ctl=cc", CTL_COPY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct imagespec s;
		struct errmsg err;

		if (imagespec_parse(flags[i].text, &s, &err) < 0)
			fail_msg("%s: %s", flags[i].text, err.text);
		if (s.ctl != flags[i].ctl)
			fail_msg("%s: %x", flags[i].text, s.ctl);
		imagespec_done(&s);
	}
}

static void test_keys(void **state)
{
	struct imagespec s;

	assert_int_equal(
		imagespec_parse(
			"a,fmt=vdi,if=scsi,cache=none,serial=x,,y,media=disk",
			&s, NULL),
		0);
	assert_int_equal(s.format, IMAGE_VDI);
	assert_string_equal(image_format_name(s.format), "vdi");
	assert_int_equal(s.bus, BUS_SCSI);
	assert_int_equal(s.cache, CACHE_NONE);
	assert_string_equal(s.serial, "x,y");
	assert_false(s.cdrom);
	imagespec_done(&s);
	assert_int_equal(imagespec_parse("a,media=cdrom,format=raw", &s, NULL),
			 0);
	assert_true(s.cdrom);
	assert_int_equal(s.bus, BUS_IDE);
	assert_int_equal(s.format, IMAGE_RAW);
	imagespec_done(&s);
	assert_null(image_format_name(IMAGE_UNSAID));
	assert_null(image_format_name(IMAGE_BUNDLE));
}

static void test_drive(void **state)
{
	struct imagespec s;

	assert_int_equal(imagespec_parse("file=/a,x=y,,z", &s, NULL), 0);
	assert_null(s.name);
	assert_string_equal(s.drive, "file=/a,x=y,,z");
	imagespec_done(&s);
}

static void test_tail(void **state)
{
	char tail[32];

	imagespec_tail(false, false, 12, 3, tail);
	assert_string_equal(tail, "");
	imagespec_tail(true, false, 12, 3, tail);
	assert_string_equal(tail, ".12");
	imagespec_tail(false, true, 12, 3, tail);
	assert_string_equal(tail, ".3");
	imagespec_tail(true, true, UINT32_MAX, UINT32_MAX, tail);
	assert_string_equal(tail, ".4294967295.4294967295");
}

#define TEST(text, fn)                     \
	{                                  \
		text, fn, NULL, NULL, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("what does not parse is refused with its words",
		     test_refused),
		TEST("commas, blanks and '=' in names", test_names),
		TEST("each ctl flag, alone and combined", test_ctl),
		TEST("format, bus, medium, cache and serial", test_keys),
		TEST("file=... is taken whole", test_drive),
		TEST("job and rank make a tail", test_tail),
	};

	return cmocka_run_group_tests_name("imagespec", tests, NULL, NULL);
}
