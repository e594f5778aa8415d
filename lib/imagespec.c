#include <config.h>

#include "imagespec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "value.h"

#define OVERLAY_LEAST (16ull << 20) /* bytes */

/* In the order of enum image_kind. */
static const char *const formats[] = { "qcow2", "raw", "vmdk",
				       "vdi",	"vpc", NULL };
static const char *const buses[] = { "virtio", "ide", "scsi", NULL };
static const char *const medias[] = { "disk", "cdrom", NULL };
/* In the order of enum image_cache. */
static const char *const caches[] = { "writeback",  "none",   "writethrough",
				      "directsync", "unsafe", NULL };

/* In the order of enum image_ctl's bits. */
static const char letters[] = "cjrdJRDpsw";

const char *image_format_name(enum image_kind kind)
{
	return kind >= IMAGE_QCOW2 && kind <= IMAGE_VPC
		       ? formats[kind - IMAGE_QCOW2]
		       : NULL;
}

void imagespec_tail(bool job, bool rank, uint32_t job_id, uint32_t rank_no,
		    char ret[32])
{
	int n = 0;

	ret[0] = '\0';
	if (job)
		n = snprintf(ret, 32, ".%u", job_id);
	if (rank)
		snprintf(ret + n, (size_t)(32 - n), ".%u", rank_no);
}

/* -- ctl ------------------------------------------------------------------- */

static int check_ctl(const struct imagespec *s, const char *value,
		     struct errmsg *err)
{
	const unsigned int ctl = s->ctl;
	const unsigned int of_copy =
		CTL_COPY_JOB | CTL_COPY_RANK | CTL_COPY_REMOVE;

	if ((ctl & of_copy) && !(ctl & CTL_COPY))
		return errmsg_say(
			err, -EINVAL,
			"ctl=%s: j, r and d are about the copy that c makes: add c",
			value);
	if (s->size_bytes && !(ctl & CTL_WRITE))
		return errmsg_say(
			err, -EINVAL,
			"size= is for a disk that is made, and written to: add ctl=w");
	if ((ctl & CTL_WRITE) && (ctl & CTL_COPY))
		return errmsg_say(
			err, -EINVAL,
			"ctl=%s: c is there so that the image is not written, w writes to it: take one of them out",
			value);
	if ((ctl & CTL_WRITE) && (ctl & (CTL_PROTECT | CTL_SNAPSHOT)))
		return errmsg_say(
			err, -EINVAL,
			"ctl=%s: w writes to the image, p and s do not: take one of them out",
			value);
	return 0;
}

static int parse_ctl(struct imagespec *s, const char *value, struct errmsg *err)
{
	for (const char *p = value; *p; p++) {
		const char *at = strchr(letters, *p);

		if (!at)
			return errmsg_say(
				err, -EINVAL,
				"ctl=%s: there is no flag '%c': use some of %s",
				value, *p, letters);
		s->ctl |= 1u << (at - letters);
	}
	return 0;
}

/* -- keys ------------------------------------------------------------------ */

static int parse_word(const char *value, const char *const *words, int *ret,
		      const char *key, struct errmsg *err)
{
	int r = value_word(value, words, ret, err);

	return r < 0 ? errmsg_prefix(err, r, "%s=", key) : 0;
}

static int parse_flag(struct imagespec *s, unsigned int flag, const char *key,
		      const char *value, struct errmsg *err)
{
	bool on;
	int r = value_bool(value, &on, err);

	if (r < 0)
		return errmsg_prefix(err, r, "%s=", key);
	s->ctl = on ? s->ctl | flag : s->ctl & ~flag;
	return 0;
}

/* virtio has room for 20 bytes, the others for more. */
static int parse_serial(struct imagespec *s, const char *value,
			struct errmsg *err)
{
	if (!*value || strlen(value) > 20)
		return errmsg_say(
			err, -EINVAL,
			"serial=%s: a serial number has 1 to 20 characters",
			value);
	free(s->serial);
	s->serial = strdup(value);
	return s->serial ? 0 : errmsg_set(err, -ENOMEM, "image");
}

static int parse_size(struct imagespec *s, const char *value,
		      struct errmsg *err)
{
	int r = value_size(value, &s->size_bytes, err);

	return r < 0 ? errmsg_prefix(err, r, "size=") : 0;
}

static int parse_overlay(struct imagespec *s, const char *value,
			 struct errmsg *err)
{
	int r = value_size(value, &s->overlay_bytes, err);

	if (r == 0 && s->overlay_bytes < OVERLAY_LEAST)
		return errmsg_say(
			err, -EINVAL,
			"overlay=%s: too little for a file system: 16M is the least",
			value);
	return r < 0 ? errmsg_prefix(err, r, "overlay=") : 0;
}

static int parse_key(struct imagespec *s, const char *key, const char *value,
		     struct errmsg *err)
{
	int word = 0, r;

	if (strcmp(key, "ctl") == 0 || strcmp(key, "mvpctl") == 0)
		return parse_ctl(s, value, err);
	if (strcmp(key, "serial") == 0)
		return parse_serial(s, value, err);
	if (strcmp(key, "size") == 0)
		return parse_size(s, value, err);
	if (strcmp(key, "overlay") == 0)
		return parse_overlay(s, value, err);
	if (strcmp(key, "readonly") == 0)
		return parse_flag(s, CTL_PROTECT, key, value, err);
	if (strcmp(key, "snapshot") == 0)
		return parse_flag(s, CTL_SNAPSHOT, key, value, err);
	if (strcmp(key, "fmt") == 0 || strcmp(key, "format") == 0) {
		r = parse_word(value, formats, &word, key, err);
		s->format = (enum image_kind)(IMAGE_QCOW2 + word);
		return r;
	}
	if (strcmp(key, "if") == 0) {
		r = parse_word(value, buses, &word, key, err);
		s->bus = (enum image_bus)word;
		return r;
	}
	if (strcmp(key, "media") == 0) {
		r = parse_word(value, medias, &word, key, err);
		s->cdrom = word;
		return r;
	}
	if (strcmp(key, "cache") == 0) {
		r = parse_word(value, caches, &word, key, err);
		s->cache = (enum image_cache)(CACHE_WRITEBACK + word);
		return r;
	}
	return errmsg_say(
		err, -EINVAL,
		"there is no key '%s': use ctl, fmt, if, media, serial, cache, size, overlay, readonly or snapshot; a comma in a name is written twice",
		key);
}

/* -- text ------------------------------------------------------------------ */

/* Cut the next piece off *text: to be freed, ",," in it made one comma. *text
 * is then after the comma that ended it, or NULL at the end. */
static char *next_piece(const char **text)
{
	const char *p = *text;
	char *piece = malloc(strlen(p) + 1), *o = piece;

	if (!piece)
		return NULL;
	for (; *p && (*p != ',' || p[1] == ','); p++) {
		if (*p == ',')
			p++;
		*o++ = *p;
	}
	*o = '\0';
	*text = *p ? p + 1 : NULL;
	return piece;
}

static int parse_pieces(struct imagespec *s, const char *text,
			struct errmsg *err)
{
	s->name = next_piece(&text);
	if (!s->name)
		return errmsg_set(err, -ENOMEM, "image");
	if (!*s->name)
		return errmsg_say(err, -EINVAL,
				  "the image's path or name is empty");
	while (text) {
		_cleanup_free_ char *piece = next_piece(&text);
		char *eq = piece ? strchr(piece, '=') : NULL;
		int r;

		if (!piece)
			return errmsg_set(err, -ENOMEM, "image");
		if (!eq)
			return errmsg_say(
				err, -EINVAL,
				"'%s' behind a comma is not of the form key=value; a comma in a name is written twice",
				piece);
		*eq = '\0';
		r = parse_key(s, piece, eq + 1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* As was typed, for messages. */
static void ctl_text(unsigned int ctl, char ret[sizeof(letters)])
{
	size_t n = 0;

	for (size_t i = 0; letters[i]; i++)
		if (ctl & (1u << i))
			ret[n++] = letters[i];
	ret[n] = '\0';
}

int imagespec_parse(const char *text, struct imagespec *ret, struct errmsg *err)
{
	char flags[sizeof(letters)];
	int r;

	*ret = (struct imagespec){ 0 };
	if (strncmp(text, "file=", 5) == 0) {
		ret->drive = strdup(text);
		return ret->drive ? 0 : errmsg_set(err, -ENOMEM, "image");
	}
	r = parse_pieces(ret, text, err);
	if (ret->cdrom)
		ret->ctl |= CTL_PROTECT;
	if (ret->cdrom && ret->bus == BUS_VIRTIO)
		ret->bus = BUS_IDE; /* virtio has no such drive */
	ctl_text(ret->ctl, flags);
	if (r == 0)
		r = check_ctl(ret, flags, err);
	if (r < 0)
		imagespec_done(ret);
	return r;
}

void imagespec_done(struct imagespec *s)
{
	free(s->name);
	free(s->drive);
	free(s->serial);
	*s = (struct imagespec){ 0 };
}
