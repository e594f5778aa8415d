/* fuzz_relay.c - what a node sends of messages between tasks, or a helper does
 *
 * Two nodes: ours has ranks 0 and 1, the other 2 and 3. The first byte says
 * whether the rest comes over the link, in batches of the length that the next
 * two bytes have, or is a helper's and only taken apart.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "relay.h"
#include "opq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct rankset local;
static struct table *table;

static int want(uint32_t node, void *arg)
{
	return 0;
}

static void refused(uint32_t rank, const char *why, void *arg)
{
}

static int on_message(struct opmsg *m, const struct rankset *to,
		      struct errmsg *err, void *arg)
{
	if (m->len > OPMSG_BYTES_MAX || !to->n)
		abort();
	return 0;
}

static int on_ended(const struct opmsg_ended *e, struct errmsg *err, void *arg)
{
	if (!opmsg_end_text(e->how))
		abort();
	return 0;
}

static void begin(void)
{
	static const char text[] = "192.0.2.1:1 0-1\n192.0.2.2:1 2-3\n";

	if (table)
		return;
	if (loop_new(&loop, NULL) < 0 || rankset_add(&local, 0, 1) < 0 ||
	    table_parse(text, sizeof(text) - 1, 2, 4, &table, NULL) < 0)
		abort();
}

static void take_apart(const uint8_t *data, size_t size)
{
	static const struct opmsg_in_ops ops = { on_message, on_ended };
	struct opmsg_in in = { 0 };
	struct errmsg err = { "" };

	if (opmsg_take(&in, data, size, &ops, NULL, &err) < 0 && !err.text[0])
		abort(); /* a refusal has its words */
	opmsg_in_reset(&in);
}

static void drain(struct relay *o)
{
	static uint8_t batch[OPMSG_BATCH];

	while (relay_fill(o, 1, batch, sizeof(batch)))
		;
}

static void from_node(const uint8_t *data, size_t size)
{
	const struct relay_env env = { .loop = loop,
				       .local = &local,
				       .nranks = 4,
				       .link_ms = RELAY_LINK_MS,
				       .want = want,
				       .refused = refused };
	struct errmsg err = { "" };
	struct relay *o;
	int r = 0;

	if (relay_new(&env, &o, NULL) < 0 || relay_start(o, table, 0) < 0)
		abort();
	relay_up(o, 1);
	while (size > 2 && r == 0) {
		size_t len = (size_t)data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		r = relay_came(o, 1, data, len, &err);
		data += len;
		size -= len;
		drain(o);
	}
	if (r < 0)
		relay_gone(o, 1, false);
	else
		relay_broken(o, 1);
	relay_leave(o, 0);
	relay_free(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	if (!size)
		return 0;
	if (data[0] & 1)
		take_apart(data + 1, size - 1);
	else
		from_node(data + 1, size - 1);
	return 0;
}
