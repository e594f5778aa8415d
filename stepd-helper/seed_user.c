#include <config.h>

#include "seed_user.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "userdata.h"
#include "value.h"

#define TEXT_MAX  (1u << 20)	 /* bytes of what cloud-init parses */
#define FILES_MAX (64u << 20)	 /* of all others, which memory holds a while */
#define AGENT	  "vmstep-agent" /* is ours in a seed */

const char *const seed_text_names[SEED_TEXTS] = {
	[SEED_META_DATA] = "meta-data",
	[SEED_NETWORK_CONFIG] = "network-config",
	[SEED_USER_DATA] = "user-data",
	[SEED_VENDOR_DATA] = "vendor-data",
};

/* -- a file ---------------------------------------------------------------- */

static int read_all(int fd, char *to, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = read(fd, to + at, size - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO; /* it became shorter */
		at += (size_t)n;
	}
	return 0;
}

static int open_file(const char *path, struct stat *st, struct errmsg *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return errmsg_say(err, -EINVAL,
			  "%s is not a regular file: a seed has no others",
			  path);
}

static int read_file(const char *path, size_t max, char **ret, size_t *ret_len,
		     struct errmsg *err)
{
	struct stat st;
	_cleanup_close_ int fd = open_file(path, &st, err);
	_cleanup_free_ char *text = NULL;
	char most[16];
	int r;

	if (fd < 0)
		return fd;
	value_size_text(max, most);
	if ((uintmax_t)st.st_size > max)
		return errmsg_say(err, -EFBIG, "%s: more than %s", path, most);
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return errmsg_set(err, -ENOMEM, "%s", path);
	r = read_all(fd, text, (size_t)st.st_size);
	if (r < 0)
		return errmsg_set(err, r, "%s", path);
	*ret = TAKE_PTR(text);
	*ret_len = (size_t)st.st_size;
	return 0;
}

static int path_of(const struct seed_user *u, const char *name,
		   char path[PATH_MAX], struct errmsg *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s", u->dir, name) >= PATH_MAX)
		return errmsg_set(err, -ENAMETOOLONG, "%s", name);
	return 0;
}

int seed_user_read(const struct seed_user *u, const char *name, char **ret,
		   size_t *ret_len, struct errmsg *err)
{
	char path[PATH_MAX];
	int r = path_of(u, name, path, err);

	return r < 0 ? r : read_file(path, FILES_MAX, ret, ret_len, err);
}

/* -- what is in it --------------------------------------------------------- */

static int check_text(enum seed_text which, const char *text, size_t len,
		      struct errmsg *err)
{
	if (memchr(text, '\0', len))
		return errmsg_say(err, -EINVAL, "it is no text");
	if (which == SEED_USER_DATA || which == SEED_VENDOR_DATA)
		return userdata_check(text, len, err);
	return userdata_check_yaml(text, len, err);
}

static int take_text(struct seed_user *u, enum seed_text which,
		     struct errmsg *err)
{
	char path[PATH_MAX];
	int r = path_of(u, seed_text_names[which], path, err);

	if (r == 0)
		r = read_file(path, TEXT_MAX, &u->text[which], &u->len[which],
			      err);
	if (r < 0)
		return r;
	r = check_text(which, u->text[which], u->len[which], err);
	return r < 0 ? errmsg_prefix(err, r, "%s", path) : 0;
}

static int take_other(struct seed_user *u, const char *name, uintmax_t *total,
		      struct errmsg *err)
{
	char path[PATH_MAX];
	struct stat st;
	int r = path_of(u, name, path, err);
	int fd = r < 0 ? r : open_file(path, &st, err);

	if (fd < 0)
		return fd;
	close(fd);
	*total += (uintmax_t)st.st_size;
	if (*total > FILES_MAX)
		return errmsg_say(err, -EFBIG, "%s: more than 64M of files",
				  u->dir);
	if (strcmp(name, AGENT) == 0)
		return errmsg_say(
			err, -EEXIST,
			"%s: the seed has the agent of this name already: leave it out, or make a seed of your own with --vm-cloud-init=FILE",
			path);
	r = strings_add(&u->files, name, strlen(name));
	return r < 0 ? errmsg_set(err, r, "%s", path) : 0;
}

static int take_entry(struct seed_user *u, const char *name, uintmax_t *total,
		      struct errmsg *err)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	for (int i = 0; i < SEED_TEXTS; i++)
		if (strcmp(name, seed_text_names[i]) == 0)
			return take_text(u, (enum seed_text)i, err);
	return take_other(u, name, total, err);
}

int seed_user_load(const char *dir, struct seed_user *ret, struct errmsg *err)
{
	struct dirent **list = NULL;
	uintmax_t total = 0;
	int n, r = 0;

	*ret = (struct seed_user){ .dir = strdup(dir) };
	if (!ret->dir)
		return errmsg_set(err, -ENOMEM, "%s", dir);
	n = scandir(dir, &list, NULL, alphasort);
	if (n < 0)
		r = errmsg_set(err, -errno, "%s", dir);
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = take_entry(ret, list[i]->d_name, &total, err);
		free(list[i]);
	}
	free(list);
	if (r == 0 && !ret->text[SEED_USER_DATA] && !ret->text[SEED_META_DATA])
		r = errmsg_say(
			err, -ENOENT,
			"%s has neither user-data nor meta-data: vmstep image seed makes such a directory",
			dir);
	if (r < 0)
		seed_user_done(ret);
	return r;
}

void seed_user_done(struct seed_user *u)
{
	free(u->dir);
	for (int i = 0; i < SEED_TEXTS; i++)
		free(u->text[i]);
	strings_done(&u->files);
	*u = (struct seed_user){ 0 };
}
