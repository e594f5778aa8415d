#include <config.h>

#include <stdbool.h>

#include "ucx_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define LIBRARY "libucp.so.0"

extern char **environ;

static void forget_environment(void)
{
	char name[256];

	for (char **e = environ; *e;) {
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, "UCX_", 4) != 0 || len >= sizeof(name)) {
			e++;
			continue;
		}
		memcpy(name, *e, len);
		name[len] = '\0';
		unsetenv(name);
		e = environ;
	}
}

/* These are not of a context, so that there is no other way to set them. */
static void set_up(bool rdma)
{
	static const struct {
		const char *name, *value;
		bool rdma; /* then, too */
	} settings[] = {
		/* signals are ours: see sigbus.h */
		{ "UCX_HANDLE_ERRORS", "none", true },
		{ "UCX_ERROR_SIGNALS", "", true },
		{ "UCX_LOG_LEVEL", "fatal", true },
		{ "UCX_WARN_UNUSED_ENV_VARS", "n", true },
		{ "UCX_VFS_ENABLE", "n", true },
		{ "UCX_MEM_EVENTS", "n", false },
		{ "UCX_MEM_MMAP_HOOK_MODE", "none", false },
		{ "UCX_MEM_MALLOC_HOOKS", "n", false },
		{ "UCX_MEM_MALLOC_RELOC", "n", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (!rdma || settings[i].rdma)
			setenv(settings[i].name, settings[i].value, 1);
}

static int find(void *handle, const char *name, void *at, struct errmsg *err)
{
	void *f = dlsym(handle, name);

	if (!f)
		return errmsg_say(
			err, -ENOENT,
			"%s of this machine has no %s: install UCX 1.13 or later",
			LIBRARY, name);
	memcpy(at, &f, sizeof(f));
	return 0;
}

int ucx_lib_load(bool rdma, const struct ucx_lib **ret, struct errmsg *err)
{
	static struct ucx_lib lib;
	void *handle;
	int r = 0;

	forget_environment();
	set_up(rdma);
	handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!handle)
		return errmsg_say(err, -ENOENT,
				  "%s: %s: install it, or say net_link = tcp",
				  LIBRARY, dlerror());
#define UCX_LIB_FIND(name) \
	if (r == 0)        \
		r = find(handle, #name, &lib.name, err);
	UCX_LIB_FUNCTIONS(UCX_LIB_FIND)
#undef UCX_LIB_FIND
	*ret = &lib;
	return r;
}
