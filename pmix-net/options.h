/* options.h - vmstep-net's command line; vmstep-helper writes it */
#ifndef VMSTEP_OPTIONS_H
#define VMSTEP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "errmsg.h"
#include "link_kind.h"
#include "link_tcp.h"
#include "names.h"
#include "rankset.h"

#define OPTIONS_LOST_AFTER_MS 30000

struct options {
	int ctl_fd, lock_fd, link_fd, log_fd; /* -1: none */
	struct addr_net net;
	unsigned int mtu;
	struct rankset ranks; /* of this node */
	uint32_t nranks;
	const char *node; /* this and what follows: borrowed from argv */
	struct names names;
	const char *bind, *device, *log;
	struct port_range ports;
	uint32_t lost_after_ms, idle_after_ms;
	uint32_t grace_ms, settle_ms; /* see states.h, mcast.h */
	bool encrypt;		      /* what goes over links */
	bool sandbox;		      /* see confine.h */
	const char *sandbox_paths;    /* "" none */
	unsigned int workers;	      /* 1..WORKERS_MAX */
	enum link_kind kind;
	bool verbose, report;
	bool help, version; /* asked by a person: nothing else was checked */
};

/* -EINVAL with words that name option, value and cure. */
int options_parse(struct options *o, int argc, char **argv, struct errmsg *err);
void options_done(struct options *o);

#endif
