#include <config.h>

#include "hostsfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

#define BEGIN "# vmstep begin\n"
#define END   "# vmstep end\n"

#define FILE_MAX_BYTES (16u << 20)

/* The whole file with a NUL behind it; an empty text where there is none. */
static int read_file(const char *path, char **ret, mode_t *mode)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	struct stat st = { .st_mode = 0644 };
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd >= 0 && fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > FILE_MAX_BYTES)
		return -EFBIG;
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (fd >= 0 && n > 0 && len < (size_t)st.st_size) {
		n = read(fd, text + len, (size_t)st.st_size - len);
		if (n < 0)
			return -errno;
		len += (size_t)n;
	}
	*mode = st.st_mode & 0777;
	*ret = TAKE_PTR(text);
	return 0;
}

/* @mark where it begins a line of @text, or NULL. */
static char *find_line(char *text, const char *mark)
{
	char *p = text;

	while ((p = strstr(p, mark)) && p != text && p[-1] != '\n')
		p++;
	return p;
}

/* @old with the block replaced, or added at the end. A block that does not end
 * is taken to end with its own mark: nothing of the guest's is lost. */
static char *compose(char *old, const char *lines)
{
	char *begin = find_line(old, BEGIN), *end, *text = NULL;
	const char *after = "";
	int n;

	if (begin) {
		*begin = '\0';
		begin += strlen(BEGIN);
		end = find_line(begin, END);
		after = end ? end + strlen(END) : begin;
	}
	n = asprintf(&text, "%s%s%s%s%s%s%s", old,
		     *old && old[strlen(old) - 1] != '\n' ? "\n" : "",
		     *lines ? BEGIN : "", lines,
		     *lines && lines[strlen(lines) - 1] != '\n' ? "\n" : "",
		     *lines ? END : "", after);
	return n < 0 ? NULL : text;
}

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_in_place(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	return fd < 0 ? -errno : write_all(fd, text);
}

static int replace(const char *path, const char *text, mode_t mode)
{
	_cleanup_free_ char *temp = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (asprintf(&temp, "%s.vmstep-XXXXXX", path) < 0) {
		temp = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temp);
	return r == -EBUSY ? write_in_place(path, text) : r;
}

int hostsfile_set(const char *path, const char *lines, struct errmsg *err)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	_cleanup_free_ char *old = NULL, *copy = NULL, *text = NULL;
	const char *file = real ? real : path; /* what a link leads to */
	mode_t mode = 0644;
	int r = read_file(file, &old, &mode);

	if (r < 0)
		return errmsg_set(err, r, "%s", file);
	copy = strdup(old);
	text = copy ? compose(copy, lines) : NULL;
	if (!text)
		return errmsg_set(err, -ENOMEM, "%s", file);
	r = strcmp(text, old) == 0 ? 0 : replace(file, text, mode);
	return r < 0 ? errmsg_set(err, r, "%s", file) : 0;
}
