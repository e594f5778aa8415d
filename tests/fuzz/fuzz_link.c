/* fuzz_link.c - what another node, or a stranger, writes to a link
 *
 * Input: 1 byte, then what is written. Bit 0 of the byte: first prove the key,
 * so that the rest are messages; else the rest is all there is. Bit 1: links
 * are encrypted, and what follows a proof is sealed as messages, as long as
 * there are whole ones; what is left is written as it is. Bits 2 and up: how
 * many bytes are written at a time (0: all). Behind the link is
 * the node of mesh_node.h.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mesh_node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The whole messages of @data, sealed, and then the rest; freed by the caller,
 * with @ret_len bytes. */
static uint8_t *sealed(struct seal *s, const uint8_t *data, size_t size,
		       size_t *ret_len)
{
	/* eight bytes at least become eight and a tag */
	uint8_t *out = malloc(size * 3 + 1), *p = out;

	while (out && size >= sizeof(struct wire_header)) {
		size_t len = sizeof(struct wire_header) + wire_get32(data + 4);

		if (len > size)
			break;
		memcpy(p, data, len);
		must(seal_close(s, p, len));
		p += len + WIRE_TAG;
		data += len;
		size -= len;
	}
	if (!out)
		abort();
	memcpy(p, data, size);
	*ret_len = (size_t)(p - out) + size;
	return out;
}

static void write_in_pieces(int fd, size_t piece, const uint8_t *data,
			    size_t size)
{
	for (size_t at = 0; at < size; at += piece) {
		size_t len = size - at < piece ? size - at : piece;

		if (send(fd, data + at, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		mesh_node_settle();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mesh_node_conf conf = {
		.flags = size && data[0] & 2 ? WIRE_SEALED : 0,
	};
	struct seal *seal = NULL;
	uint8_t *text = NULL;
	struct mesh_node *n;
	struct tcp *t;
	size_t len;
	int sv[2];

	if (size < 2 || size > 65536)
		return 0;
	n = mesh_node_begin(&conf);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv));
	must(tcp_new(n->host, sv[1], false, LINK_PENDING_MS, &t));
	len = size - 1;
	if (data[0] & 1) {
		mesh_node_prove(sv[0], true, &seal);
		mesh_node_open(sv[0], seal, NULL, 0);
	}
	if (seal)
		text = sealed(seal, data + 1, size - 1, &len);
	write_in_pieces(sv[0], data[0] >> 2 ? data[0] >> 2 : len + 1,
			text ? text : data + 1, len);
	seal_free(seal);
	free(text);
	close(sv[0]);
	mesh_node_settle();
	mesh_node_end();
	return 0;
}
