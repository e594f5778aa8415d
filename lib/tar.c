#include <config.h>

#include "tar.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "memstream.h"

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12];
	char chksum[8], typeflag, linkname[100], magic[6], version[2];
	char uname[32], gname[32], devmajor[8], devminor[8], prefix[155];
	char pad[12];
};
static_assert(sizeof(struct header) == TAR_BLOCK, "tar header");

/* A pax header's comment: the file had holes. Others' readers pass over it. */
#define SPARSE "vmstep:sparse"

#define UID_PLAIN  07777777u	   /* what seven octal digits hold */
#define SIZE_PLAIN 077777777777ull /* what eleven hold */

static unsigned int checksum(const struct header *h)
{
	const uint8_t *p = (const uint8_t *)h;
	unsigned int sum = 0;

	for (size_t i = 0; i < sizeof(*h); i++) {
		bool own = i >= offsetof(struct header, chksum) &&
			   i < offsetof(struct header, typeflag);

		sum += own ? ' ' : p[i];
	}
	return sum;
}

/* -- writing --------------------------------------------------------------- */

/* What does not fit is 0 here, and right in the pax header before. */
static void put_octal(char *field, size_t size, uint64_t v, uint64_t max)
{
	char text[32];

	snprintf(text, sizeof(text), "%0*llo", (int)size - 1,
		 (unsigned long long)(v > max ? 0 : v));
	memcpy(field, text, size);
}

static void put_text(char *field, size_t size, const char *text)
{
	size_t len = strlen(text);

	memcpy(field, text, len < size ? len : size);
}

static int write_header(struct flow *out, const struct tar_entry *e, char type)
{
	struct header h = { .typeflag = type };
	uint64_t mtime = e->mtime_s < 0 ? 0 : (uint64_t)e->mtime_s;

	put_text(h.name, sizeof(h.name), e->path);
	put_text(h.linkname, sizeof(h.linkname), e->link ? e->link : "");
	put_octal(h.mode, sizeof(h.mode), e->mode & 07777, 07777);
	put_octal(h.uid, sizeof(h.uid), e->uid, UID_PLAIN);
	put_octal(h.gid, sizeof(h.gid), e->gid, UID_PLAIN);
	put_octal(h.size, sizeof(h.size), e->size, SIZE_PLAIN);
	put_octal(h.mtime, sizeof(h.mtime), mtime, SIZE_PLAIN);
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	put_octal(h.chksum, 7, checksum(&h), SIZE_PLAIN);
	h.chksum[7] = ' ';
	return flow_write(out, &h, sizeof(h));
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static void pax_add(FILE *f, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, len = rest, last;

	do {
		last = len;
		len = rest + (size_t)snprintf(NULL, 0, "%zu", last);
	} while (len != last);
	fprintf(f, "%zu %s=%s\n", len, key, value);
}

static void pax_add_number(FILE *f, const char *key, uint64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	pax_add(f, key, text);
}

/* -3.25 s is -4 and 750,000,000 ns. */
static void pax_add_mtime(FILE *f, const struct tar_entry *e)
{
	int64_t s = e->mtime_s;
	uint32_t ns = e->mtime_ns;
	char text[40];

	if (s < 0 && ns) {
		s++;
		ns = 1000000000 - ns;
	}
	snprintf(text, sizeof(text), "%s%lld.%09u",
		 e->mtime_s < 0 && s == 0 ? "-" : "", (long long)s, ns);
	pax_add(f, "mtime", text);
}

static void pax_fill(FILE *f, const struct tar_entry *e)
{
	const char *link = e->link ? e->link : "";
	bool path_long = strlen(e->path) > 100, link_long = strlen(link) > 100;

	if (path_long)
		pax_add(f, "path", e->path);
	if (link_long)
		pax_add(f, "linkpath", link);
	if (e->size > SIZE_PLAIN)
		pax_add_number(f, "size", e->size);
	if (e->uid > UID_PLAIN)
		pax_add_number(f, "uid", e->uid);
	if (e->gid > UID_PLAIN)
		pax_add_number(f, "gid", e->gid);
	if (e->mtime_ns || e->mtime_s < 0 || e->mtime_s > (int64_t)SIZE_PLAIN)
		pax_add_mtime(f, e);
	if (e->sparse)
		pax_add(f, "comment", SPARSE);
}

int tar_write_header(struct flow *out, const struct tar_entry *e)
{
	char name[] = "vmstep.pax";
	struct tar_entry pax = { .path = name, .mode = 0644 };
	_cleanup_free_ char *text = NULL;
	struct memstream m;
	size_t len = 0;
	int r = 0;

	if (!memstream_open(&m))
		return -ENOMEM;
	pax_fill(m.f, e);
	text = memstream_close(&m, &len);
	if (!text)
		return -ENOMEM;
	if (len) {
		pax.size = len;
		r = write_header(out, &pax, 'x');
		if (r == 0)
			r = flow_write(out, text, len);
		if (r == 0)
			r = tar_write_padding(out, len);
	}
	return r == 0 ? write_header(out, e, (char)e->type) : r;
}

int tar_write_padding(struct flow *out, uint64_t size)
{
	return flow_zeros(out, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

int tar_write_end(struct flow *out)
{
	int r = flow_zeros(out, (uint64_t)2 * TAR_BLOCK);

	return r == 0 ? flow_flush(out) : r;
}

/* -- reading --------------------------------------------------------------- */

/* What pax headers, or GNU's, say of the next entry. */
struct extra {
	char *path, *link; /* owned; NULL: not said */
	bool has_size, has_uid, has_gid, has_mtime, sparse;
	uint64_t size, uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
};

struct tar_reader {
	struct flow *in;
	struct tar_entry entry; /* its texts are owned */
	struct extra extra, global;
	uint64_t left, padding; /* of the entry's data */
};

static void extra_done(struct extra *x)
{
	free(x->path);
	free(x->link);
	*x = (struct extra){ 0 };
}

static void entry_done(struct tar_entry *e)
{
	free(e->path);
	free(e->link);
	*e = (struct tar_entry){ 0 };
}

struct tar_reader *tar_reader_new(struct flow *in)
{
	struct tar_reader *t = calloc(1, sizeof(*t));

	if (t)
		t->in = in;
	return t;
}

void tar_reader_free(struct tar_reader *t)
{
	if (!t)
		return;
	extra_done(&t->extra);
	extra_done(&t->global);
	entry_done(&t->entry);
	free(t);
}

/* Octal digits between blanks; or GNU's binary form, its first bit set. */
static int get_number(const char *field, size_t size, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if ((unsigned char)field[0] == 0x80) {
		for (i = 1; i < size; i++) {
			if (v >> 55)
				return -EBADMSG;
			v = v << 8 | (unsigned char)field[i];
		}
		*ret = v;
		return 0;
	}
	while (i < size && field[i] == ' ')
		i++;
	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
		if (v >> 60)
			return -EBADMSG;
		v = v << 3 | (uint64_t)(field[i] - '0');
	}
	if (i < size && field[i] != '\0' && field[i] != ' ')
		return -EBADMSG;
	*ret = v;
	return 0;
}

/* Times before 1970 are negative numbers in GNU's binary form. */
static int get_time(const char *field, size_t size, int64_t *ret)
{
	uint64_t v = 0;
	int r = 0;

	if ((unsigned char)field[0] == 0xff)
		for (size_t i = size - 8; i < size; i++)
			v = v << 8 | (unsigned char)field[i];
	else
		r = get_number(field, size, &v);
	*ret = (int64_t)v;
	return r;
}

static int replace(char **text, const char *from, size_t len)
{
	free(*text);
	*text = strndup(from, len);
	return *text ? 0 : -ENOMEM;
}

static int parse_unsigned(const char *value, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(value, &end, 10);
	return errno || !isdigit((unsigned char)*value) || *end ? -EBADMSG : 0;
}

/* "-3.25": seconds are rounded down, nanoseconds are never negative. */
static int parse_time(const char *value, struct extra *x)
{
	bool negative = *value == '-';
	const char *p = value + negative;
	uint64_t s = 0;
	uint32_t ns = 0, unit = 100000000;
	size_t len = strspn(p, "0123456789");

	if (!len || len > 18)
		return -EBADMSG;
	while (len--)
		s = s * 10 + (uint64_t)(*p++ - '0');
	if (*p == '.')
		for (p++; isdigit((unsigned char)*p); p++, unit /= 10)
			ns += (uint32_t)(*p - '0') * unit;
	if (*p)
		return -EBADMSG;
	x->mtime_s = negative ? -(int64_t)s : (int64_t)s;
	x->mtime_ns = ns;
	if (negative && ns) {
		x->mtime_s--;
		x->mtime_ns = 1000000000 - ns;
	}
	x->has_mtime = true;
	return 0;
}

static int pax_take(struct extra *x, const char *key, const char *value,
		    struct errmsg *err)
{
	int r = 0;

	if (strcmp(key, "path") == 0)
		r = replace(&x->path, value, strlen(value));
	else if (strcmp(key, "linkpath") == 0)
		r = replace(&x->link, value, strlen(value));
	else if (strcmp(key, "size") == 0)
		x->has_size = (r = parse_unsigned(value, &x->size)) == 0;
	else if (strcmp(key, "uid") == 0)
		x->has_uid = (r = parse_unsigned(value, &x->uid)) == 0;
	else if (strcmp(key, "gid") == 0)
		x->has_gid = (r = parse_unsigned(value, &x->gid)) == 0;
	else if (strcmp(key, "mtime") == 0)
		r = parse_time(value, x);
	else if (strcmp(key, "comment") == 0)
		x->sparse |= strcmp(value, SPARSE) == 0;
	else if (strncmp(key, "GNU.sparse.", 11) == 0)
		return errmsg_say(
			err, -ENOTSUP,
			"a sparse file in GNU's format: make the archive without --sparse");
	return r < 0 ? errmsg_say(err, r, "a pax header's %s cannot be", key)
		     : 0;
}

/* One record of @len bytes at most; returns its length. @text ends in NUL. */
static int pax_record(struct extra *x, char *text, size_t len,
		      struct errmsg *err)
{
	size_t digits = strspn(text, "0123456789"), size;
	char *key = text + digits + 1, *value;
	int r;

	size = digits && digits < 8 ? strtoul(text, NULL, 10) : 0;
	if (size > len || size < digits + 4 || text[digits] != ' ' ||
	    text[size - 1] != '\n')
		return errmsg_say(err, -EBADMSG, "a pax header that cannot be");
	text[size - 1] = '\0';
	value = memchr(key, '=', size - digits - 2);
	if (!value)
		return errmsg_say(err, -EBADMSG, "a pax header that cannot be");
	*value++ = '\0';
	if (value + strlen(value) != text + size - 1)
		return (int)size; /* bytes as of extended attributes */
	r = pax_take(x, key, value, err);
	return r < 0 ? r : (int)size;
}

static int read_text(struct tar_reader *t, uint64_t size, uint64_t max,
		     char **ret, struct errmsg *err)
{
	char *text;
	int r;

	if (size > max)
		return errmsg_say(err, -EBADMSG,
				  "a header of %llu bytes, %llu are the most",
				  (unsigned long long)size,
				  (unsigned long long)max);
	text = malloc((size_t)size + 1);
	if (!text)
		return errmsg_set(err, -ENOMEM, "tar header");
	text[size] = '\0';
	r = flow_read_all(t->in, text, (size_t)size);
	if (r == 0)
		r = flow_skip(t->in,
			      (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
	if (r < 0) {
		free(text);
		return errmsg_set(err, r, "tar header");
	}
	*ret = text;
	return 0;
}

static int take_pax(struct tar_reader *t, struct extra *x, uint64_t size,
		    struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	size_t at = 0;
	int r = read_text(t, size, TAR_PAX_MAX, &text, err);

	while (r >= 0 && at < size) {
		r = pax_record(x, text + at, (size_t)size - at, err);
		at += r > 0 ? (size_t)r : 0;
	}
	return r < 0 ? r : 0;
}

/* GNU's: the data of the entry is the name. */
static int take_long_name(struct tar_reader *t, char **to, uint64_t size,
			  struct errmsg *err)
{
	char *text = NULL;
	int r = read_text(t, size, TAR_PATH_MAX, &text, err);

	if (r < 0)
		return r;
	free(*to);
	*to = text;
	return 0;
}

static int take_names(struct tar_reader *t, const struct header *h)
{
	struct tar_entry *e = &t->entry;
	bool ustar = memcmp(h->magic, "ustar\0", 6) == 0;
	char path[sizeof(h->prefix) + sizeof(h->name) + 2];

	snprintf(path, sizeof(path), "%.*s%s%.*s",
		 ustar ? (int)sizeof(h->prefix) : 0, h->prefix,
		 ustar && h->prefix[0] ? "/" : "", (int)sizeof(h->name),
		 h->name);
	e->path = t->extra.path ? TAKE_PTR(t->extra.path) : strdup(path);
	e->link = t->extra.link ? TAKE_PTR(t->extra.link)
				: strndup(h->linkname, sizeof(h->linkname));
	return e->path && e->link ? 0 : -ENOMEM;
}

static int take_numbers(struct tar_reader *t, const struct header *h)
{
	struct tar_entry *e = &t->entry;
	const struct extra *x = &t->extra;
	uint64_t mode = 0, uid = 0, gid = 0;
	int r = get_number(h->mode, sizeof(h->mode), &mode);

	if (r == 0)
		r = get_number(h->uid, sizeof(h->uid), &uid);
	if (r == 0)
		r = get_number(h->gid, sizeof(h->gid), &gid);
	if (r == 0)
		r = get_time(h->mtime, sizeof(h->mtime), &e->mtime_s);
	if (x->has_uid)
		uid = x->uid;
	if (x->has_gid)
		gid = x->gid;
	if (r < 0 || uid > UINT32_MAX || gid > UINT32_MAX)
		return -EBADMSG;
	if (x->has_mtime) {
		e->mtime_s = x->mtime_s;
		e->mtime_ns = x->mtime_ns;
	}
	e->mode = mode & 07777;
	e->uid = (uint32_t)uid;
	e->gid = (uint32_t)gid;
	e->sparse = x->sparse;
	return 0;
}

static int take_type(struct tar_entry *e, char type, struct errmsg *err)
{
	size_t len = strlen(e->path);

	if (type == '\0' || type == '7')
		type = TAR_FILE;
	if (type == TAR_FILE && len && e->path[len - 1] == '/')
		type = TAR_DIR; /* of old, and others end in '/', too */
	if (type < '0' || type > '6')
		return errmsg_say(
			err, -ENOTSUP,
			"%s: an entry of type %d, which is not read here",
			e->path, type);
	e->type = (enum tar_type)type;
	return 0;
}

/* The header of a thing itself; @size is its own. */
static int take_entry(struct tar_reader *t, const struct header *h,
		      uint64_t size, struct errmsg *err)
{
	struct tar_entry *e = &t->entry;
	int r;

	if (t->extra.has_size)
		size = t->extra.size;
	if (size > INT64_MAX)
		return errmsg_say(err, -EBADMSG, "a size that cannot be");
	r = take_names(t, h);
	if (r == 0)
		r = take_numbers(t, h);
	if (r < 0)
		return errmsg_set(err, r, "tar header");
	r = take_type(e, h->typeflag, err);
	if (r < 0)
		return r;
	/* some put a size into the headers of links, and no data behind it */
	e->size = e->type == TAR_FILE ? size : 0;
	t->left = e->size;
	t->padding = (TAR_BLOCK - e->size % TAR_BLOCK) % TAR_BLOCK;
	extra_done(&t->extra);
	return 1;
}

/* Any header. 1: it was an entry's. */
static int take_header(struct tar_reader *t, const struct header *h,
		       struct errmsg *err)
{
	uint64_t sum = 0, size = 0;

	if (get_number(h->chksum, sizeof(h->chksum), &sum) < 0 ||
	    sum != checksum(h))
		return errmsg_say(err, -EBADMSG, "this is no tar archive");
	if (get_number(h->size, sizeof(h->size), &size) < 0)
		return errmsg_say(err, -EBADMSG, "a size that cannot be");
	if (h->typeflag == 'x')
		return take_pax(t, &t->extra, size, err);
	if (h->typeflag == 'g') /* nothing in it is of use here */
		return take_pax(t, &t->global, size, err);
	if (h->typeflag == 'L')
		return take_long_name(t, &t->extra.path, size, err);
	if (h->typeflag == 'K')
		return take_long_name(t, &t->extra.link, size, err);
	return take_entry(t, h, size, err);
}

static bool is_end(const struct header *h)
{
	static const struct header zeros;

	return memcmp(h, &zeros, sizeof(*h)) == 0;
}

int tar_next(struct tar_reader *t, const struct tar_entry **ret,
	     struct errmsg *err)
{
	struct header h;
	int r = flow_skip(t->in, t->left + t->padding);

	t->left = t->padding = 0;
	entry_done(&t->entry);
	while (r == 0) {
		r = flow_read_all(t->in, &h, sizeof(h));
		if (r < 0)
			break;
		if (is_end(&h)) {
			r = flow_drain(t->in);
			return r < 0 ? errmsg_set(err, r, "tar archive") : 0;
		}
		r = take_header(t, &h, err);
		if (r < 0)
			return r;
	}
	*ret = &t->entry;
	if (r == -ENODATA)
		return errmsg_say(err, r, "the archive ends too early");
	return r < 0 ? errmsg_set(err, r, "tar archive") : r;
}

ssize_t tar_read(struct tar_reader *t, void *p, size_t n)
{
	ssize_t got;

	if (n > t->left)
		n = (size_t)t->left;
	if (!n)
		return 0;
	got = flow_read(t->in, p, n);
	if (got == 0)
		return -ENODATA;
	if (got > 0)
		t->left -= (uint64_t)got;
	return got;
}
