#include <config.h>

#include "filecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "filedata.h"
#include "job.h"
#include "newfile.h"
#include "param.h"
#include "tree.h"

#define MODE_MAX  07777
#define GLOBS_MAX 1000

/* -- what all have --------------------------------------------------------- */

/* "hash": how what goes through the channel is added up. */
static int parse_hash(const json_t *params, int *ret, struct errmsg *err)
{
	*ret = DIGEST_SHA256;
	return param_word(params, "hash", digest_names, ret, err);
}

/* Into the answer: what went through the channel. */
static void add_flow(json_t *result, struct flow *f, char text[DIGEST_TEXT])
{
	digest_text(&f->digest, text);
	json_object_set_new(result, "stream_bytes",
			    json_integer((json_int_t)f->bytes));
	if (*text)
		json_object_set_new(result, digest_names[f->digest.kind],
				    json_string(text));
}

static int answer(json_t *o, json_t **result, struct errmsg *err)
{
	*result = o;
	return o ? 0 : errmsg_set(err, -ENOMEM, "answer");
}

/* -- file.put -------------------------------------------------------------- */

struct put {
	char *path, *sha256; /* owned */
	int format, hash;
	int64_t mode, uid, gid, mtime_ns, size, offset; /* -1: not said */
	bool atomic, exclusive, parents, sparse, sync;
};

static void put_done(struct put *p)
{
	free(p->path);
	free(p->sha256);
}

static int parse_flags(const json_t *params, struct put *p, struct errmsg *err)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{ "atomic", &p->atomic },   { "exclusive", &p->exclusive },
		{ "parents", &p->parents }, { "sparse", &p->sparse },
		{ "sync", &p->sync },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(flags); i++)
		r = param_bool(params, flags[i].name, flags[i].flag, err);
	return r;
}

static int parse_numbers(const json_t *params, struct put *p,
			 struct errmsg *err)
{
	int r = param_int(params, "mode", 0, MODE_MAX, &p->mode, err);

	if (r == 0)
		r = param_int(params, "uid", 0, UINT32_MAX - 1, &p->uid, err);
	if (r == 0)
		r = param_int(params, "gid", 0, UINT32_MAX - 1, &p->gid, err);
	if (r == 0)
		r = param_int(params, "size", 0, INT64_MAX, &p->size, err);
	if (r == 0)
		r = param_int(params, "offset", 0, INT64_MAX, &p->offset, err);
	if (r == 0)
		r = param_int(params, "mtime_ns", 0, INT64_MAX, &p->mtime_ns,
			      err);
	return r;
}

static int parse_put(const json_t *params, struct put *p, struct errmsg *err)
{
	int r = file_need(params, "path", &p->path, err);

	if (r == 0)
		r = param_word(params, "format", filedata_formats, &p->format,
			       err);
	if (r == 0)
		r = parse_hash(params, &p->hash, err);
	if (r == 0)
		r = param_text(params, "sha256", &p->sha256, err);
	if (r == 0)
		r = parse_numbers(params, p, err);
	if (r == 0)
		r = parse_flags(params, p, err);
	if (r < 0)
		return r;
	if (p->sha256 && p->hash != DIGEST_SHA256)
		return errmsg_say(err, -EINVAL,
				  "sha256: is of no use with another hash");
	if (p->offset >= 0)
		p->atomic = false;
	return 0;
}

/* In the place of what symbolic links lead to, as cp(1) has it. */
static int follow_links(struct put *p)
{
	struct stat st;
	char *real;

	if (lstat(p->path, &st) < 0 || !S_ISLNK(st.st_mode))
		return 0;
	real = realpath(p->path, NULL);
	if (!real)
		return -errno;
	free(p->path);
	p->path = real;
	return 0;
}

/* What is there decides, too: a device is written to, not replaced. */
static int look_at_place(struct put *p)
{
	size_t len = strlen(p->path);
	struct stat st;

	if (p->path[len - 1] == '/')
		return -EISDIR;
	if (stat(p->path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (p->exclusive)
		return -EEXIST;
	if (!S_ISREG(st.st_mode))
		p->atomic = false;
	else if (p->mode < 0)
		p->mode = st.st_mode & MODE_MAX;
	return 0;
}

/* Of the file itself, its size and its sum. */
static int check_whole(struct job_child *c, const struct put *p,
		       struct flow *in, uint64_t bytes, struct errmsg *err)
{
	struct flow copy = *in; /* the sum is told in the answer, too */
	char text[DIGEST_TEXT];

	if (job_is_whole(c) < 0)
		return errmsg_say(err, -ECANCELED,
				  "%s: the data broke off after %llu bytes",
				  p->path, (unsigned long long)bytes);
	if (p->size >= 0 && (uint64_t)p->size != bytes) {
		c->what = "size";
		return errmsg_say(
			err, -EBADMSG, "%s: %llu bytes came, not %lld", p->path,
			(unsigned long long)bytes, (long long)p->size);
	}
	digest_text(&copy.digest, text);
	if (!p->sha256 || strcasecmp(p->sha256, text) == 0)
		return 0;
	c->what = "sha256";
	return errmsg_say(err, -EBADMSG, "%s: the data's sum is %s, not %s",
			  p->path, text, p->sha256);
}

static int set_meta(const struct put *p, int fd)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = p->mtime_ns / 1000000000,
		  .tv_nsec = p->mtime_ns % 1000000000 },
	};

	if ((p->uid >= 0 || p->gid >= 0) &&
	    fchown(fd, (uid_t)p->uid, (gid_t)p->gid) < 0)
		return -errno;
	if (p->mode >= 0 && fchmod(fd, (mode_t)p->mode) < 0)
		return -errno;
	return p->mtime_ns >= 0 && futimens(fd, times) < 0 ? -errno : 0;
}

static int receive(struct job_child *c, const struct put *p, struct flow *in,
		   int fd, bool fresh, uint64_t *ret, struct errmsg *err)
{
	const struct filedata_sink sink = {
		.fd = fd,
		.offset = p->offset > 0 ? (uint64_t)p->offset : 0,
		.fresh = fresh,
		.sparse = p->sparse,
	};
	int r = filedata_receive(in, (enum filedata_format)p->format, &sink,
				 ret, err);

	if (r == -EBADMSG || r == -ENODATA)
		c->what = "data";
	if (r < 0)
		return errmsg_prefix(err, r, "%s", p->path);
	return check_whole(c, p, in, *ret, err);
}

/* The directory of @path, and the name in it. */
static int open_place(const char *path, const char **ret_name, int *ret)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

	if (!dir)
		return -ENOMEM;
	*ret_name = slash ? slash + 1 : path;
	*ret = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

static int put_atomic(struct job_child *c, struct put *p, struct flow *in,
		      uint64_t *ret, struct errmsg *err)
{
	_cleanup_(newfile_done) struct newfile f = { .fd = -1 };
	_cleanup_close_ int dir = -1;
	const char *name = NULL;
	int r = open_place(p->path, &name, &dir);

	if (r == 0)
		r = newfile_open(dir, &f);
	if (r < 0)
		return errmsg_set(err, r, "%s", p->path);
	r = receive(c, p, in, f.fd, true, ret, err);
	if (r < 0)
		return r;
	if (p->mode < 0)
		p->mode = 0644;
	r = set_meta(p, f.fd);
	if (r == 0)
		r = newfile_commit(&f, name, p->sync);
	return r < 0 ? errmsg_set(err, r, "%s", p->path) : 0;
}

/* A part of a file, or what is no regular file. */
static int put_in_place(struct job_child *c, struct put *p, struct flow *in,
			uint64_t *ret, struct errmsg *err)
{
	int flags = O_WRONLY | O_CREAT | O_NOCTTY | O_CLOEXEC |
		    (p->offset < 0 ? O_TRUNC : 0) | (p->exclusive ? O_EXCL : 0);
	/* a fifo that nobody reads is an error, not a wait */
	_cleanup_close_ int fd = open(p->path, flags | O_NONBLOCK, 0644);
	int r;

	if (fd < 0 || fcntl(fd, F_SETFL, 0) < 0)
		return errmsg_set(err, -errno, "%s", p->path);
	r = receive(c, p, in, fd, false, ret, err);
	if (r < 0)
		return r;
	r = set_meta(p, fd);
	if (r == 0 && p->sync && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? errmsg_set(err, r, "%s", p->path) : 0;
}

static int do_put(struct job_child *c, const json_t *params, json_t **result,
		  struct errmsg *err)
{
	_cleanup_(put_done) struct put p = { .mode = -1,
					     .uid = -1,
					     .gid = -1,
					     .mtime_ns = -1,
					     .size = -1,
					     .offset = -1,
					     .atomic = true };
	_cleanup_(flow_done) struct flow in = { 0 };
	char text[DIGEST_TEXT];
	uint64_t bytes = 0;
	int r = parse_put(params, &p, err);

	if (r < 0)
		return r;
	r = p.parents ? file_make_parents(p.path, false, NULL) : 0;
	if (r == 0)
		r = follow_links(&p);
	if (r == 0)
		r = look_at_place(&p);
	if (r == 0)
		r = flow_init(&in, c->data, (enum digest_kind)p.hash);
	if (r < 0)
		return errmsg_set(err, r, "%s", p.path);
	r = p.atomic ? put_atomic(c, &p, &in, &bytes, err)
		     : put_in_place(c, &p, &in, &bytes, err);
	if (r < 0)
		return r;
	r = answer(json_pack("{s:I}", "bytes", (json_int_t)bytes), result, err);
	if (r == 0)
		add_flow(*result, &in, text);
	return r;
}

/* -- file.get -------------------------------------------------------------- */

/* What is opened, tell the host before it comes. */
static int open_source(struct job_child *c, const char *path, int *ret,
		       struct errmsg *err)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errmsg_set(err, -errno, "%s", path);
	*ret = fd;
	if (fstat(fd, &st) < 0 || fcntl(fd, F_SETFL, 0) < 0)
		return errmsg_set(err, -errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		return errmsg_set(err, -EISDIR, "%s", path);
	return job_opened(c, file_stat_json(&st));
}

static int do_get(struct job_child *c, const json_t *params, json_t **result,
		  struct errmsg *err)
{
	_cleanup_(flow_done) struct flow out = { 0 };
	int64_t offset = 0, size = FILEDATA_ALL;
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	int format = FILEDATA_PLAIN, hash;
	char text[DIGEST_TEXT];
	uint64_t bytes = 0;
	int r = file_need(params, "path", &path, err);

	if (r == 0)
		r = param_int(params, "offset", 0, INT64_MAX, &offset, err);
	if (r == 0)
		r = param_int(params, "size", 0, INT64_MAX, &size, err);
	if (r == 0)
		r = param_word(params, "format", filedata_formats, &format,
			       err);
	if (r == 0)
		r = parse_hash(params, &hash, err);
	if (r == 0)
		r = open_source(c, path, &fd, err);
	if (r < 0)
		return r;
	r = flow_init(&out, c->data, (enum digest_kind)hash);
	if (r == 0)
		r = filedata_send(fd, (enum filedata_format)format,
				  (uint64_t)offset, (uint64_t)size, &out,
				  &bytes);
	if (r < 0)
		return errmsg_set(err, r, "%s", path);
	r = answer(json_pack("{s:I}", "bytes", (json_int_t)bytes), result, err);
	if (r == 0)
		add_flow(*result, &out, text);
	return r;
}

/* -- trees ----------------------------------------------------------------- */

static int answer_tree(const struct tree_counts *n, struct flow *f,
		       json_t **result, struct errmsg *err)
{
	char text[DIGEST_TEXT];
	int r = answer(json_pack("{s:I, s:I, s:I, s:I, s:I}", "entries",
				 (json_int_t)n->entries, "files",
				 (json_int_t)n->files, "bytes",
				 (json_int_t)n->bytes, "skipped",
				 (json_int_t)n->skipped, "changed",
				 (json_int_t)n->changed),
		       result, err);

	if (r == 0)
		add_flow(*result, f, text);
	return r;
}

static int open_dir(const char *path, int *ret, struct errmsg *err)
{
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? errmsg_set(err, -errno, "%s", path) : 0;
}

static void free_texts(char ***texts)
{
	for (char **t = *texts; t && *t; t++)
		free(*t);
	free(*texts);
}

/* *ret is NULL where there are none. */
static int parse_globs(const json_t *params, char ***ret, struct errmsg *err)
{
	const json_t *all = json_object_get(params, "globs"), *one;
	size_t i, n = json_array_size(all);
	int r = 0;

	if (!all || json_is_null(all))
		return 0;
	if (!n || n > GLOBS_MAX)
		return errmsg_say(err, -EINVAL,
				  "globs: a list of 1 to %d texts", GLOBS_MAX);
	*ret = calloc(n + 1, sizeof(**ret));
	if (!*ret)
		return errmsg_set(err, -ENOMEM, "globs");
	json_array_foreach (all, i, one) {
		r = param_value_text(one, "globs", &(*ret)[i], err);
		if (r < 0)
			break;
	}
	return r;
}

static int do_tree_get(struct job_child *c, const json_t *params,
		       json_t **result, struct errmsg *err)
{
	_cleanup_(flow_done) struct flow out = { 0 };
	struct tree_counts n = { 0 };
	_cleanup_(free_texts) char **globs = NULL;
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int dir = -1;
	struct stat st;
	int hash, r = file_need(params, "path", &path, err);

	if (r == 0)
		r = parse_hash(params, &hash, err);
	if (r == 0)
		r = parse_globs(params, &globs, err);
	if (r == 0)
		r = open_dir(path, &dir, err);
	if (r < 0)
		return r;
	r = fstat(dir, &st) < 0 ? -errno : job_opened(c, file_stat_json(&st));
	if (r == 0)
		r = flow_init(&out, c->data, (enum digest_kind)hash);
	if (r < 0)
		return errmsg_set(err, r, "%s", path);
	r = tree_send(dir, (const char *const *)globs, &out, &n, err);
	if (r < 0)
		return errmsg_prefix(err, r, "%s", path);
	return answer_tree(&n, &out, result, err);
}

static int receive_tree(struct job_child *c, int dir, struct flow *in,
			const struct tree_options *o, struct tree_counts *n,
			struct errmsg *err)
{
	int r = tree_receive(dir, in, o, n, err);

	if (r == -EBADMSG || r == -ENODATA)
		c->what = "data";
	if (r == 0 && job_is_whole(c) < 0)
		r = errmsg_say(err, -ECANCELED, "the data broke off");
	return r;
}

static int do_tree_put(struct job_child *c, const json_t *params,
		       json_t **result, struct errmsg *err)
{
	_cleanup_(flow_done) struct flow in = { 0 };
	struct tree_options o = { 0 };
	struct tree_counts n = { 0 };
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int dir = -1;
	bool parents = false;
	int64_t strip = 0;
	int hash, r = file_need(params, "path", &path, err);

	if (r == 0)
		r = parse_hash(params, &hash, err);
	if (r == 0)
		r = param_bool(params, "parents", &parents, err);
	if (r == 0)
		r = param_int(params, "strip", 0, TREE_DEPTH, &strip, err);
	if (r == 0)
		r = param_bool(params, "owner", &o.owner, err);
	if (r == 0)
		r = param_bool(params, "sync", &o.sync, err);
	if (r < 0)
		return r;
	o.strip = (unsigned int)strip;
	if (parents)
		r = file_make_parents(path, true, &o.fresh);
	if (r == 0)
		r = flow_init(&in, c->data, (enum digest_kind)hash);
	if (r < 0)
		return errmsg_set(err, r, "%s", path);
	r = open_dir(path, &dir, err);
	if (r < 0)
		return r;
	r = receive_tree(c, dir, &in, &o, &n, err);
	if (r < 0)
		return errmsg_prefix(err, r, "%s", path);
	return answer_tree(&n, &in, result, err);
}

/* -- the methods ----------------------------------------------------------- */

void filecopy_put(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_IN, do_put);
}

void filecopy_get(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_OUT, do_get);
}

void filecopy_tree_put(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_IN, do_tree_put);
}

void filecopy_tree_get(struct rpc_call *call, const json_t *params, void *agent)
{
	job_start(agent, call, params, JOB_OUT, do_tree_get);
}
