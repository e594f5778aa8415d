#include <config.h>

#include "layout.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "hugepages.h"
#include "log.h"
#include "pin.h"

struct layout {
	const struct spec *spec;
	struct pin *pin; /* NULL: nothing is bound */
};

/* Returns 1 when CPUs were chosen. */
static int choose(struct layout *l, const struct task *t, struct errmsg *err)
{
	const struct spec *s = l->spec;
	const struct pin_want want = {
		.cpus = s->cpus,
		.io = s->io_cpus,
		.local_id = t->local_id,
		.local_tasks = t->local_tasks,
		.by_node = s->bind == BIND_NUMA,
	};
	int r = pin_new(&l->pin, err);

	if (r == 0)
		r = pin_plan(l->pin, &want, err);
	if (r == 0)
		log_at(s->io_cpus ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
		       "virtual CPUs are not pinned%s: the task's mask has fewer CPUs",
		       s->io_cpus ? ", and none is kept for I/O" : "");
	return r;
}

static int make_shape(const struct layout *l, struct shape *ret)
{
	const struct spec *s = l->spec;
	const struct shape_want want = {
		.threads = s->bind == BIND_CORES,
		.nodes = s->numa == NUMA_MIRROR,
		.mem_bytes = s->mem_bytes,
		.page_bytes = s->hugepage_bytes ? s->hugepage_bytes : 1 << 20,
		.host_nodes = pin_host_nodes(l->pin),
	};
	_cleanup_free_ struct shape_cpu *cpus = calloc(s->cpus, sizeof(*cpus));

	if (!cpus)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->cpus; i++)
		pin_place(l->pin, i, &cpus[i]);
	shape_make(cpus, s->cpus, &want, ret);
	return 0;
}

int layout_new(const struct task *t, const struct spec *s, struct shape *ret,
	       struct layout **ret_layout, struct errmsg *err)
{
	struct layout *l = calloc(1, sizeof(*l));
	struct errmsg words;
	int r = 0;

	*ret = (struct shape){ 0 };
	if (!l)
		return errmsg_set(err, -ENOMEM, "CPU binding");
	l->spec = s;
	if (s->bind != BIND_NONE)
		r = choose(l, t, &words);
	if (r > 0)
		r = make_shape(l, ret) < 0
			    ? errmsg_set(&words, -ENOMEM, "CPU binding")
			    : 1;
	if (r < 0)
		log_warn("%s; the VM runs unpinned", words.text);
	if (r <= 0) {
		pin_free(l->pin);
		l->pin = NULL;
	}
	r = s->hugepage_bytes
		    ? hugepages_check(HUGEPAGES_SYS, t->node, s->hugepage_bytes,
				      s->mem_bytes, ret, err)
		    : 0;
	if (r < 0)
		layout_free(l);
	else
		*ret_layout = l;
	return r;
}

void layout_free(struct layout *l)
{
	if (!l)
		return;
	pin_free(l->pin);
	free(l);
}

bool layout_binds(const struct layout *l)
{
	return l->pin;
}

int layout_bind(struct layout *l, pid_t qemu, const json_t *cpus,
		struct errmsg *err)
{
	const struct spec *s = l->spec;
	_cleanup_free_ pid_t *tids = calloc(s->cpus, sizeof(*tids));
	const json_t *cpu;
	int r = 0;
	size_t i;

	if (!tids)
		return errmsg_set(err, -ENOMEM, "CPU binding");
	json_array_foreach ((json_t *)(uintptr_t)cpus, i, cpu) {
		if (i >= s->cpus || r < 0)
			break;
		tids[i] = (pid_t)json_integer_value(
			json_object_get(cpu, "thread-id"));
		r = pin_thread(l->pin, (unsigned int)i, tids[i], err);
	}
	if (r == 0 && s->io_cpus)
		r = pin_others(l->pin, qemu, tids, s->cpus, err);
	return r;
}
