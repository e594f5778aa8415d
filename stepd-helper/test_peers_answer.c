/* test_peers_answer.c - answers that their asker does not take
 *
 * vmstep-net is the test: it gives rank 0 requests of rank 1, and says how its
 * answers end.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "memwire.h"
#include "opmsg.h"
#include "peers_impl.h"
#include "test_helpers.h"

#define LONG 1000

static int net = -1; /* our end */
static struct opmsg_in in;
static struct opmsg *got; /* the last that rank 0 has sent; NULL: none */

static void wait_until_none_waits(void)
{
	int64_t until = loop_now_ms() + WAIT_MS;

	while (!TAILQ_EMPTY(&helpers[0].peers->answers)) {
		assert_true(loop_now_ms() < until);
		run_a_little();
	}
}

static uint64_t region, item; /* of LONG bytes */

static int setup(void **state)
{
	json_t *x;

	helpers_fam = 1024 * 1024;
	begin(1, 2);
	result(ask(0, "mem.region.create", "{'name':'r','size':4096}"));
	x = result(ask(0, "mem.alloc", "{'region':'r','size':1000}"));
	region = (uint64_t)number(x, "region");
	item = (uint64_t)number(x, "item");
	wait_until_none_waits(); /* such as ours, to ourselves */
	net = oplink_connect(peers_link(helpers[0].peers));
	assert_true(net >= 0);
	helpers[0].peers->patience = 2;
	return 0;
}

static int teardown(void **state)
{
	opmsg_unref(got);
	got = NULL;
	opmsg_in_reset(&in);
	close(net);
	end();
	return 0;
}

/* -- vmstep-net ------------------------------------------------------------ */

static int keep(struct opmsg *m, const struct rankset *to, struct errmsg *err,
		void *arg)
{
	assert_true(rankset_has(to, 1));
	opmsg_unref(got);
	got = opmsg_ref(m);
	return 0;
}

static int nothing(const struct opmsg_ended *e, struct errmsg *err, void *arg)
{
	return 0;
}

/* The next message of rank 0's; NULL: none comes. */
static struct opmsg *next(int64_t wait_ms)
{
	static const struct opmsg_in_ops ops = { keep, nothing };
	int64_t until = loop_now_ms() + wait_ms;
	static uint8_t batch[OPMSG_BATCH];
	struct errmsg err;
	ssize_t n;

	opmsg_unref(got);
	got = NULL;
	while (!got && loop_now_ms() < until) {
		n = recv(net, batch, sizeof(batch), MSG_DONTWAIT);
		if (n > 0)
			assert_int_equal(opmsg_take(&in, batch, (size_t)n, &ops,
						    NULL, &err),
					 0);
		else
			run_a_little();
	}
	return got;
}

static void end_it(const struct opmsg *m, enum opmsg_end how)
{
	const struct opmsg_ended e = { 0, m->id, 1, how };
	uint8_t batch[OPMSG_HEADER];
	size_t len = opmsg_put_ended(batch, &e);

	assert_int_equal(send(net, batch, len, 0), len);
}

static void say(const void *data, size_t len)
{
	static uint64_t id;
	struct opmsg *m = opmsg_new(1, ++id, len);
	uint8_t batch[OPMSG_HEADER + 1024];

	assert_non_null(m);
	memcpy(m->data, data, len);
	len = opmsg_put_piece(batch, m, 0, len, "0", 1);
	assert_int_equal(send(net, batch, len, 0), len);
	opmsg_unref(m);
}

/* -- what is asked --------------------------------------------------------- */

static void say_text(const char *text)
{
	say(text, strlen(text));
}

static void ask_for_text(void)
{
	char text[LONG + 100];

	snprintf(text, sizeof(text),
		 "{'key':'k','value':'%0*d','scope':'task'}", LONG, 0);
	result(ask(0, "store.put", text));
	say_text(
		"{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"store.get\",\"params\":{\"key\":\"k\",\"scope\":\"task\"}}");
}

static void ask_for_memory(void)
{
	const struct memwire_request q = { .kind = MEMWIRE_GET,
					   .by = 1,
					   .tag = 77,
					   .region = region,
					   .item = item,
					   .elem = LONG,
					   .count = 1 };
	uint8_t msg[MEMWIRE_REQUEST];

	memwire_put_request(msg, &q);
	say(msg, sizeof(msg));
}

/* -- what comes ------------------------------------------------------------ */

static void assert_error_text(const struct opmsg *m)
{
	json_t *o = json_loadb((const char *)m->data, m->len, 0, NULL);

	assert_int_equal(number(o, "id"), 77);
	assert_int_equal(number(json_object_get(o, "error"), "code"),
			 RPC_E_LOST);
	json_decref(o);
}

static void assert_error_of_memory(const struct opmsg *m)
{
	struct memwire_answer a;
	struct errmsg err;

	assert_int_equal(
		memwire_take_answer((const char *)m->data, m->len, &a, &err),
		0);
	assert_int_equal(a.tag, 77);
	assert_int_equal(a.error, RPC_E_LOST);
}

/* Sent as it is so often, an error follows, until that is taken. */
static void it_becomes_an_error(void (*assert_error)(const struct opmsg *m))
{
	for (int i = 0; i < 3; i++) {
		assert_non_null(next(WAIT_MS));
		assert_true(got->len >= LONG);
		end_it(got, OPMSG_FULL);
	}
	for (int i = 0; i < 6; i++) {
		assert_non_null(next(WAIT_MS));
		assert_true(got->len <= PEERS_SHORT);
		assert_error(got);
		end_it(got, i == 5  ? OPMSG_TAKEN
			    : i % 2 ? OPMSG_UNREACHABLE
				    : OPMSG_FULL);
	}
	wait_until_none_waits();
	assert_int_equal(helpers[0].peers->answer_bytes, 0);
}

static void a_text_becomes_an_error(void **state)
{
	ask_for_text();
	it_becomes_an_error(assert_error_text);
}

static void memory_becomes_an_error(void **state)
{
	ask_for_memory();
	it_becomes_an_error(assert_error_of_memory);
}

static void nobody_is_answered_no_more(void **state)
{
	ask_for_text();
	assert_non_null(next(WAIT_MS));
	end_it(got, OPMSG_NO_HELPER);
	wait_until_none_waits();
	ask_for_text();
	for (int i = 0; i < 3; i++) { /* or for long nobody is reached */
		assert_non_null(next(WAIT_MS));
		end_it(got, OPMSG_UNREACHABLE);
	}
	wait_until_none_waits();
}

/* Many long ones: the first that is too much is an error at once. */
static void long_answers_are_bounded(void **state)
{
	ask_for_text();
	assert_non_null(next(WAIT_MS));
	end_it(got, OPMSG_TAKEN);
	helpers[0].peers->answer_bytes += PEERS_BYTES - LONG;
	ask_for_text();
	assert_non_null(next(WAIT_MS));
	assert_true(got->len <= PEERS_SHORT);
	helpers[0].peers->answer_bytes -= PEERS_BYTES - LONG;
}

int main(void)
{
#define EACH(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(a_text_becomes_an_error),
		EACH(memory_becomes_an_error),
		EACH(nobody_is_answered_no_more),
		EACH(long_answers_are_bounded),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
