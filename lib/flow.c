#include <config.h>

#include "flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int flow_init(struct flow *f, int fd, enum digest_kind kind)
{
	*f = (struct flow){ .fd = fd, .buf = malloc(FLOW_BUF) };
	digest_init(&f->digest, kind);
	return f->buf ? 0 : -ENOMEM;
}

void flow_done(struct flow *f)
{
	free(f->buf);
	f->buf = NULL;
}

static int passed(struct flow *f, const void *p, size_t n)
{
	digest_add(&f->digest, p, n);
	f->bytes += n;
	return f->moved ? f->moved(f->bytes, f->arg) : 0;
}

/* -- reading --------------------------------------------------------------- */

static ssize_t read_fd(struct flow *f, void *p, size_t n)
{
	ssize_t got;
	int r;

	do
		got = read(f->fd, p, n);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got < 0 ? -errno : 0;
	r = passed(f, p, (size_t)got);
	return r < 0 ? r : got;
}

ssize_t flow_read(struct flow *f, void *p, size_t n)
{
	ssize_t got;

	if (f->at == f->len && n >= FLOW_BUF)
		return read_fd(f, p, n);
	if (f->at == f->len) {
		got = read_fd(f, f->buf, FLOW_BUF);
		if (got <= 0)
			return got;
		f->at = 0;
		f->len = (size_t)got;
	}
	if (n > f->len - f->at)
		n = f->len - f->at;
	memcpy(p, f->buf + f->at, n);
	f->at += n;
	return (ssize_t)n;
}

int flow_read_all(struct flow *f, void *p, size_t n)
{
	while (n) {
		ssize_t got = flow_read(f, p, n);

		if (got <= 0)
			return got < 0 ? (int)got : -ENODATA;
		p = (uint8_t *)p + got;
		n -= (size_t)got;
	}
	return 0;
}

int flow_skip(struct flow *f, uint64_t n)
{
	uint8_t buf[4096];

	while (n) {
		size_t some = n < sizeof(buf) ? (size_t)n : sizeof(buf);
		int r = flow_read_all(f, buf, some);

		if (r < 0)
			return r;
		n -= some;
	}
	return 0;
}

int flow_drain(struct flow *f)
{
	ssize_t got;

	do {
		f->at = f->len = 0;
		got = read_fd(f, f->buf, FLOW_BUF);
	} while (got > 0);
	return (int)got;
}

/* -- writing --------------------------------------------------------------- */

static int write_fd(struct flow *f, const void *p, size_t n)
{
	while (n) {
		ssize_t done = write(f->fd, p, n);
		int r;

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		r = passed(f, p, (size_t)done);
		if (r < 0)
			return r;
		p = (const uint8_t *)p + done;
		n -= (size_t)done;
	}
	return 0;
}

int flow_flush(struct flow *f)
{
	size_t n = f->len;

	f->len = 0;
	return write_fd(f, f->buf, n);
}

int flow_write(struct flow *f, const void *p, size_t n)
{
	int r;

	if (n > FLOW_BUF - f->len) {
		r = flow_flush(f);
		if (r < 0)
			return r;
	}
	if (n >= FLOW_BUF)
		return write_fd(f, p, n);
	memcpy(f->buf + f->len, p, n);
	f->len += n;
	return 0;
}

int flow_zeros(struct flow *f, uint64_t n)
{
	static const uint8_t zeros[4096];
	int r = 0;

	while (r == 0 && n) {
		size_t some = n < sizeof(zeros) ? (size_t)n : sizeof(zeros);

		r = flow_write(f, zeros, some);
		n -= some;
	}
	return r;
}
