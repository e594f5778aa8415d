#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memhome_impl.h"
#include "param.h"

bool visit_refuse(const struct visit *v, const struct errmsg *err)
{
	rpc_fail(v->call, RPC_INVALID_PARAMS, err->text);
	return false;
}

bool visit_size(const struct visit *v, const char *name, uint64_t *ret)
{
	int64_t bytes = 0;
	struct errmsg err;

	if (param_int(v->params, name, 1, SIZE_MAX_BYTES, &bytes, &err) < 0)
		return visit_refuse(v, &err);
	if (!bytes) {
		errmsg_say(&err, 0, "%s: how many bytes?", name);
		return visit_refuse(v, &err);
	}
	*ret = (uint64_t)bytes;
	return true;
}

bool visit_mode(const struct visit *v, bool must, unsigned int *ret)
{
	const json_t *mode = json_object_get(v->params, "mode");
	const char *text = json_string_value(mode);
	json_int_t n = json_integer_value(mode);
	struct errmsg err;
	char *end = NULL;

	if (text && *text)
		n = strtol(text, &end, 8);
	if (must || (mode && !json_is_null(mode)))
		if ((!json_is_integer(mode) && (!end || *end)) || n < 0 ||
		    n > 0777) {
			errmsg_say(&err, 0, "mode: as in \"0644\"");
			return visit_refuse(v, &err);
		}
	if (mode && !json_is_null(mode))
		*ret = (unsigned int)n;
	return true;
}

bool visit_name(const struct visit *v, const char *key, bool must, char **ret)
{
	struct errmsg err;
	int r = param_text(v->params, key, ret, &err);

	if (r == 0 && !*ret && !must)
		*ret = strdup("");
	if (r == 0 &&
	    (!*ret || (must && !**ret) || strlen(*ret) > MEMDIR_NAME_MAX))
		r = errmsg_say(&err, -EINVAL, "%s: 1 to %d bytes", key,
			       MEMDIR_NAME_MAX);
	return r < 0 ? visit_refuse(v, &err) : true;
}

bool visit_may(const struct visit *v, unsigned int mode, uint32_t owner,
	       unsigned int want, const char *what)
{
	if (mem_may(&v->who, mode, owner, want))
		return true;
	rpc_failf(v->call, RPC_E_PERM, "%s: mode %o of vm[%" PRId32 "] says no",
		  what, mode, (int32_t)owner);
	return false;
}

bool visit_owns(const struct visit *v, uint32_t owner, const char *what)
{
	if (v->who.user || v->who.rank == owner)
		return true;
	rpc_failf(v->call, RPC_E_PERM, "%s is vm[%" PRId32 "]'s", what,
		  (int32_t)owner);
	return false;
}

bool visit_region(struct visit *v)
{
	const json_t *id = json_object_get(v->params, "region");

	v->region = memdir_region(v->dir, (uint64_t)json_integer_value(id));
	if (!v->region)
		rpc_fail(v->call, RPC_E_NOENT, "there is no such region");
	return v->region;
}

bool visit_item(struct visit *v)
{
	const json_t *item = json_object_get(v->params, "item");
	const char *name = json_string_value(item);

	if (!visit_region(v))
		return false;
	if (name)
		v->item = memdir_item_named(v->region, name);
	else
		v->item = memdir_item(v->dir, v->region,
				      (uint64_t)json_integer_value(item));
	if (!v->item)
		rpc_failf(v->call, RPC_E_NOENT, "region '%s' has no such item",
			  v->region->name);
	return v->item;
}
