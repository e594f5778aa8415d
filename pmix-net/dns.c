#include <config.h>

#include "dns.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "answer.h"
#include "inet.h"

/* What there is:
 *
 *   a host's name, also without the domain    A
 *   addresses of ranks, turned round          PTR, to the name with the domain
 *   the domain                                SOA
 *
 * Other types of these have no data: NOERROR. That goes for AAAA, too. The
 * only IPv6 address that a guest has for sure is its link-local one, and such
 * an address is of no use without the name of a network card, which a record
 * cannot hold: connect() fails with EINVAL. RFC 4472, 2.1, has it that they
 * are not published. The way back gives a name, which is of use.
 *
 * NXDOMAIN is what might be there, but is not: other names of one label or in
 * the domain, other addresses of the network. The rest is not for us to know:
 * REFUSED, so that a resolver asks its next server.
 */

enum { HEADER = 12, QUESTION_TAIL = 4, OPT_LEN = 11, SOA_LEN = 50 };
enum { RR_HEAD = 12 }; /* with a pointer for its name */
enum { NAME_WIRE = NAMES_MAX + 2 };

static_assert(HEADER + NAME_WIRE + QUESTION_TAIL + SOA_LEN + OPT_LEN <= DNS_MAX,
	      "any name's denial fits");
/* 72: 32 digits with their dots, and ip6.arpa */
static_assert(HEADER + 72 + 2 + QUESTION_TAIL + RR_HEAD + NAME_WIRE + OPT_LEN <=
		      DNS_MAX,
	      "the way back fits");

enum { QR = 0x80, OPCODE = 0x78, AA = 0x04, RD = 0x01 }; /* of byte 2 */
enum rcode {
	NOERROR = 0,
	FORMERR = 1,
	NXDOMAIN = 3,
	NOTIMP = 4,
	REFUSED = 5,
	BADVERS = 16, /* its upper bits are in the OPT record */
};
enum {
	TYPE_A = 1,
	TYPE_SOA = 6,
	TYPE_PTR = 12,
	TYPE_OPT = 41,
	TYPE_AXFR = 252,
	TYPE_ANY = 255,
};
enum { CLASS_IN = 1, CLASS_ANY = 255 };

#define TTL_S 3600 /* names stay as long as the step does */

/* -- the question --------------------------------------------------------- */

struct query {
	const uint8_t *p;
	size_t len;
	char name[NAMES_MAX + 1];
	size_t name_len;
	uint16_t type, class;
	size_t end; /* of the question */
	bool edns;
	uint8_t edns_version;
};

/* A label as text. Bytes that no host name has become '?', so that a dot in
 * it is none between labels. */
static bool add_label(struct query *q, const uint8_t *label, size_t len)
{
	if (q->name_len + (q->name_len != 0) + len > NAMES_MAX)
		return false;
	if (q->name_len)
		q->name[q->name_len++] = '.';
	for (size_t i = 0; i < len; i++) {
		bool fine = label[i] < 0x80 &&
			    (isalnum(label[i]) || label[i] == '-');

		q->name[q->name_len++] = fine ? (char)label[i] : '?';
	}
	q->name[q->name_len] = '\0';
	return true;
}

/* Returns where the name ends; 0 where it is none. A pointer is none: there is
 * nothing before a question that it could point to. */
static size_t parse_name(struct query *q, size_t at)
{
	while (at < q->len) {
		size_t len = q->p[at++];

		if (len == 0)
			return at;
		if (len > 63 || len > q->len - at ||
		    !add_label(q, q->p + at, len))
			return 0;
		at += len;
	}
	return 0;
}

/* RFC 6891: an OPT record says which version is spoken. Others that may come
 * with a question are of no interest. */
static void parse_edns(struct query *q)
{
	const uint8_t *p = q->p + q->end;

	if (header_get16(q->p + 10) == 0 || q->len - q->end < OPT_LEN ||
	    p[0] != 0 || header_get16(p + 1) != TYPE_OPT)
		return;
	q->edns = true;
	q->edns_version = p[6];
}

static enum rcode parse(struct query *q, const uint8_t *ask, size_t len)
{
	size_t at;

	*q = (struct query){ .p = ask, .len = len };
	if (ask[2] & OPCODE)
		return NOTIMP;
	/* one question, and no answers */
	if (header_get16(ask + 4) != 1 || header_get32(ask + 6) != 0)
		return FORMERR;
	at = parse_name(q, HEADER);
	if (!at || len - at < QUESTION_TAIL)
		return FORMERR;
	q->type = header_get16(ask + at);
	q->class = header_get16(ask + at + 2);
	q->end = at + QUESTION_TAIL;
	parse_edns(q);
	return q->edns_version ? BADVERS : NOERROR;
}

/* -- what is known -------------------------------------------------------- */

enum kind { FOREIGN, NOBODY, HOST, ADDRESS, DOMAIN };

struct found {
	enum kind kind;
	uint32_t rank;
	bool in_domain;
	size_t domain; /* where in the name it begins */
};

/* What precedes @zone in the name; 0: it is not in it. */
static size_t below(const struct query *q, const char *zone)
{
	size_t len = strlen(zone);

	if (q->name_len <= len + 1 ||
	    strcasecmp(q->name + q->name_len - len, zone) != 0 ||
	    q->name[q->name_len - len - 1] != '.')
		return 0;
	return q->name_len - len - 1;
}

/* "4.0.0.10" of 10.0.0.4, up to @len. */
static bool parse_reversed_ip4(const char *text, size_t len, uint32_t *ret)
{
	uint32_t ip = 0;
	size_t at = 0;

	for (int i = 0; i < 4; i++) {
		uint32_t byte = 0;
		size_t start = at;

		for (; at < len && isdigit((unsigned char)text[at]); at++)
			byte = byte * 10 + (uint32_t)(text[at] - '0');
		if (at == start || at - start > 3 || byte > 255 ||
		    (at - start > 1 && text[start] == '0') ||
		    (i < 3 ? at == len || text[at++] != '.' : at != len))
			return false;
		ip |= byte << (8 * i);
	}
	*ret = ip;
	return true;
}

/* 32 digits with dots between, the last one's first. */
static bool parse_reversed_ip6(const char *text, size_t len, uint8_t ip[16])
{
	static const char hex[] = "0123456789abcdef";

	if (len != 63)
		return false;
	memset(ip, 0, 16);
	for (size_t i = 0; i < 32; i++) {
		int c = tolower((unsigned char)text[2 * i]);
		const char *digit = c ? strchr(hex, c) : NULL;

		if (!digit || (i < 31 && text[2 * i + 1] != '.'))
			return false;
		ip[15 - i / 2] |= (uint8_t)((digit - hex) << (i % 2 ? 4 : 0));
	}
	return true;
}

static bool find_ip4(const struct answer_conf *conf, const struct query *q,
		     struct found *f)
{
	uint32_t ip, mask = ~0u << (32 - conf->net.prefix);

	if (!parse_reversed_ip4(q->name, below(q, "in-addr.arpa"), &ip) ||
	    (ip & mask) != conf->net.base)
		return false;
	if (addr_ip_rank(&conf->net, ip, &f->rank) && f->rank < conf->nranks)
		f->kind = ADDRESS;
	else
		f->kind = NOBODY;
	return true;
}

static bool find_ip6(const struct answer_conf *conf, const struct query *q,
		     struct found *f)
{
	uint8_t ip[16];

	if (!parse_reversed_ip6(q->name, below(q, "ip6.arpa"), ip) ||
	    ip[0] != 0xfe || (ip[1] & 0xc0) != 0x80)
		return false;
	if (addr_ip6_rank(ip, &f->rank) && f->rank < conf->nranks)
		f->kind = ADDRESS;
	else
		f->kind = NOBODY;
	return true;
}

static struct found find(const struct answer_conf *conf, const struct query *q)
{
	struct found f = { .kind = NOBODY };
	size_t host = 0;
	bool named = names_rank(&conf->names, q->name, q->name_len, &f.rank);

	f.in_domain =
		names_in_domain(&conf->names, q->name, q->name_len, &host);
	f.domain = host ? host + 1 : 0;
	if (!named && host)
		named = names_rank(&conf->names, q->name, host, &f.rank);
	if (named && f.rank < conf->nranks)
		f.kind = HOST;
	else if (f.in_domain)
		f.kind = host ? NOBODY : DOMAIN;
	else if (!find_ip4(conf, q, &f) && !find_ip6(conf, q, &f) && !named &&
		 (!q->name_len || strchr(q->name, '.')))
		f.kind = FOREIGN;
	return f;
}

/* -- the reply ------------------------------------------------------------ */

struct writer {
	uint8_t *p;
	size_t at;
	uint16_t answers, authority, additional;
};

static void put16(struct writer *w, uint16_t v)
{
	header_put16(w->p + w->at, v);
	w->at += 2;
}

static void put32(struct writer *w, uint32_t v)
{
	header_put32(w->p + w->at, v);
	w->at += 4;
}

/* Up to where the data begins. A label at @name of the question's name is one
 * byte, its length, and then as many as in the text. */
static void put_rr(struct writer *w, size_t name, uint16_t type, size_t len)
{
	put16(w, (uint16_t)(0xc000 | (HEADER + name)));
	put16(w, type);
	put16(w, CLASS_IN);
	put32(w, TTL_S);
	put16(w, (uint16_t)len);
}

static void put_a(struct writer *w, const struct answer_conf *conf,
		  uint32_t rank)
{
	put_rr(w, 0, TYPE_A, 4);
	put32(w, addr_ip(&conf->net, rank));
	w->answers++;
}

static void put_ptr(struct writer *w, const struct answer_conf *conf,
		    uint32_t rank)
{
	char name[NAMES_MAX + 1];
	size_t len = names_full(&conf->names, rank, name);

	if (!len)
		return;
	put_rr(w, 0, TYPE_PTR, len + 2);
	for (const char *p = name; *p;) {
		size_t label = strcspn(p, ".");

		w->p[w->at++] = (uint8_t)label;
		memcpy(w->p + w->at, p, label);
		w->at += label;
		p += label + (p[label] == '.');
	}
	w->p[w->at++] = 0;
	w->answers++;
}

/* As RFC 6303 has it for zones that nobody keeps. */
static void put_soa(struct writer *w, size_t domain)
{
	static const uint8_t mailbox[] = "\6nobody\7invalid"; /* and a root */

	put_rr(w, domain, TYPE_SOA, 2 + sizeof(mailbox) + 5 * 4);
	put16(w, (uint16_t)(0xc000 | (HEADER + domain)));
	memcpy(w->p + w->at, mailbox, sizeof(mailbox));
	w->at += sizeof(mailbox);
	put32(w, 1);	/* serial */
	put32(w, 3600); /* refresh, retry, expire: there is no secondary */
	put32(w, 1200);
	put32(w, 604800);
	put32(w, TTL_S); /* of what is denied */
}

static void put_opt(struct writer *w, enum rcode rcode)
{
	w->p[w->at++] = 0;
	put16(w, TYPE_OPT);
	put16(w, DNS_MAX);
	put32(w, (uint32_t)(rcode >> 4) << 24);
	put16(w, 0);
	w->additional++;
}

static enum rcode put_answers(struct writer *w, const struct answer_conf *conf,
			      const struct query *q)
{
	struct found f = find(conf, q);
	bool any = q->type == TYPE_ANY;

	if (f.kind == FOREIGN || q->type == TYPE_AXFR ||
	    (q->class != CLASS_IN && q->class != CLASS_ANY))
		return REFUSED;
	w->p[2] |= AA;
	if (f.kind == HOST && (any || q->type == TYPE_A)) {
		put_a(w, conf, f.rank);
	} else if (f.kind == ADDRESS && (any || q->type == TYPE_PTR)) {
		put_ptr(w, conf, f.rank);
	} else if (f.kind == DOMAIN && (any || q->type == TYPE_SOA)) {
		put_soa(w, f.domain);
		w->answers++;
	} else if (f.in_domain) { /* how long a denial holds */
		put_soa(w, f.domain);
		w->authority++;
	}
	return f.kind == NOBODY ? NXDOMAIN : NOERROR;
}

static void put_header(struct writer *w, enum rcode rcode, bool question)
{
	w->p[3] = (uint8_t)(rcode & 15);
	header_put16(w->p + 4, question);
	header_put16(w->p + 6, w->answers);
	header_put16(w->p + 8, w->authority);
	header_put16(w->p + 10, w->additional);
}

size_t dns_answer(const struct answer_conf *conf, const uint8_t *ask,
		  size_t len, uint8_t reply[DNS_MAX])
{
	struct writer w = { .p = reply, .at = HEADER };
	struct query q;
	enum rcode rcode;

	if (len < HEADER || ask[2] & QR)
		return 0;
	rcode = parse(&q, ask, len);
	memcpy(reply, ask, 2); /* the question's number */
	reply[2] = QR | (ask[2] & (OPCODE | RD));
	if (q.end) {
		memcpy(reply + HEADER, ask + HEADER, q.end - HEADER);
		w.at = q.end;
	}
	if (rcode == NOERROR)
		rcode = put_answers(&w, conf, &q);
	if (q.edns)
		put_opt(&w, rcode);
	put_header(&w, rcode, q.end != 0);
	return w.at;
}
