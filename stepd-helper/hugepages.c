#include <config.h>

#include "hugepages.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "value.h"

#define ANY_NODE (-1)

static void pool_path(char *path, size_t size, const char *sys, int node,
		      uint64_t page_bytes)
{
	char of[64] = "kernel/mm";

	if (node != ANY_NODE)
		snprintf(of, sizeof(of), "devices/system/node/node%d", node);
	snprintf(path, size, "%s/%s/hugepages/hugepages-%" PRIu64 "kB", sys, of,
		 page_bytes >> 10);
}

/* -ENOENT: there is no such size. */
static int free_pages(const char *sys, int node, uint64_t page_bytes,
		      uint64_t *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	char dir[4096], path[4096 + 32];

	pool_path(dir, sizeof(dir), sys, node, page_bytes);
	snprintf(path, sizeof(path), "%s/free_hugepages", dir);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	return fscanf(f, "%" SCNu64, ret) == 1 ? 0 : -EIO;
}

/* "2M, 1G" */
static void list_sizes(const char *sys, char *text, size_t size)
{
	char dir[4096], one[16];
	struct dirent *e;
	size_t len = 0;
	uint64_t kib;
	DIR *d;

	text[0] = '\0';
	snprintf(dir, sizeof(dir), "%s/kernel/mm/hugepages", sys);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		if (sscanf(e->d_name, "hugepages-%" SCNu64 "kB", &kib) != 1)
			continue;
		value_size_text(kib << 10, one);
		if (len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s",
						len ? ", " : "", one);
	}
	if (d)
		closedir(d);
}

static int no_such_size(const char *sys, const char *host, const char *page,
			struct errmsg *err)
{
	char sizes[256];

	list_sizes(sys, sizes, sizeof(sizes));
	if (!*sizes)
		return errmsg_say(
			err, -ENOTSUP,
			"--vm-hugepages=%s: the kernel of %s has no huge pages; leave it out",
			page, host);
	return errmsg_say(
		err, -ENOTSUP,
		"--vm-hugepages=%s: %s has no pages of that size, but %s", page,
		host, sizes);
}

static int check_pool(const char *sys, const char *host, int node,
		      uint64_t page_bytes, uint64_t mem_bytes,
		      struct errmsg *err)
{
	uint64_t wanted = mem_bytes / page_bytes, have = 0;
	char page[16], of[32] = "";
	int r = free_pages(sys, node, page_bytes, &have);

	value_size_text(page_bytes, page);
	if (r < 0)
		return no_such_size(sys, host, page, err);
	if (have >= wanted)
		return 0;
	if (node != ANY_NODE)
		snprintf(of, sizeof(of), "NUMA node %d of ", node);
	return errmsg_say(
		err, -ENOMEM,
		"--vm-hugepages=%s: the VM needs %" PRIu64
		" pages, %s%s has %" PRIu64
		" free: ask for less by --vm-mem, have the administrator reserve more (vm.nr_hugepages), or leave it out",
		page, wanted, of, host, have);
}

int hugepages_check(const char *sys, const char *host, uint64_t page_bytes,
		    uint64_t mem_bytes, const struct shape *shape,
		    struct errmsg *err)
{
	int r = 0;

	if (!shape->bound)
		return check_pool(sys, host, ANY_NODE, page_bytes, mem_bytes,
				  err);
	for (unsigned int i = 0; i < shape->n_nodes && r == 0; i++)
		r = check_pool(sys, host, (int)shape->node[i].host, page_bytes,
			       shape->node[i].mem_bytes, err);
	return r;
}
