#include <config.h>

#include "pcapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "outfile.h"
#include "writeall.h"

/* Asked for; what an ordinary user may have. */
#define PIPE_BYTES (1024 * 1024)

struct pcapfile {
	pthread_t thread;
	int pipe, file;
	char *path;
	int error; /* the thread's; the file ends where it happened */
	char data[64 * 1024];
};

/* After an error goes on reading: vmstep-net is not to see a broken pipe. */
static void *copy(void *arg)
{
	struct pcapfile *p = arg;
	ssize_t n;

	while ((n = read(p->pipe, p->data, sizeof(p->data))) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		if (n > 0 && p->error == 0)
			p->error = write_all(p->file, p->data, (size_t)n);
	}
	if (close(p->file) < 0 && p->error == 0) /* NFS tells it here */
		p->error = -errno;
	p->file = -1;
	return NULL;
}

/* Signals are for the loop's thread. */
static int start_thread(struct pcapfile *p)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&p->thread, NULL, copy, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int pcapfile_new(const char *path, int *ret_pipe, struct pcapfile **ret,
		 struct errmsg *err)
{
	_cleanup_close_ int file =
		outfile_open("--vm-capture", path, O_TRUNC, err);
	_cleanup_free_ struct pcapfile *p = calloc(1, sizeof(*p));
	_cleanup_free_ char *name = strdup(path);
	int fds[2], r;

	if (file < 0)
		return file;
	if (!p || !name)
		return errmsg_set(err, -ENOMEM, "--vm-capture");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "--vm-capture");
	fcntl(file, F_SETFL, 0); /* the thread may wait */
	fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES);
	*p = (struct pcapfile){ .pipe = fds[0], .file = file, .path = name };
	r = start_thread(p);
	if (r < 0) {
		close(fds[0]);
		close(fds[1]);
		return errmsg_set(err, r, "--vm-capture: thread");
	}
	TAKE_FD(file);
	TAKE_PTR(name);
	*ret_pipe = fds[1];
	*ret = TAKE_PTR(p);
	return 0;
}

int pcapfile_free(struct pcapfile *p, struct errmsg *err)
{
	struct timespec until;
	int r;

	if (!p)
		return 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PCAPFILE_END_MS / 1000;
	/* else the thread goes on using *p, and ends with the process */
	if (pthread_timedjoin_np(p->thread, NULL, &until) != 0)
		return errmsg_say(
			err, -ETIMEDOUT,
			"--vm-capture=%s: not written to its end within %d s",
			p->path, PCAPFILE_END_MS / 1000);
	r = p->error < 0 ? errmsg_set(err, p->error,
				      "--vm-capture=%s is cut short", p->path)
			 : 0;
	close(p->pipe);
	free(p->path);
	free(p);
	return r;
}
