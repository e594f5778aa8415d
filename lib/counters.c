#include <config.h>

#include "counters.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "cleanup.h"

static const char *const names[] = {
	[COUNT_IN_FRAMES] = "in_frames",
	[COUNT_IN_BYTES] = "in_bytes",
	[COUNT_OUT_FRAMES] = "out_frames",
	[COUNT_OUT_BYTES] = "out_bytes",
	[COUNT_WAITED] = "waited",
	[COUNT_ANSWERED] = "answered",
	[COUNT_SWALLOWED] = "swallowed",
	[COUNT_RUNT] = "runt",
	[COUNT_OVERSIZE] = "oversize",
	[COUNT_SPOOFED] = "spoofed",
	[COUNT_SELF] = "self",
	[COUNT_UNKNOWN] = "unknown",
	[COUNT_NO_MEMBERS] = "no_members",
	[COUNT_NO_PORT] = "no_port",
	[COUNT_NO_TABLE] = "no_table",
	[COUNT_NODE_GONE] = "node_gone",
	[COUNT_FULL] = "full",
	[COUNT_DOWN] = "down",
	[COUNT_TOO_BIG] = "too_big",
	[COUNT_BAD_OFFLOAD] = "bad_offload",
	[COUNT_MEMORY_GONE] = "memory_gone",
	[COUNT_UNCAPTURED] = "uncaptured",
	[COUNT_STRANGER] = "stranger",
	[COUNT_BAD_LINK] = "bad_link",
	[COUNT_BAD_TAG] = "bad_tag",
};
static_assert(ARRAY_SIZE(names) == COUNT_N, "every counter has a name");

const char *counter_name(enum counter what)
{
	return names[what];
}

bool counter_is_drop(enum counter what)
{
	return what >= COUNT_RUNT && what <= COUNT_BAD_OFFLOAD;
}

char *counters_text(const struct counters *c, char *text, size_t size)
{
	size_t len = 0;

	snprintf(text, size, "nothing");
	for (int i = 0; i < COUNT_N; i++) {
		if (!c->n[i] || len >= size)
			continue;
		len += (size_t)snprintf(text + len, size - len, "%s%s=%" PRIu64,
					len ? " " : "", names[i], c->n[i]);
	}
	return text;
}
