#include <config.h>

#include "famspec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "value.h"

static int take_file(const char *key, struct famspec *s, struct errmsg *err)
{
	static const char file[] = "file=";

	if (strncmp(key, file, sizeof(file) - 1) != 0)
		return errmsg_say(
			err, -EINVAL,
			"'%s' behind a comma: file=PATH can stand there", key);
	if (!key[sizeof(file) - 1])
		return errmsg_say(err, -EINVAL, "file=: the path is empty");
	s->file = strdup(key + sizeof(file) - 1);
	return s->file ? 0 : errmsg_set(err, -ENOMEM, "file=");
}

int famspec_parse(const char *text, struct famspec *ret, struct errmsg *err)
{
	size_t n = strcspn(text, ",");
	_cleanup_free_ char *size = strndup(text, n);
	int r;

	*ret = (struct famspec){ 0 };
	if (!size)
		return errmsg_set(err, -ENOMEM, "size");
	r = value_size(size, &ret->bytes, err);
	if (r < 0)
		return r;
	if (ret->bytes < FAM_LEAST || (ret->bytes & (ret->bytes - 1)))
		return errmsg_say(
			err, -EINVAL,
			"'%s': the size is a power of two, 1M at the least, as in 64M or 1G",
			size);
	return text[n] ? take_file(text + n + 1, ret, err) : 0;
}

void famspec_done(struct famspec *s)
{
	free(s->file);
	*s = (struct famspec){ 0 };
}
