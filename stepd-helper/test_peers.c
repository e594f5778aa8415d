#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "queue.h"
#include "test_helpers.h"

/* A msg.send of @len bytes, as their JSON has them, from @from to @to. */
static int send_long(uint32_t from, uint32_t to, size_t len)
{
	char *text = malloc(len + 200);
	int n;

	assert_non_null(text);
	n = snprintf(
		text, 200,
		"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"msg.send\",\"params\":{\"to\":%u,\"data\":\"",
		++last_id, to);
	memset(text + n, 'x', len - 2);
	strcpy(text + (size_t)n + len - 2, "\"}}");
	rpc_receive(helpers[from].user_rpc, text, strlen(text));
	free(text);
	return last_id;
}

/* The only message that it takes. */
static json_t *recv_one(uint32_t rank, const char *params)
{
	json_t *all = result(ask(rank, "msg.recv", params));

	assert_int_equal(json_array_size(all), 1);
	return json_array_get(all, 0);
}

/* -- whom ------------------------------------------------------------------ */

static void one_is_answered_plainly_and_many_by_rank(void **state)
{
	json_t *r;

	begin(2, 2);
	assert_int_equal(
		number(result(ask(0, "task.ping", "{'to':3}")), "rank"), 3);
	assert_int_equal(
		number(result(ask(0, "task.ping", "{'to':'self'}")), "rank"),
		0);
	r = json_object_get(result(ask(1, "task.ping", "{'to':'others'}")),
			    "results");
	assert_int_equal(json_object_size(r), 3);
	assert_int_equal(number(json_object_get(r, "2"), "rank"), 2);
	r = json_object_get(result(ask(1, "task.ping", "{'to':'vm[13]'}")),
			    "results");
	assert_int_equal(json_object_size(r), 2);
	r = json_object_get(result(ask(1, "task.ping", "{'to':'2-'}")),
			    "results");
	assert_int_equal(json_object_size(r), 2);
	end();
}

static void nobody_is_refused_by_name(void **state)
{
	int id;

	begin(1, 2);
	id = ask(0, "task.ping", "{'to':'0-2'}");
	assert_int_equal(error_code(id), RPC_E_NOTASK);
	assert_non_null(strstr(words(id), "no task 2"));
	assert_int_equal(error_code(ask(0, "task.ping", "{'to':'web*'}")),
			 RPC_E_NOTASK);
	assert_int_equal(error_code(ask(0, "task.ping", "{'to':'1,,'}")),
			 RPC_INVALID_PARAMS);
	assert_int_equal(error_code(ask(0, "task.ping", "{'to':{}}")),
			 RPC_INVALID_PARAMS);
	assert_int_equal(error_code(ask(0, "task.pong", "{'to':1}")),
			 RPC_NO_METHOD);
	assert_int_equal(error_code(ask(0, "task.ping", "{'to':1,'twice':2}")),
			 RPC_INVALID_PARAMS);
	end();
}

static void one_that_fails_does_not_fail_all(void **state)
{
	json_t *r;

	begin(2, 2);
	lose_task(3);
	step_wait_log(&s, 1, "ended before its VM was done");
	r = json_object_get(result(ask(0, "task.ping", "{'to':'all'}")),
			    "results");
	assert_int_equal(json_object_size(r), 4);
	assert_int_equal(
		number(json_object_get(json_object_get(r, "3"), "error"),
		       "code"),
		RPC_E_UNREACHABLE);
	r = result(ask(0, "task.list", "{}"));
	assert_int_equal(json_array_size(r), 4);
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(r, 3), "state")),
			    "unreachable");
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(r, 3), "name")),
			    "vm3");
	end();
}

/* -- messages -------------------------------------------------------------- */

static void messages_wait_in_their_receivers_queue(void **state)
{
	json_t *m, *all;
	int id;

	begin(2, 2);
	result(ask(0, "msg.send", "{'to':3,'data':{'n':1},'ref':'a'}"));
	result(ask(1, "msg.send",
		   "{'to':'2-3','data':'two','ref':'b','reply_to':'answers'}"));
	m = recv_one(3, "{'ref':'b'}");
	assert_int_equal(number(m, "from"), 1);
	assert_string_equal(json_string_value(json_object_get(m, "ref")), "b");
	assert_string_equal(json_string_value(json_object_get(m, "reply_to")),
			    "answers");
	assert_string_equal(json_string_value(json_object_get(m, "data")),
			    "two");
	m = recv_one(3, "{'from':0}");
	assert_int_equal(number(json_object_get(m, "data"), "n"), 1);
	assert_int_equal(error_code(ask(3, "msg.recv", "{}")), RPC_E_TIMEOUT);
	assert_int_equal(error_code(ask(3, "msg.recv", "{'wait_ms':20}")),
			 RPC_E_TIMEOUT);
	id = ask(3, "msg.recv", "{'queue':'q','wait_ms':-1}");
	result(ask(0, "msg.send", "{'to':3,'queue':'q','data':3}"));
	assert_int_equal(json_array_size(result(id)), 1);
	assert_int_equal(
		json_array_size(result(ask(2, "msg.peek", "{'count':9}"))), 1);
	all = result(ask(0, "msg.recv", "{'to':2,'count':9}"));
	assert_int_equal(json_array_size(all), 1);
	end();
}

static void a_full_queue_says_so(void **state)
{
	json_t *stat;
	int n = 0, last;

	begin(2, 1);
	for (int i = 0; i < 100; i++) {
		last = ask(0, "msg.send", "{'to':1,'data':0}");
		if (i < 64)
			result(last);
		else
			assert_int_equal(error_code(last), RPC_E_FULL);
	}
	stat = result(ask(0, "queue.stat", "{'to':1}"));
	assert_int_equal(number(stat, "messages"), 64);
	assert_int_equal(number(stat, "refused"), 36);
	while (json_array_size(
		json_object_get(answer(ask(1, "msg.recv", "{}")), "result")))
		n++;
	assert_int_equal(n, 64);
	end();
}

static void policies_are_what_they_say(void **state)
{
	int blocked, taken, waiting;

	begin(2, 1);
	result(ask(0, "queue.open",
		   "{'to':1,'queue':'b','depth':1,'policy':'block'}"));
	result(ask(0, "queue.open",
		   "{'to':1,'queue':'d','depth':1,'policy':'drop-oldest'}"));
	assert_int_equal(error_code(ask(1, "queue.open", "{'queue':'d'}")),
			 RPC_E_EXIST);
	result(ask(0, "msg.send", "{'to':1,'queue':'b','data':1}"));
	blocked = ask(0, "msg.send", "{'to':1,'queue':'b','data':2}");
	result(ask(0, "msg.send", "{'to':1,'queue':'x','data':1}"));
	assert_null(find_answer(blocked));
	recv_one(1, "{'queue':'b'}");
	result(blocked);
	taken = ask(0, "msg.send",
		    "{'to':1,'queue':'d','data':1,'wait':'taken'}");
	result(ask(0, "msg.send", "{'to':1,'queue':'d','data':2}"));
	assert_int_equal(error_code(taken), RPC_E_LOST);
	recv_one(1, "{'queue':'d'}");
	waiting = ask(0, "msg.send",
		      "{'to':1,'queue':'d','data':3,'wait':'taken'}");
	result(ask(0, "msg.send", "{'to':1,'data':1,'wait':'none'}"));
	recv_one(1, "{'wait_ms':60000}");
	assert_null(find_answer(waiting));
	recv_one(1, "{'queue':'d','wait_ms':60000}");
	result(waiting);
	end();
}

/* How many, in order, the first of them @first. */
static size_t recv_many(uint32_t rank, const char *params, int first)
{
	json_t *all = result(ask(rank, "msg.recv", params)), *m;
	size_t i;

	json_array_foreach (all, i, m)
		assert_int_equal(number(m, "data"), first + (int)i);
	return json_array_size(all);
}

static void many_messages_are_one_request(void **state)
{
	int waits;

	begin(2, 1);
	result(ask(0, "queue.open", "{'to':1,'queue':'q','depth':3}"));
	assert_int_equal(
		error_code(ask(0, "msg.send",
			       "{'to':1,'queue':'q','data':[],'each':true}")),
		RPC_INVALID_PARAMS);
	assert_int_equal(
		error_code(ask(
			0, "msg.send",
			"{'to':1,'queue':'q','data':[1,2,3,4],'each':true}")),
		RPC_E_FULL);
	result(ask(0, "msg.send",
		   "{'to':1,'queue':'q','data':[1,2],'each':true}"));
	waits = ask(
		0, "msg.send",
		"{'to':1,'queue':'q','data':[3,4,5,6,7],'each':true,'full':'wait'}");
	assert_int_equal(
		number(result(ask(0, "queue.stat", "{'to':1,'queue':'q'}")),
		       "senders_waiting"),
		4);
	assert_int_equal(recv_many(1, "{'queue':'q','count':10}", 1), 3);
	assert_null(find_answer(waits));
	assert_int_equal(recv_many(1, "{'queue':'q','count':10}", 4), 3);
	assert_int_equal(number(result(waits), "id"), 7);
	result(ask(0, "msg.send", "{'to':1,'queue':'q','data':[1,2]}"));
	result(ask(0, "queue.clear", "{'to':1,'queue':'q'}"));
	end();
}

static void a_frozen_queue_keeps_what_it_has(void **state)
{
	int id;

	begin(1, 1);
	result(ask(0, "msg.send", "{'data':1}"));
	result(ask(0, "queue.freeze", "{}"));
	assert_int_equal(error_code(ask(0, "msg.recv", "{}")), RPC_E_TIMEOUT);
	id = ask(0, "msg.recv", "{'wait_ms':-1}");
	result(ask(0, "msg.send", "{'data':2}"));
	assert_null(find_answer(id));
	result(ask(0, "queue.freeze", "{'frozen':false}"));
	assert_int_equal(json_array_size(result(id)), 1);
	assert_int_equal(
		number(result(ask(0, "queue.clear", "{}")), "messages"), 1);
	assert_int_equal(json_array_size(result(ask(0, "queue.list", "{}"))),
			 1);
	end();
}

static json_int_t waiting_at(uint32_t rank)
{
	json_t *all = result(ask(rank, "queue.list", "{}"));

	return number(json_array_get(all, 0), "takers_waiting");
}

static void who_is_gone_takes_nothing(void **state)
{
	begin(1, 2);
	ask(1, "msg.recv", "{'wait_ms':-1}");
	ask(1, "msg.recv", "{'to':0,'wait_ms':-1}");
	ask(1, "msg.recv", "{'to':'all','wait_ms':-1}");
	while (waiting_at(0) != 2 || waiting_at(1) != 2)
		run_a_little();
	end_program(1);
	while (waiting_at(0) || waiting_at(1))
		run_a_little();
	result(ask(0, "msg.send", "{'to':'all','data':1}"));
	recv_one(0, "{}");
	recv_one(1, "{}");
	end();
}

#define MANY 20000 /* or as VMSTEP_MANY says */
#define ONCE 40

/* As fast as answers come, with ONCE on their way. */
static void many_messages_come_once_and_in_order(void **state)
{
	const char *text = getenv("VMSTEP_MANY");
	int many = text ? atoi(text) : MANY;
	int sends[ONCE], sent = 0, got = 0, n = 0;
	char params[64];
	json_t *all;

	begin(2, 1);
	while (got < many) {
		for (n = 0; n < ONCE && sent < many; n++) {
			snprintf(params, sizeof(params), "{'to':1,'data':%d}",
				 sent++);
			sends[n] = ask(0, "msg.send", params);
		}
		for (int i = 0; i < n; i++)
			result(sends[i]);
		while (got < sent) {
			all = result(ask(1, "msg.recv",
					 "{'count':64,'wait_ms':60000}"));
			for (size_t i = 0; i < json_array_size(all); i++)
				assert_int_equal(
					number(json_array_get(all, i), "data"),
					got++);
		}
		json_object_clear(answers);
	}
	end();
}

/* -- barriers -------------------------------------------------------------- */

static void a_barrier_lets_all_go_at_once(void **state)
{
	int id[4];

	begin(2, 2);
	for (int round = 1; round <= 3; round++) {
		for (uint32_t r = 0; r < 3; r++)
			id[r] = ask(r, "sync.barrier", "{}");
		result(ask(0, "task.ping", "{'to':3}"));
		for (uint32_t r = 0; r < 3; r++)
			assert_null(find_answer(id[r]));
		id[3] = ask(3, "sync.barrier", "{}");
		for (uint32_t r = 0; r < 4; r++)
			assert_int_equal(number(result(id[r]), "generation"),
					 round);
	}
	id[1] = ask(2, "sync.barrier", "{'ranks':'2-3','name':'b'}");
	id[2] = ask(3, "sync.barrier", "{'ranks':'2-3','name':'b'}");
	result(id[1]);
	result(id[2]);
	assert_int_equal(error_code(ask(0, "sync.barrier", "{'ranks':'2-3'}")),
			 RPC_E_RANGE);
	/* for others: each of them comes */
	result(ask(1, "sync.barrier", "{'to':'all'}"));
	end();
}

static void a_barrier_names_who_is_missing(void **state)
{
	int id, twice;

	begin(2, 2);
	id = ask(0, "sync.barrier", "{'timeout_ms':2000}");
	twice = ask(0, "sync.barrier", "{}");
	assert_int_equal(error_code(twice), RPC_E_BUSY);
	assert_int_equal(
		error_code(ask(2, "sync.barrier", "{'timeout_ms':50}")),
		RPC_E_TIMEOUT);
	assert_int_equal(error_code(id), RPC_E_TIMEOUT);
	assert_non_null(strstr(words(id), "missing 1-3"));
	end();
}

/* -- the store ------------------------------------------------------------- */

static void the_steps_values_are_the_same_everywhere(void **state)
{
	json_int_t version;
	json_t *r;

	begin(2, 2);
	version =
		number(result(ask(3, "store.put", "{'key':'a','value':[1,2]}")),
		       "version");
	r = result(ask(1, "store.get", "{'key':'a'}"));
	assert_int_equal(json_array_size(json_object_get(r, "value")), 2);
	assert_int_equal(number(r, "version"), version);
	assert_int_equal(error_code(ask(2, "store.put",
					"{'key':'a','value':3,'if':'absent'}")),
			 RPC_E_EXIST);
	assert_int_equal(error_code(ask(2, "store.put",
					"{'key':'a','value':3,'if':77}")),
			 RPC_E_EXIST);
	result(ask(2, "store.put", "{'key':'b','value':3,'if':'absent'}"));
	r = json_object_get(result(ask(1, "store.list", "{'pattern':'[ab]'}")),
			    "keys");
	assert_int_equal(json_object_size(r), 2);
	assert_int_equal(
		number(result(ask(1, "store.pop", "{'key':'b'}")), "value"), 3);
	assert_int_equal(error_code(ask(1, "store.get", "{'key':'b'}")),
			 RPC_E_NOENT);
	result(ask(3, "store.drop", "{'key':'a'}"));
	assert_int_equal(number(result(ask(3, "store.state", "{}")), "keys"),
			 0);
	end();
}

static void a_tasks_values_are_its_own(void **state)
{
	begin(1, 2);
	result(ask(1, "store.put", "{'key':'a','value':1,'scope':'task'}"));
	assert_int_equal(
		error_code(ask(0, "store.get", "{'key':'a','scope':'task'}")),
		RPC_E_NOENT);
	assert_int_equal(
		number(result(ask(0, "store.get",
				  "{'to':1,'key':'a','scope':'task'}")),
		       "value"),
		1);
	result(ask(1, "store.put", "{'key':'t','value':1,'ttl_ms':1}"));
	poll(NULL, 0, 5); /* that it is over is all that is waited for */
	assert_int_equal(error_code(ask(1, "store.get", "{'key':'t'}")),
			 RPC_E_NOENT);
	end();
}

static void a_store_is_bounded(void **state)
{
	static char params[80 * 1024], text[90 * 1024];
	size_t n;

	begin(1, 1);
	memset(params, 'x', sizeof(params));
	n = (size_t)snprintf(
		text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"store.put\",\"params\":{\"key\":\"a\",\"value\":\"%.70000s\"}}",
		++last_id, params);
	rpc_receive(helpers[0].user_rpc, text, n);
	assert_int_equal(error_code(last_id), RPC_E_TOOBIG);
	for (int i = 0; i < OP_STORE_KEYS; i++) {
		snprintf(params, sizeof(params), "{'key':'%d','value':0}", i);
		result(ask(0, "store.put", params));
	}
	assert_int_equal(
		error_code(ask(0, "store.put", "{'key':'a','value':0}")),
		RPC_E_FULL);
	end();
}

/* -- bounds ---------------------------------------------------------------- */

static void a_message_has_a_mib_at_the_most(void **state)
{
	json_t *data;

	begin(2, 1);
	result(send_long(0, 1, QUEUE_DATA_MAX));
	data = json_object_get(recv_one(1, "{}"), "data");
	assert_int_equal(json_string_length(data), QUEUE_DATA_MAX - 2);
	assert_int_equal(error_code(send_long(0, 1, QUEUE_DATA_MAX + 1)),
			 RPC_E_TOOBIG);
	assert_int_equal(error_code(send_long(1, 1, QUEUE_DATA_MAX + 1)),
			 RPC_E_TOOBIG);
	end();
}

/* What an answer has no room for stays in its queue. */
static void no_message_is_lost_to_an_answer_that_is_too_long(void **state)
{
	struct rpc *guest;

	begin(2, 1);
	guest = helpers[0].guest_rpc;
	for (int i = 0; i < 3; i++)
		result(send_long(1, 0, 400 * 1024));
	result(send_long(1, 0, QUEUE_DATA_MAX));
	assert_int_equal(json_array_size(result(
				 ask_by(guest, "msg.recv", "{'count':9}"))),
			 2);
	assert_int_equal(json_array_size(result(
				 ask_by(guest, "msg.recv", "{'count':9}"))),
			 1);
	assert_int_equal(
		error_code(ask_by(guest, "msg.recv",
				  "{'wait_ms':-1,'max_bytes':300000}")),
		RPC_E_TOOBIG);
	/* of another task's queue, too */
	assert_int_equal(error_code(ask_by(helpers[1].guest_rpc, "msg.recv",
					   "{'to':0,'max_bytes':300000}")),
			 RPC_E_TOOBIG);
	assert_int_equal(
		error_code(ask(1, "msg.recv", "{'to':0,'max_bytes':1000}")),
		RPC_E_TOOBIG);
	assert_int_equal(
		json_array_size(result(ask_by(guest, "msg.recv", "{}"))), 1);
	end();
}

static void what_goes_along_with_a_message_is_short(void **state)
{
	char params[QUEUE_REF_MAX + 40], ref[QUEUE_REF_MAX + 2] = "";

	begin(1, 1);
	memset(ref, 'r', QUEUE_REF_MAX + 1);
	snprintf(params, sizeof(params), "{'data':1,'ref':'%s'}", ref);
	assert_int_equal(error_code(ask(0, "msg.send", params)),
			 RPC_INVALID_PARAMS);
	snprintf(params, sizeof(params), "{'data':1,'ref':'%s'}", ref + 1);
	result(ask(0, "msg.send", params));
	end();
}

/* What the @i-th op of a task is, to task @to. */
static int ask_some_op(uint32_t rank, int i, uint32_t to)
{
	static const char *const ops[] = { "task.ping", "msg.send", "store.put",
					   "queue.list", "store.list" };
	char params[80];

	switch (i % 5) {
	case 1:
		snprintf(params, sizeof(params),
			 "{'to':%u,'queue':'%u','data':%d}", to, rank, i);
		break;
	case 2:
		snprintf(params, sizeof(params), "{'key':'%u.%d','value':%d}",
			 rank, i % 100, i);
		break;
	case 4:
		strcpy(params, "{'pattern':'none'}");
		break;
	default:
		snprintf(params, sizeof(params), "{'to':%u}", to);
	}
	return ask(rank, ops[i % 5], params);
}

/* on_answer() checks that none is answered twice. */
static void ten_thousand_ops_at_once_are_answered_once_each(void **state)
{
	int first;

	begin(2, TASKS_MAX / 2);
	first = last_id + 1;
	for (int i = 0; i < HELPERS_OPS; i++)
		for (uint32_t r = 0; r < s.nranks; r++)
			ask_some_op(r, i, (r + (uint32_t)i) % s.nranks);
	for (int id = first; id <= last_id; id++)
		result(id);
	assert_int_equal(last_id - first + 1, 10000);
	end();
}

/* One that asks for more than has room is told so. */
static void what_has_no_room_is_full(void **state)
{
	int first, full = 0;

	begin(2, 1);
	first = last_id + 1;
	for (int i = 0; i < OPLINK_RANK_MSGS + 100; i++)
		ask(0, "task.ping", "{'to':1}");
	for (int id = first; id <= last_id; id++) {
		if (json_object_get(answer(id), "result"))
			continue;
		assert_int_equal(error_code(id), RPC_E_FULL);
		assert_non_null(strstr(words(id), "too much waits for it"));
		full++;
	}
	assert_int_equal(full, 100);
	result(ask(0, "task.ping", "{'to':1}"));
	end();
}

/* -- guests ---------------------------------------------------------------- */

static void a_guest_may_what_the_catalogue_says(void **state)
{
	struct rpc *guest;

	begin(2, 1);
	guest = helpers[0].guest_rpc;
	result(ask_by(guest, "msg.send", "{'to':1,'data':1}"));
	assert_int_equal(number(recv_one(1, "{}"), "from"), 0);
	result(ask_by(guest, "store.put", "{'key':'a','value':1}"));
	result(ask_by(guest, "world.get", "{}"));
	result(ask_by(guest, "task.ping", "{'to':'all'}"));
	assert_int_equal(error_code(ask_by(guest, "queue.open", "{'to':1}")),
			 RPC_E_PERM);
	assert_int_equal(error_code(ask_by(guest, "store.get",
					   "{'key':'a','scope':'task'}")),
			 RPC_E_PERM);
	end();
}

/* -- what breaks ----------------------------------------------------------- */

static void who_waits_for_a_task_that_is_lost_is_told(void **state)
{
	int id, e;

	begin(2, 2);
	id = ask(0, "msg.recv", "{'to':3,'wait_ms':-1}");
	result(ask(0, "task.ping", "{'to':3}"));
	lose_task(3);
	e = error_code(id); /* or its own last word has come */
	assert_true(e == RPC_E_UNREACHABLE || e == RPC_E_GONE);
	assert_int_equal(error_code(ask(0, "task.ping", "{'to':3}")),
			 RPC_E_UNREACHABLE);
	end();
}

/* A request that waits at its task survives @node's vmstep-net, and its answer,
 * too. What is on its way when it is killed is answered one way or another. */
static void net_is_killed(uint32_t node)
{
	int waits, under_way[20];

	begin(2, 1);
	waits = ask(0, "msg.recv", "{'to':1,'queue':'w','wait_ms':-1}");
	result(ask(0, "task.ping", "{'to':1}"));
	for (int i = 0; i < 20; i++)
		under_way[i] = ask(0, "task.ping", "{'to':1}");
	run_a_little();
	restart_net(node);
	for (int i = 0; i < 20; i++) {
		if (!json_object_get(answer(under_way[i]), "result"))
			assert_int_equal(error_code(under_way[i]),
					 RPC_E_UNREACHABLE);
	}
	result(ask(0, "task.ping", "{'to':1}")); /* the next one works */
	result(ask(1, "msg.send", "{'queue':'w','data':1}"));
	assert_int_equal(json_array_size(result(waits)), 1);
	end();
}

static void our_vmstep_net_is_killed(void **state)
{
	net_is_killed(0);
}

static void the_others_vmstep_net_is_killed(void **state)
{
	net_is_killed(1);
}

static void an_end_answers_all_that_waits(void **state)
{
	int id, many;

	begin(2, 1);
	id = ask(0, "msg.recv", "{'to':1,'wait_ms':-1}");
	many = ask(0, "msg.recv", "{'to':'all','wait_ms':-1}");
	peers_end(helpers[0].peers, "the task has ended");
	assert_int_equal(error_code(id), RPC_E_STATE);
	assert_int_equal(
		json_object_size(json_object_get(result(many), "results")), 2);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_is_answered_plainly_and_many_by_rank),
		cmocka_unit_test(nobody_is_refused_by_name),
		cmocka_unit_test(one_that_fails_does_not_fail_all),
		cmocka_unit_test(messages_wait_in_their_receivers_queue),
		cmocka_unit_test(a_full_queue_says_so),
		cmocka_unit_test(policies_are_what_they_say),
		cmocka_unit_test(many_messages_are_one_request),
		cmocka_unit_test(a_frozen_queue_keeps_what_it_has),
		cmocka_unit_test(who_is_gone_takes_nothing),
		cmocka_unit_test(many_messages_come_once_and_in_order),
		cmocka_unit_test(a_barrier_lets_all_go_at_once),
		cmocka_unit_test(a_barrier_names_who_is_missing),
		cmocka_unit_test(the_steps_values_are_the_same_everywhere),
		cmocka_unit_test(a_tasks_values_are_its_own),
		cmocka_unit_test(a_store_is_bounded),
		cmocka_unit_test(a_message_has_a_mib_at_the_most),
		cmocka_unit_test(
			no_message_is_lost_to_an_answer_that_is_too_long),
		cmocka_unit_test(what_goes_along_with_a_message_is_short),
		cmocka_unit_test(
			ten_thousand_ops_at_once_are_answered_once_each),
		cmocka_unit_test(what_has_no_room_is_full),
		cmocka_unit_test(a_guest_may_what_the_catalogue_says),
		cmocka_unit_test(who_waits_for_a_task_that_is_lost_is_told),
		cmocka_unit_test(our_vmstep_net_is_killed),
		cmocka_unit_test(the_others_vmstep_net_is_killed),
		cmocka_unit_test(an_end_answers_all_that_waits),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
