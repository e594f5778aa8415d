#include <config.h>

#include "procio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cleanup.h"

struct output {
	struct procio *io;
	int fd;		   /* ours; -1: at its end */
	unsigned int chan; /* 0: the mux has no part in it any more */
	struct loop_io *drain;
};

struct procio {
	struct loop *loop;
	struct mux *mux; /* borrowed; valid while a channel is open */
	procio_fn fn;
	void *arg;
	unsigned int in; /* channel; 0: none, or at its end */
	int pty;	 /* the master; -1: pipes */
	struct loop_timer *hold;
	struct output outputs[2];
};

/* -- outputs --------------------------------------------------------------- */

static void output_end(struct output *o)
{
	loop_io_free(o->drain);
	o->drain = NULL;
	if (o->fd >= 0)
		close(TAKE_FD(o->fd));
	o->chan = 0;
}

static void on_drain(uint32_t events, void *arg)
{
	struct output *o = arg;
	char buf[16384];
	ssize_t n = read(o->fd, buf, sizeof(buf));

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	output_end(o);
	o->io->fn(o->io->arg);
}

static void drain(struct output *o)
{
	if (loop_io_add(o->io->loop, o->fd, EPOLLIN, on_drain, o, &o->drain) <
	    0)
		output_end(o);
}

/* Nobody has come back: read on, to nowhere. */
void procio_let_go(struct procio *io)
{
	for (size_t i = 0; i < ARRAY_SIZE(io->outputs); i++) {
		struct output *o = &io->outputs[i];

		if (o->fd >= 0 && !o->chan && !o->drain)
			drain(o);
	}
}

static void on_hold(void *arg)
{
	procio_let_go(arg);
}

/* The host has closed its terminal: so does the process's, with SIGHUP. */
static void hang_up(struct procio *io)
{
	procio_end_input(io);
	close(TAKE_FD(io->pty));
}

static void on_output_done(unsigned int chan, int error, void *arg)
{
	struct output *o = arg;

	o->chan = 0;
	if (error && !mux_is_up(o->io->mux)) {
		loop_timer_set(o->io->hold, PROCIO_HOLD_MS);
		return;
	}
	if (error && o->io->pty >= 0)
		hang_up(o->io);
	output_end(o);
	o->io->fn(o->io->arg);
}

static int copy_of(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

static int output_send(struct output *o, unsigned int chan)
{
	int copy = copy_of(o->fd), r;

	if (copy < 0)
		return copy;
	r = mux_send_fd(o->io->mux, chan, copy, on_output_done, o);
	if (r == 0)
		o->chan = chan;
	return r;
}

/* @fd is taken. */
static int output_start(struct output *o, unsigned int chan, int fd)
{
	o->fd = fd;
	return output_send(o, chan);
}

bool procio_is_done(const struct procio *io)
{
	return io->outputs[0].fd < 0 && io->outputs[1].fd < 0;
}

bool procio_is_quiet(const struct procio *io)
{
	for (size_t i = 0; i < ARRAY_SIZE(io->outputs); i++) {
		const struct output *o = &io->outputs[i];
		struct pollfd pfd = { .fd = o->fd, .events = POLLIN };

		if (o->fd >= 0 && poll(&pfd, 1, 0) != 0)
			return false;
		if (o->chan && mux_unacked(io->mux, o->chan) != 0)
			return false;
	}
	return true;
}

/* -- input ----------------------------------------------------------------- */

/* A terminal has no end of file: type what stands for it. */
static void type_eof(int master)
{
	struct termios t;

	if (tcgetattr(master, &t) < 0 || !(t.c_lflag & ICANON))
		return;
	if (write(master, &t.c_cc[VEOF], 1) < 0)
		return; /* its buffer is full, and nobody reads it */
}

static void on_input_done(unsigned int chan, int error, void *arg)
{
	struct procio *io = arg;

	io->in = 0;
	if (!error && io->pty >= 0)
		type_eof(io->pty);
}

void procio_end_input(struct procio *io)
{
	if (io->in)
		mux_reset(io->mux, io->in, false, EPIPE);
	io->in = 0;
}

/* @fd is taken. */
static int input_start(struct procio *io, unsigned int chan, int fd)
{
	int r = mux_recv_fd(io->mux, chan, fd, on_input_done, io);

	if (r == 0)
		io->in = chan;
	return r;
}

/* -- pipes ----------------------------------------------------------------- */

/* Our end does not block, and the child's does: they are two open files. */
static int make_pipe(bool we_read, int *ours, int *theirs)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[!we_read];
	*theirs = fds[we_read];
	fcntl(*ours, F_SETFL, O_NONBLOCK);
	return 0;
}

static int open_pipes(struct procio *io, const struct procio_spec *spec,
		      int child[3])
{
	const unsigned int chans[3] = { spec->in, spec->out, spec->err };
	int ours = -1, r;

	for (int i = 0; i < 3; i++) {
		if (!chans[i])
			continue;
		r = make_pipe(i > 0, &ours, &child[i]);
		if (r < 0)
			return r;
		r = i == 0 ? input_start(io, chans[i], ours)
			   : output_start(&io->outputs[i - 1], chans[i], ours);
		if (r < 0)
			return r;
	}
	return 0;
}

/* -- a pty ----------------------------------------------------------------- */

static int open_slave(int master, uid_t owner, int *ret)
{
	char name[64];
	int fd;

	if (grantpt(master) < 0 || unlockpt(master) < 0 ||
	    ptsname_r(master, name, sizeof(name)) != 0)
		return -errno;
	fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (geteuid() == 0 && fchown(fd, owner, (gid_t)-1) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	*ret = fd;
	return 0;
}

static int open_pty(struct procio *io, const struct procio_spec *spec,
		    int child[3])
{
	int r, fd;

	io->pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (io->pty < 0)
		return -errno;
	fcntl(io->pty, F_SETFL, O_RDWR | O_NONBLOCK);
	r = open_slave(io->pty, spec->owner, &child[0]);
	if (r == 0)
		r = procio_resize(io, spec->rows, spec->cols);
	if (r == 0 && spec->out) {
		fd = copy_of(io->pty);
		r = fd < 0 ? fd : output_start(&io->outputs[0], spec->out, fd);
	}
	if (r == 0 && spec->in) {
		fd = copy_of(io->pty);
		r = fd < 0 ? fd : input_start(io, spec->in, fd);
	}
	return r;
}

int procio_resize(struct procio *io, unsigned short rows, unsigned short cols)
{
	struct winsize ws = { .ws_row = rows, .ws_col = cols };

	if (io->pty < 0)
		return -ENOTTY;
	return ioctl(io->pty, TIOCSWINSZ, &ws) < 0 ? -errno : 0;
}

/* -- all of it ------------------------------------------------------------- */

void procio_close_child(int child[3])
{
	for (int i = 0; i < 3; i++)
		if (child[i] >= 0)
			close(TAKE_FD(child[i]));
}

int procio_open(struct loop *l, struct mux *m, const struct procio_spec *spec,
		procio_fn fn, void *arg, struct procio **ret, int child[3],
		struct errmsg *err)
{
	struct procio *io = calloc(1, sizeof(*io));
	int r;

	child[0] = child[1] = child[2] = -1;
	if (!io)
		return errmsg_set(err, -ENOMEM, "input and output");
	*io = (struct procio){
		.loop = l, .mux = m, .fn = fn, .arg = arg, .pty = -1
	};
	for (size_t i = 0; i < ARRAY_SIZE(io->outputs); i++)
		io->outputs[i] = (struct output){ .io = io, .fd = -1 };
	r = loop_timer_add(l, -1, on_hold, io, &io->hold);
	if (r == 0)
		r = spec->pty ? open_pty(io, spec, child)
			      : open_pipes(io, spec, child);
	if (r < 0) {
		procio_free(io, ECANCELED);
		procio_close_child(child);
		return errmsg_set(err, r,
				  spec->pty ? "cannot make a terminal"
					    : "cannot make pipes");
	}
	*ret = io;
	return 0;
}

/* *ret: it was not at its end. */
static int output_attach(struct output *o, unsigned int chan, bool *ret)
{
	*ret = chan && o->fd >= 0;
	if (!*ret)
		return 0;
	loop_io_free(TAKE_PTR(o->drain));
	return output_send(o, chan);
}

int procio_attach(struct procio *io, struct mux *m,
		  const struct procio_spec *spec, bool *ret_out, bool *ret_err)
{
	int r, fd;

	for (size_t i = 0; i < ARRAY_SIZE(io->outputs); i++)
		if (io->outputs[i].chan)
			return -EBUSY;
	io->mux = m;
	r = output_attach(&io->outputs[0], spec->out, ret_out);
	if (r == 0)
		r = output_attach(&io->outputs[1], spec->err, ret_err);
	if (r < 0 || io->pty < 0 || !spec->in || io->in)
		return r;
	fd = copy_of(io->pty);
	return fd < 0 ? fd : input_start(io, spec->in, fd);
}

void procio_free(struct procio *io, int error)
{
	if (!io)
		return;
	procio_end_input(io);
	for (size_t i = 0; i < ARRAY_SIZE(io->outputs); i++) {
		if (io->outputs[i].chan)
			mux_reset(io->mux, io->outputs[i].chan, true, error);
		output_end(&io->outputs[i]);
	}
	loop_timer_free(io->hold);
	if (io->pty >= 0)
		close(io->pty);
	free(io);
}
