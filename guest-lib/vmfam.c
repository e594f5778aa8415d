#include <config.h>

#include "vmfam_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static _Thread_local char open_words[VMFAM_WORDS]; /* there was no handle */

/* -- open and close -------------------------------------------------------- */

static int map_window(struct vmfam *f)
{
	const char *path = getenv(VMFAM_PATH_ENV);
	struct stat st;
	void *map;

	path = path && *path ? path : VMFAM_PATH;
	f->fd = open(path, O_RDWR | O_CLOEXEC);
	if (f->fd < 0)
		return vmfam_say(f, errno == ENOENT ? -ENODEV : -errno,
				 "%s: %s; was the step run with --vm-fam?",
				 path, strerror(errno));
	if (fstat(f->fd, &st) < 0)
		return vmfam_say(f, -errno, "%s: %s", path, strerror(errno));
	f->map_len = (size_t)st.st_size;
	map = mmap(NULL, f->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd,
		   0);
	if (map == MAP_FAILED)
		return vmfam_say(f, -errno, "%s: %s", path, strerror(errno));
	f->map = map;
	return 0;
}

int vmfam_open(struct vmfam **ret)
{
	struct vmfam *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->sock = f->fd = -1;
	f->batch.slot = -1;
	r = map_window(f);
	if (r == 0)
		r = vmfam_connect(f);
	if (r < 0) {
		memcpy(open_words, f->words, sizeof(open_words));
		vmfam_close(f);
		return r;
	}
	*ret = f;
	return 0;
}

void vmfam_close(struct vmfam *f)
{
	if (!f)
		return;
	if (f->sock >= 0)
		vmfam_fence(f); /* others use our slots next */
	for (int i = 0; i <= VMFAM_OWN; i++)
		json_decref(f->slots[i].params);
	if (f->sock >= 0)
		close(f->sock);
	if (f->map)
		munmap(f->map, f->map_len);
	if (f->fd >= 0)
		close(f->fd);
	free(f->own);
	free(f->in);
	free(f);
}

const char *vmfam_words(const struct vmfam *f)
{
	return f ? f->words : open_words;
}

/* -- what is answered ------------------------------------------------------ */

static uint64_t number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static void take_name(const json_t *o, char ret[VMFAM_NAME_MAX + 1])
{
	const char *name = json_string_value(json_object_get(o, "name"));

	snprintf(ret, VMFAM_NAME_MAX + 1, "%s", name ? name : "");
}

static unsigned int take_mode(const json_t *o)
{
	const char *mode = json_string_value(json_object_get(o, "mode"));

	return mode ? (unsigned int)strtoul(mode, NULL, 8) : 0;
}

static int take_region(struct vmfam *f, int r, json_t *o,
		       struct vmfam_region *ret)
{
	if (r == 0) {
		*ret = (struct vmfam_region){
			.region = number(o, "region"),
			.size = number(o, "size"),
			.used = number(o, "used"),
			.mode = take_mode(o),
			.home = (uint32_t)number(o, "home"),
			.here = json_object_get(o, "at") != NULL,
		};
		take_name(o, ret->name);
	}
	json_decref(o);
	return r;
}

/* What is here must be in what we have mapped. */
static int take_item(struct vmfam *f, int r, json_t *o, struct vmfam_item *ret)
{
	if (r == 0) {
		*ret = (struct vmfam_item){
			.region = number(o, "region"),
			.item = number(o, "item"),
			.size = number(o, "size"),
			.mode = take_mode(o),
			.home = (uint32_t)number(o, "home"),
			.here = json_object_get(o, "at") != NULL,
			.at = number(o, "at"),
		};
		take_name(o, ret->name);
		if (ret->here && (ret->size > f->map_len ||
				  ret->at > f->map_len - ret->size))
			r = vmfam_say(f, -EPROTO,
				      "the host's item is not in the window");
	}
	json_decref(o);
	return r;
}

static json_t *mode_json(unsigned int mode)
{
	char text[16];

	snprintf(text, sizeof(text), "%04o", mode & 07777);
	return json_string(text);
}

/* -- regions --------------------------------------------------------------- */

int vmfam_region_create(struct vmfam *f, const char *name, uint64_t size,
			unsigned int mode, int home, struct vmfam_region *ret)
{
	json_t *params = json_pack("{s:s, s:I, s:o}", "name", name, "size",
				   (json_int_t)size, "mode", mode_json(mode));
	json_t *o = NULL;
	int r;

	if (params && home >= 0)
		json_object_set_new(params, "home", json_integer(home));
	r = vmfam_ask(f, "mem.region.create", params, &o);
	return take_region(f, r, o, ret);
}

int vmfam_region_lookup(struct vmfam *f, const char *name,
			struct vmfam_region *ret)
{
	json_t *o = NULL;
	int r = vmfam_ask(f, "mem.region.lookup",
			  json_pack("{s:s}", "name", name), &o);

	return take_region(f, r, o, ret);
}

int vmfam_region_resize(struct vmfam *f, struct vmfam_region *g, uint64_t size)
{
	json_t *o = NULL;
	int r = vmfam_ask(f, "mem.region.resize",
			  json_pack("{s:I, s:I}", "region",
				    (json_int_t)g->region, "size",
				    (json_int_t)size),
			  &o);

	return take_region(f, r, o, g);
}

int vmfam_region_destroy(struct vmfam *f, const struct vmfam_region *g)
{
	return vmfam_ask(f, "mem.region.destroy",
			 json_pack("{s:I}", "region", (json_int_t)g->region),
			 NULL);
}

/* -- items ----------------------------------------------------------------- */

int vmfam_alloc(struct vmfam *f, const struct vmfam_region *g, const char *name,
		uint64_t size, unsigned int mode, struct vmfam_item *ret)
{
	json_t *params =
		json_pack("{s:I, s:s, s:I, s:o}", "region",
			  (json_int_t)g->region, "name", name ? name : "",
			  "size", (json_int_t)size, "mode", mode_json(mode));
	json_t *o = NULL;
	int r = vmfam_ask(f, "mem.alloc", params, &o);

	return take_item(f, r, o, ret);
}

int vmfam_lookup(struct vmfam *f, const char *region, const char *item,
		 struct vmfam_item *ret)
{
	json_t *o = NULL;
	int r = vmfam_ask(
		f, "mem.lookup",
		json_pack("{s:s, s:s}", "region", region, "item", item), &o);

	return take_item(f, r, o, ret);
}

static json_t *of_item(const struct vmfam_item *i)
{
	return json_pack("{s:I, s:I}", "region", (json_int_t)i->region, "item",
			 (json_int_t)i->item);
}

int vmfam_stat(struct vmfam *f, struct vmfam_item *i)
{
	json_t *o = NULL;
	int r = vmfam_ask(f, "mem.stat", of_item(i), &o);

	return take_item(f, r, o, i);
}

int vmfam_chmod(struct vmfam *f, struct vmfam_item *i, unsigned int mode)
{
	json_t *params = of_item(i);
	int r;

	json_object_set_new(params, "mode", mode_json(mode));
	r = vmfam_ask(f, "mem.chmod", params, NULL);
	if (r == 0)
		i->mode = mode;
	return r;
}

int vmfam_free(struct vmfam *f, const struct vmfam_item *i)
{
	return vmfam_ask(f, "mem.free", of_item(i), NULL);
}

void *vmfam_map(struct vmfam *f, const struct vmfam_item *i)
{
	if (i->here)
		return f->map + i->at;
	vmfam_say(
		f, -EOPNOTSUPP,
		"it is on vm[%u]'s node: vmfam_get() and vmfam_put() reach it",
		i->home);
	return NULL;
}
