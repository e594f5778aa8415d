#include <config.h>

#include "image_seed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"

#define KEYGEN_MS 60000
#define KEY_MAX	  16384

/* -- the key --------------------------------------------------------------- */

static int read_key(const char *path, char key[KEY_MAX], struct errmsg *err)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");

	if (!f)
		return errmsg_set(err, -errno, "%s", path);
	if (!fgets(key, KEY_MAX, f))
		key[0] = '\0';
	key[strcspn(key, "\r\n")] = '\0';
	if (!strchr(key, ' ') || strchr(key, '"') || strchr(key, '\\') ||
	    strncmp(key, "-----", 5) == 0)
		return errmsg_say(
			err, -EINVAL,
			"%s is no public key for ssh: name the file that ends in .pub",
			path);
	return 0;
}

/* One of those that ssh offers by itself. */
static int find_own(char path[PATH_MAX])
{
	static const char *const names[] = { "id_ed25519", "id_ecdsa",
					     "id_rsa" };
	const char *home = getenv("HOME");

	for (size_t i = 0; home && i < ARRAY_SIZE(names); i++) {
		snprintf(path, PATH_MAX, "%s/.ssh/%s.pub", home, names[i]);
		if (access(path, R_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

/* Beside the directory: what is in it goes into every guest. */
static int make_pair(const char *dir, char path[PATH_MAX], struct errmsg *err)
{
	char file[PATH_MAX - 8];
	const char *argv[] = { "ssh-keygen", "-q", "-t", "ed25519",
			       "-N",	     "",   "-C", "vmstep",
			       "-f",	     file, NULL };
	int n = (int)strlen(dir), r = 0;

	while (n > 1 && dir[n - 1] == '/')
		n--;
	if (snprintf(file, sizeof(file), "%.*s.key", n, dir) >=
	    (int)sizeof(file))
		return errmsg_set(err, -ENAMETOOLONG, "%s", dir);
	snprintf(path, PATH_MAX, "%s.pub", file);
	if (access(path, R_OK) == 0)
		return 0;
	r = child_run(argv, -1, KEYGEN_MS, err);
	if (r == 0)
		printf("%s is a new key, which you have none of: ssh -i %s\n",
		       file, file);
	return r < 0 ? errmsg_prefix(err, r, "a key in %s", file) : 0;
}

static int take_key(const char *dir, const char *given, char key[KEY_MAX],
		    struct errmsg *err)
{
	char path[PATH_MAX];
	int r = 0;

	if (given)
		return read_key(given, key, err);
	if (find_own(path) < 0)
		r = make_pair(dir, path, err);
	if (r == 0)
		r = read_key(path, key, err);
	if (r == 0)
		printf("the key that may log in: %s\n", path);
	return r;
}

/* -- the files ------------------------------------------------------------- */

static void put_user_data(FILE *f, const char *key, const char *packages)
{
	fprintf(f,
		"#cloud-config\n"
		"# For srun --vm-cloud-init=DIR, which puts to it what it needs itself: host\n"
		"# name, network, agent. cloud-init's manual has the rest.\n"
		"users:\n"
		"  - default\n"
		"  - name: root\n"
		"    ssh_authorized_keys: [\"%s\"]\n"
		"ssh_authorized_keys: [\"%s\"]\n",
		key, key);
	if (packages)
		fprintf(f, "packages:\n");
	for (const char *p = packages; p && *p; p += *p == ',') {
		int n = (int)strcspn(p, ",");

		if (n)
			fprintf(f, "  - \"%.*s\"\n", n, p);
		p += n;
	}
	fprintf(f, "# Once in each guest, as root:\n"
		   "#runcmd:\n"
		   "#  - [sh, -c, 'echo hello from $(hostname)']\n");
}

static void put_meta_data(FILE *f, const char *dir)
{
	_cleanup_free_ char *real = realpath(dir, NULL);
	const char *name = real ? strrchr(real, '/') + 1 : "";

	/* step and rank are put behind it */
	fprintf(f, "instance-id: \"");
	for (; *name; name++)
		fputc(strchr("\"\\\n", *name) ? '-' : *name, f);
	fprintf(f, "\"\n");
}

/* A new file of @dir. */
static FILE *create(const char *dir, const char *name, struct errmsg *err)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wxe");
	if (!f)
		errmsg_set(err, -errno, "%s", path);
	return f;
}

static int done(FILE *f, const char *name, struct errmsg *err)
{
	bool bad = ferror(f);

	bad = fclose(f) != 0 || bad;
	return bad ? errmsg_set(err, -EIO, "%s", name) : 0;
}

static int check_packages(const char *packages, struct errmsg *err)
{
	if (packages &&
	    packages[strspn(
		    packages,
		    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-_:=~,")])
		return errmsg_say(
			err, -EINVAL,
			"--packages=%s: give names with commas between them",
			packages);
	return 0;
}

int image_seed(const char *dir, const char *packages, const char *key_file,
	       struct errmsg *err)
{
	char key[KEY_MAX];
	FILE *f;
	int r = check_packages(packages, err);

	if (r < 0)
		return r;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return errmsg_set(err, -errno, "%s", dir);
	f = create(dir, "user-data", err);
	if (!f)
		return -EEXIST;
	r = take_key(dir, key_file, key, err);
	if (r == 0)
		put_user_data(f, key, packages);
	if (r < 0) {
		char path[PATH_MAX];

		fclose(f);
		snprintf(path, sizeof(path), "%s/user-data", dir);
		unlink(path);
		return r;
	}
	r = done(f, "user-data", err);
	f = r == 0 ? create(dir, "meta-data", err) : NULL;
	if (!f)
		return r < 0 ? r : -EEXIST;
	put_meta_data(f, dir);
	r = done(f, "meta-data", err);
	if (r == 0)
		printf("made %s: srun --vm-cloud-init=%s\n", dir, dir);
	return r;
}
