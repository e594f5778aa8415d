#include <config.h>

#include "shape.h"

typedef bool (*same_fn)(const struct shape_cpu *a, const struct shape_cpu *b);

static bool same_package(const struct shape_cpu *a, const struct shape_cpu *b)
{
	return a->package == b->package;
}

static bool same_core(const struct shape_cpu *a, const struct shape_cpu *b)
{
	return same_package(a, b) && a->core == b->core;
}

static bool same_node(const struct shape_cpu *a, const struct shape_cpu *b)
{
	return a->node == b->node;
}

/* How many of the @n CPUs from @cpus on are together. */
static unsigned int run(const struct shape_cpu *cpus, unsigned int n,
			same_fn same)
{
	unsigned int len = 1;

	while (len < n && same(&cpus[0], &cpus[len]))
		len++;
	return len;
}

/* In how many parts of one size they fall; 0: they are not of one size. */
static unsigned int parts(const struct shape_cpu *cpus, unsigned int n,
			  same_fn same)
{
	unsigned int size = run(cpus, n, same);

	for (unsigned int i = 0; i < n; i += size)
		if (run(cpus + i, n - i, same) != size)
			return 0;
	return n / size;
}

static void make_cpus(const struct shape_cpu *cpus, unsigned int n,
		      bool threads, struct shape *ret)
{
	unsigned int packages = parts(cpus, n, same_package);
	unsigned int cores = threads ? parts(cpus, n, same_core) : 0;

	ret->sockets = packages ? packages : 1;
	if (!cores || cores % ret->sockets)
		cores = n;
	ret->cores = cores / ret->sockets;
	ret->threads = n / cores;
}

/* The last one has what is left over. */
static void share_memory(unsigned int n, const struct shape_want *want,
			 struct shape *ret)
{
	uint64_t pages = want->mem_bytes / want->page_bytes, left = pages;

	for (unsigned int i = 0; i < ret->n_nodes; i++) {
		uint64_t share = pages / n * ret->node[i].n +
				 pages % n * ret->node[i].n / n;

		if (i + 1 == ret->n_nodes)
			share = left;
		left -= share;
		ret->node[i].mem_bytes = share * want->page_bytes;
	}
}

static bool make_nodes(const struct shape_cpu *cpus, unsigned int n,
		       struct shape *ret)
{
	ret->bound = true;
	for (unsigned int i = 0; i < n; i += ret->node[ret->n_nodes++].n) {
		if (cpus[i].node < 0 || ret->n_nodes == SHAPE_NODES_MAX)
			return false;
		ret->node[ret->n_nodes] = (struct shape_node){
			.host = (unsigned int)cpus[i].node,
			.first = i,
			.n = run(cpus + i, n - i, same_node),
		};
	}
	return true;
}

/* A guest that asks a node for more than it has would be killed for it. */
static bool has_room(const struct shape_cpu *cpus, const struct shape *s)
{
	for (unsigned int i = 0; i < s->n_nodes; i++) {
		uint64_t has = cpus[s->node[i].first].node_bytes;

		if (has && s->node[i].mem_bytes > has)
			return false;
	}
	return true;
}

static bool has_memory(const struct shape *s)
{
	for (unsigned int i = 0; i < s->n_nodes; i++)
		if (!s->node[i].mem_bytes)
			return false;
	return true;
}

void shape_make(const struct shape_cpu *cpus, unsigned int n,
		const struct shape_want *want, struct shape *ret)
{
	*ret = (struct shape){ 0 };
	make_cpus(cpus, n, want->threads, ret);
	if (!want->nodes || want->host_nodes < 2)
		return;
	if (make_nodes(cpus, n, ret))
		share_memory(n, want, ret);
	else
		ret->n_nodes = 0;
	if (!has_memory(ret))
		ret->n_nodes = 0;
	ret->bound = ret->n_nodes && has_room(cpus, ret);
}
