#include <config.h>

#include "packet.h"

#include <string.h>

static size_t part_of(size_t have, size_t want)
{
	return have < want ? have : want;
}

void packet_read(const struct packet *p, size_t at, void *to, size_t len)
{
	uint8_t *out = to;
	const struct iovec *io = p->rest;
	size_t n;

	if (at < p->head_len) {
		n = part_of(p->head_len - at, len);
		memcpy(out, p->head + at, n);
		out += n;
		len -= n;
		at = p->head_len;
	}
	at -= p->head_len;
	for (; len; io++) {
		if (at >= io->iov_len) {
			at -= io->iov_len;
			continue;
		}
		n = part_of(io->iov_len - at, len);
		memcpy(out, (const uint8_t *)io->iov_base + at, n);
		out += n;
		len -= n;
		at = 0;
	}
}
