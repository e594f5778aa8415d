/* 256 guests that boot, on 16 nodes, each of which would send a broadcast to
 * all others: what leaves a node shows.
 *
 * boot.pcap is what a Debian 12 guest sent, from the start of its kernel until
 * it had its address and had asked who has its name: duplicate address
 * detection, router solicitations, MLD and IGMP reports, DHCP, ARP probes,
 * mDNS and LLMNR. boot.sh makes it. */
#include <config.h>

#include <stdio.h>

#include "boot.h"
#include "scale.h"

#define NODES	16
#define WAIT_MS 20000

struct turn {
	const struct boot *boot;
	uint32_t rank;
	unsigned int n;
};

static size_t fill(uint8_t *at, size_t max, unsigned int pair,
		   struct virtio_net_hdr_v1 *hdr, void *arg)
{
	const struct turn *t = arg;

	return boot_frame(t->boot, t->n, t->rank, at);
}

static void ignore(const struct iovec *piece, unsigned int n, size_t len,
		   const struct virtio_net_hdr_v1 *hdr, void *arg)
{
}

/* All at once: each guest's first frame, then each one's second. */
static void boot_all(struct crowd *c, const struct boot *boot)
{
	struct turn t = { .boot = boot };

	for (t.n = 0; t.n < boot_frames(boot); t.n++)
		for (t.rank = 0; t.rank < c->nranks; t.rank++) {
			while (!guest_send(c->guests[t.rank], 0, 1, fill, &t))
				guest_wait(c->guests[t.rank], GUEST_ROOM, 100);
			guest_recv(c->guests[t.rank], 64, ignore, NULL);
		}
}

static struct netlog_node sums(struct crowd *c)
{
	struct netlog_node n[NODES];

	netlog_read(c->log, c->nodes, NODES, n);
	return netlog_sum(n, NODES);
}

/* Until all that was sent is counted. */
static struct netlog_node await_frames(struct crowd *c, uint64_t frames)
{
	int64_t until = now_ns() + WAIT_MS * 1000000ll;
	struct netlog_node sum;

	do {
		for (uint32_t r = 0; r < c->nranks; r++)
			guest_recv(c->guests[r], 64, ignore, NULL);
		sum = sums(c);
		if (sum.port_in + sum.dropped >= frames)
			return sum;
	} while (now_ns() < until);
	die("guests sent %llu frames, of which %llu were taken",
	    (unsigned long long)frames,
	    (unsigned long long)(sum.port_in + sum.dropped));
}

void scale_boot(struct scale *s)
{
	static const char group[] = "256 guests on 16 nodes boot";
	const struct crowd_conf conf = { s->bench->program, NODES, PORTS, 0,
					 NETCTL_VHOST_USER };
	struct boot *boot = boot_load(s->boot);
	struct netlog_node before, after;
	struct report *r = s->bench->report;
	struct crowd c;

	crowd_start(&c, &conf);
	nodes_say_all(c.nodes, NETCTL_READY);
	nodes_table(c.nodes);
	nodes_await_all(c.nodes, NETCTL_READY);
	before = sums(&c);
	boot_all(&c, boot);
	after = await_frames(&c, (uint64_t)boot_frames(boot) * c.nranks);
	report_add(r, group, "sent by guests", "frames", (double)after.port_in);
	report_add(r, group, "answered at the port", "frames",
		   (double)after.answered);
	report_add(r, group, "swallowed there", "frames",
		   (double)after.swallowed);
	report_add(r, group, "dropped", "frames", (double)after.dropped);
	report_add(r, group, "links opened", "", after.links - before.links);
	scale_aim(s, "256 guests boot: frames to other nodes", "frames",
		  (double)(after.link_out - before.link_out), 1);
	scale_aim(s, "256 guests boot: links opened", "",
		  after.links - before.links, 1);
	crowd_end(&c);
	boot_free(boot);
}
