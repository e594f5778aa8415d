#include <config.h>

#include "confine.h"

#include "log.h"
#include "sandbox.h"

static int allow_ucx(struct sandbox *s, struct errmsg *err)
{
	int r = sandbox_path(s, "/dev/infiniband", SANDBOX_READ | SANDBOX_WRITE,
			     err);

	return r < 0 ? r
		     : sandbox_path(s, "/dev/shm",
				    SANDBOX_READ | SANDBOX_WRITE | SANDBOX_MAKE,
				    err);
}

static int allow_needed(struct sandbox *s, const struct options *o,
			struct errmsg *err)
{
	int r = sandbox_system(s, false, o->sandbox_paths, err);

	return r < 0 || o->kind == LINK_TCP ? r : allow_ucx(s, err);
}

/* Its own name, where it was told nothing better, may be known to a daemon
 * (nscd, sssd) that has a socket. */
static unsigned int denied(const struct options *o)
{
	bool asks = !o->bind && !o->device && o->link_fd < 0;

	if (!o->sandbox)
		return 0;
	return SANDBOX_FILES | SANDBOX_OTHERS | (asks ? 0u : SANDBOX_UNIX);
}

int confine(const struct options *o, struct errmsg *err)
{
	struct sandbox *s = NULL;
	char text[SANDBOX_TEXT];
	int r = sandbox_new(denied(o), &s, err);

	if (r < 0)
		return r;
	if (o->sandbox)
		r = allow_needed(s, o, err);
	if (r == 0) {
		r = sandbox_enter(s);
		errmsg_set(err, r, "sandbox");
	}
	sandbox_free(s);
	if (r == 0)
		log_info("sandbox: %s", sandbox_text(o->sandbox, text));
	return r;
}
