#include <config.h>

#include "topo_here.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "command.h"
#include "log.h"

/* -- a VM's threads -------------------------------------------------------- */

/* "CPU 3/KVM" is virtual CPU 3; -1: it is none. */
static int vcpu_of(const char *proc, int pid, const char *tid)
{
	char path[PATH_MAX], name[64] = "";
	_cleanup_fclose_ FILE *f = NULL;
	int n = -1;

	snprintf(path, sizeof(path), "%s/%d/task/%s/comm", proc, pid, tid);
	f = fopen(path, "re");
	if (!f || !fgets(name, sizeof(name), f) ||
	    sscanf(name, "CPU %d/", &n) != 1)
		return -1;
	return n;
}

static hwloc_bitmap_t mask_of(const char *proc, int pid, const char *tid)
{
	char path[PATH_MAX], line[4096];
	_cleanup_fclose_ FILE *f = NULL;
	hwloc_bitmap_t set = hwloc_bitmap_alloc();

	snprintf(path, sizeof(path), "%s/%d/task/%s/status", proc, pid, tid);
	f = fopen(path, "re");
	while (set && f && fgets(line, sizeof(line), f)) {
		char *list = strstr(line, "Cpus_allowed_list:");

		if (list != line)
			continue;
		list += strcspn(list, "\t ");
		list += strspn(list, "\t ");
		list[strcspn(list, "\n")] = '\0';
		hwloc_bitmap_list_sscanf(set, list);
	}
	return set;
}

int topo_vm_look(const char *proc, int pid, struct topo_vm *ret,
		 struct errmsg *err)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%d/task", proc, pid);
	d = opendir(path);
	if (!d)
		return errmsg_set(err, -errno, "%s", path);
	while ((e = readdir(d))) {
		int n = vcpu_of(proc, pid, e->d_name);

		if (n < 0 || n >= (int)ARRAY_SIZE(ret->cpus) || ret->cpus[n])
			continue;
		ret->cpus[n] = mask_of(proc, pid, e->d_name);
		if ((unsigned int)n >= ret->n)
			ret->n = (unsigned int)n + 1;
	}
	closedir(d);
	return 0;
}

void topo_vm_done(struct topo_vm *vm)
{
	for (unsigned int i = 0; i < vm->n; i++)
		hwloc_bitmap_free(vm->cpus[i]);
	*vm = (struct topo_vm){ 0 };
}

/* -- in the picture -------------------------------------------------------- */

static bool all_alike(const struct topo_vm *vm)
{
	for (unsigned int i = 1; i < vm->n; i++)
		if (!vm->cpus[i] || !vm->cpus[0] ||
		    !hwloc_bitmap_isequal(vm->cpus[0], vm->cpus[i]))
			return false;
	return true;
}

/* The least that has all of @cpus. */
static int add_line(hwloc_topology_t topo, hwloc_const_bitmap_t cpus,
		    const char *text)
{
	hwloc_bitmap_t known = hwloc_bitmap_alloc();
	hwloc_obj_t at = NULL;

	if (known && cpus) {
		hwloc_bitmap_and(known, cpus,
				 hwloc_topology_get_topology_cpuset(topo));
		at = hwloc_get_obj_covering_cpuset(topo, known);
	}
	hwloc_bitmap_free(known);
	if (!at)
		at = hwloc_get_root_obj(topo);
	return hwloc_topology_insert_misc_object(topo, at, text) ? 0 : -ENOMEM;
}

int topo_vm_add(hwloc_topology_t topo, const struct topo_vm *vm)
{
	char text[sizeof(vm->name) + 64];
	int r = 0;

	if (vm->n > 1 && all_alike(vm)) {
		snprintf(text, sizeof(text), "%s: %u virtual CPUs", vm->name,
			 vm->n);
		return add_line(topo, vm->cpus[0], text);
	}
	for (unsigned int i = 0; i < vm->n && r == 0; i++) {
		snprintf(text, sizeof(text), "%s: virtual CPU %u", vm->name, i);
		r = add_line(topo, vm->cpus[i], text);
	}
	return r;
}

/* -- lstopo ---------------------------------------------------------------- */

static _Noreturn void run_lstopo(const char *xml, bool svg)
{
	static const char *const programs[] = { "lstopo-no-graphics",
						"lstopo" };
	const char *argv[] = { NULL,
			       "--input",
			       xml,
			       "--if",
			       "xml",
			       "--of",
			       svg ? "svg" : "console",
			       "--no-io",
			       "--disallowed",
			       "-",
			       NULL };

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		argv[0] = programs[i];
		execvp(argv[0], (char *const *)(uintptr_t)argv);
	}
	dprintf(STDERR_FILENO,
		"vmstep: error: there is no lstopo here: install hwloc's programs (Debian: hwloc-nox)\n");
	_exit(EXIT_FAILED);
}

static int draw(hwloc_topology_t topo, bool svg)
{
	char *xml = NULL, path[64];
	int len, fd, wstatus = -1;
	pid_t pid = -1;

	if (hwloc_topology_export_xmlbuffer(topo, &xml, &len, 0) < 0)
		return EXIT_FAILED;
	fd = memfd_create("topology", 0);
	/* the length counts a NUL */
	if (fd >= 0 && write(fd, xml, (size_t)len - 1) == len - 1) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			run_lstopo(path, svg);
	}
	hwloc_free_xmlbuffer(topo, xml);
	if (pid > 0)
		while (waitpid(pid, &wstatus, 0) < 0 && errno == EINTR)
			;
	if (fd >= 0)
		close(fd);
	return pid > 0 && WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == 0
		       ? EXIT_DONE
		       : EXIT_FAILED;
}

/* -------------------------------------------------------------------------- */

static int add_task(hwloc_topology_t topo, const char *rank,
		    const json_t *state, const json_t *stats,
		    struct errmsg *err)
{
	const char *name = json_string_value(json_object_get(state, "name"));
	json_int_t pid = json_integer_value(
		json_object_get(json_object_get(stats, "qemu"), "pid"));
	struct topo_vm vm = { 0 };
	int r;

	if (pid <= 0 || pid > INT_MAX)
		return 0; /* it has not been started, or has ended */
	snprintf(vm.name, sizeof(vm.name), "vm[%.16s] %.250s", rank,
		 name ? name : "");
	r = topo_vm_look("/proc", (int)pid, &vm, err);
	if (r == 0 && topo_vm_add(topo, &vm) < 0)
		r = errmsg_set(err, -ENOMEM, "topology");
	topo_vm_done(&vm);
	return r;
}

static int load(hwloc_topology_t *ret)
{
	if (hwloc_topology_init(ret) < 0)
		return -ENOMEM;
	hwloc_topology_set_type_filter(*ret, HWLOC_OBJ_MISC,
				       HWLOC_TYPE_FILTER_KEEP_ALL);
	/* others' CPUs, too: we have the few of a step of our own */
	hwloc_topology_set_flags(*ret, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
	if (hwloc_topology_load(*ret) == 0)
		return 0;
	hwloc_topology_destroy(*ret);
	return errno ? -errno : -EIO;
}

int topo_draw(const json_t *states, const json_t *stats, bool svg)
{
	hwloc_topology_t topo;
	struct errmsg err;
	const char *rank;
	json_t *one;
	int r = load(&topo), status;

	if (r < 0) {
		log_err("CPU topology: %s", strerror(-r));
		return EXIT_FAILED;
	}
	json_object_foreach ((json_t *)(uintptr_t)states, rank, one)
		if (r == 0)
			r = add_task(
				topo, rank, json_object_get(one, "result"),
				json_object_get(json_object_get(stats, rank),
						"result"),
				&err);
	if (r < 0)
		log_err("%s", err.text);
	status = r < 0 ? EXIT_FAILED : draw(topo, svg);
	hwloc_topology_destroy(topo);
	return status;
}
