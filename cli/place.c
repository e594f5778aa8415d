#include <config.h>

#include "place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "memstream.h"

int place_parse(const char *text, struct place *ret, struct errmsg *err)
{
	size_t len = strcspn(text, ":");
	int r;

	*ret = (struct place){ .path = text };
	if (!*text)
		return errmsg_say(err, -EINVAL, "a path is empty");
	if (!text[len] || (len && !rankset_looks_like(text, len)))
		return 0;
	ret->path = text + len + 1;
	if (!len)
		return 0;
	ret->guest = true;
	ret->text = text;
	ret->text_len = len;
	r = rankset_parse(&ret->ranks, text, len, err);
	if (r == 0 && !*ret->path)
		r = errmsg_say(
			err, -EINVAL,
			"%s: no path after the ranks; for the user's home directory say %s.",
			text, text);
	if (r < 0)
		place_done(ret);
	return r;
}

void place_done(struct place *p)
{
	rankset_done(&p->ranks);
}

char *place_expand(const char *path, uint32_t rank, bool *ret_has)
{
	struct memstream m;
	FILE *f = memstream_open(&m);
	bool has = false;

	if (!f)
		return NULL;
	for (const char *p = path; *p; p++) {
		if (p[0] == '%' && p[1] == 't') {
			fprintf(f, "%" PRIu32, rank);
			has = true;
			p++;
		} else {
			fputc(*p, f);
			p += p[0] == '%' && p[1] == '%';
		}
	}
	if (ret_has)
		*ret_has = has;
	return memstream_close(&m, NULL);
}
