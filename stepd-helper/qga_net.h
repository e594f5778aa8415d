/* qga_net.h - wait until the guest has taken its address by itself
 *
 * QEMU's guest agent sets no addresses: DHCP or cloud-init does. What it sees
 * of the interfaces is asked once a second.
 */
#ifndef VMSTEP_QGA_NET_H
#define VMSTEP_QGA_NET_H

#include "loop.h"
#include "qga.h"

struct qga_net;

/* @error: NULL, or the words of what went wrong. Called once, from the loop;
 * qga_net_free() may follow from there. */
typedef void (*qga_net_fn)(const char *error, void *arg);

/* Until the card with @mac has @ip ("10.0.0.1"; both copied), @timeout_ms. */
int qga_net_new(struct loop *l, struct qga *q, const char *mac, const char *ip,
		int64_t timeout_ms, qga_net_fn fn, void *arg,
		struct qga_net **ret);
void qga_net_free(struct qga_net *n); /* NULL is fine */

#endif
