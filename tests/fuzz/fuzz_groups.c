/* fuzz_groups.c - what guests and neighbours say of multicast groups
 *
 * Input: what it is (1 byte, modulo 4), then 0: a frame; 1, 2: a message of
 * IGMP, of MLD, which is given its headers and checksum; 3: what a neighbour
 * says.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "groups.h"
#include "test_group.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGE_MAX 2000

static struct groups *groups;

static void on_word(enum snoop_word word, const struct group *g, void *arg)
{
	uint8_t frame[128];
	struct group got;
	bool ask;

	/* whoever joins it gets it */
	if (!snoop_is_grouped(frame, test_group_data(frame, 1, g, 100), &got) ||
	    memcmp(&got, g, sizeof(got)) != 0)
		abort();
	if (word == SNOOP_JOINS)
		groups_join(groups, 1, g, 1);
	else
		groups_leave(groups, 1, g, 1, &ask);
}

static void hear(const uint8_t *frame, size_t len)
{
	struct group group;

	snoop_is_grouped(frame, len, &group);
	snoop_is_router(frame, len);
	if (snoop_kind(frame, len) == SNOOP_REPORT)
		snoop_report(frame, len, on_word, NULL);
}

static void hear_message(bool ip6, const uint8_t *data, size_t len)
{
	const struct group to = ip6 ? TEST_G6(2, 0x16) : TEST_G4(224, 0, 0, 22);
	uint8_t frame[MESSAGE_MAX + 100];
	uint8_t *m = test_group_packet(frame, 1, &to, ip6 ? 58 : 2, len);

	memcpy(m, data, len);
	header_put16(m + 2, 0);
	header_put16(m + 2, ip6 ? inet_icmp6_checksum(frame + 14, m, len)
				: inet_checksum(inet_sum(0, m, len)));
	hear(frame, (size_t)(m - frame) + len);
}

/* What is told on says the same. */
static void told(const uint8_t *data, size_t len)
{
	uint8_t text[GROUPS_TEXT_MAX], again[GROUPS_TEXT_MAX];
	size_t n;

	if (groups_told(groups, 1, data, len) < 0)
		return;
	n = groups_tell(groups, 2, text);
	if (groups_told(groups, 1, text, n) < 0 ||
	    groups_tell(groups, 2, again) != n || memcmp(text, again, n) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	groups = groups_new();
	if (!groups)
		abort();
	size--;
	if (data[0] % 4 == 0) {
		groups_port(groups, 1, 0, 1);
		hear(data + 1, size);
	} else if (data[0] % 4 == 3) {
		told(data + 1, size);
	} else if (size >= 8 && size <= MESSAGE_MAX) {
		groups_port(groups, 1, 0, 1);
		hear_message(data[0] % 4 == 2, data + 1, size);
	}
	groups_free(groups);
	return 0;
}
