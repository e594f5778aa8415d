#include <config.h>

#include <archive.h>
#include <archive_entry.h>
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
#include "seed.h"
#include "seed_user.h"
#include "userdata.h"

struct fixture {
	char dir[64];
	struct seed_user user;
	struct errmsg err;
};

static void put(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/vmstep-test-XXXXXX");
	if (!mkdtemp(f->dir) || chdir(f->dir) < 0)
		return -1;
	mkdir("seed", 0700);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[96];

	seed_user_done(&f->user);
	snprintf(command, sizeof(command), "cd / && rm -rf %s", f->dir);
	free(f);
	return system(command);
}

static void has(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("'%s' has no '%s'", text, words);
}

static void lacks(const char *text, const char *words)
{
	if (strstr(text, words))
		fail_msg("'%s' has '%s'", text, words);
}

/* -- texts ----------------------------------------------------------------- */

static void test_kinds(void **state)
{
	static const char *const good[] = {
		"#cloud-config",
		"#cloud-config\n# nothing\n",
		"#cloud-config\nusers: [default, {name: a}]\n",
		"#cloud-config-archive\n- anything: [",
		"#!/bin/sh\nexit 0\n",
		"#cloud-boothook\n#!/bin/sh\n",
		"#include\nhttp://example.org/x\n",
		"## template: jinja\n#cloud-config\n{% if x %}\n",
		"Content-Type: multipart/mixed; boundary=\"x\"\n\n--x--\n",
		"MIME-Version: 1.0\nContent-Type: text/x-shellscript\n\n#!\n",
	};
	struct errmsg err;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (userdata_check(good[i], strlen(good[i]), &err) < 0)
			fail_msg("%s: %s", good[i], err.text);
}

static void test_bad_texts(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "", "its first line, ''" },
		{ "users: [a]\n#cloud-config\n",
		  "its first line, 'users: [a]'" },
		{ "\x1f\x8b\x08", "it is compressed" },
		{ "#cloud-config\n- a\n", "it is no mapping" },
		{ "#cloud-config\nplain\n", "it is no mapping" },
		{ "#cloud-config\na: [b\nc: d\n", "line 3, column 2: " },
		{ "#cloud-config\na:\n\tb: c\n", "line 3, column 1: " },
		{ "#cloud-config\na: b: c\n", "line 2, column 5: " },
		{ "#cloud-config\na: *none\n", "line 2, column 4: " },
	};
	struct errmsg err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(
			userdata_check(bad[i].text, strlen(bad[i].text), &err),
			-EINVAL);
		has(err.text, bad[i].words);
	}
}

static void test_merge(void **state)
{
	static const char text[] =
		"#!/bin/sh\necho a line longer than the fifty-seven bytes that a line of base64 takes\n";
	_cleanup_free_ char *script =
		userdata_merge(text, strlen(text), "#cloud-config\nours: 1\n");
	_cleanup_free_ char *mime = userdata_merge(
		"Content-Type: text/x\n\nbody", 26, "#cloud-config\nours: 1\n");

	has(script, "Content-Type: multipart/mixed; boundary=\"vmstep-");
	has(script, "Content-Type: text/x-shellscript;");
	has(script, "\nIyEvYmluL3NoCmVjaG8g");
	has(script, "Content-Type: text/cloud-config;");
	assert_true(strstr(script, "x-shellscript") <
		    strstr(script, "ours: 1"));
	/* its own headers are those of the part */
	has(mime, "\nContent-Type: text/x\n\nbody\n--vmstep-");
}

static void merged_meta(const char *text, const char *words)
{
	_cleanup_free_ char *ret = NULL;
	struct errmsg err;

	if (userdata_merge_meta(text, strlen(text), "-1.0-3",
				"local-hostname: vm3\nvmstep_rank: 3\n", &ret,
				&err) < 0)
		fail_msg("%s", err.text);
	has(ret, words);
	has(ret, "local-hostname: vm3");
	has(ret, "vmstep_rank: 3");
	lacks(ret, "other");
	assert_int_equal(userdata_check_yaml(ret, strlen(ret), &err), 0);
}

static void test_meta(void **state)
{
	char *ret;

	/* mvpnet's own example is JSON */
	merged_meta(
		"{\n\"instance-id\": \"iid-local01\",\n\"dsmode\": \"local\"\n}\n",
		"iid-local01-1.0-3");
	merged_meta("{\"dsmode\": \"local\"}", "dsmode");
	merged_meta("instance-id: a\nlocal-hostname: other\nk: [1, {x: y}]\n",
		    "a-1.0-3");
	merged_meta("", "instance-id: vmstep-1.0-3");
	merged_meta("# nothing\n", "instance-id: vmstep-1.0-3");
	merged_meta("instance-id: [1, 2]\n", "instance-id: vmstep-1.0-3");
	assert_int_equal(userdata_merge_meta("a: [", 4, "", "", &ret, NULL),
			 -EINVAL);
	assert_null(ret);
}

/* -- the directory --------------------------------------------------------- */

static void refused(struct fixture *f, int code, const char *words)
{
	assert_int_equal(seed_user_load("seed", &f->user, &f->err), code);
	has(f->err.text, words);
	assert_null(f->user.dir);
}

static void test_bad_dirs(void **state)
{
	struct fixture *f = *state;

	refused(f, -ENOENT, "neither user-data nor meta-data: vmstep image");
	put("seed/network-config", "version: 2\n");
	refused(f, -ENOENT, "neither user-data nor meta-data");
	put("seed/user-data", "users: x\n");
	refused(f, -EINVAL, "seed/user-data: its first line");
	put("seed/user-data", "#cloud-config\na: [\n");
	refused(f, -EINVAL, "seed/user-data: line 3");
	put("seed/user-data", "#cloud-config\n");
	put("seed/network-config", "version: [\n");
	refused(f, -EINVAL, "seed/network-config: line 2");
	put("seed/network-config", "version: 2\n");
	put("seed/vmstep-agent", "x");
	refused(f, -EEXIST, "seed/vmstep-agent: the seed has the agent");
	unlink("seed/vmstep-agent");
	mkdir("seed/sub", 0700);
	refused(f, -EINVAL, "seed/sub is not a regular file");
	rmdir("seed/sub");
	put("seed/big", "x");
	assert_int_equal(truncate("seed/big", (64 << 20) + 1), 0);
	refused(f, -EFBIG, "more than 64M of files");
	unlink("seed/big");
	assert_int_equal(truncate("seed/user-data", (1 << 20) + 1), 0);
	refused(f, -EFBIG, "seed/user-data: more than 1M");
	assert_int_equal(truncate("seed/user-data", 20), 0);
	refused(f, -EINVAL, "seed/user-data: it is no text");
	assert_int_equal(seed_user_load("none", &f->user, &f->err), -ENOENT);
}

/* -- the seed -------------------------------------------------------------- */

/* The file @name of the ISO @fd as a text, to be freed; NULL: none. */
static char *in_seed(int fd, const char *name)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char *text = NULL;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(archive_read_support_format_iso9660(a), ARCHIVE_OK);
	assert_int_equal(archive_read_open_fd(a, fd, 10240), ARCHIVE_OK);
	while (!text && archive_read_next_header(a, &e) == ARCHIVE_OK) {
		size_t n = (size_t)archive_entry_size(e);

		if (strcmp(archive_entry_pathname(e), name) != 0)
			continue;
		text = calloc(1, n + 1);
		assert_int_equal(archive_read_data(a, text, n), n);
	}
	archive_read_free(a);
	return text;
}

static char *seed_text(struct fixture *f, const char *name)
{
	char host[] = "vm3", domain[] = "", user[] = "root";
	const uint8_t key[NETCTL_KEY_LEN] = { 1 };
	const struct spec s = { .hostname = host,
				.hostname_pattern = host,
				.domain = domain,
				.guest_user = user,
				.net = NET_NONE,
				.exec = EXEC_NONE };
	struct task t = { .step = "1.0", .rank = 3, .ranks = 4 };
	_cleanup_close_ int fd = -1;

	t.step_dir = f->dir;
	fd = seed_make(&t, &s, &f->user, key, &f->err);
	if (fd < 0)
		fail_msg("%s", f->err.text);
	return in_seed(fd, name);
}

static void seed_has(struct fixture *f, const char *name, const char *words)
{
	_cleanup_free_ char *text = seed_text(f, name);

	if (!text)
		fail_msg("no %s", name);
	has(text, words);
}

static void test_own_seed(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *user = seed_text(f, "user-data");

	seed_has(f, "meta-data", "instance-id: vmstep-1.0-3\n");
	seed_has(f, "meta-data", "vmstep_ranks: 4\n");
	seed_has(f, "network-config", "52:54:00:00:00:03");
	assert_int_equal(strncmp(user, "#cloud-config\n", 14), 0);
	has(user, "/etc/machine-id");
	lacks(user, "merge_how");
	assert_int_equal(userdata_check(user, strlen(user), &f->err), 0);
	assert_null(seed_text(f, "vendor-data"));
}

static void test_merged_seed(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *all = NULL;

	put("seed/user-data", "#cloud-config\npackages: [a]\n");
	put("seed/meta-data", "instance-id: mine\n");
	put("seed/vendor-data", "#cloud-config\nvendor: 1\n");
	put("seed/mvpnet-init.sh", "#!/bin/sh\necho me\n");
	assert_int_equal(seed_user_load("seed", &f->user, &f->err), 0);
	all = seed_text(f, "user-data");
	has(all, "Content-Type: multipart/mixed");
	has(all, USERDATA_MERGE_HOW);
	has(all, "hostname: vm3\n");
	seed_has(f, "meta-data", "instance-id: mine-1.0-3\n");
	seed_has(f, "meta-data", "local-hostname: vm3\n");
	seed_has(f, "vendor-data", "vendor: 1\n");
	seed_has(f, "mvpnet-init.sh", "echo me\n");
	seed_has(f, "network-config", "52:54:00:00:00:03");
	put("seed/network-config", "version: 1\n");
	seed_user_done(&f->user);
	assert_int_equal(seed_user_load("seed", &f->user, &f->err), 0);
	seed_has(f, "network-config", "version: 1\n");
}

static void test_identity(void **state)
{
	struct task a = { .step = "1.0", .rank = 0 };
	struct task b = { .step = "1.0", .rank = 1 };
	char x[TASK_UUID], y[TASK_UUID], id[TASK_MACHINE_ID];

	task_uuid(&a, x);
	task_uuid(&a, y);
	assert_string_equal(x, y);
	task_uuid(&b, y);
	assert_string_not_equal(x, y);
	assert_int_equal(strlen(x), 36);
	assert_int_equal(x[14], '4');
	assert_true(strchr("89ab", x[19]));
	task_machine_id(&a, id);
	assert_int_equal(strlen(id), 32);
	assert_int_equal(strspn(id, "0123456789abcdef"), 32);
	a.step = "2.0";
	task_uuid(&a, y);
	assert_string_not_equal(x, y);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("what cloud-init knows is taken", test_kinds),
		TEST("what it does not is refused, with its place",
		     test_bad_texts),
		TEST("the user's user-data and ours are parts of one",
		     test_merge),
		TEST("meta-data keeps the user's keys, but for who it is",
		     test_meta),
		TEST("a directory that makes no seed is refused",
		     test_bad_dirs),
		TEST("a seed of our own", test_own_seed),
		TEST("a seed with the user's in it", test_merged_seed),
		TEST("each VM is another machine", test_identity),
	};

	return cmocka_run_group_tests_name("seed", tests, NULL, NULL);
}
