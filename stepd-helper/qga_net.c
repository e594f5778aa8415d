#include <config.h>

#include "qga_net.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AGAIN_MS 1000

struct qga_net {
	struct qga *qga;
	char mac[18], ip[INET_ADDRSTRLEN];
	int64_t end_ms;
	struct loop_timer *timer;
	qga_net_fn fn;
	void *arg;
};

static const char *member(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

static bool has_ip(const json_t *interface, const char *ip)
{
	const json_t *list = json_object_get(interface, "ip-addresses");
	json_t *address;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)list, i, address)
		if (strcmp(member(address, "ip-address"), ip) == 0)
			return true;
	return false;
}

static bool is_there(const struct qga_net *n, const json_t *interfaces)
{
	json_t *interface;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)interfaces, i, interface)
		if (strcasecmp(member(interface, "hardware-address"), n->mac) ==
			    0 &&
		    has_ip(interface, n->ip))
			return true;
	return false;
}

static void on_interfaces(const struct rpc_reply *reply, void *arg)
{
	struct qga_net *n = arg;
	char words[160];

	if (reply->code == RPC_E_NOTSUP) {
		snprintf(
			words, sizeof(words),
			"QEMU's guest agent does not tell (%.60s): --vm-wait=agent does not ask",
			reply->message);
		n->fn(words, n->arg);
	} else if (is_there(n, reply->result)) {
		n->fn(NULL, n->arg);
	} else if (loop_now_ms() >= n->end_ms) {
		snprintf(
			words, sizeof(words),
			"it has not taken its address %s by DHCP or cloud-init: --vm-wait=agent does not wait for that",
			n->ip);
		n->fn(words, n->arg);
	} else {
		loop_timer_set(n->timer, AGAIN_MS);
	}
}

static void on_timer(void *arg)
{
	struct qga_net *n = arg;
	const struct qga_ask ask = { .command = "guest-network-get-interfaces",
				     .fn = on_interfaces,
				     .arg = n };

	if (qga_ask(n->qga, &ask) < 0)
		loop_timer_set(n->timer, AGAIN_MS);
}

int qga_net_new(struct loop *l, struct qga *q, const char *mac, const char *ip,
		int64_t timeout_ms, qga_net_fn fn, void *arg,
		struct qga_net **ret)
{
	struct qga_net *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->qga = q;
	n->end_ms = loop_now_ms() + timeout_ms;
	n->fn = fn;
	n->arg = arg;
	snprintf(n->mac, sizeof(n->mac), "%s", mac);
	snprintf(n->ip, sizeof(n->ip), "%s", ip);
	r = loop_timer_add(l, 0, on_timer, n, &n->timer);
	if (r < 0)
		qga_net_free(n);
	else
		*ret = n;
	return r;
}

void qga_net_free(struct qga_net *n)
{
	if (!n)
		return;
	qga_forget(n->qga, n);
	loop_timer_free(n->timer);
	free(n);
}
