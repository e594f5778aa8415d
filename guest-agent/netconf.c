#include <config.h>

#include "netconf.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "hostsfile.h"
#include "log.h"
#include "netlink.h"
#include "param.h"
#include "resolvconf.h"

#define HOSTS_PATH	"/etc/hosts"
#define RESOLV_PATH	"/etc/resolv.conf"
#define TIMEOUT_MS	10000
#define NAMESERVERS_MAX 3 /* that resolvers look at */

/* -- parameters ------------------------------------------------------------ */

void netconf_done(struct netconf *c)
{
	free(c->hostname);
	free(c->domain);
	free(c->hosts);
	free(c->nameserver);
	*c = (struct netconf){ 0 };
}

static int parse_mac(const json_t *params, struct netconf *c,
		     struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	uint8_t *m = c->mac;
	int r = param_text(params, "mac", &text, err), end = -1;

	if (r < 0 || !text)
		return r;
	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &m[0], &m[1],
		   &m[2], &m[3], &m[4], &m[5], &end) != 6 ||
	    end != 17 || text[end])
		return errmsg_say(err, -EINVAL, "mac: %s is no MAC address",
				  text);
	c->has_mac = true;
	return 0;
}

static int parse_ip(const json_t *params, struct netconf *c, struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	int64_t prefix = 0;
	int r = param_text(params, "ip", &text, err);

	if (r == 0)
		r = param_int(params, "prefix", 1, 32, &prefix, err);
	if (r < 0)
		return r;
	if (!text || inet_pton(AF_INET, text, &c->ip) != 1)
		return errmsg_say(err, -EINVAL, "ip: %s is no IPv4 address",
				  text ? text : "what is missing");
	if (!prefix)
		return errmsg_say(err, -EINVAL, "prefix: is missing");
	c->prefix = (int)prefix;
	return 0;
}

static int add_nameserver(const json_t *value, struct netconf *c,
			  struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	struct in_addr ip;
	char *all;
	int r = param_value_text(value, "nameserver", &text, err);

	if (r < 0)
		return r;
	if (inet_pton(AF_INET, text, &ip) != 1)
		return errmsg_say(err, -EINVAL,
				  "nameserver: %s is no IPv4 address", text);
	if (asprintf(&all, "%s%s%s", c->nameserver ? c->nameserver : "",
		     c->nameserver ? " " : "", text) < 0)
		return errmsg_set(err, -ENOMEM, "nameserver");
	free(c->nameserver);
	c->nameserver = all;
	return 0;
}

/* One, or a list. */
static int parse_nameserver(const json_t *params, struct netconf *c,
			    struct errmsg *err)
{
	const json_t *value = json_object_get(params, "nameserver");
	json_t *one;
	size_t i;
	int r = 0;

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_array(value))
		return add_nameserver(value, c, err);
	if (json_array_size(value) > NAMESERVERS_MAX)
		return errmsg_say(err, -EINVAL, "nameserver: more than %d",
				  NAMESERVERS_MAX);
	json_array_foreach ((json_t *)(uintptr_t)value, i, one)
		if (r == 0)
			r = add_nameserver(one, c, err);
	return r;
}

static int parse_gateway(const json_t *params, struct netconf *c,
			 struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	int r = param_text(params, "gateway", &text, err);

	if (r < 0 || !text)
		return r;
	if (inet_pton(AF_INET, text, &c->gateway) != 1)
		return errmsg_say(err, -EINVAL,
				  "gateway: %s is no IPv4 address", text);
	c->has_gateway = true;
	return 0;
}

/* A name that is safe in /etc/hosts and for the kernel. */
static int parse_name(const json_t *params, const char *name, char **ret,
		      struct errmsg *err)
{
	int r = param_text(params, name, ret, err);

	if (r < 0 || !*ret)
		return r;
	if (strlen(*ret) > 253)
		return errmsg_say(err, -EINVAL, "%s: is too long", name);
	for (const char *p = *ret; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
			return errmsg_say(
				err, -EINVAL,
				"%s: '%s' is not made of letters, digits, '-' and '.'",
				name, *ret);
	return 0;
}

int netconf_parse(const json_t *params, struct netconf *ret, struct errmsg *err)
{
	static const char *const modes[] = { "set", "check", NULL };
	_cleanup_(netconf_done) struct netconf c = { .timeout_ms = TIMEOUT_MS };
	int64_t mtu = 0;
	int mode = 0, r;

	r = parse_mac(params, &c, err);
	if (r == 0 && c.has_mac)
		r = parse_ip(params, &c, err);
	if (r == 0)
		r = param_int(params, "mtu", 68, 65535, &mtu, err);
	if (r == 0)
		r = param_int(params, "timeout_ms", 0, 86400000, &c.timeout_ms,
			      err);
	if (r == 0)
		r = param_word(params, "mode", modes, &mode, err);
	if (r == 0)
		r = parse_name(params, "hostname", &c.hostname, err);
	if (r == 0)
		r = parse_name(params, "domain", &c.domain, err);
	if (r == 0)
		r = param_text(params, "hosts", &c.hosts, err);
	if (r == 0)
		r = parse_nameserver(params, &c, err);
	if (r == 0)
		r = parse_gateway(params, &c, err);
	if (r < 0)
		return r;
	c.mtu = (unsigned int)mtu;
	c.check = mode == 1;
	*ret = c;
	c = (struct netconf){ 0 };
	return 0;
}

/* -- the names ------------------------------------------------------------- */

static int set_hostname(const char *name, struct errmsg *err)
{
	char old[256] = "";

	if (gethostname(old, sizeof(old) - 1) == 0 && strcmp(old, name) == 0)
		return 0;
	if (sethostname(name, strlen(name)) < 0)
		return errmsg_set(err, -errno, "host name %s", name);
	return 0;
}

/* Without a list of hosts, at least the guest's own name shall resolve. */
static char *own_line(const struct netconf *c)
{
	char ip[INET_ADDRSTRLEN], *text;
	bool full = c->domain && *c->domain;

	inet_ntop(AF_INET, &c->ip, ip, sizeof(ip));
	if (asprintf(&text, "%s\t%s%s%s%s%s\n", ip, c->hostname,
		     full ? "." : "", full ? c->domain : "", full ? " " : "",
		     full ? c->hostname : "") < 0)
		return NULL;
	return text;
}

/* What goes wrong here leaves a guest with a network but without names: that
 * is told in the result, as "warnings", and is no failure. */
static void set_names(struct netconf *c, json_t *warnings)
{
	struct errmsg err;

	if (c->hostname && *c->hostname && set_hostname(c->hostname, &err) < 0)
		json_array_append_new(warnings, param_from_text(err.text));
	if (!c->hosts && c->hostname && *c->hostname && c->has_mac)
		c->hosts = own_line(c);
	if (c->hosts && hostsfile_set(HOSTS_PATH, c->hosts, &err) < 0)
		json_array_append_new(warnings, param_from_text(err.text));
	if (c->nameserver &&
	    resolvconf_set(RESOLV_PATH, c->nameserver, c->domain, &err) < 0)
		json_array_append_new(warnings, param_from_text(err.text));
}

/* -- the interface --------------------------------------------------------- */

static int set_interface(const struct netconf *c, struct netlink_if *i,
			 bool *has, struct errmsg *err)
{
	int r;

	if ((c->mtu && i->mtu != c->mtu) || !i->up) {
		r = netlink_set_link(i->index, c->mtu);
		if (r < 0)
			return errmsg_set(
				err, r,
				"%s: cannot bring it up with an MTU of %u",
				i->name, c->mtu ? c->mtu : i->mtu);
	}
	if (!*has) {
		r = netlink_add_address(i->index, c->ip, c->prefix);
		if (r < 0)
			return errmsg_set(err, r, "%s: cannot set its address",
					  i->name);
	}
	r = c->has_gateway ? netlink_add_gateway(i->index, c->gateway) : 0;
	if (r < 0)
		return errmsg_set(err, r, "%s: cannot set its gateway",
				  i->name);
	return netlink_find(c->mac, c->ip, c->prefix, i, has);
}

static void answer(struct rpc_call *call, struct netconf *c,
		   const struct netlink_if *i, bool has)
{
	json_t *warnings = json_array(), *result;
	char ip[INET_ADDRSTRLEN];

	if (!c->check)
		set_names(c, warnings);
	if (i) {
		inet_ntop(AF_INET, &c->ip, ip, sizeof(ip));
		result = json_pack("{s:s, s:s, s:i, s:i, s:b}", "ifname",
				   i->name, "ip", ip, "prefix", c->prefix,
				   "mtu", (int)i->mtu, "configured",
				   has && i->up &&
					   (!c->mtu || i->mtu == c->mtu));
	} else {
		result = json_pack("{s:b}", "configured", 1);
	}
	json_object_set_new(result, "warnings", warnings);
	rpc_result(call, result);
}

/* Returns false where the interface is not there (yet). */
static bool try_now(struct rpc_call *call, struct netconf *c)
{
	struct netlink_if i;
	struct errmsg err;
	bool has = false;
	int r = netlink_find(c->mac, c->ip, c->prefix, &i, &has);

	if (r == -ENOENT)
		return false;
	if (r < 0)
		errmsg_set(&err, r, "cannot list the network interfaces");
	else if (!c->check)
		r = set_interface(c, &i, &has, &err);
	if (r < 0)
		rpc_fail_os(call, rpc_error_of(-r), -r, "interface", err.text);
	else
		answer(call, c, &i, has);
	return true;
}

/* -- waiting for it -------------------------------------------------------- */

struct netconf_wait {
	LIST_ENTRY(netconf_wait) next;
	struct rpc_call *call;
	struct netconf conf;
	int links; /* a netlink socket */
	struct loop_io *io;
	struct loop_timer *timer;
};

static void wait_free(struct netconf_wait *w)
{
	LIST_REMOVE(w, next);
	loop_io_free(w->io);
	loop_timer_free(w->timer);
	if (w->links >= 0)
		close(w->links);
	netconf_done(&w->conf);
	free(w);
}

static void on_links(uint32_t events, void *arg)
{
	struct netconf_wait *w = arg;
	char buf[8192];

	while (recv(w->links, buf, sizeof(buf), 0) > 0 || errno == EINTR)
		;
	if (try_now(w->call, &w->conf))
		wait_free(w);
}

static void fail_missing(struct rpc_call *call, const struct netconf *c,
			 enum rpc_error code)
{
	const uint8_t *m = c->mac;
	struct errmsg err;

	errmsg_say(
		&err, 0,
		"no network interface %02x:%02x:%02x:%02x:%02x:%02x came up in %lld ms: does the guest's kernel have virtio_net?",
		m[0], m[1], m[2], m[3], m[4], m[5], (long long)c->timeout_ms);
	rpc_fail_os(call, code, 0, "interface", err.text);
}

static void on_timeout(void *arg)
{
	struct netconf_wait *w = arg;

	fail_missing(w->call, &w->conf, RPC_E_TIMEOUT);
	wait_free(w);
}

static int wait_for_link(struct agent *a, struct rpc_call *call,
			 struct netconf *c)
{
	struct netconf_wait *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	LIST_INSERT_HEAD(&a->waits, w, next);
	w->call = call;
	w->links = netlink_watch_links();
	r = w->links;
	if (r >= 0)
		r = loop_io_add(a->loop, w->links, EPOLLIN, on_links, w,
				&w->io);
	if (r == 0)
		r = loop_timer_add(a->loop, c->timeout_ms, on_timeout, w,
				   &w->timer);
	if (r < 0) {
		wait_free(w);
		return r;
	}
	w->conf = *c;
	*c = (struct netconf){ 0 };
	/* it may have come between the first look and the socket */
	if (try_now(call, &w->conf))
		wait_free(w);
	return 0;
}

void netconf_free(struct agent *a)
{
	struct netconf_wait *w;

	while ((w = LIST_FIRST(&a->waits))) {
		rpc_fail(w->call, RPC_E_STATE, "the agent ends");
		wait_free(w);
	}
}

void netconf_configure(struct rpc_call *call, const json_t *params, void *agent)
{
	_cleanup_(netconf_done) struct netconf c = { 0 };
	struct errmsg err;
	int r;

	r = netconf_parse(params, &c, &err);
	if (r < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	} else if (!c.has_mac) {
		answer(call, &c, NULL, true);
	} else if (!try_now(call, &c)) {
		r = c.timeout_ms ? wait_for_link(agent, call, &c) : -ENOENT;
		if (r < 0)
			fail_missing(call, &c, RPC_E_NOENT);
	}
}
