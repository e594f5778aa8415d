#include <config.h>

#include "incoming.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu.h"

struct incoming {
	struct machine *machine;
	incoming_fn fn;
	void *arg;
};

static void end(struct incoming *i, const char *error)
{
	machine_watch_migration(i->machine, NULL, NULL);
	i->fn(error, i->arg);
}

static void on_status(const char *status, void *arg)
{
	if (status && strcmp(status, "completed") == 0)
		end(arg, NULL);
	else if (status && strcmp(status, "failed") == 0)
		end(arg, "QEMU cannot load what was saved");
}

static void on_reply(json_t *result, const char *error, void *arg)
{
	if (error)
		end(arg, error);
}

int incoming_start(struct machine *m, incoming_fn fn, void *arg,
		   struct incoming **ret)
{
	struct incoming *i = calloc(1, sizeof(*i));
	char uri[32];
	int r;

	if (!i)
		return -ENOMEM;
	*i = (struct incoming){ m, fn, arg };
	snprintf(uri, sizeof(uri), "fd:%d", qemu_fd_number(QEMU_FD_STATE));
	machine_watch_migration(m, on_status, i);
	r = machine_qmp(m, "migrate-set-capabilities",
			json_pack("{s:[{s:s, s:b}]}", "capabilities",
				  "capability", "events", "state", 1),
			NULL, NULL);
	if (r == 0)
		r = machine_qmp(m, "migrate-incoming",
				json_pack("{s:s}", "uri", uri), on_reply, i);
	if (r < 0) {
		machine_watch_migration(m, NULL, NULL);
		free(i);
		return r;
	}
	*ret = i;
	return 0;
}

void incoming_free(struct incoming *i)
{
	free(i);
}
