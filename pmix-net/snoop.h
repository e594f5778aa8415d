/* snoop.h - what guests and routers say of multicast groups, overheard
 *
 * Takes apart IGMP (1 to 3: RFC 1112, 2236, 3376) and MLD (1, 2: RFC 2710,
 * 3810) as a switch does that forwards by group (RFC 4541), and tells which
 * frames may be held back from those who did not ask for them. Sources are not
 * looked at: who wants one source of a group gets all of it. Frames with a
 * VLAN tag are a network of the guests' own: nothing of that is overheard, nor
 * held back.
 */
#ifndef VMSTEP_SNOOP_H
#define VMSTEP_SNOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct group {
	uint8_t ip[16]; /* IPv4: ::ffff:a.b.c.d */
};

/* Does the frame, whose first @len bytes are @head, go to an IP group whose
 * members are known by their reports? Those that all must hear of are none:
 * 224.0.0.0/24, and of IPv6 what is no wider than the machine, ff02::/120,
 * ff02::1:0/120 and the solicited-node groups, which are as good as
 * broadcast. */
bool snoop_is_grouped(const uint8_t *head, size_t len, struct group *ret);

enum snoop {
	SNOOP_NOTHING,
	SNOOP_REPORT, /* of members, for routers only */
	SNOOP_QUERY,  /* of a router */
};
/* What the frame of that head is, by its type alone. */
enum snoop snoop_kind(const uint8_t *head, size_t len);

enum snoop_word {
	SNOOP_JOINS,
	SNOOP_LEAVES, /* or no longer wants some source: it is to be asked */
};
typedef void (*snoop_fn)(enum snoop_word word, const struct group *g,
			 void *arg);

/* Call @fn for each group that the report speaks of, where its members are to
 * be known; nothing is said of a report that is none, or is cut. */
void snoop_report(const uint8_t *frame, size_t len, snoop_fn fn, void *arg);
/* Is the SNOOP_QUERY one of a router, which wants to hear of all groups? */
bool snoop_is_router(const uint8_t *frame, size_t len);

/* A question of the service, at IPv4 address @service, at @frame, which has
 * SNOOP_QUERY_BYTES: which groups have you joined, or, with @g, is there still
 * somebody in that one? To be answered within @ms. By MLD where @ip6, else by
 * IGMP. Returns its length. */
#define SNOOP_QUERY_BYTES 90
size_t snoop_put_query(uint8_t *frame, bool ip6, uint32_t service,
		       const struct group *g, unsigned int ms);

static inline bool group_is_ip4(const struct group *g)
{
	return g->ip[0] == 0; /* IPv6's begin with 0xff */
}

#endif
