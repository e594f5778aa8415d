#include <config.h>

#include "capture.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "lock.h"
#include "segment.h"

#define MAGIC_NS  0xa1b23c4d /* in the writer's byte order */
#define LINK_TYPE 1	     /* Ethernet */

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy; /* 0 */
	uint32_t snap_len, link_type;
};
static_assert(sizeof(struct file_header) == 24, "as in the draft");

struct record_header {
	uint32_t s, ns;
	uint32_t captured, len;
};
static_assert(sizeof(struct record_header) == 16, "as in the draft");

struct capture {
	int fd;
	struct loop_io *io; /* while the pipe is full */
	struct round *round;
	struct round_job flush;
	struct counters *counts;
	void (*over)(void *arg);
	void *arg;
	struct lock lock;  /* of what follows */
	size_t start, end; /* of what is to be written */
	uint8_t data[CAPTURE_BYTES];
	uint8_t frame[SEGMENT_MAX];
};

/* Until the pipe is full or the buffer empty. */
static void drain_locked(struct capture *c)
{
	bool gone = false;
	ssize_t n = 0;

	while (c->start < c->end) {
		n = write(c->fd, c->data + c->start, c->end - c->start);
		if (n <= 0)
			break;
		c->start += (size_t)n;
	}
	if (n < 0 && errno != EAGAIN) { /* the loop is to say so */
		gone = true;
		c->start = c->end;
	}
	if (c->start == c->end)
		c->start = c->end = 0;
	loop_io_set(c->io, c->end || gone ? EPOLLOUT : 0);
}

static void drain(struct capture *c)
{
	lock_take(&c->lock);
	drain_locked(c);
	lock_drop(&c->lock);
}

static void on_flush(struct round_job *job)
{
	drain((struct capture *)((char *)job -
				 offsetof(struct capture, flush)));
}

static void on_writable(uint32_t events, void *arg)
{
	struct capture *c = arg;

	if (events & (EPOLLERR | EPOLLHUP))
		c->over(c->arg);
	else
		drain(c);
}

static bool make_room(struct capture *c, size_t len)
{
	if (sizeof(c->data) - c->end >= len)
		return true;
	memmove(c->data, c->data + c->start, c->end - c->start);
	c->end -= c->start;
	c->start = 0;
	return sizeof(c->data) - c->end >= len;
}

static void put(struct capture *c, const void *data, size_t len)
{
	memcpy(c->data + c->end, data, len);
	c->end += len;
}

static void put_frame(struct capture *c, const struct packet *p)
{
	struct record_header h;
	struct timespec now;
	struct segment s;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	segment_init(&s, p);
	while ((len = segment_next(&s, c->frame))) {
		if (!make_room(c, sizeof(h) + len)) {
			/* other captures count there, too */
			__atomic_fetch_add(&c->counts->n[COUNT_UNCAPTURED], 1,
					   __ATOMIC_RELAXED);
			continue;
		}
		h = (struct record_header){ (uint32_t)now.tv_sec,
					    (uint32_t)now.tv_nsec,
					    (uint32_t)len, (uint32_t)len };
		put(c, &h, sizeof(h));
		put(c, c->frame, len);
	}
}

void capture_frame(struct capture *c, const struct packet *p)
{
	if (p->len < WIRE_FRAME_MIN || p->len > SEGMENT_MAX)
		return; /* dropped, and nothing that a wire could carry */
	lock_take(&c->lock);
	put_frame(c, p);
	lock_drop(&c->lock);
	round_post(c->round, &c->flush);
}

int capture_new(struct loop *l, struct round *r, int fd,
		struct counters *counts, void (*over)(void *arg), void *arg,
		struct capture **ret, struct errmsg *err)
{
	static const struct file_header header = {
		.magic = MAGIC_NS,
		.major = 2,
		.minor = 4,
		.snap_len = SEGMENT_MAX,
		.link_type = LINK_TYPE,
	};
	_cleanup_close_ int own_fd = fd;
	_cleanup_free_ struct capture *c = malloc(sizeof(*c));
	int e;

	if (!c)
		return errmsg_set(err, -ENOMEM, "capture");
	c->fd = fd;
	c->round = r;
	c->flush = (struct round_job){ .fn = on_flush };
	c->counts = counts;
	c->over = over;
	c->arg = arg;
	c->start = c->end = 0;
	c->lock = (struct lock){ 0 };
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return errmsg_set(err, -errno, "pipe of the capture");
	e = loop_io_add(l, fd, 0, on_writable, c, &c->io);
	if (e < 0)
		return errmsg_set(err, e, "watch the pipe of the capture");
	put(c, &header, sizeof(header));
	round_want(r, &c->flush);
	TAKE_FD(own_fd);
	*ret = TAKE_PTR(c);
	return 0;
}

void capture_share(struct capture *c)
{
	lock_share(&c->lock);
}

void capture_free(struct capture *c)
{
	if (!c)
		return;
	drain(c);
	round_forget(c->round, &c->flush);
	loop_io_free(c->io);
	close(c->fd);
	lock_done(&c->lock);
	free(c);
}
