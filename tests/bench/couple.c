#include <config.h>

#include "couple.h"

#include <unistd.h>

#include "netns.h"

#define TRIP_LEN 64
#define WAIT_MS	 5000
#define TSO_RX	 4096 /* Linux: pages, once the segments are large */

struct guest_conf guest_conf_for(enum netctl_port kind, size_t len)
{
	struct guest_conf conf = {
		.kind = kind,
		.driver = { .features = DRIVER_USUAL, .mtu = NETNS_MTU },
	};

	if (len > 2048) {
		conf.driver.tx_bytes = len;
		conf.driver.rx_bytes = TSO_RX;
	}
	return conf;
}

void couple_start(struct couple *c, const struct bench *b,
		  const struct guest_conf *conf, const int netns[2])
{
	const int cpus[] = { netns ? 0 : WORKER_CPU, 1 };
	const struct nodes_conf nc = {
		.program = b->program,
		.log = b->log,
		.options = b->links,
		.nnodes = netns ? 2 : 1,
		.per_node = netns ? 1 : 2,
		.cpu = cpus,
		.netns = netns,
		.address = netns ? netns_address : NULL,
	};

	c->nnodes = nc.nnodes;
	c->nodes = nodes_start(&nc);
	for (uint32_t i = 0; i < 2; i++) {
		struct guest_conf gc = *conf;

		gc.rank = i;
		c->guests[i] = guest_new(&gc, c->nodes);
	}
	if (netns)
		nodes_table(c->nodes);
}

void couple_end(struct couple *c)
{
	for (int i = 0; i < 2; i++)
		guest_free(c->guests[i]);
	nodes_end(c->nodes);
}

int64_t couple_cpu_ns(const struct couple *c)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < c->nnodes; i++)
		sum += process_cpu_ns(nodes_pid(c->nodes, i));
	return sum;
}

bool couple_has(const struct couple *c, unsigned int bit)
{
	for (int i = 0; i < 2; i++) {
		struct driver *d = guest_driver(c->guests[i]);

		if (!d || !(driver_features(d) & DRIVER_BIT(bit)))
			return false;
	}
	return true;
}

/* The frame that @from sends, at @to. */
static void one_way(struct couple *c, unsigned int from, bool polling)
{
	struct load load = { .from = from, .to = !from, .len = TRIP_LEN };
	struct guest *to = c->guests[!from];
	int64_t until = now_ns() + WAIT_MS * 1000000ll;
	struct sink sink = { 0 };

	guest_send(c->guests[from], 0, 1, load_fill, &load);
	while (guest_recv(to, 1, sink_take, &sink) == 0) {
		if (now_ns() > until)
			die("a frame was lost on a round trip");
		if (!polling)
			guest_wait(to, GUEST_FRAME, WAIT_MS);
	}
}

void couple_trips(struct couple *c, bool polling, unsigned int rest_us,
		  unsigned int ms, struct latency *l)
{
	int64_t until, start;

	one_way(c, 0, polling); /* links open with the first frame */
	one_way(c, 1, polling);
	until = now_ns() + ms * 1000000ll;
	while ((start = now_ns()) < until) {
		one_way(c, 0, polling);
		one_way(c, 1, polling);
		latency_add(l, now_ns() - start);
		rest(rest_us, polling);
	}
}
