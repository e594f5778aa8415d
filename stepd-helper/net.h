/* net.h - this node's vmstep-net: start it if nobody has, and talk to it
 *
 * The first helper of the node starts it; any helper starts it again when it is
 * killed, and then all connect and say again what they know: nobody else
 * notices. lib/netctl.h has the messages, netproc.h the process.
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
	/* vmstep-net is gone for good, and why. Called once. */
	void (*gone)(const char *why, void *arg);
};

/* Connect, starting vmstep-net if need be, and say hello; may block for some
 * seconds. @t and @s are borrowed as long as it lives. With @s NULL (this
 * task failed before its options were understood) an existing one is looked
 * for only. */
int net_new(struct loop *l, const struct task *t, const struct spec *s,
	    const struct net_ops *ops, void *arg, struct net **ret,
	    struct errmsg *err);
void net_free(struct net *n); /* NULL is fine */

/* QEMU's end of the port, from now on the caller's; -1 if none. Once. */
int net_port_fd(struct net *n);
/* The port's frames go into @pipe (borrowed) while it is read and this
 * vmstep-net lives: what it had half written cannot be taken up by another.
 * With
 * @lasts that is said. One at a time: a new one takes its place. -errno. */
int net_capture(struct net *n, int pipe, bool lasts);
/* QEMU has it: vmstep-net gets the other end, as soon as that can be had. */
void net_qemu_runs(struct net *n);

/* The same. -errno where @memfd (borrowed) cannot be kept. */
int net_send_table(struct net *n, const uint8_t key[NETCTL_KEY_LEN],
		   uint32_t node, uint32_t nnodes, int memfd);
/* @o (borrowed, until it is set to NULL) gets a socket to this and to each
 * further vmstep-net, and hears when one was lost. */
struct oplink;
void net_set_ops(struct net *n, struct oplink *o);

/* Now, and to each vmstep-net that follows. */
void net_send_state(struct net *n, enum netctl_state state);

/* This task ends: the last one of rank 0's node gets what all nodes have
 * counted. 0, and @fn is called once: -ENOENT is for another task to say.
 * -ENOTCONN. */
typedef void (*net_stats_fn)(int fd, void *arg);
int net_ask_report(struct net *n, net_stats_fn fn, void *arg);
void net_forget_report(struct net *n);
/* What vmstep-net has counted: netctl.h's STATS, with @rank as there. @fd is a
 * memfd (borrowed), or -errno: that rank has no port. Asked again of the next
 * one where this vmstep-net is lost. */
/* 0, and @fn is called once with @arg; -ENOTCONN: there will be none any more;
 * -EBUSY: NET_QUESTIONS wait for their answers; -ENOMEM. */
#define NET_QUESTIONS 8
int net_ask_stats(struct net *n, uint32_t rank, net_stats_fn fn, void *arg);
/* @fn is not called any more; none is fine. */
void net_forget_stats(struct net *n, void *arg);

#endif
