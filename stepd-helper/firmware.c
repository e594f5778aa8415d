#include <config.h>

#include "firmware.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "copyfile.h"
#include "disk.h"
#include "option.h"

/* -- one description ------------------------------------------------------- */

static bool has_word(const json_t *list, const char *word)
{
	const json_t *at;
	size_t i;

	json_array_foreach (list, i, at)
		if (json_is_string(at) &&
		    strcmp(json_string_value(at), word) == 0)
			return true;
	return false;
}

/* "q35" is a name for the newest of its kind. */
static bool fits_machine(const json_t *machines, const char *machine)
{
	const char *name = strcmp(machine, "q35") == 0 ? "pc-q35-0" : machine;
	const json_t *at;
	size_t i;

	json_array_foreach (machines, i, at)
		if (json_is_string(at) &&
		    fnmatch(json_string_value(at), name, 0) == 0)
			return true;
	return false;
}

static bool fits(const json_t *desc, const char *machine)
{
	const json_t *features = json_object_get(desc, "features"), *at;
	size_t i;

	if (!has_word(json_object_get(desc, "interface-types"), "uefi") ||
	    has_word(features, "requires-smm") ||
	    has_word(features, "enrolled-keys"))
		return false;
	json_array_foreach (json_object_get(desc, "targets"), i, at) {
		const char *arch =
			json_string_value(json_object_get(at, "architecture"));

		if (arch && strcmp(arch, "x86_64") == 0 &&
		    fits_machine(json_object_get(at, "machines"), machine))
			return true;
	}
	return false;
}

/* A file of the mapping: that is there, in a format we hand on. */
static bool take_file(const json_t *mapping, const char *key, char **path,
		      char **format)
{
	const json_t *o = json_object_get(mapping, key);
	const char *file = json_string_value(json_object_get(o, "filename"));
	const char *fmt = json_string_value(json_object_get(o, "format"));

	if (!file || *file != '/' || !fmt || access(file, R_OK) < 0 ||
	    (strcmp(fmt, "raw") != 0 && strcmp(fmt, "qcow2") != 0))
		return false;
	*path = strdup(file);
	*format = strdup(fmt);
	return *path && *format;
}

static bool take_mapping(const json_t *desc, struct firmware *f)
{
	const json_t *mapping = json_object_get(desc, "mapping");
	const char *device =
		json_string_value(json_object_get(mapping, "device"));

	return device && strcmp(device, "flash") == 0 &&
	       take_file(mapping, "executable", &f->code, &f->code_format) &&
	       take_file(mapping, "nvram-template", &f->vars, &f->vars_format);
}

static bool take(const char *path, const char *machine, struct firmware *ret)
{
	json_t *desc = json_load_file(path, 0, NULL);
	bool good = desc && fits(desc, machine) && take_mapping(desc, ret);

	json_decref(desc);
	if (!good)
		firmware_done(ret);
	return good;
}

/* -- all of them ----------------------------------------------------------- */

static int is_description(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && n > 5 &&
	       strcmp(e->d_name + n - 5, ".json") == 0;
}

/* Names of all directories, each once. */
static int list_names(const struct strings *dirs, struct strings *ret)
{
	int r = 0;

	for (size_t i = 0; i < dirs->n && r == 0; i++) {
		struct dirent **list = NULL;
		int n = scandir(dirs->v[i], &list, is_description, alphasort);

		for (int k = 0; k < n; k++) {
			if (r == 0)
				r = strings_add(ret, list[k]->d_name,
						strlen(list[k]->d_name));
			free(list[k]);
		}
		free(list);
	}
	return r;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The first directory that has @name is who tells of it. */
static bool take_named(const struct strings *dirs, const char *name,
		       const char *machine, struct firmware *ret)
{
	for (size_t i = 0; i < dirs->n; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", dirs->v[i], name);
		if (access(path, F_OK) == 0)
			return take(path, machine, ret);
	}
	return false;
}

int firmware_find(const char *dirs, const char *machine, struct firmware *ret,
		  struct errmsg *err)
{
	struct strings list = { 0 }, names = { 0 };
	bool found = false;
	int r = 0;

	*ret = (struct firmware){ 0 };
	for (const char *p = dirs; *p && r == 0; p += *p == ':') {
		r = strings_add(&list, p, strcspn(p, ":"));
		p += strcspn(p, ":");
	}
	if (r == 0)
		r = list_names(&list, &names);
	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), by_text);
	for (size_t i = 0; i < names.n && !found && r == 0; i++)
		found = take_named(&list, names.v[i], machine, ret);
	strings_done(&list);
	strings_done(&names);
	if (r < 0)
		return errmsg_set(err, r, "firmware");
	return found ? 0
		     : errmsg_say(
			       err, -ENOENT,
			       "--vm-firmware=uefi: this node has no UEFI for machine %s (none that fits in %s): install one, as the package ovmf",
			       machine, dirs);
}

void firmware_done(struct firmware *f)
{
	free(f->code);
	free(f->vars);
	free(f->code_format);
	free(f->vars_format);
	*f = (struct firmware){ 0 };
}

int firmware_vars(const struct firmware *f, const char *dir, struct errmsg *err)
{
	_cleanup_close_ int from = open(f->vars, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	int r;

	if (from < 0)
		return errmsg_set(err, -errno, "%s", f->vars);
	fd = disk_anonymous(dir, err);
	if (fd < 0)
		return fd;
	r = copyfile(from, fd, 0, NULL, NULL, err);
	return r < 0 ? errmsg_prefix(err, r, "copy of %s in %s", f->vars, dir)
		     : TAKE_FD(fd);
}
