#include <config.h>

#include "wireup.h"

#include <errno.h>
#include <fcntl.h>
#include <pmix.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

#define KEY_OF_NODE "vmstep.node"
#define KEY_OF_STEP "vmstep.key"
#define KEY_MARK    '=' /* before the key, any of whose bytes may be any */
#define FAILED_MARK '!' /* before the reason, in place of a link address */

struct wireup {
	const struct task *task;
	char *link; /* owned; NULL unless this rank publishes */
	int timeout_ms;
	pthread_t thread;
	bool started;
	int pipe[2]; /* the thread writes a byte when it is done */
	struct loop_io *io;
	wireup_done_fn fn;
	void *arg;
	/* the thread's, until it is done */
	pmix_proc_t self;
	struct wireup_result res;
	struct errmsg err;
	int result;
};

bool wireup_possible(void)
{
	return getenv("PMIX_NAMESPACE") && getenv("PMIX_RANK");
}

static bool is_publisher(const struct task *t)
{
	return rankset_next(&t->local_ranks, 0) == t->rank;
}

static int pmix_error(struct errmsg *err, const char *doing, pmix_status_t s)
{
	return errmsg_say(err, -EIO, "PMIx: %s: %s", doing,
			  PMIx_Error_string(s));
}

/* -- the fence ------------------------------------------------------------- */

/* One a process, and for good: PMIx may call back after we gave up. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done, cancelled;
	pmix_status_t status;
} the_fence = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };

static void on_fence(pmix_status_t status, void *arg)
{
	pthread_mutex_lock(&the_fence.lock);
	the_fence.done = true;
	the_fence.status = status;
	pthread_cond_signal(&the_fence.cond);
	pthread_mutex_unlock(&the_fence.lock);
}

/* From the loop's thread: the helper is about to end. */
static void cancel_fence(void)
{
	pthread_mutex_lock(&the_fence.lock);
	the_fence.cancelled = true;
	pthread_cond_signal(&the_fence.cond);
	pthread_mutex_unlock(&the_fence.lock);
}

static int wait_for_fence(int timeout_ms, struct errmsg *err)
{
	struct timespec end;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_ms / 1000 + 1;
	pthread_mutex_lock(&the_fence.lock);
	while (!the_fence.done && !the_fence.cancelled && r == 0)
		r = pthread_cond_timedwait(&the_fence.cond, &the_fence.lock,
					   &end);
	pthread_mutex_unlock(&the_fence.lock);
	if (the_fence.done)
		return the_fence.status == PMIX_SUCCESS
			       ? 0
			       : pmix_error(err, "fence", the_fence.status);
	if (the_fence.cancelled)
		return errmsg_say(err, -ECANCELED, "cancelled");
	return errmsg_say(
		err, -ETIMEDOUT,
		"not all tasks of the step came to the PMIx fence within %d s",
		timeout_ms / 1000);
}

static int fence(int timeout_ms, struct errmsg *err)
{
	bool collect = true;
	pmix_status_t s;
	pmix_info_t info;

	PMIX_INFO_LOAD(&info, PMIX_COLLECT_DATA, &collect, PMIX_BOOL);
	s = PMIx_Fence_nb(NULL, 0, &info, 1, on_fence, NULL);
	PMIX_INFO_DESTRUCT(&info);
	if (s != PMIX_SUCCESS)
		return pmix_error(err, "fence", s);
	return wait_for_fence(timeout_ms, err);
}

/* -- put and get ----------------------------------------------------------- */

static int put_bytes(const char *key, const void *bytes, size_t size,
		     struct errmsg *err)
{
	pmix_value_t v = { .type = PMIX_BYTE_OBJECT };
	pmix_status_t s;

	v.data.bo.bytes = (char *)(uintptr_t)bytes;
	v.data.bo.size = size;
	s = PMIx_Put(PMIX_GLOBAL, key, &v);
	return s == PMIX_SUCCESS ? 0 : pmix_error(err, "put", s);
}

/* To be freed; a NUL byte follows the bytes. */
static int get_bytes(const struct wireup *w, uint32_t rank, const char *key,
		     char **ret, size_t *ret_size, struct errmsg *err)
{
	pmix_value_t *v = NULL;
	pmix_status_t s;
	pmix_proc_t who;
	int r = 0;

	PMIX_LOAD_PROCID(&who, w->self.nspace, rank);
	s = PMIx_Get(&who, key, NULL, 0, &v);
	if (s != PMIX_SUCCESS)
		return pmix_error(err, "get", s);
	if (v->type != PMIX_BYTE_OBJECT || v->data.bo.size > 1 << 20) {
		r = errmsg_say(err, -EPROTO,
			       "PMIx: task %u published what is not ours",
			       rank);
	} else {
		*ret = calloc(1, v->data.bo.size + 1);
		*ret_size = v->data.bo.size;
		if (*ret)
			memcpy(*ret, v->data.bo.bytes, v->data.bo.size);
		else
			r = errmsg_set(err, -ENOMEM, "PMIx get");
	}
	PMIX_VALUE_RELEASE(v);
	return r;
}

static int publish(struct wireup *w, struct errmsg *err)
{
	_cleanup_free_ char *ranks = NULL, *record = NULL;
	uint8_t key[WIREUP_KEY_RECORD] = { KEY_MARK };
	pmix_status_t s;
	int r = 0;

	if (w->link) {
		ranks = rankset_text(&w->task->local_ranks);
		if (!ranks || asprintf(&record, "%s %s", w->link, ranks) < 0) {
			record = NULL;
			return errmsg_set(err, -ENOMEM, "PMIx put");
		}
		r = put_bytes(KEY_OF_NODE, record, strlen(record), err);
	}
	if (r == 0 && w->task->rank == 0) {
		if (getrandom(key + 1, NETCTL_KEY_LEN, 0) != NETCTL_KEY_LEN)
			return errmsg_set(err, -errno, "random bytes");
		r = put_bytes(KEY_OF_STEP, key, sizeof(key), err);
		explicit_bzero(key, sizeof(key));
	}
	if (r < 0)
		return r;
	s = PMIx_Commit();
	return s == PMIX_SUCCESS ? 0 : pmix_error(err, "commit", s);
}

/* "ADDRESS:PORT RANKS", or the reason why a node has failed. */
static int check_record(const struct wireup *w, const char *record,
			uint32_t rank, struct rankset *seen, struct errmsg *err)
{
	const char *space = strchr(record, ' ');
	struct rankset ranks = { 0 };
	int r;

	if (record[0] == FAILED_MARK)
		return errmsg_say(err, -ECONNABORTED, "%s", record + 1);
	if (!space)
		return errmsg_say(err, -EPROTO,
				  "PMIx: task %u published what is not ours",
				  rank);
	r = rankset_parse(&ranks, space + 1, strlen(space + 1), err);
	if (r == 0 && !rankset_has(&ranks, rank))
		r = errmsg_say(err, -EPROTO,
			       "PMIx: task %u published another node's ranks",
			       rank);
	if (r == 0)
		r = rankset_merge(seen, &ranks);
	rankset_done(&ranks);
	return r;
}

static int read_nodes(struct wireup *w, FILE *out, struct errmsg *err)
{
	struct rankset seen = { 0 };
	uint32_t rank;
	int r = 0;

	while (r == 0 &&
	       (rank = rankset_next_missing(&seen, 0)) < w->task->ranks) {
		_cleanup_free_ char *record = NULL;
		size_t size;

		r = get_bytes(w, rank, KEY_OF_NODE, &record, &size, err);
		if (r == 0)
			r = check_record(w, record, rank, &seen, err);
		if (r < 0)
			break;
		if (rankset_has(&seen, w->task->rank) &&
		    rank <= w->task->rank &&
		    rank == rankset_next(&w->task->local_ranks, 0))
			w->res.node = w->res.nnodes;
		fprintf(out, "%s\n", record);
		w->res.nnodes++;
	}
	rankset_done(&seen);
	return r;
}

static int read_table(struct wireup *w, struct errmsg *err)
{
	_cleanup_fclose_ FILE *out = NULL;
	int fd = memfd_create("vmstep-table", MFD_CLOEXEC), r;

	if (fd < 0)
		return errmsg_set(err, -errno, "table of nodes");
	w->res.table = fd;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		return errmsg_set(err, -errno, "table of nodes");
	r = read_nodes(w, out, err);
	if (fflush(out) != 0 && r == 0)
		r = errmsg_set(err, -errno, "table of nodes");
	return r;
}

int wireup_key(const char *record, size_t size, uint8_t ret[NETCTL_KEY_LEN],
	       struct errmsg *err)
{
	if (size > 0 && record[0] == FAILED_MARK)
		return errmsg_say(err, -ECONNABORTED, "%.*s", (int)size - 1,
				  record + 1);
	if (size != WIREUP_KEY_RECORD || record[0] != KEY_MARK)
		return errmsg_say(err, -EPROTO,
				  "PMIx: the step's key is not one of ours");
	memcpy(ret, record + 1, NETCTL_KEY_LEN);
	return 0;
}

static int read_key(struct wireup *w, struct errmsg *err)
{
	_cleanup_free_ char *key = NULL;
	size_t size;
	int r = get_bytes(w, 0, KEY_OF_STEP, &key, &size, err);

	if (r < 0)
		return r;
	r = wireup_key(key, size, w->res.key, err);
	explicit_bzero(key, size);
	return r;
}

/* -- the thread ------------------------------------------------------------ */

static int wire_up(struct wireup *w, struct errmsg *err)
{
	pmix_status_t s = PMIx_Init(&w->self, NULL, 0);
	int r;

	if (s != PMIX_SUCCESS)
		return pmix_error(err, "init", s);
	r = publish(w, err);
	if (r == 0)
		r = fence(w->timeout_ms, err);
	if (r == 0)
		r = read_key(w, err);
	if (r == 0 && w->link)
		r = read_table(w, err);
	PMIx_Finalize(NULL, 0);
	return r;
}

static void *thread_main(void *arg)
{
	struct wireup *w = arg;

	w->result = wire_up(w, &w->err);
	if (write(w->pipe[1], "", 1) != 1)
		w->result = -EIO; /* nobody waits any more */
	return NULL;
}

static void on_done(uint32_t events, void *arg)
{
	struct wireup *w = arg;

	loop_io_free(w->io);
	w->io = NULL;
	pthread_join(w->thread, NULL);
	w->started = false;
	w->fn(&w->res, w->result < 0 ? w->err.text : NULL, w->arg);
}

int wireup_start(struct loop *l, const struct task *t, const char *link,
		 int timeout_ms, wireup_done_fn fn, void *arg,
		 struct wireup **ret, struct errmsg *err)
{
	struct wireup *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return errmsg_set(err, -ENOMEM, "PMIx");
	w->task = t;
	w->timeout_ms = timeout_ms;
	w->fn = fn;
	w->arg = arg;
	w->pipe[0] = w->pipe[1] = -1;
	w->res.table = -1;
	if (is_publisher(t)) {
		w->link = strdup(link);
		if (!w->link) {
			wireup_free(w);
			return errmsg_set(err, -ENOMEM, "PMIx");
		}
	}
	r = pipe2(w->pipe, O_CLOEXEC) < 0 ? -errno : 0;
	if (r == 0)
		r = loop_io_add(l, w->pipe[0], EPOLLIN, on_done, w, &w->io);
	if (r == 0)
		r = -pthread_create(&w->thread, NULL, thread_main, w);
	w->started = r == 0;
	if (r < 0) {
		wireup_free(w);
		return errmsg_set(err, r, "PMIx thread");
	}
	*ret = w;
	return 0;
}

void wireup_free(struct wireup *w)
{
	if (!w)
		return;
	if (w->started) {
		cancel_fence();
		pthread_join(w->thread, NULL);
	}
	loop_io_free(w->io);
	for (int i = 0; i < 2; i++)
		if (w->pipe[i] >= 0)
			close(w->pipe[i]);
	if (w->res.table >= 0)
		close(w->res.table);
	explicit_bzero(w->res.key, sizeof(w->res.key));
	free(w->link);
	free(w);
}

void wireup_say_failed(const char *why, int timeout_ms)
{
	_cleanup_free_ char *record = NULL;
	pmix_proc_t self;

	if (asprintf(&record, "%c%s", FAILED_MARK, why) < 0) {
		record = NULL;
		return;
	}
	if (PMIx_Init(&self, NULL, 0) != PMIX_SUCCESS)
		return;
	/* nobody reads it but from a node's lowest rank */
	put_bytes(KEY_OF_NODE, record, strlen(record), NULL);
	if (self.rank == 0)
		put_bytes(KEY_OF_STEP, record, strlen(record), NULL);
	PMIx_Commit();
	fence(timeout_ms, NULL);
	PMIx_Finalize(NULL, 0);
}
