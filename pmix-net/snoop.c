#include <config.h>

#include "snoop.h"

#include <string.h>
#include <net/ethernet.h>
#include <netinet/in.h>

#include "addr.h"
#include "headers.h"
#include "inet.h"

#define ETH_BYTES sizeof(struct inet_eth)

enum { /* types of IGMP and MLD messages */
       IGMP_QUERY = 0x11,
       IGMP_REPORT_1 = 0x12,
       IGMP_REPORT_2 = 0x16,
       IGMP_LEAVE = 0x17,
       IGMP_REPORT_3 = 0x22,
       MLD_QUERY = 130,
       MLD_REPORT_1 = 131,
       MLD_DONE = 132,
       MLD_REPORT_2 = 143,
};

enum { /* of records in reports of IGMPv3 and MLDv2 */
       RECORD_IS_INCLUDE = 1,
       RECORD_IS_EXCLUDE,
       RECORD_TO_INCLUDE,
       RECORD_TO_EXCLUDE,
       RECORD_ALLOW,
       RECORD_BLOCK,
};

#define IGMP_BYTES     8 /* of versions 1 and 2, and of 3's beginning */
#define IGMP_QUERY_3   12
#define MLD_BYTES      24
#define MLD_QUERY_2    28
#define REPORT_RECORDS 8 /* where records begin, in both */
#define ROBUSTNESS     2
#define INTERVAL_S     125
#define SERVICE_RANK   0xffffff /* as if it were one's: see addr.h */

/* -- groups ---------------------------------------------------------------- */

static struct group group4(const uint8_t *ip)
{
	struct group g = { .ip = { [10] = 0xff, [11] = 0xff } };

	memcpy(g.ip + 12, ip, 4);
	return g;
}

static struct group group6(const uint8_t *ip)
{
	struct group g;

	memcpy(g.ip, ip, sizeof(g.ip));
	return g;
}

static bool is_grouped4(const uint8_t *ip)
{
	return (ip[0] & 0xf0) == 0xe0 && (ip[0] != 224 || ip[1] || ip[2]);
}

static bool is_grouped6(const uint8_t *ip)
{
	static const uint8_t control[] = { 0xff, 2, [14] = 0 };
	static const uint8_t named[] = { 0xff, 2, [13] = 1, [14] = 0 };
	static const uint8_t solicited[] = { 0xff, 2, [11] = 1, [12] = 0xff };

	return ip[0] == 0xff && (ip[1] & 15) > 1 &&
	       memcmp(ip, control, sizeof(control)) != 0 &&
	       memcmp(ip, named, sizeof(named)) != 0 &&
	       memcmp(ip, solicited, sizeof(solicited)) != 0;
}

bool snoop_is_grouped(const uint8_t *head, size_t len, struct group *ret)
{
	uint16_t type = len >= ETH_BYTES ? header_get16(head + ETH_TYPE) : 0;
	const uint8_t *ip = head + ETH_BYTES;

	if (type == ETHERTYPE_IP && len >= ETH_BYTES + IP4_BYTES &&
	    head[0] == 0x01 && head[1] == 0x00 && head[2] == 0x5e) {
		*ret = group4(ip + IP4_DST);
		return is_grouped4(ip + IP4_DST);
	}
	if (type == ETHERTYPE_IPV6 && len >= ETH_BYTES + IP6_BYTES &&
	    head[0] == 0x33 && head[1] == 0x33) {
		*ret = group6(ip + IP6_DST);
		return is_grouped6(ip + IP6_DST);
	}
	return false;
}

/* -- messages -------------------------------------------------------------- */

struct message {
	bool ip6;
	uint8_t type;
	bool whole;	     /* all of it is there, and its checksum is right */
	const uint8_t *src;  /* of the packet */
	const uint8_t *data; /* from the type on */
	size_t len;
};

static bool find_igmp(const uint8_t *packet, size_t len, struct message *ret)
{
	struct inet_ip4 ip;

	if (!inet_ip4_parse(packet, len, &ip) || ip.protocol != IPPROTO_IGMP ||
	    ip.later || !ip.len)
		return false;
	*ret = (struct message){
		.type = ip.data[0],
		.whole = ip.whole && ip.len >= IGMP_BYTES &&
			 inet_checksum(inet_sum(0, ip.data, ip.len)) == 0,
		.src = packet + IP4_SRC,
		.data = ip.data,
		.len = ip.len,
	};
	return true;
}

/* Behind the header of hop-by-hop options, which MLD has: where it says what
 * is next, and where that is. 0: not there. */
static size_t behind_options(const uint8_t *packet, size_t len, uint8_t *next)
{
	size_t at = IP6_BYTES;

	if (*next == IPPROTO_HOPOPTS) {
		if (len < at + 8)
			return 0;
		*next = packet[at];
		at += 8 + (size_t)packet[at + 1] * 8;
	}
	return at < len ? at : 0;
}

static bool find_mld(const uint8_t *packet, size_t len, struct message *ret)
{
	size_t total, at;
	uint8_t next;

	if (len < IP6_BYTES || packet[0] >> 4 != 6)
		return false;
	next = packet[IP6_NEXT];
	at = behind_options(packet, len, &next);
	if (!at || next != IPPROTO_ICMPV6)
		return false;
	total = IP6_BYTES + header_get16(packet + IP6_LENGTH);
	*ret = (struct message){
		.ip6 = true,
		.type = packet[at],
		.src = packet + IP6_SRC,
		.data = packet + at,
		.len = (total <= len && total > at ? total : len) - at,
	};
	ret->whole = total <= len && ret->len >= REPORT_RECORDS &&
		     packet[IP6_HOPS] == 1 &&
		     inet_icmp6_checksum(packet, ret->data, ret->len) == 0;
	return true;
}

static bool find_message(const uint8_t *frame, size_t len, struct message *ret)
{
	if (len < ETH_BYTES || !(frame[0] & 1))
		return false;
	switch (header_get16(frame + ETH_TYPE)) {
	case ETHERTYPE_IP:
		return find_igmp(frame + ETH_BYTES, len - ETH_BYTES, ret);
	case ETHERTYPE_IPV6:
		return find_mld(frame + ETH_BYTES, len - ETH_BYTES, ret);
	default:
		return false;
	}
}

static enum snoop kind_of(const struct message *m)
{
	if (m->ip6)
		switch (m->type) {
		case MLD_QUERY:
			return SNOOP_QUERY;
		case MLD_REPORT_1:
		case MLD_DONE:
		case MLD_REPORT_2:
			return SNOOP_REPORT;
		default:
			return SNOOP_NOTHING;
		}
	switch (m->type) {
	case IGMP_QUERY:
		return SNOOP_QUERY;
	case IGMP_REPORT_1:
	case IGMP_REPORT_2:
	case IGMP_LEAVE:
	case IGMP_REPORT_3:
		return SNOOP_REPORT;
	default:
		return SNOOP_NOTHING;
	}
}

enum snoop snoop_kind(const uint8_t *head, size_t len)
{
	struct message m;

	return find_message(head, len, &m) ? kind_of(&m) : SNOOP_NOTHING;
}

bool snoop_is_router(const uint8_t *frame, size_t len)
{
	static const uint8_t none[4];
	struct message m;

	if (!find_message(frame, len, &m) || kind_of(&m) != SNOOP_QUERY ||
	    !m.whole)
		return false;
	/* a switch without an address asks as 0.0.0.0 (RFC 4541, 2.1.1) */
	return m.ip6 ? m.src[0] == 0xfe && (m.src[1] & 0xc0) == 0x80
		     : memcmp(m.src, none, sizeof(none)) != 0;
}

/* -- reports --------------------------------------------------------------- */

struct listener {
	snoop_fn fn;
	void *arg;
};

static void say(const struct listener *to, enum snoop_word word, bool ip6,
		const uint8_t *ip)
{
	struct group g = ip6 ? group6(ip) : group4(ip);

	if (ip6 ? is_grouped6(ip) : is_grouped4(ip))
		to->fn(word, &g, to->arg);
}

/* @sources: how many it names. */
static void say_record(const struct listener *to, uint8_t type,
		       unsigned int sources, bool ip6, const uint8_t *ip)
{
	switch (type) {
	case RECORD_IS_EXCLUDE:
	case RECORD_TO_EXCLUDE:
	case RECORD_ALLOW:
		say(to, SNOOP_JOINS, ip6, ip);
		break;
	case RECORD_IS_INCLUDE:
	case RECORD_TO_INCLUDE:
		say(to, sources ? SNOOP_JOINS : SNOOP_LEAVES, ip6, ip);
		break;
	case RECORD_BLOCK: /* maybe of the last source it wanted */
		say(to, SNOOP_LEAVES, ip6, ip);
		break;
	default:
		break;
	}
}

static void read_records(const struct listener *to, const struct message *m)
{
	size_t ip_len = m->ip6 ? 16 : 4, at = REPORT_RECORDS, len;
	unsigned int n = header_get16(m->data + 6), sources;

	for (; n && m->len - at >= 4 + ip_len; n--, at += len) {
		const uint8_t *record = m->data + at;

		sources = header_get16(record + 2);
		len = 4 + ip_len + sources * ip_len + (size_t)record[1] * 4;
		if (len > m->len - at)
			return;
		say_record(to, record[0], sources, m->ip6, record + 4);
	}
}

void snoop_report(const uint8_t *frame, size_t len, snoop_fn fn, void *arg)
{
	const struct listener to = { fn, arg };
	struct message m;

	if (!find_message(frame, len, &m) || kind_of(&m) != SNOOP_REPORT)
		return;
	if (!m.whole || (m.ip6 && m.type != MLD_REPORT_2 && m.len < MLD_BYTES))
		return;
	switch (m.type) {
	case IGMP_REPORT_1:
	case IGMP_REPORT_2:
		say(&to, SNOOP_JOINS, false, m.data + 4);
		break;
	case IGMP_LEAVE:
		say(&to, SNOOP_LEAVES, false, m.data + 4);
		break;
	case MLD_REPORT_1:
		say(&to, SNOOP_JOINS, true, m.data + 8);
		break;
	case MLD_DONE:
		say(&to, SNOOP_LEAVES, true, m.data + 8);
		break;
	default: /* IGMP_REPORT_3, MLD_REPORT_2 */
		read_records(&to, &m);
	}
}

/* -- questions ------------------------------------------------------------- */

static size_t put_igmp_query(uint8_t *frame, uint32_t service,
			     const struct group *g, unsigned int ms)
{
	static const uint8_t alert[] = { 0x94, 4, 0, 0 }; /* RFC 2113 */
	static const uint8_t all[] = { 224, 0, 0, 1 };
	const uint8_t *to = g ? g->ip + 12 : all;
	const uint8_t group_mac[] = { 0x01,	    0x00,  0x5e,
				      to[1] & 0x7f, to[2], to[3] };
	uint8_t *packet = frame + ETH_BYTES, *igmp;

	memset(frame, 0, INET_FRAME_MIN);
	inet_put_eth(frame, group_mac, addr_service_mac, ETHERTYPE_IP);
	packet[0] = 0x40 | (IP4_BYTES + sizeof(alert)) / 4;
	packet[1] = 0xc0; /* RFC 3376, 4: internetwork control */
	header_put16(packet + IP4_LENGTH,
		     IP4_BYTES + sizeof(alert) + IGMP_QUERY_3);
	packet[IP4_TTL] = 1;
	packet[IP4_PROTO] = IPPROTO_IGMP;
	header_put32(packet + IP4_SRC, service);
	memcpy(packet + IP4_DST, to, 4);
	memcpy(packet + IP4_BYTES, alert, sizeof(alert));
	header_put16(
		packet + IP4_CHECKSUM,
		inet_checksum(inet_sum(0, packet, IP4_BYTES + sizeof(alert))));
	igmp = packet + IP4_BYTES + sizeof(alert);
	igmp[0] = IGMP_QUERY;
	igmp[1] = (uint8_t)(ms / 100);
	if (g)
		memcpy(igmp + 4, to, 4);
	igmp[8] = ROBUSTNESS;
	igmp[9] = INTERVAL_S;
	header_put16(igmp + 2, inet_checksum(inet_sum(0, igmp, IGMP_QUERY_3)));
	return INET_FRAME_MIN;
}

static size_t put_mld_query(uint8_t *frame, const struct group *g,
			    unsigned int ms)
{
	static const uint8_t alert[] = { IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0 };
	static const struct group all = { { 0xff, 2, [15] = 1 } };
	const uint8_t *to = g ? g->ip : all.ip;
	const uint8_t group_mac[] = {
		0x33, 0x33, to[12], to[13], to[14], to[15]
	};
	uint8_t *packet = frame + ETH_BYTES, *mld;

	memset(frame, 0, SNOOP_QUERY_BYTES);
	inet_put_eth(frame, group_mac, addr_service_mac, ETHERTYPE_IPV6);
	packet[0] = 0x60;
	header_put16(packet + IP6_LENGTH, sizeof(alert) + MLD_QUERY_2);
	packet[IP6_NEXT] = IPPROTO_HOPOPTS;
	packet[IP6_HOPS] = 1;
	addr_ip6(SERVICE_RANK, packet + IP6_SRC);
	memcpy(packet + IP6_DST, to, 16);
	memcpy(packet + IP6_BYTES, alert, sizeof(alert));
	mld = packet + IP6_BYTES + sizeof(alert);
	mld[0] = MLD_QUERY;
	header_put16(mld + 4, (uint16_t)ms);
	if (g)
		memcpy(mld + 8, to, 16);
	mld[24] = ROBUSTNESS;
	mld[25] = INTERVAL_S;
	header_put16(mld + 2, inet_icmp6_checksum(packet, mld, MLD_QUERY_2));
	return ETH_BYTES + IP6_BYTES + sizeof(alert) + MLD_QUERY_2;
}

size_t snoop_put_query(uint8_t *frame, bool ip6, uint32_t service,
		       const struct group *g, unsigned int ms)
{
	return ip6 ? put_mld_query(frame, g, ms)
		   : put_igmp_query(frame, service, g, ms);
}
