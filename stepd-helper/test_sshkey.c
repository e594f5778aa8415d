#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "sshkey.h"

static const uint8_t key[32] = "the key of a step, 32 bytes long";

static void test_same(void **state)
{
	struct sshkey a, b;

	memset(&b, 'x', sizeof(b));
	assert_int_equal(sshkey_derive(key, 32, "p", &a, NULL), 0);
	assert_int_equal(sshkey_derive(key, 32, "p", &b, NULL), 0);
	assert_string_equal(a.priv, b.priv);
	assert_string_equal(a.pub, b.pub);
}

static void test_different(void **state)
{
	uint8_t other[32];
	struct sshkey a, b;

	sshkey_derive(key, 32, "user", &a, NULL);
	sshkey_derive(key, 32, "host", &b, NULL);
	assert_string_not_equal(a.pub, b.pub);
	assert_string_not_equal(a.priv, b.priv);
	memcpy(other, key, 32);
	other[31] ^= 1;
	sshkey_derive(other, 32, "user", &b, NULL);
	assert_string_not_equal(a.pub, b.pub);
}

/* The pair must not change from one version to the next within a step that
 * mixes them, nor from one libcrypto to another. */
static void test_fixed(void **state)
{
	struct sshkey k;

	sshkey_derive(key, 32, "vmstep test", &k, NULL);
	assert_string_equal(
		k.pub,
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOlREiS8U+KNHaxoetbRDzBP08AOC3Jml5KQr40YpVq");
}

static void test_form(void **state)
{
	static const char head[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
	static const char tail[] = "\n-----END OPENSSH PRIVATE KEY-----\n";
	struct sshkey k;
	size_t len;

	sshkey_derive(key, 32, "p", &k, NULL);
	len = strlen(k.priv);
	assert_int_equal(strncmp(k.priv, head, strlen(head)), 0);
	assert_string_equal(k.priv + len - strlen(tail), tail);
	for (const char *line = k.priv; *line; line = strchr(line, '\n') + 1)
		assert_in_range(strcspn(line, "\n"), 1, 70);
	assert_int_equal(strncmp(k.pub, "ssh-ed25519 AAAA", 16), 0);
	assert_null(strpbrk(k.pub, "\n="));
	assert_int_equal(strlen(k.pub), 12 + 68);
}

static void test_openssh(void **state)
{
	char path[] = "/tmp/vmstep-test-XXXXXX", command[128], line[256];
	_cleanup_close_ int fd = -1;
	struct sshkey k;
	FILE *f;

	if (system("command -v ssh-keygen >/dev/null") != 0)
		skip();
	for (int i = 0; i < 20; i++) {
		char purpose[16];

		snprintf(purpose, sizeof(purpose), "%d", i);
		sshkey_derive(key, 32, purpose, &k, NULL);
		fd = mkstemp(path);
		assert_int_equal(write(fd, k.priv, strlen(k.priv)),
				 strlen(k.priv));
		close(TAKE_FD(fd));
		snprintf(command, sizeof(command), "ssh-keygen -y -f %s", path);
		f = popen(command, "re");
		assert_non_null(fgets(line, sizeof(line), f));
		assert_int_equal(pclose(f), 0);
		unlink(path);
		memcpy(path + strlen(path) - 6, "XXXXXX", 6);
		/* its comment follows ours */
		assert_int_equal(strncmp(line, k.pub, strlen(k.pub)), 0);
		assert_string_equal(line + strlen(k.pub), " vmstep\n");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "the same key and purpose make the same pair", test_same,
		  NULL, NULL, NULL },
		{ "another key or purpose makes another", test_different, NULL,
		  NULL, NULL },
		{ "which pair it is stays for ever", test_fixed, NULL, NULL,
		  NULL },
		{ "both halves are written as OpenSSH does", test_form, NULL,
		  NULL, NULL },
		{ "ssh-keygen makes the same public half of it", test_openssh,
		  NULL, NULL, NULL },
	};

	return cmocka_run_group_tests_name("sshkey", tests, NULL, NULL);
}
