#include <config.h>

#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "foreign.h"
#include "image.h"
#include "qcow2.h"

/* -- headers made by hand -------------------------------------------------- */

#define CLUSTER 65536
#define V3_LEN	104

struct header {
	uint8_t b[2 * CLUSTER];
};

static void set32(struct header *h, size_t at, uint32_t v)
{
	v = htobe32(v);
	memcpy(h->b + at, &v, sizeof(v));
}

static void set64(struct header *h, size_t at, uint64_t v)
{
	v = htobe64(v);
	memcpy(h->b + at, &v, sizeof(v));
}

/* A qcow2 of 1 GiB; @backing and @format may be NULL. */
static void make_header(struct header *h, const char *backing,
			const char *format)
{
	size_t at = V3_LEN;

	memset(h, 0, sizeof(*h));
	memcpy(h->b, "QFI\xfb", 4);
	set32(h, 4, 3);
	set32(h, 20, 16); /* cluster bits */
	set64(h, 24, 1ull << 30);
	set32(h, 100, V3_LEN);
	if (format) {
		set32(h, at, 0xe2792aca);
		set32(h, at + 4, (uint32_t)strlen(format));
		memcpy(h->b + at + 8, format, strlen(format));
		at += 8 + (strlen(format) + 7) / 8 * 8;
	}
	at += 8; /* the end of the extensions */
	if (backing) {
		set64(h, 8, at);
		set32(h, 16, (uint32_t)strlen(backing));
		memcpy(h->b + at, backing, strlen(backing));
	}
}

static int parse(const struct header *h, size_t len, struct qcow2_header *ret,
		 struct errmsg *err)
{
	/* a copy of just that size, so that a sanitizer sees one byte more */
	_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, h->b, len);
	return qcow2_parse(copy, len, ret, err);
}

static void damaged(const struct header *h, size_t len, const char *words)
{
	struct qcow2_header q;
	struct errmsg err = { "" };

	assert_int_equal(parse(h, len, &q, &err), -EINVAL);
	if (!strstr(err.text, words))
		fail_msg("'%s' has no '%s'", err.text, words);
}

static void test_no_qcow2(void **state)
{
	struct qcow2_header q;
	struct header h;

	make_header(&h, NULL, NULL);
	for (size_t len = 0; len < 72; len++)
		assert_int_equal(parse(&h, len, &q, NULL), -EILSEQ);
	h.b[3] = 0xfa;
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), -EILSEQ);
}

static void test_damaged(void **state)
{
	struct header h;

	make_header(&h, NULL, NULL);
	for (size_t len = 72; len < V3_LEN; len++)
		damaged(&h, len, "cut short");
	set32(&h, 4, 4);
	damaged(&h, CLUSTER, "version 4 is unknown");
	set32(&h, 4, 1);
	damaged(&h, CLUSTER, "version 1 is unknown");
}

static void test_bad_backing(void **state)
{
	struct header h;

	make_header(&h, "base.qcow2", NULL);
	set64(&h, 8, CLUSTER);
	damaged(&h, CLUSTER, "lies outside");
	set64(&h, 8, CLUSTER - 9);
	damaged(&h, CLUSTER, "lies outside");
	set64(&h, 8, UINT64_MAX - 4);
	damaged(&h, CLUSTER, "lies outside");
	set64(&h, 8, 200);
	set32(&h, 16, 1024);
	damaged(&h, CLUSTER, "lies outside");
	set32(&h, 16, UINT32_MAX);
	damaged(&h, CLUSTER, "lies outside");
	make_header(&h, "base.qcow2", NULL);
	set32(&h, 16, 11);
	damaged(&h, CLUSTER, "NUL byte");
}

static void test_bad_extensions(void **state)
{
	struct qcow2_header q;
	struct header h;

	make_header(&h, "b", "raw");
	set32(&h, V3_LEN + 4, UINT32_MAX); /* its length */
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), 0);
	assert_string_equal(q.backing_format, "");
	make_header(&h, "b", "a-format-of-17-by");
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), 0);
	assert_string_equal(q.backing_format, "");
	make_header(&h, "b", "raw");
	set32(&h, 100, UINT32_MAX); /* the header's length */
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), 0);
	assert_string_equal(q.backing_format, "");
	/* cut off anywhere: no byte beyond the end is read */
	make_header(&h, NULL, "raw");
	for (size_t len = V3_LEN; len < V3_LEN + 24; len++)
		assert_int_equal(parse(&h, len, &q, NULL), 0);
}

static void test_late_extension(void **state)
{
	struct qcow2_header q;
	struct header h;

	/* QEMU stops where the backing file's name begins, so what looks like
	 * an extension after it is none */
	make_header(&h, NULL, NULL);
	set64(&h, 8, V3_LEN);
	set32(&h, 16, 1);
	h.b[V3_LEN] = 0x11; /* both a name and an unknown extension */
	set32(&h, V3_LEN + 4, 0);
	set32(&h, V3_LEN + 8, 0xe2792aca);
	set32(&h, V3_LEN + 12, 3);
	memcpy(h.b + V3_LEN + 16, "raw", 3);
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), 0);
	assert_string_equal(q.backing_format, "");
	/* nor beyond the first cluster */
	make_header(&h, NULL, NULL);
	set32(&h, 20, 9);
	set32(&h, V3_LEN, 0x11111111);
	set32(&h, V3_LEN + 4, 512 - V3_LEN - 8);
	set32(&h, 512, 0xe2792aca);
	set32(&h, 516, 3);
	memcpy(h.b + 520, "raw", 3);
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), 0);
	assert_string_equal(q.backing_format, "");
}

static void test_header(void **state)
{
	struct qcow2_header q;
	struct header h;

	make_header(&h, "base.img", "raw");
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), 0);
	assert_int_equal(q.size, 1 << 30);
	assert_string_equal(q.backing, "base.img");
	assert_string_equal(q.backing_format, "raw");
	assert_false(q.external_data || q.encrypted);
	set64(&h, 72, 1 << 2);
	set32(&h, 32, 2);
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), 0);
	assert_true(q.external_data && q.encrypted);
}

static void test_version_2(void **state)
{
	struct qcow2_header q;
	struct header h;

	make_header(&h, NULL, NULL);
	set32(&h, 4, 2);
	set64(&h, 72, UINT64_MAX); /* extensions begin here in version 2 */
	assert_int_equal(parse(&h, 72, &q, NULL), 0);
	assert_int_equal(parse(&h, CLUSTER, &q, NULL), 0);
	assert_false(q.external_data);
}

/* -- files ----------------------------------------------------------------- */

struct fixture {
	char dir[64], search[256];
	struct image_place place;
	struct image im;
	struct errmsg err;
};

static const char *at(struct fixture *f, const char *name)
{
	static char path[2][256];
	static int i;

	i = !i;
	snprintf(path[i], sizeof(path[i]), "%s/%s", f->dir, name);
	return path[i];
}

static void write_bytes(struct fixture *f, const char *name, const void *bytes,
			size_t len)
{
	FILE *file = fopen(at(f, name), "we");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
}

static void write_text(struct fixture *f, const char *name, const char *text)
{
	write_bytes(f, name, text, strlen(text));
}

static void write_qcow2(struct fixture *f, const char *name,
			const char *backing, const char *format)
{
	struct header h;

	make_header(&h, backing, format);
	write_bytes(f, name, h.b, 4096);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0)
		return -1;
	snprintf(f->search, sizeof(f->search), "%s/one:%s/none::%s/two", f->dir,
		 f->dir, f->dir);
	mkdir(at(f, "one"), 0700);
	mkdir(at(f, "two"), 0700);
	f->place = (struct image_place){ .allow = "", .job = 12, .rank = 3 };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	image_done(&f->im);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	free(f);
	return system(command);
}

static int find(struct fixture *f, const char *spec)
{
	struct imagespec parsed;
	int r;

	image_done(&f->im);
	f->err.text[0] = '\0';
	r = imagespec_parse(spec, &parsed, &f->err);
	if (r < 0)
		return r;
	f->place.search = f->search;
	r = image_find(&parsed, &f->place, &f->im, &f->err);
	imagespec_done(&parsed);
	return r;
}

static void refused(struct fixture *f, const char *spec, int code,
		    const char *words)
{
	assert_int_equal(find(f, spec), code);
	if (!strstr(f->err.text, words))
		fail_msg("'%s' has no '%s'", f->err.text, words);
	assert_null(f->im.path); /* nothing is left half found */
}

static void found(struct fixture *f, const char *spec, enum image_kind kind,
		  const char *name)
{
	if (find(f, spec) < 0)
		fail_msg("%s", f->err.text);
	assert_int_equal(f->im.kind, kind);
	assert_string_equal(f->im.path, at(f, name));
}

static void test_not_there(void **state)
{
	struct fixture *f = *state;
	char words[256];

	refused(f, "/a/b", -ENOENT, "/a/b: no such image on this node");
	snprintf(words, sizeof(words),
		 "a: no such image on this node, neither in %s nor, with",
		 f->dir);
	refused(f, "a", -ENOENT, words);
	snprintf(words, sizeof(words), "./a: no such image on this node, in %s",
		 f->dir);
	refused(f, "./a", -ENOENT, words);
	symlink("nowhere", at(f, "dangling"));
	refused(f, "./dangling", -ENOENT, "no such image");
}

static void test_bad_files(void **state)
{
	struct fixture *f = *state;

	write_text(f, "empty.raw", "");
	refused(f, "./empty.raw", -EINVAL, "is empty");
	write_text(f, "text", "just some words");
	refused(f, "./text", -EINVAL, "/text,fmt=raw");
	mkfifo(at(f, "fifo.raw"), 0600);
	refused(f, "./fifo.raw", -EINVAL, "not a regular file");
	mkfifo(at(f, "fifo"), 0600);
	refused(f, "./fifo", -EINVAL, "not a regular file");
	refused(f, "/dev/null", -EINVAL, "not a regular file");
	write_text(f, "root.sqsh", "hsqs");
	refused(f, "./root.sqsh", -EINVAL, "no SquashFS header");
	mkdir(at(f, "dir"), 0700);
	refused(f, "./dir", -EINVAL, "directory without vm.conf");
}

static void test_unreadable(void **state)
{
	struct fixture *f = *state;

	if (geteuid() == 0)
		skip();
	write_qcow2(f, "a", NULL, NULL);
	chmod(at(f, "a"), 0);
	refused(f, "./a", -EACCES, "Permission denied");
	mkdir(at(f, "closed"), 0);
	refused(f, "closed/a", -EACCES, "Permission denied");
	write_qcow2(f, "over", "a", "qcow2");
	refused(f, "./over", -EACCES, "backing file of ");
	/* a closed directory of the search path hides no other */
	chmod(at(f, "one"), 0);
	write_qcow2(f, "two/b", NULL, NULL);
	found(f, "b", IMAGE_QCOW2, "two/b");
	chmod(at(f, "one"), 0700);
}

static void test_formats(void **state)
{
	struct fixture *f = *state;

	write_qcow2(f, "a", NULL, NULL);
	refused(f, "a,fmt=vmdk", -EINVAL, ": has no vmdk header");
	refused(f, "a,fmt=vdi", -EINVAL, ": has no vdi header");
	refused(f, "a,fmt=vpc", -EINVAL, ": has no vpc header");
	found(f, "a", IMAGE_QCOW2, "a");
	found(f, "a,fmt=raw", IMAGE_RAW, "a");
	write_text(f, "b.img", "QFI\xfb");
	found(f, "b.img", IMAGE_RAW, "b.img");
	refused(f, "b.img,fmt=qcow2", -EINVAL, "no qcow2 header");
	write_text(f, "c.raw", "x");
	found(f, "c.raw", IMAGE_RAW, "c.raw");
	write_text(f, "d.qcow2", "x");
	refused(f, "d.qcow2", -EINVAL, "no qcow2 header");
	write_text(f, "e.sqsh", "x");
	found(f, "e.sqsh,fmt=raw", IMAGE_RAW, "e.sqsh");
}

static void test_raw_by_either_name(void **state)
{
	struct fixture *f = *state;

	/* what is called raw is never opened as something else */
	write_qcow2(f, "store", "secret", "raw");
	symlink("store", at(f, "disk.raw"));
	found(f, "disk.raw", IMAGE_RAW, "store");
	write_qcow2(f, "store.img", "secret", "raw");
	symlink("store.img", at(f, "disk"));
	found(f, "disk", IMAGE_RAW, "store.img");
}

/* -- chains ---------------------------------------------------------------- */

static void test_backing_missing(void **state)
{
	struct fixture *f = *state;

	write_qcow2(f, "top", "gone.qcow2", "qcow2");
	refused(f, "top", -ENOENT, "gone.qcow2: No such file");
	write_qcow2(f, "top", "gone.img", "raw");
	refused(f, "top", -ENOENT, "backing file of ");
	write_qcow2(f, "top", "/", "raw");
	refused(f, "top", -EINVAL, "not a regular file");
	write_qcow2(f, "top", "/dev/zero", "raw");
	refused(f, "top", -EINVAL, "not a regular file");
}

static void test_backing_names(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {
		"json:{\"driver\":\"file\"}",
		"nbd://host/x",
		"nbd:unix:/s",
		"file:/etc/passwd",
		"fat:/home",
		"a:b",
		":",
	};
	char longest[1024];

	write_qcow2(f, "a:b", NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		write_qcow2(f, "top", bad[i], "raw");
		refused(f, "top", -EPERM, "not a plain path");
	}
	write_qcow2(f, "top", "./a:b", "qcow2");
	found(f, "top", IMAGE_QCOW2, "top");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[1023] = '\0';
	write_qcow2(f, "top", longest, "raw");
	refused(f, "top", -ENAMETOOLONG, "backing file of");
}

static void test_backing_formats(void **state)
{
	struct fixture *f = *state;

	write_text(f, "raw", "some words");
	write_qcow2(f, "top", "raw", "luks");
	refused(f, "top", -ENOTSUP, "format 'luks' is not known");
	write_qcow2(f, "top", "raw", "vmdk");
	refused(f, "top", -EINVAL, ": has no vmdk header");
	/* without a written format QEMU would guess: then it must be qcow2 */
	write_qcow2(f, "top", "raw", NULL);
	refused(f, "top", -EINVAL, "the file above it has to say so");
	write_qcow2(f, "top", "raw", "qcow2");
	refused(f, "top", -EINVAL, "no qcow2 header");
	write_qcow2(f, "top", "raw", "raw");
	found(f, "top", IMAGE_QCOW2, "top");
	write_qcow2(f, "base", NULL, NULL);
	write_qcow2(f, "top", "base", NULL);
	found(f, "top", IMAGE_QCOW2, "top");
}

static void test_loop(void **state)
{
	struct fixture *f = *state;

	write_qcow2(f, "self", "self", "qcow2");
	refused(f, "self", -ELOOP, "more than 16 backing files");
	write_qcow2(f, "a", "b", "qcow2");
	write_qcow2(f, "b", "./a", "qcow2");
	refused(f, "a", -ELOOP, "more than 16 backing files");
}

static void test_chain(void **state)
{
	struct fixture *f = *state;
	char name[32], below[32];

	write_qcow2(f, "c15", NULL, NULL);
	for (int i = 14; i >= 0; i--) {
		snprintf(name, sizeof(name), "c%d", i);
		snprintf(below, sizeof(below), "c%d", i + 1);
		write_qcow2(f, name, below, "qcow2");
	}
	found(f, "c0", IMAGE_QCOW2, "c0");
	write_qcow2(f, "c", "c0", "qcow2");
	refused(f, "c", -ELOOP, "more than 16");
}

static void test_relative(void **state)
{
	struct fixture *f = *state;

	/* a backing file's name is relative to the file that names it */
	write_qcow2(f, "one/top", "../two/mid", "qcow2");
	write_qcow2(f, "two/mid", "base", "qcow2");
	write_qcow2(f, "two/base", NULL, NULL);
	found(f, "one/top", IMAGE_QCOW2, "one/top");
	symlink("one/top", at(f, "link"));
	found(f, "link", IMAGE_QCOW2, "one/top");
	write_qcow2(f, "one/top", at(f, "two/mid"), "qcow2");
	found(f, "one/top", IMAGE_QCOW2, "one/top");
}

static void test_below(void **state)
{
	struct fixture *f = *state;
	struct header h;

	/* what is refused is refused at every depth */
	write_qcow2(f, "top", "mid", "qcow2");
	make_header(&h, NULL, NULL);
	set64(&h, 72, 1 << 2);
	write_bytes(f, "mid", h.b, 4096);
	refused(f, "top", -EPERM, "keeps its data in another file");
	make_header(&h, NULL, NULL);
	set32(&h, 32, 1);
	write_bytes(f, "mid", h.b, 4096);
	refused(f, "top", -ENOTSUP, "is encrypted");
	write_bytes(f, "mid", h.b, 80);
	refused(f, "top", -EINVAL, "cut short");
}

/* -- bundles --------------------------------------------------------------- */

static void bundle(struct fixture *f, const char *conf)
{
	mkdir(at(f, "tiny.vm"), 0700);
	write_text(f, "tiny.vm/vm.conf", conf);
}

static void test_bad_bundles(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *conf;
		int code;
		const char *words;
	} bad[] = {
		{ "", -EINVAL, "names neither kernel nor disk" },
		{ "# only words\n", -EINVAL, "names neither kernel nor disk" },
		{ "kernel", -EINVAL, "vm.conf:1: 'kernel' is not of the form" },
		{ "\n\ncolour = red", -EINVAL,
		  "vm.conf:3: unknown key 'colour'" },
		{ "kernel = gone", -ENOENT, "gone: No such file" },
		{ "kernel =", -EINVAL, "not a regular file" },
		{ "kernel = ..", -EINVAL, "not a regular file" },
		{ "kernel = ../text", -EINVAL, "not the name of a file" },
		{ "initrd = /etc/passwd", -EINVAL, "not the name of a file" },
		{ "kernel = empty", -EINVAL, "is empty" },
		{ "disk = gone", -ENOENT, "gone: No such file" },
		{ "disk = ../a", -EINVAL, "not the name of a file" },
		{ "disk = ,fmt=raw", -EINVAL, "path or name is empty" },
		{ "disk = empty,x", -EINVAL, "'x' behind a comma" },
		{ "disk = a,ctl=w", -EINVAL, "without ctl=" },
		{ "disk = file=a", -EINVAL, "without ctl=" },
		{ "mem_min = lots", -EINVAL, "'lots' is not a size" },
		{ "append = quiet", -EINVAL, "names neither kernel nor disk" },
	};

	bundle(f, "");
	write_text(f, "tiny.vm/empty", "");
	write_text(f, "text", "x");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bundle(f, bad[i].conf);
		refused(f, "./tiny.vm", bad[i].code, bad[i].words);
	}
	unlink(at(f, "tiny.vm/vm.conf"));
	mkdir(at(f, "tiny.vm/vm.conf"), 0700);
	refused(f, "./tiny.vm", -EINVAL, "names neither kernel nor disk");
}

static void test_bundle_with_comma(void **state)
{
	struct fixture *f = *state;
	struct image disk;

	bundle(f, "disk = d,fmt=raw\ndisk = e\n");
	write_text(f, "tiny.vm/d", "x");
	write_qcow2(f, "tiny.vm/e", NULL, NULL);
	assert_int_equal(rename(at(f, "tiny.vm"), at(f, "a,b,fmt=c")), 0);
	assert_int_equal(symlink("a,b,fmt=c", at(f, "tiny.vm")), 0);
	found(f, "tiny.vm", IMAGE_BUNDLE, "a,b,fmt=c");
	assert_int_equal(image_bundle_disk(&f->im, 0, &f->place, &disk, NULL),
			 0);
	assert_int_equal(disk.kind, IMAGE_RAW);
	assert_string_equal(disk.path, at(f, "a,b,fmt=c/d"));
	image_done(&disk);
	assert_int_equal(image_bundle_disk(&f->im, 1, &f->place, &disk, NULL),
			 0);
	assert_int_equal(disk.kind, IMAGE_QCOW2);
	image_done(&disk);
}

static void test_bundle(void **state)
{
	struct fixture *f = *state;
	struct image disk;

	bundle(f, "# a comment\n\n  kernel=vmlinuz\nkernel = vmlinuz2 \n"
		  "initrd = initrd\nappend = console=ttyS0 a=b # c\n"
		  "disk = d.img\ndisk = e,fmt=raw\r\nmem_min = 96M");
	write_text(f, "tiny.vm/vmlinuz", "x");
	write_text(f, "tiny.vm/vmlinuz2", "x");
	write_text(f, "tiny.vm/initrd", "x");
	write_text(f, "tiny.vm/d.img", "x");
	write_text(f, "tiny.vm/e", "x");
	found(f, "tiny.vm/", IMAGE_BUNDLE, "tiny.vm");
	assert_string_equal(f->im.kernel, at(f, "tiny.vm/vmlinuz2"));
	assert_string_equal(f->im.initrd, at(f, "tiny.vm/initrd"));
	assert_string_equal(f->im.append, "console=ttyS0 a=b # c");
	assert_int_equal(f->im.mem_min, 96 << 20);
	assert_int_equal(f->im.n_disks, 2);
	assert_int_equal(image_bundle_disk(&f->im, 1, &f->place, &disk, NULL),
			 0);
	assert_int_equal(disk.kind, IMAGE_RAW);
	assert_string_equal(disk.path, at(f, "tiny.vm/e"));
	image_done(&disk);
}

/* -- other formats ----------------------------------------------------------
 */

/* As qemu-img makes them; -1: there is none. */
static int create(struct fixture *f, const char *args)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "cd %s && qemu-img create -q %s >/dev/null", f->dir, args);
	return system(command) == 0 ? 0 : -1;
}

static void test_foreign(void **state)
{
	struct fixture *f = *state;

	if (create(f, "-f vmdk a.vmdk 64M") < 0)
		skip();
	found(f, "a.vmdk,fmt=vmdk", IMAGE_VMDK, "a.vmdk");
	refused(f, "a.vmdk", -EINVAL, "a.vmdk has no qcow2 header");
	assert_int_equal(create(f, "-f vdi a.vdi 64M"), 0);
	found(f, "a.vdi,format=vdi", IMAGE_VDI, "a.vdi");
	assert_int_equal(create(f, "-f vpc a.vhd 64M"), 0);
	found(f, "a.vhd,fmt=vpc", IMAGE_VPC, "a.vhd");
	assert_int_equal(create(f, "-f vpc -o subformat=fixed b.vhd 1M"), 0);
	found(f, "b.vhd,fmt=vpc", IMAGE_VPC, "b.vhd");
	assert_int_equal(
		create(f, "-f vmdk -o subformat=streamOptimized s.vmdk 64M"),
		0);
	found(f, "s.vmdk,fmt=vmdk", IMAGE_VMDK, "s.vmdk");
	/* and below a qcow2 */
	write_qcow2(f, "top", "a.vmdk", "vmdk");
	found(f, "top", IMAGE_QCOW2, "top");
	assert_int_equal(f->im.files.n, 2);
	assert_string_equal(f->im.files.v[1], at(f, "a.vmdk"));
}

static void test_foreign_names(void **state)
{
	struct fixture *f = *state;

	/* a descriptor, which names its extents */
	write_text(f, "text.vmdk",
		   "# Disk DescriptorFile\nRW 8 FLAT \"/etc/shadow\" 0\n");
	refused(f, "text.vmdk,fmt=vmdk", -EPERM, "names other files");
	write_qcow2(f, "top", "text.vmdk", "vmdk");
	refused(f, "top", -EPERM, "names other files");
	if (create(f, "-f vmdk base.vmdk 64M") < 0)
		skip();
	assert_int_equal(create(f, "-f vmdk -F vmdk -b base.vmdk over.vmdk"),
			 0);
	refused(f, "over.vmdk,fmt=vmdk", -EPERM, "has a parent");
	assert_int_equal(
		create(f, "-f vmdk -o subformat=monolithicFlat flat.vmdk 8M"),
		0);
	refused(f, "flat.vmdk,fmt=vmdk", -EPERM, "names other files");
}

static void refused_head(enum image_kind kind, const uint8_t *b, size_t len,
			 const uint8_t *tail, const char *words)
{
	struct errmsg err = { "" };
	/* a copy of just that size, so that a sanitizer sees one byte more */
	_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, b, len);
	assert_true(foreign_check(kind, copy, len, tail, &err) < 0);
	if (!strstr(err.text, words))
		fail_msg("'%s' has no '%s'", err.text, words);
}

static void test_foreign_heads(void **state)
{
	uint8_t b[1024] = "KDMV", tail[FOREIGN_TAIL] = "conectix";

	for (size_t len = 0; len < 79; len++)
		refused_head(IMAGE_VMDK, b, len, NULL, "has no vmdk header");
	refused_head(IMAGE_VMDK, b, sizeof(b), NULL, "keeps its data in other");
	b[12] = 1; /* a capacity */
	assert_int_equal(foreign_check(IMAGE_VMDK, b, sizeof(b), NULL, NULL),
			 0);
	memcpy(b + 1000, "parentFileNameHint=\"x", 20);
	refused_head(IMAGE_VMDK, b, sizeof(b), NULL, "has a parent");
	memcpy(b, "COWD", 4);
	refused_head(IMAGE_VMDK, b, sizeof(b), NULL, "of the old kind");
	for (size_t len = 0; len < 0x44; len++)
		refused_head(IMAGE_VDI, b, len, NULL, "has no vdi header");
	assert_int_equal(foreign_check(IMAGE_VPC, b, sizeof(b), tail, NULL), 0);
	tail[63] = 4;
	refused_head(IMAGE_VPC, b, sizeof(b), tail, "has a parent");
	memcpy(b, tail, sizeof(tail));
	refused_head(IMAGE_VPC, b, sizeof(b), NULL, "has a parent");
	refused_head(IMAGE_VPC, b, 100, NULL, "has no vpc header");
	refused_head(IMAGE_BUNDLE, b, 100, NULL, "no format known");
}

/* -- the site's word ------------------------------------------------------- */

static void test_allowed(void **state)
{
	struct fixture *f = *state;
	char allow[256];

	snprintf(allow, sizeof(allow), "/nonexistent:%s/one", f->dir);
	f->place.allow = allow;
	write_qcow2(f, "one/a", NULL, NULL);
	write_qcow2(f, "one-b", NULL, NULL);
	found(f, "one/a", IMAGE_QCOW2, "one/a");
	found(f, "two/../one/a", IMAGE_QCOW2, "one/a");
	refused(f, "one-b", -EPERM, "(allow_images)");
	symlink("../one-b", at(f, "one/out"));
	refused(f, "one/out", -EPERM, "(allow_images)");
	/* each file of a chain, by what it is, not by what it is called */
	write_qcow2(f, "one/over", "../one-b", "qcow2");
	refused(f, "one/over", -EPERM, "backing file of");
	write_qcow2(f, "one/over", "out", "qcow2");
	refused(f, "one/over", -EPERM, "backing file of");
	write_qcow2(f, "one/over", "out", "raw");
	refused(f, "one/over", -EPERM, "backing file of");
	mkdir(at(f, "tiny.vm"), 0700);
	write_text(f, "tiny.vm/vm.conf", "kernel = k");
	refused(f, "./tiny.vm", -EPERM, "(allow_images)");
	f->place.allow = "/";
	found(f, "one/over", IMAGE_QCOW2, "one/over");
}

/* -- look-up --------------------------------------------------------------- */

static void test_tails(void **state)
{
	struct fixture *f = *state;

	write_qcow2(f, "a.3", NULL, NULL);
	write_qcow2(f, "a.12", NULL, NULL);
	write_qcow2(f, "two/b.qcow2.12.3", NULL, NULL);
	write_text(f, "c.img.3", "x");
	found(f, "a,ctl=R", IMAGE_QCOW2, "a.3");
	found(f, "a,mvpctl=Jp", IMAGE_QCOW2, "a.12");
	found(f, "b,ctl=JR", IMAGE_QCOW2, "two/b.qcow2.12.3");
	found(f, "c.img,ctl=R", IMAGE_RAW, "c.img.3");
	refused(f, "b,ctl=R", -ENOENT, "b.3: no such image");
	refused(f, "./b,ctl=J", -ENOENT, "./b.12: no such image");
}

static void test_odd_names(void **state)
{
	struct fixture *f = *state;

	write_qcow2(f, "a, b;c", NULL, NULL);
	found(f, "a,, b;c", IMAGE_QCOW2, "a, b;c");
	found(f, "./a,, b;c,fmt=raw", IMAGE_RAW, "a, b;c");
	write_qcow2(f, "file=x", NULL, NULL);
	found(f, "./file=x", IMAGE_QCOW2, "file=x");
}

static void test_look_up(void **state)
{
	struct fixture *f = *state;

	mkdir(at(f, "two/a.vm"), 0700);
	write_text(f, "two/a.vm/vm.conf", "kernel = k");
	write_text(f, "two/a.vm/k", "x");
	found(f, "a", IMAGE_BUNDLE, "two/a.vm");
	write_qcow2(f, "two/a.qcow2", NULL, NULL);
	found(f, "a", IMAGE_QCOW2, "two/a.qcow2");
	write_qcow2(f, "two/a", NULL, NULL);
	found(f, "a", IMAGE_QCOW2, "two/a");
	write_qcow2(f, "one/a.qcow2", NULL, NULL);
	found(f, "a", IMAGE_QCOW2, "one/a.qcow2");
	found(f, "a.vm", IMAGE_BUNDLE, "two/a.vm");
	write_qcow2(f, "a", NULL, NULL);
	found(f, "a", IMAGE_QCOW2, "a");
	/* a path is no name: no suffix is tried */
	write_qcow2(f, "b.qcow2", NULL, NULL);
	refused(f, "./b", -ENOENT, "no such image");
	refused(f, "b", -ENOENT, "no such image"); /* nor here */
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "what has no magic is no qcow2", test_no_qcow2, NULL, NULL,
		  NULL },
		{ "headers cut short and unknown versions are damaged",
		  test_damaged, NULL, NULL, NULL },
		{ "so are backing names that lie outside", test_bad_backing,
		  NULL, NULL, NULL },
		{ "damaged extensions are not read", test_bad_extensions, NULL,
		  NULL, NULL },
		{ "nor are those that QEMU would not read", test_late_extension,
		  NULL, NULL, NULL },
		{ "a header says size, backing, format, data file, encryption",
		  test_header, NULL, NULL, NULL },
		{ "version 2 is shorter", test_version_2, NULL, NULL, NULL },
		TEST("no image, no guess", test_not_there),
		TEST("devices, pipes, empty files and directories are refused",
		     test_bad_files),
		TEST("what cannot be read is refused by name", test_unreadable),
		TEST("raw only where it is said", test_formats),
		TEST("a link's name counts as its target's",
		     test_raw_by_either_name),
		TEST("a backing file must be there and be a file",
		     test_backing_missing),
		TEST("a backing file that is no plain path is refused",
		     test_backing_names),
		TEST("a backing file without a format must be qcow2",
		     test_backing_formats),
		TEST("a loop of backing files ends", test_loop),
		TEST("16 files make a chain, 17 are too many", test_chain),
		TEST("backing names are relative to their own file",
		     test_relative),
		TEST("what is refused is refused at every depth", test_below),
		TEST("each bad line of a vm.conf is refused", test_bad_bundles),
		TEST("a bundle may lie behind a comma", test_bundle_with_comma),
		TEST("a bundle brings kernel, initrd, words and disks",
		     test_bundle),
		TEST("vmdk, vdi and vpc where it is said", test_foreign),
		TEST("what of them names another file is refused",
		     test_foreign_names),
		{ "headers of theirs that are damaged, or name others",
		  test_foreign_heads, NULL, NULL, NULL },
		TEST("only from where the site allows images", test_allowed),
		TEST("J and R add to a name", test_tails),
		TEST("commas and blanks in names", test_odd_names),
		TEST("names: here, then each directory, each suffix in turn",
		     test_look_up),
	};

	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
