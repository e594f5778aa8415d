/* answer.h - what need not travel: answered or swallowed at the sender's port
 *
 * The step's addresses and names follow from ranks, so questions about them
 * are answered on the spot: ARP, IPv6 neighbour discovery, and at the service
 * address (addr.h) DHCP, DNS and ping. Pure functions on one frame, which is
 * not trusted, but which nobody changes meanwhile.
 */
#ifndef VMSTEP_ANSWER_H
#define VMSTEP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "names.h"

/* A usual Ethernet's longest frame. Longer ones are not answered. */
#define ANSWER_REPLY_MAX 1514

enum answer {
	ANSWER_NOT_OURS, /* forward it like any other */
	ANSWER_REPLY,	 /* give the sender the reply */
	ANSWER_SWALLOW,	 /* it concerns nobody here */
	ANSWER_SPOOFED,	 /* it claims another one's address, or office */
};

struct answer_conf {
	struct addr_net net;
	uint32_t nranks;
	unsigned int mtu;
	struct names names;
};

/* Can answer_frame() have anything to say of a frame whose first @len bytes, 14
 * at least, are @head? Most frames end here. */
bool answer_may_be_ours(const struct answer_conf *conf, const uint8_t *head,
			size_t len);

/* @frame, of at least 14 bytes, came from the guest of @rank. @reply_len is
 * set with ANSWER_REPLY only. Nothing behind the first ANSWER_REPLY_MAX bytes
 * is looked at, so a caller may have only these in one piece. */
enum answer answer_frame(const struct answer_conf *conf, uint32_t rank,
			 const uint8_t *frame, size_t len,
			 uint8_t reply[ANSWER_REPLY_MAX], size_t *reply_len);

#endif
