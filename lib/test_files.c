#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "crc32c.h"
#include "filedata.h"
#include "newfile.h"
#include "tar.h"
#include "tree.h"

struct fixture {
	char dir[64];
	int fd;	    /* of the directory */
	int stream; /* a memfd */
	struct errmsg err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	umask(022);
	strcpy(f->dir, "/tmp/vmstep-files-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->stream = memfd_create("stream", MFD_CLOEXEC);
	return f->fd < 0 || f->stream < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[200];

	snprintf(command, sizeof(command), "chmod -R u+rwx %s; rm -rf %s",
		 f->dir, f->dir);
	assert_int_equal(system(command), 0);
	close(f->fd);
	close(f->stream);
	free(f);
	return 0;
}

static void shell(struct fixture *f, const char *script)
{
	char command[2048];

	snprintf(command, sizeof(command), "cd %s && { %s\n}", f->dir, script);
	assert_int_equal(system(command), 0);
}

static void restart(struct fixture *f, size_t len)
{
	assert_int_equal(ftruncate(f->stream, (off_t)len), 0);
	assert_int_equal(lseek(f->stream, 0, SEEK_SET), 0);
}

static off_t stream_len(struct fixture *f)
{
	return lseek(f->stream, 0, SEEK_END);
}

/* -- checksums ------------------------------------------------------------- */

static void test_digest(void **state)
{
	struct digest d;
	char text[DIGEST_TEXT];
	char bytes[100];
	uint32_t crc;

	memset(bytes, 0, sizeof(bytes)); /* RFC 3720, B.4 */
	assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
	for (size_t i = 0; i <= sizeof(bytes); i++) { /* in two pieces */
		crc = crc32c(0, bytes, i);
		assert_int_equal(crc32c(crc, bytes + i, sizeof(bytes) - i),
				 crc32c(0, bytes, sizeof(bytes)));
		assert_int_equal(crc32c_by_table(0, bytes, i), crc);
		assert_int_equal(
			crc32c_by_table(crc, bytes + i, sizeof(bytes) - i),
			crc32c(0, bytes, sizeof(bytes)));
	}
	digest_init(&d, DIGEST_SHA256); /* FIPS 180-4's example */
	digest_add(&d, "ab", 2);
	digest_add(&d, "c", 1);
	digest_text(&d, text);
	assert_string_equal(
		text,
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_init(&d, DIGEST_XXH64); /* as xxhsum(1) has it */
	digest_text(&d, text);
	assert_string_equal(text, "ef46db3751d8e999");
	digest_add(&d, "a", 1);
	digest_add(&d, "bc", 2);
	digest_text(&d, text);
	assert_string_equal(text, "44bc2cf5ad770999");
	digest_init(&d, DIGEST_NONE);
	digest_text(&d, text);
	assert_string_equal(text, "");
}

/* -- a file's data --------------------------------------------------------- */

static uint64_t send_file(struct fixture *f, const char *name,
			  enum filedata_format format, uint64_t offset,
			  uint64_t size)
{
	_cleanup_close_ int fd = openat(f->fd, name, O_RDONLY | O_CLOEXEC);
	_cleanup_(flow_done) struct flow out;
	uint64_t bytes = 0;

	restart(f, 0);
	assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
	assert_int_equal(filedata_send(fd, format, offset, size, &out, &bytes),
			 0);
	assert_int_equal(out.bytes, stream_len(f));
	lseek(f->stream, 0, SEEK_SET);
	return bytes;
}

static int receive_file(struct fixture *f, const char *name,
			enum filedata_format format, bool fresh,
			uint64_t offset)
{
	_cleanup_close_ int fd =
		openat(f->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	const struct filedata_sink sink = { fd, offset, fresh, fresh };
	_cleanup_(flow_done) struct flow in;
	uint64_t bytes = 0;

	f->err.text[0] = '\0';
	assert_int_equal(flow_init(&in, f->stream, DIGEST_NONE), 0);
	lseek(f->stream, 0, SEEK_SET);
	return filedata_receive(&in, format, &sink, &bytes, &f->err);
}

static void test_formats(void **state)
{
	struct fixture *f = *state;

	shell(f, "head -c 1000001 /dev/urandom >a; : >empty");
	for (int format = 0; format < 2; format++) {
		enum filedata_format fm = (enum filedata_format)format;

		assert_int_equal(send_file(f, "a", fm, 0, FILEDATA_ALL),
				 1000001);
		assert_int_equal(receive_file(f, "b", fm, true, 0), 0);
		shell(f, "cmp a b && rm b");
		assert_int_equal(send_file(f, "empty", fm, 0, FILEDATA_ALL), 0);
		assert_int_equal(receive_file(f, "b", fm, true, 0), 0);
		shell(f, "cmp empty b && rm b");
	}
}

static void test_parts(void **state)
{
	struct fixture *f = *state;

	shell(f,
	      "printf 0123456789 >a; printf abcdefghij >b; printf ab45efghij >c");
	assert_int_equal(send_file(f, "a", FILEDATA_PLAIN, 4, 2), 2);
	assert_int_equal(receive_file(f, "b", FILEDATA_PLAIN, false, 2), 0);
	shell(f, "cmp b c");
	assert_int_equal(send_file(f, "a", FILEDATA_PLAIN, 8, 100), 2);
	assert_int_equal(send_file(f, "a", FILEDATA_PLAIN, 100, 100), 0);
}

/* 64 MiB with 8 KiB in it. */
static void test_holes(void **state)
{
	struct fixture *f = *state;

	shell(f,
	      "truncate -s 64M a; printf data | dd of=a bs=1 seek=40000000 conv=notrunc status=none; [ $(du -k a | cut -f1) -lt 1000 ]");
	send_file(f, "a", FILEDATA_EXTENTS, 0, FILEDATA_ALL);
	assert_in_range(stream_len(f), 1, 1 << 20);
	assert_int_equal(receive_file(f, "b", FILEDATA_EXTENTS, true, 0), 0);
	shell(f, "cmp a b && [ $(du -k b | cut -f1) -lt 1000 ] && rm b");
	/* plain has all, and what is zero is not written */
	send_file(f, "a", FILEDATA_PLAIN, 0, FILEDATA_ALL);
	assert_int_equal(stream_len(f), 64 << 20);
	assert_int_equal(receive_file(f, "b", FILEDATA_PLAIN, true, 0), 0);
	shell(f, "cmp a b && [ $(du -k b | cut -f1) -lt 1000 ]");
	/* into what is there already, holes have to be written */
	send_file(f, "a", FILEDATA_EXTENTS, 0, FILEDATA_ALL);
	shell(f, "head -c 64M /dev/urandom >b");
	assert_int_equal(receive_file(f, "b", FILEDATA_EXTENTS, false, 0), 0);
	shell(f, "cmp a b");
}

static void test_broken_extents(void **state)
{
	struct fixture *f = *state;
	off_t len;
	char c;

	shell(f, "printf 0123456789 >a");
	send_file(f, "a", FILEDATA_EXTENTS, 0, FILEDATA_ALL);
	len = stream_len(f);
	for (off_t cut = 0; cut < len; cut++) {
		send_file(f, "a", FILEDATA_EXTENTS, 0, FILEDATA_ALL);
		restart(f, (size_t)cut);
		assert_int_equal(
			receive_file(f, "b", FILEDATA_EXTENTS, true, 0),
			-ENODATA);
		assert_true(f->err.text[0]);
	}
	for (off_t at = 0; at < len; at++) { /* each byte but a little wrong */
		int r;

		send_file(f, "a", FILEDATA_EXTENTS, 0, FILEDATA_ALL);
		assert_int_equal(pread(f->stream, &c, 1, at), 1);
		c ^= 1;
		assert_int_equal(pwrite(f->stream, &c, 1, at), 1);
		r = receive_file(f, "b", FILEDATA_EXTENTS, true, 0);
		assert_true(r == -EBADMSG || r == -ENODATA || r == -EFBIG ||
			    r == -EINVAL);
	}
	send_file(f, "a", FILEDATA_EXTENTS, 0, FILEDATA_ALL);
	assert_int_equal(pwrite(f->stream, "x", 1, len), 1);
	assert_int_equal(receive_file(f, "b", FILEDATA_EXTENTS, true, 0),
			 -EBADMSG);
}

static void test_proc_file(void **state)
{
	struct fixture *f = *state;
	_cleanup_(flow_done) struct flow out;
	_cleanup_close_ int fd =
		open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	uint64_t bytes = 0;

	/* its size is 0, and it is not empty */
	assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
	assert_int_equal(filedata_send(fd, FILEDATA_EXTENTS, 0, FILEDATA_ALL,
				       &out, &bytes),
			 0);
	assert_true(bytes > 100);
	assert_int_equal(receive_file(f, "a", FILEDATA_EXTENTS, true, 0), 0);
	shell(f, "grep -q '^Name:' a");
}

/* -- new files ------------------------------------------------------------- */

static void test_newfile(void **state)
{
	struct fixture *f = *state;
	struct newfile n;

	assert_int_equal(newfile_open(f->fd, &n), 0);
	assert_int_equal(write(n.fd, "new", 3), 3);
	shell(f, "[ ! -e a ]");
	newfile_done(&n);
	shell(f, "[ -z \"$(ls -A)\" ]"); /* nothing is left of it */
	for (int i = 0; i < 2; i++) {	 /* once new, once in its place */
		assert_int_equal(newfile_open(f->fd, &n), 0);
		assert_int_equal(write(n.fd, "new", 3), 3);
		assert_int_equal(newfile_commit(&n, "a", true), 0);
		newfile_done(&n);
		shell(f, "[ $(cat a) = new ] && [ \"$(ls -A)\" = a ]");
		shell(f, "rm a; ln -s nowhere a");
	}
	shell(f, "rm a; mkdir a");
	assert_int_equal(newfile_open(f->fd, &n), 0);
	assert_int_equal(newfile_commit(&n, "a", false), -EISDIR);
	newfile_done(&n);
	shell(f, "[ \"$(ls -A)\" = a ]");
}

/* -- trees ----------------------------------------------------------------- */

static void send_tree(struct fixture *f, const char *name,
		      struct tree_counts *n)
{
	_cleanup_close_ int dir = openat(f->fd, name, O_RDONLY | O_CLOEXEC);
	_cleanup_(flow_done) struct flow out;

	restart(f, 0);
	assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
	assert_int_equal(tree_send(dir, NULL, &out, n, &f->err), 0);
	lseek(f->stream, 0, SEEK_SET);
}

static int receive_tree(struct fixture *f, const char *name,
			struct tree_counts *n)
{
	const struct tree_options o = { .fresh = true };
	_cleanup_close_ int dir = -1;
	_cleanup_(flow_done) struct flow in;

	mkdirat(f->fd, name, 0700);
	dir = openat(f->fd, name, O_RDONLY | O_CLOEXEC);
	f->err.text[0] = '\0';
	lseek(f->stream, 0, SEEK_SET);
	assert_int_equal(flow_init(&in, f->stream, DIGEST_NONE), 0);
	return tree_receive(dir, &in, &o, n, &f->err);
}

#define LONG                                                            \
	"x012345678901234567890123456789012345678901234567890123456789" \
	"0123456789012345678901234567890123456789012345678901234567890123"

static const char tree[] =
	"mkdir -p a/d/e a/ro; echo one >a/one; chmod 751 a/one; ln a/one a/d/also\n"
	"ln -s ../one a/d/link; ln -s /etc/passwd a/out; mkfifo a/fifo; : >a/empty\n"
	"echo long >a/" LONG "; ln -s " LONG " a/l; mkdir a/" LONG ".d\n"
	"echo deep >a/" LONG ".d/" LONG "; echo raw >a/$(printf '\\377\\376')\n"
	"echo raw >a/" LONG ".d/" LONG "$(printf '\\377')\n"
	"truncate -s 32M a/sparse; printf x >>a/sparse\n"
	"echo ro >a/ro/f; touch -d '1969-12-31 23:59:58.25 UTC' a/empty\n"
	"touch -d '2001-02-03 04:05:06.789012345' a/one a/d/e; touch -h -d 2010-01-01 a/out\n"
	"chmod 555 a/ro; chmod 2775 a/d/e; touch -d '2002-01-01' a/d a/ro a\n";

/* Names, kinds, modes, times, targets, and what is in files. */
#define LIST                                                                         \
	"(cd %s && find . -printf '%%p %%y %%m %%T@ %%l %%n\\n' | LC_ALL=C sort && " \
	"find . -type f -exec sha256sum {} + | LC_ALL=C sort)"

static void compare_trees(struct fixture *f, const char *a, const char *b)
{
	char list_a[400], list_b[400], script[1000];

	snprintf(list_a, sizeof(list_a), LIST, a);
	snprintf(list_b, sizeof(list_b), LIST, b);
	/* set-group-ID is not given away */
	snprintf(
		script, sizeof(script),
		"{ %s; } | sed 's/ 2775 / 775 /' >A; { %s; } | sed 's/ 2775 / 775 /' >B; diff A B",
		list_a, list_b);
	shell(f, script);
}

static void test_tree(void **state)
{
	struct fixture *f = *state;
	struct tree_counts sent, got;

	shell(f, tree);
	send_tree(f, "a", &sent);
	assert_int_equal(receive_tree(f, "b", &got), 0);
	assert_int_equal(sent.entries, got.entries);
	assert_int_equal(sent.bytes, got.bytes);
	compare_trees(f, "a", "b");
	shell(f, "[ $(du -k b/sparse | cut -f1) -lt 1000 ]");
	/* over what is there: the same */
	shell(f,
	      "chmod u+w b/ro; rm b/one; ln -s /nowhere b/one; touch -d 2002-01-01 b b/ro; chmod 555 b/ro");
	if (geteuid() != 0)
		shell(f, "chmod 755 b/ro");
	assert_int_equal(receive_tree(f, "b", &got), 0);
	shell(f, "[ \"$(cat b/one)\" = one ] && [ ! -L b/one ]");
}

static void choose(struct fixture *f, const char *const *globs,
		   const char *expected)
{
	char script[400];
	_cleanup_close_ int dir = openat(f->fd, "a", O_RDONLY | O_CLOEXEC);
	_cleanup_(flow_done) struct flow out;
	struct tree_counts n;

	restart(f, 0);
	assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
	assert_int_equal(tree_send(dir, globs, &out, &n, &f->err), 0);
	snprintf(
		script, sizeof(script),
		"[ \"$(tar -tf /proc/%d/fd/%d | LC_ALL=C sort | paste -sd' ')\""
		" = './%s' ]",
		getpid(), f->stream, expected);
	shell(f, script);
}

static void test_tree_chosen(void **state)
{
	static const struct {
		const char *globs[3];
		const char *expected;
	} rows[] = {
		{ { "*.c" }, " ./one.c" },
		{ { "*/*.c" }, " ./d/two.c" },
		{ { "d" }, " ./d/ ./d/.h ./d/e/ ./d/e/f ./d/two.c" },
		{ { "d/e", "one.?" }, " ./d/e/ ./d/e/f ./one.c" },
		{ { "d/*" }, " ./d/e/ ./d/e/f ./d/two.c" },
		{ { "d/.*" }, " ./d/.h" },
		{ { "none", "/one.c" }, "" },
	};
	struct fixture *f = *state;

	shell(f, "mkdir -p a/d/e; cd a; touch one.c d/two.c d/e/f d/.h");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		choose(f, rows[i].globs, rows[i].expected);
}

static void test_tree_stripped(void **state)
{
	const struct tree_options o = { .fresh = true, .strip = 2 };
	struct fixture *f = *state;
	_cleanup_(flow_done) struct flow in;
	_cleanup_close_ int dir = -1;
	struct tree_counts n;

	shell(f,
	      "mkdir -p a/b/c/d b; echo x >a/b/c/f; ln a/b/c/f a/b/c/g; ln -s g a/b/c/l; : >a/b/h; : >a/z");
	send_tree(f, "a", &n);
	dir = openat(f->fd, "b", O_RDONLY | O_CLOEXEC);
	assert_int_equal(flow_init(&in, f->stream, DIGEST_NONE), 0);
	assert_int_equal(tree_receive(dir, &in, &o, &n, &f->err), 0);
	assert_int_equal(n.entries, 4);
	shell(f, "diff -r --no-dereference a/b/c b && [ b/f -ef b/g ]");
}

/* What was taken for it is given back: valgrind and LeakSanitizer see. */
static void test_no_directory(void **state)
{
	const struct tree_options o = { 0 };
	struct fixture *f = *state;
	_cleanup_(flow_done) struct flow in;
	struct tree_counts n;

	assert_int_equal(flow_init(&in, f->stream, DIGEST_NONE), 0);
	assert_int_equal(tree_receive(-1, &in, &o, &n, &f->err), -EBADF);
	assert_string_equal(f->err.text, "directory: Bad file descriptor");
}

static void test_tree_and_tar(void **state)
{
	struct fixture *f = *state;
	char script[300];
	struct tree_counts n;

	shell(f, tree);
	send_tree(f, "a", &n); /* tar reads ours */
	snprintf(script, sizeof(script),
		 "mkdir b && tar -xpf /proc/%d/fd/%d -C b", getpid(),
		 f->stream);
	shell(f, script);
	shell(f, "chmod 755 b/ro"); /* umask and all: modes are tar's affair */
	shell(f, "chmod 755 a/ro; touch -d 2002-01-01 a/ro b/ro");
	compare_trees(f, "a", "b");
	/* and we read tar's, of each kind */
	for (const char *const *format =
		     (const char *const[]){ "gnu", "pax", "posix", NULL };
	     *format; format++) {
		snprintf(script, sizeof(script),
			 "tar -c --format=%s -C a . >/proc/%d/fd/%d", *format,
			 getpid(), f->stream);
		restart(f, 0);
		shell(f, script);
		shell(f, "chmod -R u+w b; rm -rf b");
		assert_int_equal(receive_tree(f, "b", &n), 0);
		shell(f, "diff -r --no-dereference -x fifo a b");
	}
	shell(f, "mkdir v; echo x >v/x; mkdir v/d");
	snprintf(script, sizeof(script),
		 "tar -c --format=v7 -C v . >/proc/%d/fd/%d", getpid(),
		 f->stream);
	restart(f, 0);
	shell(f, script);
	assert_int_equal(receive_tree(f, "w", &n), 0);
	shell(f, "diff -r v w");
}

/* An archive of one entry, or two. */
static void put_entry(struct fixture *f, struct flow *out, enum tar_type type,
		      const char *path, const char *link, const char *data)
{
	const struct tar_entry e = { .type = type,
				     .path = (char *)path,
				     .link = (char *)link,
				     .mode = 0644,
				     .size = data ? strlen(data) : 0 };

	assert_int_equal(tar_write_header(out, &e), 0);
	if (!data)
		return;
	assert_int_equal(flow_write(out, data, strlen(data)), 0);
	assert_int_equal(tar_write_padding(out, strlen(data)), 0);
}

static void test_escapes(void **state)
{
	static const struct {
		const char *first; /* a symbolic link "link" to there */
		enum tar_type type;
		const char *path, *link;
	} bad[] = {
		{ NULL, TAR_FILE, "../evil", NULL },
		{ NULL, TAR_FILE, "d/../../evil", NULL },
		{ NULL, TAR_FILE, "/tmp/vmstep-evil", NULL },
		{ NULL, TAR_FILE, "", NULL },
		{ NULL, TAR_FILE, ".", NULL },
		{ NULL, TAR_FILE, "d/..", NULL },
		{ NULL, TAR_DIR, "../evil", NULL },
		{ NULL, TAR_SYMLINK, "../evil", "x" },
		{ NULL, TAR_FIFO, "../evil", NULL },
		{ NULL, TAR_HARDLINK, "x", "../victim" },
		{ NULL, TAR_HARDLINK, "x", "/etc/passwd" },
		{ NULL, TAR_HARDLINK, "x", "" },
		{ NULL, TAR_HARDLINK, "../evil", "x" },
		{ "..", TAR_FILE, "link/evil", NULL },
		{ "..", TAR_DIR, "link/evil", NULL },
		{ "..", TAR_DIR, "link", NULL },
		{ "..", TAR_HARDLINK, "x", "link/victim" },
		{ ".", TAR_FILE, "link/evil", NULL }, /* none is followed */
	};
	struct fixture *f = *state;
	struct tree_counts n;
	struct flow out;

	shell(f, "echo victim >victim");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		restart(f, 0);
		assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
		if (bad[i].first)
			put_entry(f, &out, TAR_SYMLINK, "link", bad[i].first,
				  NULL);
		put_entry(f, &out, bad[i].type, bad[i].path, bad[i].link,
			  bad[i].type == TAR_FILE ? "evil" : NULL);
		assert_int_equal(tar_write_end(&out), 0);
		flow_done(&out);
		assert_int_equal(receive_tree(f, "b", &n), -EPERM);
		assert_true(f->err.text[0]);
		shell(f,
		      "[ ! -e evil ] && [ ! -e b/evil ] && [ ! -e b/x ] && [ \"$(cat victim)\" = victim ] && [ $(stat -c %h victim) = 1 ]; rm -rf b");
	}
	shell(f, "[ ! -e /tmp/vmstep-evil ]");
}

/* A link that comes in the archive is replaced, not written through. */
static void test_links_are_not_followed(void **state)
{
	struct fixture *f = *state;
	struct tree_counts n;
	struct flow out;

	shell(f, "echo victim >victim");
	assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
	put_entry(f, &out, TAR_SYMLINK, "x", "../victim", NULL);
	put_entry(f, &out, TAR_FILE, "x", NULL, "new");
	put_entry(f, &out, TAR_SYMLINK, "y", "../victim", NULL);
	put_entry(f, &out, TAR_HARDLINK, "z", "y", NULL);
	assert_int_equal(tar_write_end(&out), 0);
	flow_done(&out);
	assert_int_equal(receive_tree(f, "b", &n), 0);
	shell(f,
	      "[ \"$(cat victim)\" = victim ] && [ \"$(cat b/x)\" = new ] && [ -L b/z ] && [ $(stat -c %h victim) = 1 ]");
}

/* As cp and --vm-output take it, without the owners. */
static void test_no_rights(void **state)
{
	const struct tar_entry suid = { .type = TAR_FILE,
					.path = (char *)"suid",
					.mode = 06755 };
	const struct tar_entry dir = { .type = TAR_DIR,
				       .path = (char *)"d",
				       .mode = 06755 };
	struct fixture *f = *state;
	struct tree_counts n;
	struct flow out;

	assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
	put_entry(f, &out, TAR_CHAR, "null", NULL, NULL);
	put_entry(f, &out, TAR_BLOCKDEV, "disk", NULL, NULL);
	assert_int_equal(tar_write_header(&out, &suid), 0);
	assert_int_equal(tar_write_header(&out, &dir), 0);
	assert_int_equal(tar_write_end(&out), 0);
	flow_done(&out);
	assert_int_equal(receive_tree(f, "b", &n), 0);
	assert_int_equal(n.skipped, 2);
	shell(f,
	      "[ ! -e b/null ] && [ ! -e b/disk ] && [ $(stat -c %a b/suid) = 755 ] && [ $(stat -c %a b/d) = 755 ]");
}

static void test_cut_archives(void **state)
{
	struct fixture *f = *state;
	struct tree_counts n;
	off_t len;

	shell(f, "mkdir a a/d; echo data >a/d/file; echo data >a/" LONG);
	send_tree(f, "a", &n);
	len = stream_len(f);
	for (off_t cut = 0; cut + 1024 < len; cut += 100) {
		send_tree(f, "a", &n);
		restart(f, (size_t)cut);
		assert_int_equal(receive_tree(f, "b", &n), -ENODATA);
		/* whole files or none */
		shell(f,
		      "find b -type f ! -size 5c | grep . && exit 1; find b -name '.vmstep*' | grep . && exit 1; rm -rf b");
	}
	restart(f, 0);
	shell(f, "head -c 10240 /dev/urandom >r");
	send_file(f, "r", FILEDATA_PLAIN, 0, FILEDATA_ALL);
	assert_int_equal(receive_tree(f, "b", &n), -EBADMSG);
}

static void test_deep(void **state)
{
	struct fixture *f = *state;
	struct tree_counts n;
	char path[2 * (TREE_DEPTH + 10) + 1];
	struct flow out;

	for (size_t i = 0; i < sizeof(path) - 1; i += 2)
		memcpy(path + i, "d/", 2);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
	put_entry(f, &out, TAR_DIR, path, NULL, NULL);
	assert_int_equal(tar_write_end(&out), 0);
	flow_done(&out);
	assert_int_equal(receive_tree(f, "b", &n), -ENAMETOOLONG);
	path[2 * TREE_DEPTH] = '\0';
	restart(f, 0);
	assert_int_equal(flow_init(&out, f->stream, DIGEST_NONE), 0);
	put_entry(f, &out, TAR_DIR, path, NULL, NULL);
	assert_int_equal(tar_write_end(&out), 0);
	flow_done(&out);
	assert_int_equal(receive_tree(f, "b", &n), 0);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("checksums are those of their standards", test_digest),
		TEST("both formats bring a file back", test_formats),
		TEST("parts of files", test_parts),
		TEST("holes are neither sent nor written", test_holes),
		TEST("broken extents are told", test_broken_extents),
		TEST("files without a size are read to their end",
		     test_proc_file),
		TEST("a new file is there when it is whole", test_newfile),
		TEST("a tree comes back with modes, times and links",
		     test_tree),
		TEST("of a tree, what matches", test_tree_chosen),
		TEST("a tree without the first names of its paths",
		     test_tree_stripped),
		TEST("a directory that cannot be read is told",
		     test_no_directory),
		TEST("tar reads ours, and we read tar's", test_tree_and_tar),
		TEST("what leads out of the directory is refused",
		     test_escapes),
		TEST("links in the way are replaced, not followed",
		     test_links_are_not_followed),
		TEST("devices are left out, and no rights come along",
		     test_no_rights),
		TEST("a cut archive leaves whole files only",
		     test_cut_archives),
		TEST("depth has its limit", test_deep),
	};

	return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
