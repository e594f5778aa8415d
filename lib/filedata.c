#include <config.h>

#include "filedata.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "digest.h"

#define CHUNK FLOW_BUF
#define BLOCK 4096 /* of zeros, that is not written */

const char *const filedata_formats[] = { "plain", "extents", NULL };

struct record {
	uint64_t offset, length;
};
static_assert(sizeof(struct record) == 16, "record");

/* -- sending --------------------------------------------------------------- */

struct sender {
	struct flow *out;
	bool extents, seekable;
	struct digest sum;
	int fd;
	uint8_t *buf;
};

static int put(struct sender *s, const void *p, size_t n)
{
	if (s->extents)
		digest_add(&s->sum, p, n);
	return flow_write(s->out, p, n);
}

static int put_record(struct sender *s, uint64_t offset, uint64_t length)
{
	struct record rec = { htole64(offset), htole64(length) };

	return put(s, &rec, sizeof(rec));
}

static int put_end(struct sender *s, uint64_t size)
{
	int r = put_record(s, size, 0);
	uint64_t sum = htole64(digest_xxh64(&s->sum));

	return r < 0 ? r : flow_write(s->out, &sum, sizeof(sum));
}

static ssize_t read_at(struct sender *s, size_t n, uint64_t offset)
{
	ssize_t got;

	do
		got = s->seekable ? pread(s->fd, s->buf, n, (off_t)offset)
				  : read(s->fd, s->buf, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Of a hole at @offset: where the next data begins, @end if none does. */
static uint64_t next_data(const struct sender *s, uint64_t offset, uint64_t end)
{
	off_t at;

	if (!s->extents || !s->seekable)
		return offset;
	at = lseek(s->fd, (off_t)offset, SEEK_DATA);
	if (at < 0) /* ENXIO: none; others: this file cannot tell */
		return errno == ENXIO ? end : offset;
	return (uint64_t)at > end ? end : (uint64_t)at;
}

static uint64_t data_end(const struct sender *s, uint64_t offset, uint64_t end)
{
	off_t at = -1;

	if (s->extents && s->seekable)
		at = lseek(s->fd, (off_t)offset, SEEK_HOLE);
	return at <= (off_t)offset || (uint64_t)at > end ? end : (uint64_t)at;
}

/* From *at to @end; less where the file is shorter. */
static int send_run(struct sender *s, uint64_t *at, uint64_t end, bool *eof)
{
	int r = 0;

	while (r == 0 && *at < end) {
		uint64_t left = end - *at;
		ssize_t n = read_at(s, left < CHUNK ? left : CHUNK, *at);

		if (n <= 0) {
			*eof = true;
			return (int)n;
		}
		if (s->extents)
			r = put_record(s, *at, (uint64_t)n);
		if (r == 0)
			r = put(s, s->buf, (size_t)n);
		*at += (uint64_t)n;
	}
	return r;
}

/* What can be sought has an end that is known; but files of /proc have a size
 * of 0, and something in them all the same. */
static int find_end(struct sender *s, uint64_t offset, uint64_t size,
		    uint64_t *ret)
{
	uint64_t end =
		size > FILEDATA_ALL - offset ? FILEDATA_ALL : offset + size;
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && st.st_size > 0) {
		s->seekable = true;
		if (end > (uint64_t)st.st_size)
			end = (uint64_t)st.st_size;
	} else if (offset && lseek(s->fd, (off_t)offset, SEEK_SET) < 0) {
		return -errno;
	}
	*ret = end;
	return 0;
}

int filedata_send(int fd, enum filedata_format format, uint64_t offset,
		  uint64_t size, struct flow *out, uint64_t *ret)
{
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	struct sender s = { .out = out,
			    .extents = format == FILEDATA_EXTENTS,
			    .fd = fd,
			    .buf = buf };
	uint64_t at = offset, end = 0;
	bool eof = false;
	int r;

	digest_init(&s.sum, DIGEST_XXH64);
	r = buf ? find_end(&s, offset, size, &end) : -ENOMEM;

	while (r == 0 && !eof && at < end) {
		at = next_data(&s, at, end);
		r = send_run(&s, &at, data_end(&s, at, end), &eof);
	}
	if (r == 0 && s.extents)
		r = put_end(&s, at);
	if (r == 0)
		r = flow_flush(out);
	*ret = at > offset ? at - offset : 0;
	return r;
}

/* -- receiving ------------------------------------------------------------- */

struct receiver {
	struct flow *in;
	struct filedata_sink sink;
	bool seekable;
	uint64_t at; /* bytes of the file that are written, with its holes */
	struct digest sum;
	uint8_t *buf;
};

static int write_all(int fd, const uint8_t *p, size_t n, bool seekable,
		     uint64_t offset)
{
	while (n) {
		ssize_t done = seekable ? pwrite(fd, p, n, (off_t)offset)
					: write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		p += done;
		offset += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

int filedata_write(int fd, const void *p, size_t n, uint64_t offset)
{
	return write_all(fd, p, n, true, offset);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !*p && memcmp(p, p + 1, n - 1) == 0;
}

/* The bytes of the next block's worth that are in @n. */
static size_t block_len(uint64_t offset, size_t n)
{
	size_t len = BLOCK - (size_t)(offset % BLOCK);

	return len < n ? len : n;
}

int filedata_write_sparse(int fd, const void *bytes, size_t n, uint64_t offset)
{
	const uint8_t *p = bytes;
	int r = 0;

	while (r == 0 && n) {
		size_t len = block_len(offset, n), run = 0;

		if (is_zero(p, len)) {
			p += len;
			offset += len;
			n -= len;
			continue;
		}
		do
			run += len;
		while (run < n && (len = block_len(offset + run, n - run)) &&
		       !is_zero(p + run, len));
		r = write_all(fd, p, run, true, offset);
		p += run;
		offset += run;
		n -= run;
	}
	return r;
}

static int store(struct receiver *rc, const uint8_t *p, size_t n)
{
	int r = rc->sink.fresh && rc->sink.sparse
			? filedata_write_sparse(rc->sink.fd, p, n, rc->at)
			: write_all(rc->sink.fd, p, n, rc->seekable, rc->at);

	rc->at += n;
	return r;
}

/* A hole up to @offset. */
static int store_hole(struct receiver *rc, uint64_t offset)
{
	int r = 0;

	if (rc->sink.fresh) {
		rc->at = offset;
		return 0;
	}
	memset(rc->buf, 0, CHUNK);
	while (r == 0 && rc->at < offset) {
		uint64_t left = offset - rc->at;

		r = store(rc, rc->buf, left < CHUNK ? left : CHUNK);
	}
	return r;
}

/* Holes at the end are only there by the file's size. */
static int set_size(struct receiver *rc)
{
	struct stat st;

	if (!rc->sink.fresh)
		return 0;
	if (fstat(rc->sink.fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size == rc->at)
		return 0;
	return ftruncate(rc->sink.fd, (off_t)rc->at) < 0 ? -errno : 0;
}

static int receive_plain(struct receiver *rc)
{
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = flow_read(rc->in, rc->buf, CHUNK)) != 0)
		r = n < 0 ? (int)n : store(rc, rc->buf, (size_t)n);
	return r;
}

static int get(struct receiver *rc, void *p, size_t n)
{
	int r = flow_read_all(rc->in, p, n);

	if (r == 0)
		digest_add(&rc->sum, p, n);
	return r;
}

static int receive_extent(struct receiver *rc, uint64_t offset, uint64_t length)
{
	int r = store_hole(rc, offset);

	while (r == 0 && length) {
		size_t n = length < CHUNK ? (size_t)length : CHUNK;

		r = get(rc, rc->buf, n);
		if (r == 0)
			r = store(rc, rc->buf, n);
		length -= n;
	}
	return r;
}

static int receive_end(struct receiver *rc, uint64_t size, struct errmsg *err)
{
	uint64_t sum, ours = digest_xxh64(&rc->sum);
	char more;
	int r = store_hole(rc, size);

	if (r == 0)
		r = flow_read_all(rc->in, &sum, sizeof(sum));
	if (r < 0)
		return r;
	if (le64toh(sum) != ours)
		return errmsg_say(
			err, -EBADMSG,
			"the data does not match its checksum: %016" PRIx64
			", not %016" PRIx64,
			ours, le64toh(sum));
	if (flow_read(rc->in, &more, 1) != 0)
		return errmsg_say(err, -EBADMSG, "there is data after its end");
	return 0;
}

static int receive_extents(struct receiver *rc, struct errmsg *err)
{
	struct record rec;
	int r = get(rc, &rec, sizeof(rec));

	while (r == 0) {
		uint64_t offset = le64toh(rec.offset);
		uint64_t length = le64toh(rec.length);

		if (offset < rc->at || offset > FILEDATA_ALL ||
		    length > FILEDATA_ALL - offset)
			return errmsg_say(err, -EBADMSG,
					  "an extent that cannot be");
		if (!length)
			return receive_end(rc, offset, err);
		r = receive_extent(rc, offset, length);
		if (r == 0)
			r = get(rc, &rec, sizeof(rec));
	}
	return r;
}

int filedata_receive(struct flow *in, enum filedata_format format,
		     const struct filedata_sink *sink, uint64_t *ret,
		     struct errmsg *err)
{
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	struct receiver rc = { .in = in, .sink = *sink, .buf = buf };
	struct errmsg why = { "" };
	int r;

	if (!buf)
		return errmsg_set(err, -ENOMEM, "copy");
	digest_init(&rc.sum, DIGEST_XXH64);
	rc.at = sink->offset;
	rc.seekable = lseek(sink->fd, 0, SEEK_CUR) >= 0;
	r = format == FILEDATA_PLAIN ? receive_plain(&rc)
				     : receive_extents(&rc, &why);
	if (r == 0)
		r = set_size(&rc);
	*ret = rc.at - sink->offset;
	if (r < 0 && why.text[0])
		return errmsg_say(err, r, "%s", why.text);
	if (r == -ENODATA)
		return errmsg_say(err, r, "the data ends too early");
	return r < 0 ? errmsg_set(err, r, "write") : 0;
}
