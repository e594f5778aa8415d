#include <config.h>

#include "dhcp.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <net/if_arp.h>
#include <netinet/in.h>

#include "answer.h"
#include "cleanup.h"
#include "inet.h"

/* Since no lease is kept, each message is judged by itself:
 *
 *   DISCOVER   OFFER of the rank's address, whatever was asked for
 *   REQUEST    ACK where it is for the rank's address, else NAK; nothing where
 *              another server was chosen
 *   INFORM     ACK without an address
 *   RELEASE, DECLINE and what is no client's: nothing
 *
 * There is no router to name: the network has no way out. */

#define MAGIC 0x63825363u

struct message {
	uint8_t op, htype, hlen, hops;
	uint8_t xid[4];
	uint8_t secs[2], flags[2];
	uint8_t ciaddr[4], yiaddr[4], siaddr[4], giaddr[4];
	uint8_t chaddr[16];
	uint8_t sname[64], file[128];
	uint8_t magic[4];
};
static_assert(sizeof(struct message) == 240, "no padding in packets");

#define BOOTP_MIN 300 /* shorter ones are lost on some clients */

enum { BOOTREQUEST = 1, BOOTREPLY };
enum { BROADCAST_FLAG = 0x80 }; /* of flags[0] */
enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

enum {
	OPT_PAD = 0,
	OPT_MASK = 1,
	OPT_DNS = 6,
	OPT_HOST_NAME = 12,
	OPT_DOMAIN = 15,
	OPT_MTU = 26,
	OPT_ADDRESS = 50,
	OPT_LEASE = 51,
	OPT_TYPE = 53,
	OPT_SERVER = 54,
	OPT_T1 = 58,
	OPT_T2 = 59,
	OPT_CLIENT_ID = 61,
	OPT_END = 255,
};

/* -- what is asked -------------------------------------------------------- */

struct question {
	struct message m;
	uint8_t type;		  /* 0: a BOOTP client */
	uint32_t address, server; /* 0: not said */
	const uint8_t *id;	  /* as it lies in the message; NULL: none */
	uint8_t id_len;
};

static void take_option(struct question *q, uint8_t code, const uint8_t *value,
			uint8_t len)
{
	if (code == OPT_TYPE && len == 1) {
		q->type = value[0];
	} else if (code == OPT_ADDRESS && len == 4) {
		q->address = header_get32(value);
	} else if (code == OPT_SERVER && len == 4) {
		q->server = header_get32(value);
	} else if (code == OPT_CLIENT_ID && len > 0) {
		q->id = value;
		q->id_len = len;
	}
}

/* False where an option goes beyond the end. */
static bool parse_options(struct question *q, const uint8_t *p, size_t len)
{
	size_t at = 0;

	while (at < len && p[at] != OPT_END) {
		if (p[at] == OPT_PAD) {
			at++;
			continue;
		}
		if (len - at < 2 || len - at - 2 < p[at + 1])
			return false;
		take_option(q, p[at], p + at + 2, p[at + 1]);
		at += 2 + (size_t)p[at + 1];
	}
	return true;
}

/* Is it a question of that very guest, not of one behind it or by a relay? */
static bool parse(struct question *q, uint32_t rank, const uint8_t *ask,
		  size_t len)
{
	uint8_t mac[ADDR_MAC_LEN];

	if (len < sizeof(q->m))
		return false;
	*q = (struct question){ .type = 0 };
	memcpy(&q->m, ask, sizeof(q->m));
	addr_mac(rank, mac);
	return q->m.op == BOOTREQUEST && q->m.htype == ARPHRD_ETHER &&
	       q->m.hlen == ADDR_MAC_LEN && header_get32(q->m.giaddr) == 0 &&
	       memcmp(q->m.chaddr, mac, ADDR_MAC_LEN) == 0 &&
	       header_get32(q->m.magic) == MAGIC &&
	       parse_options(q, ask + sizeof(q->m), len - sizeof(q->m));
}

/* Which reply a REQUEST gets: RFC 2131, 4.3.2. A client that has just chosen
 * an offer, or was restarted, names the address; one that renews has it. */
static uint8_t judge_request(const struct question *q, uint32_t own,
			     uint32_t service)
{
	uint32_t wants = q->address ? q->address : header_get32(q->m.ciaddr);

	if ((q->server && q->server != service) || !wants)
		return 0;
	return wants == own ? ACK : NAK;
}

static uint8_t judge(const struct question *q, uint32_t own, uint32_t service)
{
	switch (q->type) {
	case DISCOVER:
		return OFFER;
	case REQUEST:
		return judge_request(q, own, service);
	case INFORM:
		return ACK;
	default:
		return 0;
	}
}

/* -- what is answered ----------------------------------------------------- */

struct writer {
	uint8_t *p;
	size_t at; /* END fits behind it */
};

/* What does not fit is left out: the first ones are what a client needs. */
static void put_option(struct writer *w, uint8_t code, const void *value,
		       size_t len)
{
	if (len == 0 || len > UINT8_MAX || w->at + 2 + len + 1 > DHCP_MAX)
		return;
	w->p[w->at] = code;
	w->p[w->at + 1] = (uint8_t)len;
	memcpy(w->p + w->at + 2, value, len);
	w->at += 2 + len;
}

static void put_option32(struct writer *w, uint8_t code, uint32_t v)
{
	uint8_t value[4];

	header_put32(value, v);
	put_option(w, code, value, sizeof(value));
}

static void put_lease(struct writer *w)
{
	put_option32(w, OPT_LEASE, DHCP_LEASE_S);
	put_option32(w, OPT_T1, DHCP_LEASE_S / 2);
	put_option32(w, OPT_T2, DHCP_LEASE_S / 8 * 7);
}

static void put_network(struct writer *w, const struct answer_conf *conf)
{
	uint8_t mtu[2];

	header_put16(mtu, (uint16_t)conf->mtu);
	put_option32(w, OPT_MASK, ~0u << (32 - conf->net.prefix));
	put_option32(w, OPT_DNS, addr_service_ip(&conf->net));
	put_option(w, OPT_MTU, mtu, sizeof(mtu));
}

static void put_names(struct writer *w, const struct answer_conf *conf,
		      uint32_t rank)
{
	char host[NAMES_MAX + 1];
	size_t len = names_host(&conf->names, rank, host);

	put_option(w, OPT_HOST_NAME, host, len);
	if (conf->names.domain)
		put_option(w, OPT_DOMAIN, conf->names.domain,
			   strlen(conf->names.domain));
}

static void put_header(const struct question *q, uint8_t type, uint32_t own,
		       uint8_t *reply)
{
	struct message m = { .op = BOOTREPLY,
			     .htype = ARPHRD_ETHER,
			     .hlen = ADDR_MAC_LEN };

	memcpy(m.xid, q->m.xid, sizeof(m.xid));
	memcpy(m.flags, q->m.flags, sizeof(m.flags));
	memcpy(m.chaddr, q->m.chaddr, sizeof(m.chaddr));
	header_put32(m.magic, MAGIC);
	if (type == ACK)
		memcpy(m.ciaddr, q->m.ciaddr, sizeof(m.ciaddr));
	if (type != NAK && q->type != INFORM)
		header_put32(m.yiaddr, own);
	memcpy(reply, &m, sizeof(m));
}

/* RFC 2131, 4.1: a client that has an address hears what is sent there; one
 * that has not says by a flag that it only hears what is sent to all. */
static uint32_t where_to(const struct question *q, uint8_t type, uint32_t own)
{
	uint32_t ciaddr = header_get32(q->m.ciaddr);

	if (type == NAK)
		return INADDR_BROADCAST;
	if (ciaddr)
		return ciaddr;
	if (q->m.flags[0] & BROADCAST_FLAG || q->type == INFORM)
		return INADDR_BROADCAST;
	return own;
}

size_t dhcp_answer(const struct answer_conf *conf, uint32_t rank,
		   const uint8_t *ask, size_t len, uint8_t reply[DHCP_MAX],
		   uint32_t *to)
{
	uint32_t own = addr_ip(&conf->net, rank);
	uint32_t service = addr_service_ip(&conf->net);
	struct writer w = { reply, sizeof(struct message) };
	struct question q;
	uint8_t type;

	if (!parse(&q, rank, ask, len))
		return 0;
	type = judge(&q, own, service);
	if (!type)
		return 0;
	memset(reply, 0, DHCP_MAX);
	put_header(&q, type, own, reply);
	put_option(&w, OPT_TYPE, &type, 1);
	put_option32(&w, OPT_SERVER, service);
	if (type != NAK && q.type != INFORM)
		put_lease(&w);
	if (type != NAK)
		put_network(&w, conf);
	put_option(&w, OPT_CLIENT_ID, q.id, q.id_len); /* RFC 6842 */
	if (type != NAK)
		put_names(&w, conf, rank);
	w.p[w.at++] = OPT_END;
	*to = where_to(&q, type, own);
	return w.at < BOOTP_MIN ? BOOTP_MIN : w.at;
}
