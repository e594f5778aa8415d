#include <config.h>

#include "together.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "cleanup.h"
#include "image.h"

#define XFS_MAGIC 0x58465342 /* linux/magic.h has it since 6.2 only */

#define ALONE (CTL_WRITE | CTL_REMOVE) /* with these a file is one VM's */

/* A file that a disk of some task is. */
struct use {
	uint32_t rank;
	unsigned int ctl;
	struct stat st;
	char *path; /* owned; NULL: no file, or none that is known here */
};

static struct image_place place_of(const struct task *t, uint32_t rank)
{
	return (struct image_place){ .search = t->image_path,
				     .allow = t->allow_images,
				     .job = t->job,
				     .rank = rank };
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Can @spec of task @rank lead to the file of @mine? For thousands of tasks no
 * file system should be asked that: what goes by quite another name is for the
 * locks of hold.h. A suffix may be left out, and a tail follows. */
static bool can_be(const struct use *mine, const struct imagespec *spec,
		   uint32_t job, uint32_t rank)
{
	const char *a = base_of(mine->path), *b = base_of(spec->name);
	size_t n = strlen(b), len = strlen(a), m;
	char tail[32];

	imagespec_tail(spec->ctl & CTL_JOB, spec->ctl & CTL_RANK, job, rank,
		       tail);
	m = strlen(tail);
	return len >= n + m && strncmp(a, b, n) == 0 &&
	       strcmp(a + len - m, tail) == 0 && (len == n + m || a[n] == '.');
}

/* What value @text of --vm-image is to task @rank. A file that is not there
 * is missed elsewhere. @mine, if not NULL: is it this one? Others may be left
 * without a path. */
static int find_use(const struct task *t, uint32_t rank, const char *text,
		    const struct use *mine, struct use *ret, struct errmsg *err)
{
	const struct image_place place = place_of(t, rank);
	struct imagespec spec;
	int r = imagespec_parse(text, &spec, err);

	*ret = (struct use){ .rank = rank };
	if (r < 0)
		return r;
	if (spec.name && (!mine || can_be(mine, &spec, t->job, rank))) {
		ret->ctl = spec.ctl;
		ret->path = image_look_up(&spec, &place);
	}
	imagespec_done(&spec);
	if (ret->path && stat(ret->path, &ret->st) < 0) {
		free(ret->path);
		ret->path = NULL;
	}
	return 0;
}

/* File systems that a node has for itself. */
static bool of_this_node(const char *path)
{
	static const unsigned long magics[] = {
		EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC,	 TMPFS_MAGIC,
		XFS_MAGIC,	  OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC
	};
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if ((unsigned long)fs.f_type == magics[i])
			return true;
	return false;
}

static bool same_file(const struct use *a, const struct use *b)
{
	return a->path && b->path && a->st.st_dev == b->st.st_dev &&
	       a->st.st_ino == b->st.st_ino;
}

static int refuse(const struct use *mine, const struct use *other,
		  struct errmsg *err)
{
	const struct use *alone = mine->ctl & ALONE ? mine : other;
	const struct use *with = alone == mine ? other : mine;
	const char *what = alone->ctl & CTL_WRITE ? "writes to (ctl=w)"
						  : "removes (ctl=D)";

	if (alone->rank == with->rank)
		return errmsg_say(
			err, -EBUSY,
			"--vm-image: %s, which task %u %s, is named twice by it: name it once",
			alone->path, alone->rank, what);
	return errmsg_say(
		err, -EBUSY,
		"--vm-image: %s, which task %u %s, is task %u's, too: give each a disk of its own, as R in ctl= does, or RANKS",
		alone->path, alone->rank, what, with->rank);
}

static int check_pair(const struct task *t, const struct use *mine,
		      const struct use *other, struct errmsg *err)
{
	if (!((mine->ctl | other->ctl) & ALONE) || !same_file(mine, other))
		return 0;
	if (!rankset_has(&t->local_ranks, other->rank) &&
	    of_this_node(mine->path))
		return 0;
	return refuse(mine, other, err);
}

/* -- tasks ----------------------------------------------------------------- */

/* @raw has words that only another node knows? */
static bool is_known_here(const struct task *t, uint32_t rank, const char *raw)
{
	return rankset_has(&t->local_ranks, rank) ||
	       (!strstr(raw, "%n") && !strstr(raw, "%N"));
}

static int check_with(const struct task *t, const struct use *mine,
		      size_t index, uint32_t rank, struct errmsg *err)
{
	struct strings raw = { 0 };
	int r = option_values(&t->options, OPT_IMAGE, rank, &raw, err);

	for (size_t i = 0; i < raw.n && r == 0; i++) {
		_cleanup_free_ char *text = NULL;
		struct use other;

		if ((rank == t->rank && i == index) ||
		    !is_known_here(t, rank, raw.v[i]))
			continue;
		text = task_expand(t, rank, raw.v[i], err);
		r = text ? find_use(t, rank, text, mine, &other, err) : -EINVAL;
		if (r == 0) {
			r = check_pair(t, mine, &other, err);
			free(other.path);
		}
	}
	strings_done(&raw);
	return r;
}

/* For most steps there is nothing to look at. */
static bool any_alone(const struct task *t)
{
	const struct optvals *vals = &t->options.opt[OPT_IMAGE];

	for (size_t i = 0; i < vals->n; i++)
		for (const char *p = vals->v[i]; (p = strstr(p, "ctl="));) {
			size_t n = strcspn(p, ",;");

			if (memchr(p, 'w', n) || memchr(p, 'D', n))
				return true;
			p += n;
		}
	return false;
}

int together_check(const struct task *t, const struct spec *s,
		   struct errmsg *err)
{
	int r = 0;

	if (!any_alone(t))
		return 0;
	for (size_t i = 0; i < s->images.n && r == 0; i++) {
		struct use mine;

		r = find_use(t, t->rank, s->images.v[i], NULL, &mine, err);
		if (r < 0)
			return errmsg_prefix(err, r, "--vm-image");
		for (uint32_t q = 0; mine.path && q < t->ranks && r == 0; q++)
			r = check_with(t, &mine, i, q, err);
		free(mine.path);
	}
	return r;
}

/* -- saved disks ----------------------------------------------------------- */

static int check_save_with(const struct task *t, const char *path,
			   uint32_t rank, bool *same, struct errmsg *err)
{
	struct strings raw = { 0 };
	_cleanup_free_ char *text = NULL;
	int r = option_values(&t->options, OPT_SAVE, rank, &raw, err);
	size_t n = strlen(path);

	*same = false;
	if (r == 0 && raw.n && is_known_here(t, rank, raw.v[0])) {
		text = task_expand(t, rank, raw.v[0], err);
		r = text ? 0 : -EINVAL;
	}
	if (text)
		*same = strncmp(text, path, n) == 0 &&
			(!text[n] || strcmp(text + n, ",full") == 0);
	strings_done(&raw);
	return r;
}

int together_check_save(const struct task *t, const char *path, const char *dir,
			struct errmsg *err)
{
	bool alone = of_this_node(dir), same;
	int r = 0;

	for (uint32_t q = 0; q < t->ranks && r == 0; q++) {
		if (q == t->rank || (alone && !rankset_has(&t->local_ranks, q)))
			continue;
		r = check_save_with(t, path, q, &same, err);
		if (r == 0 && same)
			r = errmsg_say(
				err, -EEXIST,
				"%s is where task %u's disk would go, too: put %%t into it, or give RANKS",
				path, q);
	}
	return r;
}
