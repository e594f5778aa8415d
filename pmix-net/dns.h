/* dns.h - a name server for the step's own names, and nothing else
 *
 * RFC 1035 over UDP, with EDNS(0). A pure function on one message, which is
 * not trusted. Names are found by names.h, not in a table.
 */
#ifndef VMSTEP_DNS_H
#define VMSTEP_DNS_H

#include <stddef.h>
#include <stdint.h>

struct answer_conf;

#define DNS_MAX 512 /* of a reply: none is ever cut */

/* @ask is the data of an UDP packet to port 53. Returns the length of the
 * reply; 0: it is no question, and gets none. */
size_t dns_answer(const struct answer_conf *conf, const uint8_t *ask,
		  size_t len, uint8_t reply[DNS_MAX]);

#endif
