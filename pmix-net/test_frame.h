/* test_frame.h - frames for the tests of this directory */
#ifndef VMSTEP_TEST_FRAME_H
#define VMSTEP_TEST_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "addr.h"

#define TEST_TYPE 0x88b5 /* "local experimental": nobody answers it */

static const uint8_t test_broadcast[ADDR_MAC_LEN] = { 0xff, 0xff, 0xff,
						      0xff, 0xff, 0xff };

/* An Ethernet header at @frame; returns its length. */
static inline size_t test_eth(uint8_t *frame, const uint8_t *dst,
			      const uint8_t *src, uint16_t type)
{
	memcpy(frame, dst, ADDR_MAC_LEN);
	memcpy(frame + 6, src, ADDR_MAC_LEN);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	return 14;
}

/* Does the network ask the guest which multicast groups it has joined? That may
 * come at any time. */
static inline bool test_is_question(const uint8_t *frame)
{
	return (frame[0] & 1) &&
	       memcmp(frame + 6, addr_service_mac, ADDR_MAC_LEN) == 0 &&
	       frame[0] != 0xff;
}

/* A frame of @len bytes from rank @from to rank @to. */
static inline size_t test_frame(uint8_t *frame, uint32_t to, uint32_t from,
				size_t len)
{
	uint8_t dst[ADDR_MAC_LEN], src[ADDR_MAC_LEN];

	addr_mac(to, dst);
	addr_mac(from, src);
	memset(frame, 0x5a, len);
	test_eth(frame, dst, src, TEST_TYPE);
	return len;
}

/* A broadcast ARP packet in 10/8 of @op (1: request, 2: reply) from rank
 * @from, that says it has @sender_ip and asks for, or answers, @target_ip. */
static inline size_t test_arp(uint8_t *frame, uint32_t from, uint8_t op,
			      uint32_t sender_ip, uint32_t target_ip)
{
	static const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0 };
	uint8_t src[ADDR_MAC_LEN], *p;

	addr_mac(from, src);
	p = frame + test_eth(frame, test_broadcast, src, 0x0806);
	memset(p, 0, 28);
	memcpy(p, head, sizeof(head));
	p[7] = op;
	memcpy(p + 8, src, ADDR_MAC_LEN);
	for (int i = 0; i < 4; i++) {
		p[14 + i] = (uint8_t)(sender_ip >> (24 - 8 * i));
		p[24 + i] = (uint8_t)(target_ip >> (24 - 8 * i));
	}
	return 42;
}

#endif
