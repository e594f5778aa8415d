/* net.h - this node's vmstep-net: start it if nobody has, and talk to it
 *
 * The first helper of the node that holds the lock in the step's directory
 * makes the listening socket and starts vmstep-net with it; the others find
 * the socket there. lib/netctl.h has the messages.
 *
 * Owns: the connection, and this task's port (port.h). Thread: the loop's.
 */
#ifndef VMSTEP_NET_H
#define VMSTEP_NET_H

#include <stdint.h>

#include "errmsg.h"
#include "loop.h"
#include "netctl.h"
#include "spec.h"
#include "task.h"

struct net;

struct net_ops {
	/* @link: "ADDRESS:PORT" of this node, "" on a one-node step. */
	void (*welcome)(const char *link, void *arg);
	/* All ranks of the step have reached @state. */
	void (*all)(enum netctl_state state, void *arg);
	/* They never will; @text says which and why. */
	void (*lost)(const char *text, void *arg);
	/* vmstep-net itself is gone. Called once. */
	void (*gone)(void *arg);
};

/* Connect, starting vmstep-net if need be, and say hello. With @s NULL (this
 * task failed before its options were understood) an existing one is looked
 * for only. */
int net_new(struct loop *l, const struct task *t, const struct spec *s,
	    const struct net_ops *ops, void *arg, struct net **ret,
	    struct errmsg *err);
void net_free(struct net *n); /* NULL is fine */

/* What a vmstep-net that is gone wrote last to its log, for a message; "" if
 * nothing. */
void net_last_words(const struct task *t, char *text, size_t size);

/* QEMU's end of the port, from now on the caller's; -1 if none. Once. */
int net_port_fd(struct net *n);
/* QEMU has it: vmstep-net gets the other end, as soon as that can be had. */
void net_qemu_runs(struct net *n);

int net_send_table(struct net *n, const uint8_t key[NETCTL_KEY_LEN],
		   uint32_t node, uint32_t nnodes, int memfd);
int net_send_state(struct net *n, enum netctl_state state);

#endif
