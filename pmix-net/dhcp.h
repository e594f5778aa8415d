/* dhcp.h - a DHCP server that keeps nothing: the address follows from the rank
 *
 * RFC 2131, options of RFC 2132. A pure function on one message, which is not
 * trusted. A guest gets its own rank's address and no other; what is behind a
 * guest, with a MAC address of its own, gets none.
 */
#ifndef VMSTEP_DHCP_H
#define VMSTEP_DHCP_H

#include <stddef.h>
#include <stdint.h>

struct answer_conf;

#define DHCP_MAX     548   /* what any client takes: 576 less the headers */
#define DHCP_LEASE_S 86400 /* renewing asks nobody who could be gone */

/* @ask, the data of an UDP packet to port 67, came from the guest of @rank.
 * Returns the length of the reply; 0: there is none. *to is the address to
 * send it to, INADDR_BROADCAST (all ones) to all; host order. */
size_t dhcp_answer(const struct answer_conf *conf, uint32_t rank,
		   const uint8_t *ask, size_t len, uint8_t reply[DHCP_MAX],
		   uint32_t *to);

#endif
