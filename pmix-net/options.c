#include <config.h>

#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "census.h"
#include "mcast.h"
#include "mesh.h"
#include "value.h"
#include "workers.h"

/* What an option of the table does with its value; @at points into struct
 * options. Returns 0 or -EINVAL with words about the value. */
typedef int (*option_fn)(void *at, const char *value, struct errmsg *err);

static int parse_u32(const char *text, uint32_t min, uint32_t max,
		     uint32_t *ret, struct errmsg *err)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (end == text || *end || text[0] == '-' || errno || v < min ||
	    v > max)
		return errmsg_say(err, -EINVAL,
				  "'%s' is not a number from %" PRIu32
				  " to %" PRIu32,
				  text, min, max);
	*ret = (uint32_t)v;
	return 0;
}

static int opt_fd(void *at, const char *value, struct errmsg *err)
{
	uint32_t fd = 0;
	int r = parse_u32(value, 3, INT32_MAX, &fd, err);

	*(int *)at = (int)fd;
	return r;
}

static int opt_net(void *at, const char *value, struct errmsg *err)
{
	return addr_net_parse(value, at, err);
}

static int opt_mtu(void *at, const char *value, struct errmsg *err)
{
	return parse_u32(value, 68, 65521, at, err);
}

static int opt_ranks(void *at, const char *value, struct errmsg *err)
{
	return rankset_parse(at, value, strlen(value), err);
}

static int opt_nranks(void *at, const char *value, struct errmsg *err)
{
	return parse_u32(value, 1, RANK_MAX + 1, at, err);
}

static int opt_text(void *at, const char *value, struct errmsg *err)
{
	if (!value[0])
		return errmsg_say(err, -EINVAL, "needs a value");
	*(const char **)at = value;
	return 0;
}

static int opt_domain(void *at, const char *value, struct errmsg *err)
{
	int r = value_hostname(value, err);

	*(const char **)at = value;
	return r;
}

static int opt_ports(void *at, const char *value, struct errmsg *err)
{
	struct port_range *ports = at;

	return value_ports(value, &ports->first, &ports->last, err);
}

/* Seconds, as the site's are; or as in 200ms, for tests. */
static int opt_time(void *at, const char *value, struct errmsg *err)
{
	_cleanup_free_ char *number = strdup(value);
	char *unit = number ? strstr(number, "ms") : NULL;
	bool ms = unit && !unit[2];
	int r;

	if (!number)
		return errmsg_set(err, -ENOMEM, "a time");
	if (ms)
		*unit = '\0';
	r = parse_u32(number, 1, 1000000, at, err);
	if (r == 0 && !ms)
		*(uint32_t *)at *= 1000;
	return r;
}

static int opt_workers(void *at, const char *value, struct errmsg *err)
{
	return parse_u32(value, 1, WORKERS_MAX, at, err);
}

static int opt_kind(void *at, const char *value, struct errmsg *err)
{
	static const char *const kinds[] = {
		[LINK_AUTO] = "auto",
		[LINK_TCP] = "tcp",
		[LINK_UCX] = "ucx",
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(value, kinds[i]) == 0) {
			*(enum link_kind *)at = (enum link_kind)i;
			return 0;
		}
	return errmsg_say(err, -EINVAL, "'%s' is not auto, tcp or ucx", value);
}

static int opt_bool(void *at, const char *value, struct errmsg *err)
{
	return value_bool(value, at, err);
}

static int opt_flag(void *at, const char *value, struct errmsg *err)
{
	*(bool *)at = true;
	return 0;
}

#define AT(field) offsetof(struct options, field)

static const struct option_row {
	const char *name;
	bool has_value;
	option_fn fn;
	size_t at;
} rows[] = {
	{ "--ctl", true, opt_fd, AT(ctl_fd) },
	{ "--lock", true, opt_fd, AT(lock_fd) },
	{ "--link", true, opt_fd, AT(link_fd) },
	{ "--net", true, opt_net, AT(net) },
	{ "--mtu", true, opt_mtu, AT(mtu) },
	{ "--ranks", true, opt_ranks, AT(ranks) },
	{ "--nranks", true, opt_nranks, AT(nranks) },
	{ "--node", true, opt_text, AT(node) },
	{ "--hostname", true, opt_text, AT(names.pattern) },
	{ "--domain", true, opt_domain, AT(names.domain) },
	{ "--bind", true, opt_text, AT(bind) },
	{ "--port-range", true, opt_ports, AT(ports) },
	{ "--lost-after", true, opt_time, AT(lost_after_ms) },
	{ "--idle-after", true, opt_time, AT(idle_after_ms) },
	{ "--grace", true, opt_time, AT(grace_ms) },
	{ "--settle", true, opt_time, AT(settle_ms) },
	{ "--workers", true, opt_workers, AT(workers) },
	{ "--device", true, opt_text, AT(device) },
	{ "--log", true, opt_text, AT(log) },
	{ "--log-fd", true, opt_fd, AT(log_fd) },
	{ "--kind", true, opt_kind, AT(kind) },
	{ "--sandbox", true, opt_bool, AT(sandbox) },
	{ "--sandbox-paths", true, opt_text, AT(sandbox_paths) },
	{ "--encrypt", false, opt_flag, AT(encrypt) },
	{ "--report", false, opt_flag, AT(report) },
	{ "--verbose", false, opt_flag, AT(verbose) },
	{ "--help", false, opt_flag, AT(help) },
	{ "--version", false, opt_flag, AT(version) },
};

static const struct option_row *find_row(const char *arg, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strlen(rows[i].name) == len &&
		    memcmp(rows[i].name, arg, len) == 0)
			return &rows[i];
	return NULL;
}

static int parse_arg(struct options *o, const char *arg, struct errmsg *err)
{
	const char *eq = strchrnul(arg, '=');
	const struct option_row *row = find_row(arg, (size_t)(eq - arg));
	int r;

	if (!row || row->has_value != (*eq == '='))
		return errmsg_say(
			err, -EINVAL,
			"'%s' is not an option of vmstep-net: it and vmstep-helper must be of one version",
			arg);
	r = row->fn((char *)o + row->at, *eq ? eq + 1 : eq, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", row->name) : 0;
}

static int check(const struct options *o, struct errmsg *err)
{
	int r;

	if (o->ctl_fd < 0 || !o->node || !o->nranks || !o->ranks.n)
		return errmsg_say(
			err, -EINVAL,
			"--ctl, --node, --nranks and --ranks are needed: vmstep-net is started by vmstep-helper");
	if (o->ranks.ranges[o->ranks.n - 1].last >= o->nranks)
		return errmsg_say(
			err, -EINVAL,
			"--ranks has rank %" PRIu32 ", --nranks=%" PRIu32,
			o->ranks.ranges[o->ranks.n - 1].last, o->nranks);
	if (o->nranks > addr_net_ranks(&o->net))
		return errmsg_say(err, -EINVAL,
				  "--net has room for %" PRIu32 " of %" PRIu32
				  " VMs: take a larger network",
				  addr_net_ranks(&o->net), o->nranks);
	r = names_check(&o->names, o->nranks, err);
	return r < 0 ? errmsg_prefix(err, r, "--hostname") : 0;
}

int options_parse(struct options *o, int argc, char **argv, struct errmsg *err)
{
	*o = (struct options){
		.ctl_fd = -1,
		.lock_fd = -1,
		.link_fd = -1,
		.log_fd = -1,
		.net = { 0x0a000000, 8 },
		.mtu = 9000,
		.lost_after_ms = OPTIONS_LOST_AFTER_MS,
		.idle_after_ms = MESH_IDLE_MS,
		.grace_ms = CENSUS_GRACE_MS,
		.settle_ms = MCAST_SETTLE_MS,
		.workers = 1,
		.sandbox = true,
		.sandbox_paths = "",
		.names = { .pattern = "vm%t" },
	};
	for (int i = 1; i < argc; i++) {
		int r = parse_arg(o, argv[i], err);

		if (r < 0)
			return r;
	}
	return o->help || o->version ? 0 : check(o, err);
}

void options_done(struct options *o)
{
	rankset_done(&o->ranks);
}
