#include <config.h>

#include "start_error.h"

#include <string.h>

#define NOT_THE_HOST                                                          \
	"it is looked up in the guest, where the host's directories are not " \
	"but by --vm-mounts and --vm-mount-home"

enum { E_PERM = 6, E_NOENT = 10 };

enum {
	STATUS_NO_START = 125,
	STATUS_CANNOT_RUN = 126,
	STATUS_NOT_FOUND = 127,
};

static int command_status(const struct start_error *e, const char *command,
			  struct errmsg *ret)
{
	if (e->code != E_NOENT) {
		errmsg_say(ret, 0, "%s", e->message);
		return e->code == E_PERM ? STATUS_CANNOT_RUN : STATUS_NO_START;
	}
	errmsg_say(ret, 0, "%s; %s", e->message,
		   strchr(command, '/') ? NOT_THE_HOST
					: "it is looked up in the guest");
	return STATUS_NOT_FOUND;
}

int start_error_status(const struct start_error *e, const struct spec *s,
		       const char *command, struct errmsg *ret)
{
	if (!e->what || strcmp(e->what, "command") == 0)
		return command_status(e, command, ret);
	if (strcmp(e->what, "user") == 0) {
		errmsg_say(ret, 0, "--vm-user: %s", e->message);
		return STATUS_CANNOT_RUN;
	}
	if (strcmp(e->what, "cwd") == 0) {
		errmsg_say(ret, 0, "%s: %s; " NOT_THE_HOST,
			   s->workdir_given ? "--vm-workdir"
			   : s->workdir	    ? "the working directory"
					    : "the user's home",
			   e->message);
		return STATUS_CANNOT_RUN;
	}
	errmsg_say(ret, 0, "%s", e->message);
	return STATUS_NO_START;
}
