/* netconf.h - net.configure: the guest's address, name and hosts file
 *
 * The request waits until the interface is there, without holding up others.
 * Thread: the loop's. doc/agent-port.md says what it takes and gives.
 */
#ifndef VMSTEP_NETCONF_H
#define VMSTEP_NETCONF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent.h"

struct netconf {
	bool has_mac; /* else only the names are set */
	uint8_t mac[6];
	struct in_addr ip;
	int prefix;
	unsigned int mtu; /* 0: leave it */
	int64_t timeout_ms;
	bool check;		 /* look, change nothing */
	char *hostname, *domain; /* owned; NULL: leave it */
	char *hosts;		 /* owned; lines for /etc/hosts */
	char *nameserver;	 /* owned; IPv4, spaces between; NULL: none */
	bool has_gateway;
	struct in_addr gateway;
};

int netconf_parse(const json_t *params, struct netconf *ret,
		  struct errmsg *err);
void netconf_done(struct netconf *c);

/* End the requests that still wait. */
void netconf_free(struct agent *a);

void netconf_configure(struct rpc_call *call, const json_t *params,
		       void *agent);

#endif
