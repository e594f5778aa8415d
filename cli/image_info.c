#include <config.h>

#include "image_info.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain.h"
#include "child.h"
#include "cleanup.h"
#include "disk.h"
#include "plain.h"
#include "value.h"

/* -- qemu-img -------------------------------------------------------------- */

static int read_answer(int fd, pid_t pid, json_t **ret, struct errmsg *err)
{
	json_t *o = json_loadfd(fd, 0, NULL);
	int wstatus = -1;

	while (waitpid(pid, &wstatus, 0) < 0 && errno == EINTR)
		;
	if (o && WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == 0) {
		*ret = o;
		return 0;
	}
	json_decref(o);
	return errmsg_say(err, -EIO, "qemu-img does not say what it is");
}

/* The format is said, so that no header is believed over it. */
static int ask(const char *path, const char *format, const char *qemu,
	       json_t **ret, struct errmsg *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int rd = -1, wr = -1;
	char tool[PATH_MAX];
	const char *argv[] = { tool, "info",	      "-U", "-f", format,
			       path, "--output=json", NULL };
	struct child_fd fds[3];
	const struct child_spec spec = { .argv = argv, .fds = fds, .n_fds = 3 };
	int p[2], r;
	pid_t pid;

	if (null < 0 || pipe2(p, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "qemu-img");
	rd = p[0];
	wr = p[1];
	fds[0] = (struct child_fd){ null, 0 };
	fds[1] = (struct child_fd){ wr, 1 };
	fds[2] = (struct child_fd){ STDERR_FILENO, 2 };
	disk_tool(qemu, tool, sizeof(tool));
	r = child_start(&spec, &pid, err);
	if (r < 0)
		return r;
	close(TAKE_FD(wr));
	return read_answer(rd, pid, ret, err);
}

/* -- what it is ------------------------------------------------------------ */

static json_t *files_of(const struct image *im)
{
	json_t *list = json_array();

	for (size_t i = 0; i < im->files.n; i++)
		json_array_append_new(list, json_string(im->files.v[i]));
	return list;
}

static int add_disk(json_t *o, const struct image *im, const char *qemu,
		    struct errmsg *err)
{
	const char *format = image_format_name(im->kind);
	json_t *said = NULL;
	int r = ask(im->path, format, qemu, &said, err);

	if (r < 0)
		return r;
	json_object_set_new(o, "format",
			    json_string(im->root ? "squashfs" : format));
	json_object_set(o, "size", json_object_get(said, "virtual-size"));
	json_object_set(o, "used", json_object_get(said, "actual-size"));
	json_object_set_new(o, "files", files_of(im));
	if (json_object_get(said, "snapshots"))
		json_object_set(o, "snapshots",
				json_object_get(said, "snapshots"));
	json_decref(said);
	return 0;
}

static void add_bundle(json_t *o, const struct image *im)
{
	json_t *disks = json_array();

	if (im->kernel)
		json_object_set_new(o, "kernel", json_string(im->kernel));
	if (im->initrd)
		json_object_set_new(o, "initrd", json_string(im->initrd));
	if (im->append)
		json_object_set_new(o, "append", json_string(im->append));
	if (im->mem_min)
		json_object_set_new(o, "mem_min",
				    json_integer((json_int_t)im->mem_min));
	for (size_t i = 0; i < im->n_disks; i++)
		json_array_append_new(disks, json_string(im->disks[i].name));
	json_object_set_new(o, "disks", disks);
}

static bool is_allowed(const struct image *im, const char *allow)
{
	if (chain_allowed(im->path, allow, NULL) < 0)
		return false;
	for (size_t i = 0; i < im->files.n; i++)
		if (chain_allowed(im->files.v[i], allow, NULL) < 0)
			return false;
	return true;
}

int image_info(const struct image *im, const char *qemu, const char *allow,
	       json_t **ret, struct errmsg *err)
{
	const char *kind = im->root		      ? "root"
			   : im->kind == IMAGE_BUNDLE ? "bundle"
						      : "disk";
	json_t *o = json_pack("{s:s, s:s, s:b}", "path", im->path, "kind", kind,
			      "allowed", is_allowed(im, allow));
	int r = 0;

	if (!o)
		return errmsg_say(err, -EILSEQ,
				  "its path is not UTF-8, as JSON needs it");
	if (im->kind == IMAGE_BUNDLE)
		add_bundle(o, im);
	else if (im->kind == IMAGE_DIR)
		json_object_set_new(o, "format", json_string("directory"));
	else
		r = add_disk(o, im, qemu, err);
	if (r < 0)
		json_decref(o);
	else
		*ret = o;
	return r;
}

/* -- for a person ---------------------------------------------------------- */

static void print_line(const char *key, const char *value)
{
	char line[PATH_MAX];

	plain_line(value, line, sizeof(line));
	printf("%-9s %s\n", key, line);
}

static void print_text(const json_t *info, const char *key)
{
	const char *value = json_string_value(json_object_get(info, key));

	if (value)
		print_line(key, value);
}

static void print_size(const json_t *info, const char *key)
{
	const json_t *n = json_object_get(info, key);
	char text[16];

	if (!n)
		return;
	value_size_text((uint64_t)json_integer_value(n), text);
	print_line(key, text);
}

/* The first file is the image itself. */
static void print_list(const json_t *info, const char *key, const char *as,
		       size_t from)
{
	const json_t *list = json_object_get(info, key);

	for (size_t i = from; i < json_array_size(list); i++)
		print_line(as, json_string_value(json_array_get(list, i)));
}

void image_info_print(const json_t *info)
{
	print_text(info, "path");
	print_text(info, "kind");
	print_text(info, "format");
	print_size(info, "size");
	print_size(info, "used");
	print_list(info, "files", "above", 1);
	print_text(info, "kernel");
	print_text(info, "initrd");
	print_text(info, "append");
	print_size(info, "mem_min");
	print_list(info, "disks", "disk", 0);
	if (json_is_false(json_object_get(info, "allowed")))
		print_line("allowed", "no, by the site's allow_images");
}
