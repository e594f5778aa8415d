#include <config.h>

#include "port.h"

#include <string.h>
#include <time.h>

/* Some milliseconds off, for a fifth of the price. */
static int64_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_sec;
}

static void peak_add(struct peak *p, uint64_t frames, uint64_t bytes)
{
	int64_t now = now_s();

	if (now != p->second) {
		p->second = now;
		p->now = (struct netstats_sum){ 0 };
	}
	p->now.frames += frames;
	p->now.bytes += bytes;
	if (p->now.frames > p->most.frames)
		p->most.frames = p->now.frames;
	if (p->now.bytes > p->most.bytes)
		p->most.bytes = p->now.bytes;
}

void port_took(struct port *p, uint64_t frames, uint64_t bytes)
{
	if (!frames)
		return;
	batches_add(&p->in_batches, frames, bytes);
	peak_add(&p->peak, frames, bytes);
}

void port_free(struct port *p)
{
	if (!p)
		return;
	traffic_done(&p->traffic);
	p->ops->free(p);
}

void port_stats(const struct port *p, struct netstats *s)
{
	struct netstats_port port = {
		.rank = p->rank,
		.peak_frames = p->peak.most.frames,
		.peak_bytes = p->peak.most.bytes,
		.in = p->in_batches,
		.out = p->out_batches,
	};

	memcpy(port.counts, p->counts.n, sizeof(port.counts));
	p->ops->stats(p, &port, s);
}
