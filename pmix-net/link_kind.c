#include <config.h>

#include "link_kind.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cleanup.h"
#include "link_wire.h"

/* By WIRE_SEALED and WIRE_UCX. */
static const struct {
	const char *mark, *text;
} kinds[] = {
	[0] = { "", "tcp" },
	[WIRE_SEALED] = { "aes:", "tcp, encrypted" },
	[WIRE_UCX] = { "ucx:", "ucx" },
	[WIRE_UCX | WIRE_SEALED] = { "ucx+aes:", "ucx, encrypted" },
};

const char *link_kind_text(uint32_t flags)
{
	return kinds[flags % ARRAY_SIZE(kinds)].text;
}

static const char *mark_of(uint32_t flags)
{
	return kinds[flags % ARRAY_SIZE(kinds)].mark;
}

/* Addresses are numeric: what has a letter first is a mark. */
static size_t mark_len(const char *address)
{
	size_t len = strspn(address, "abcdefghijklmnopqrstuvwxyz+");

	return len && address[len] == ':' ? len + 1 : 0;
}

int link_kind_mark(uint32_t flags, char *address, size_t size)
{
	const char *mark = mark_of(flags);
	size_t len = strlen(address) + 1;

	if (strlen(mark) + len > size)
		return -EINVAL;
	memmove(address + strlen(mark), address, len);
	memcpy(address, mark, strlen(mark));
	return 0;
}

const char *link_kind_plain(const char *address)
{
	return address + mark_len(address);
}

int link_kind_check(uint32_t flags, const struct table *t, struct errmsg *err)
{
	const char *mark = mark_of(flags);

	for (uint32_t n = 0; n < table_nnodes(t); n++) {
		const char *address = table_address(t, n);

		if (mark_len(address) == strlen(mark) &&
		    memcmp(address, mark, strlen(mark)) == 0)
			continue;
		return errmsg_say(
			err, -EINVAL,
			"node %" PRIu32
			" has other links (%.64s) than this node ('%s'): net_link and net_encrypt in vmstep.conf must be the same on all nodes",
			n, address, mark);
	}
	return 0;
}
