#include "desc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

void desc_add(struct desc_writer *w, const char *key, const char *fmt, ...)
{
	_cleanup_free_ char *value = NULL;
	size_t key_len = strlen(key), len;
	va_list ap;
	char *buf;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (n < 0) {
		value = NULL;
		w->error = -ENOMEM;
		return;
	}
	len = key_len + 1 + (size_t)n + 1;
	if (len > DESC_MAX_BYTES - w->len) {
		w->error = -E2BIG;
		return;
	}
	buf = realloc(w->buf, w->len + len);
	if (!buf) {
		w->error = -ENOMEM;
		return;
	}
	w->buf = buf;
	memcpy(buf + w->len, key, key_len);
	buf[w->len + key_len] = '=';
	memcpy(buf + w->len + key_len + 1, value, (size_t)n + 1);
	w->len += len;
}

static int write_sealed(const struct desc_writer *w, int fd)
{
	size_t done = 0;

	while (done < w->len) {
		ssize_t n = write(fd, w->buf + done, w->len - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS,
		  F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

int desc_seal(struct desc_writer *w, int *ret_fd, struct errmsg *err)
{
	_cleanup_close_ int fd = -1;
	int high, r = w->error;

	if (r == 0) {
		fd = memfd_create("vmstep-description",
				  MFD_CLOEXEC | MFD_ALLOW_SEALING);
		r = fd < 0 ? -errno : write_sealed(w, fd);
	}
	free(w->buf);
	*w = (struct desc_writer){ 0 };
	if (r < 0)
		return errmsg_set(err, r, "description of the VM");
	/* out of the way of what a task prolog may use, and kept by exec */
	high = fcntl(fd, F_DUPFD, 10);
	if (high < 0)
		return errmsg_set(err, -errno, "description of the VM");
	*ret_fd = high;
	return 0;
}

struct desc {
	char *buf; /* owned */
	size_t len;
};

int desc_read(int fd, struct desc **ret, struct errmsg *err)
{
	_cleanup_free_ char *buf = NULL;
	struct stat st;
	struct desc *d;
	size_t len = 0;

	if (fstat(fd, &st) < 0)
		return errmsg_set(err, -errno, "description of the VM");
	if (st.st_size < 1 || st.st_size > DESC_MAX_BYTES)
		return errmsg_say(err, -EINVAL,
				  "description of the VM has %lld bytes",
				  (long long)st.st_size);
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return errmsg_set(err, -ENOMEM, "description of the VM");
	while (len < (size_t)st.st_size) {
		ssize_t n = pread(fd, buf + len, (size_t)st.st_size - len,
				  (off_t)len);

		if (n <= 0)
			return errmsg_set(err, n < 0 ? -errno : -EIO,
					  "description of the VM");
		len += (size_t)n;
	}
	buf[len] = '\0';
	if (buf[len - 1] != '\0')
		return errmsg_say(err, -EINVAL,
				  "description of the VM is cut short");
	d = calloc(1, sizeof(*d));
	if (!d)
		return errmsg_set(err, -ENOMEM, "description of the VM");
	d->buf = TAKE_PTR(buf);
	d->len = len;
	*ret = d;
	return 0;
}

void desc_free(struct desc *d)
{
	if (!d)
		return;
	free(d->buf);
	free(d);
}

const char *desc_at(const struct desc *d, size_t i, const char **ret_key,
		    size_t *ret_len)
{
	for (size_t off = 0; off < d->len; off += strlen(d->buf + off) + 1) {
		const char *rec = d->buf + off, *eq = strchr(rec, '=');

		if (!eq || i-- > 0)
			continue;
		*ret_key = rec;
		*ret_len = (size_t)(eq - rec);
		return eq + 1;
	}
	return NULL;
}

const char *desc_get(const struct desc *d, const char *key)
{
	size_t len = strlen(key);

	for (size_t off = 0; off < d->len; off += strlen(d->buf + off) + 1)
		if (strncmp(d->buf + off, key, len) == 0 &&
		    d->buf[off + len] == '=')
			return d->buf + off + len + 1;
	return NULL;
}
