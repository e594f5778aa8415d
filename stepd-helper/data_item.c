#include <config.h>

#include "data_item.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "param.h"

const char *data_by_name(enum data_by by)
{
	static const char *const names[] = { "disk", "virtiofs", "9p", "copy" };

	return names[by];
}

const char *data_option(enum data_kind kind)
{
	static const char *const names[] = { "--vm-input", "--vm-output",
					     "--vm-mounts", "--vm-scratch" };

	return names[kind];
}

struct data_item *data_items_add(struct data_items *d, enum data_kind kind,
				 const char *src, const char *dst,
				 struct errmsg *err)
{
	struct data_item *v, *item;

	for (size_t i = 0; i < d->n; i++)
		if (strcmp(d->v[i].dst, dst) == 0) {
			errmsg_say(
				err, -EEXIST,
				"%s: two things are to be at %s in the guest: name them otherwise",
				data_option(kind), dst);
			return NULL;
		}
	v = reallocarray(d->v, d->n + 1, sizeof(*v));
	if (!v) {
		errmsg_set(err, -ENOMEM, "data");
		return NULL;
	}
	d->v = v;
	item = &v[d->n++];
	*item = (struct data_item){ .kind = kind,
				    .src = src ? strdup(src) : NULL,
				    .dst = strdup(dst) };
	if (item->dst && (item->src || !src))
		return item;
	errmsg_set(err, -ENOMEM, "data");
	return NULL;
}

json_t *data_items_json(const struct data_items *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n; i++)
		json_array_append_new(
			list,
			json_pack("{s:o, s:o, s:s, s:s, s:b, s:b}", "path",
				  param_from_text(d->v[i].dst), "from",
				  param_from_text(d->v[i].src ? d->v[i].src
							      : d->v[i].tag),
				  "by", data_by_name(d->v[i].by), "tag",
				  d->v[i].tag, "ro", (int)d->v[i].ro, "there",
				  (int)d->v[i].there));
	return list;
}

void data_items_done(struct data_items *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->v[i].src);
		free(d->v[i].dst);
	}
	free(d->v);
	*d = (struct data_items){ 0 };
}
