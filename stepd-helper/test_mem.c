/* test_mem.c - mem.* between helpers of two nodes, with a window each */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "memlink.h"
#include "memword.h"
#include "op_mem_impl.h"
#include "test_helpers.h"

#define MIB (1024 * 1024)

static uint8_t *windows[2];

/* Ranks 0 and 1 on node 0, 2 and 3 on node 1. */
static int setup(void **state)
{
	helpers_fam = 16 * MIB;
	begin(2, 2);
	windows[0] = map_window(0);
	windows[1] = map_window(1);
	return 0;
}

static int teardown(void **state)
{
	munmap(windows[0], helpers_fam);
	munmap(windows[1], helpers_fam);
	end();
	return 0;
}

static int guest(uint32_t rank, const char *method, const char *params)
{
	return ask_by(helpers[rank].guest_rpc, method, params);
}

/* Region "r" on node 1 with item "x" of @bytes, made by vm[0]'s guest. */
static json_t *make(uint64_t bytes)
{
	char params[160];

	result(guest(0, "mem.region.create",
		     "{'name':'r','size':8388608,'home':3}"));
	snprintf(params, sizeof(params),
		 "{'region':'r','name':'x','size':%" PRIu64 ",'mode':'0644'}",
		 bytes);
	return result(guest(0, "mem.alloc", params));
}

static uint8_t *place_of(const json_t *item, uint32_t asker)
{
	char params[96];

	snprintf(params, sizeof(params), "{'region':%lld,'item':%lld}",
		 (long long)number(item, "region"),
		 (long long)number(item, "item"));
	return windows[asker / 2] +
	       number(result(ask(asker, "mem.map", params)), "at");
}

/* -- regions and items ----------------------------------------------------- */

static void a_region_is_known_by_name_everywhere(void **state)
{
	json_t *r = result(guest(1, "mem.region.create",
				 "{'name':'a','size':100,'home':3}"));
	json_t *found;

	assert_int_equal(number(r, "home"), 2); /* it keeps node 1's */
	assert_int_equal(number(r, "size"), 4096);
	assert_int_equal(number(r, "owner"), 1);
	assert_null(json_object_get(r, "at"));
	found = result(guest(3, "mem.region.lookup", "{'name':'a'}"));
	assert_int_equal(number(found, "region"), number(r, "region"));
	assert_int_equal(number(found, "at"), helpers_fam / 4 * 3 - 4096);
	assert_int_equal(error_code(guest(3, "mem.region.create",
					  "{'name':'a','size':1}")),
			 RPC_E_EXIST);
	assert_int_equal(number(result(guest(3, "mem.info", "{}")), "used"),
			 4096); /* and nothing stays of the second */
	r = json_object_get(result(guest(0, "mem.region.list", "{}")),
			    "regions");
	assert_int_equal(json_object_size(r), 1);
	assert_int_equal(
		error_code(guest(0, "mem.region.destroy", "{'region':'a'}")),
		RPC_E_PERM);
	result(guest(1, "mem.region.destroy", "{'region':'a'}"));
	assert_int_equal(
		error_code(guest(3, "mem.region.lookup", "{'name':'a'}")),
		RPC_E_NOENT);
	result(guest(3, "mem.region.create", "{'name':'a','size':1}"));
}

static void an_item_has_its_place_and_its_mode(void **state)
{
	json_t *x = make(1000), *same;
	int id;

	same = result(guest(3, "mem.lookup", "{'region':'r','item':'x'}"));
	assert_int_equal(number(same, "item"), number(x, "item"));
	assert_int_equal(number(same, "size"), 1000);
	assert_string_equal(json_string_value(json_object_get(same, "mode")),
			    "0644");
	result(guest(3, "mem.map", "{'region':'r','item':'x'}"));
	id = guest(1, "mem.map", "{'region':'r','item':'x'}");
	assert_int_equal(error_code(id), RPC_E_NOTSUP);
	assert_non_null(strstr(words(id), "vm[2]"));
	assert_int_equal(
		error_code(guest(3, "mem.put",
				 "{'region':'r','item':'x','data':'no'}")),
		RPC_E_PERM);
	assert_int_equal(
		error_code(guest(3, "mem.chmod",
				 "{'region':'r','item':'x','mode':'0666'}")),
		RPC_E_PERM);
	result(guest(0, "mem.chmod", "{'region':'r','item':'x','mode':'666'}"));
	result(guest(3, "mem.put", "{'region':'r','item':'x','data':'yes'}"));
	assert_memory_equal(place_of(x, 2), "yes", 3);
	result(guest(0, "mem.free", "{'region':'r','item':'x'}"));
	assert_int_equal(
		error_code(guest(0, "mem.stat", "{'region':'r','item':'x'}")),
		RPC_E_NOENT);
	result(guest(0, "mem.region.resize", "{'region':'r','size':4096}"));
	id = guest(0, "mem.alloc", "{'region':'r','size':4097}");
	assert_int_equal(error_code(id), RPC_E_FULL);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *method, *params;
		int code;
	} all[] = {
		{ "mem.region.create", "{'name':'','size':1}", -32602 },
		{ "mem.region.create", "{'name':'n'}", -32602 },
		{ "mem.region.create", "{'name':'n','size':1,'home':4}",
		  -32602 },
		{ "mem.region.create", "{'name':'n','size':1,'mode':'9'}",
		  -32602 },
		{ "mem.region.create", "{'name':'n','size':99999999999}",
		  RPC_E_FULL },
		{ "mem.region.stat", "{'region':12345678901234}", RPC_E_NOENT },
		{ "mem.region.stat", "{'region':-1}", RPC_E_NOENT },
		{ "mem.region.stat", "{}", -32602 },
		{ "mem.alloc", "{'region':'r','size':8,'align':3}", -32602 },
		{ "mem.put", "{'region':'r','item':'x'}", -32602 },
		{ "mem.put", "{'region':'r','item':'y','data':'a'}",
		  RPC_E_NOENT },
		{ "mem.put", "{'region':'r','item':99,'data':'a'}",
		  RPC_E_NOENT },
		{ "mem.put", "{'region':'r','item':'x','data':'a','offset':64}",
		  RPC_E_RANGE },
		{ "mem.put", "{'region':'r','item':'x','data':'abc','size':2}",
		  -32602 },
		{ "mem.put", "{'region':'r','item':'x','at':16777216,'size':1}",
		  RPC_E_RANGE },
		{ "mem.put",
		  "{'region':'r','item':'x','at':0,'size':4611686018427387903}",
		  RPC_E_RANGE },
		{ "mem.put", "{'to':2,'region':'r','item':'x','at':0,'size':8}",
		  RPC_E_PERM },
		{ "mem.get", "{'region':'r','item':'x','size':65}",
		  RPC_E_RANGE },
		{ "mem.get", "{'region':'r','item':'x','size':100000}",
		  RPC_E_TOOBIG },
		{ "mem.get", "{'region':'r','item':'x','size':1,'wait':false}",
		  -32602 },
		{ "mem.atomic", "{'region':'r','item':'x','op':'add'}",
		  -32602 },
		{ "mem.atomic",
		  "{'region':'r','item':'x','op':'xor','type':'f64','value':1}",
		  -32602 },
		{ "mem.atomic",
		  "{'region':'r','item':'x','op':'add','value':1,'offset':4}",
		  RPC_E_RANGE },
		{ "mem.atomic",
		  "{'region':'r','item':'x','op':'add','value':1,'offset':64}",
		  RPC_E_RANGE },
		{ "mem.batch", "{'region':'r','item':'x','at':0,'n':8193}",
		  -32602 },
		{ "mem.batch", "{'region':'r','item':'x','n':1}", -32602 },
		{ "mem.batch", "{'region':'r','item':'x','n':1,'data':'x'}",
		  -32602 },
		{ "mem.batch", "{'region':'r','item':'x','at':0}", -32602 },
		{ "mem.gather", "{'region':'r','item':'x','elem':8,'count':9}",
		  RPC_E_RANGE },
		/* element 16384 would be at 0 again */
		{ "mem.gather",
		  "{'region':'r','item':'x','elem':8,'count':16385,'stride':140737488355328,'at':0}",
		  RPC_E_RANGE },
		{ "mem.gather",
		  "{'region':'r','item':'x','elem':8,'index':[0,8]}",
		  RPC_E_RANGE },
		{ "mem.gather",
		  "{'region':'r','item':'x','elem':8,'index':[-1]}", -32602 },
		{ "mem.scratch", "{'to':2}", RPC_E_NOTSUP },
		{ "mem.home", "{'op':'info','by':0,'params':{}}", RPC_E_PERM },
		{ "mem.name", "{}", RPC_E_PERM },
		{ "mem.info", "{'by':1}", -32602 },
	};

	make(64);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int id = guest(0, all[i].method, all[i].params);

		if (error_code(id) != all[i].code)
			fail_msg("%s %s: %d, %s", all[i].method, all[i].params,
				 error_code(id), words(id) ? words(id) : "");
	}
}

static void without_a_window_it_says_so(void **state)
{
	int id;

	helpers_fam = 0;
	begin(1, 1);
	id = ask(0, "mem.info", "{}");
	assert_int_equal(error_code(id), RPC_E_NOTSUP);
	assert_non_null(strstr(words(id), "--vm-fam"));
	end();
}

/* -- data ------------------------------------------------------------------ */

static void bytes_go_there_and_back(void **state)
{
	uint8_t *at = place_of(make(256), 2);
	json_t *got;

	memcpy(at, "0123456789012345678901234567890\377", 32);
	result(guest(0, "mem.put",
		     "{'region':'r','item':'x','offset':10,'data':'hello'}"));
	assert_memory_equal(at, "0123456789hello5678", 19);
	got = result(guest(1, "mem.get",
			   "{'region':'r','item':'x','offset':8,'size':8}"));
	assert_string_equal(json_string_value(json_object_get(got, "data")),
			    "89hello5");
	got = result(guest(1, "mem.get",
			   "{'region':'r','item':'x','offset':31,'size':1}"));
	assert_string_equal(json_string_value(json_object_get(
				    json_object_get(got, "data"), "b64")),
			    "/w==");
	result(guest(0, "mem.put",
		     "{'region':'r','item':'x','data':{'b64':'AP8='}}"));
	assert_memory_equal(at, "\0\377234", 5);
}

static void data_goes_from_window_to_window(void **state)
{
	json_t *x = make(4 * MIB + 100);
	uint8_t *at = place_of(x, 2);

	for (size_t i = 0; i < 4 * MIB; i++)
		windows[0][i] = (uint8_t)(i * 7 + i / 4096);
	result(guest(
		0, "mem.put",
		"{'region':'r','item':'x','at':0,'size':4194304,'offset':3}"));
	assert_memory_equal(at + 3, windows[0], 4 * MIB);
	result(guest(
		1, "mem.get",
		"{'region':'r','item':'x','at':4194304,'size':4194304,'offset':3}"));
	assert_memory_equal(windows[0] + 4 * MIB, windows[0], 4 * MIB);
}

static void elements_go_to_their_places(void **state)
{
	uint8_t *at = place_of(make(64), 2);
	json_t *got;

	memset(at, '.', 64);
	result(guest(
		0, "mem.scatter",
		"{'region':'r','item':'x','elem':2,'count':3,'first':1,'stride':4,'data':'aabbcc'}"));
	assert_memory_equal(at, "..aa......bb......cc....", 24);
	result(guest(
		0, "mem.scatter",
		"{'region':'r','item':'x','elem':2,'index':[3,0],'data':'ddee'}"));
	assert_memory_equal(at, "eeaa..dd..bb", 12);
	got = result(
		guest(1, "mem.gather",
		      "{'region':'r','item':'x','elem':2,'index':[9,0,5]}"));
	assert_string_equal(json_string_value(json_object_get(got, "data")),
			    "cceebb");
	got = result(guest(
		1, "mem.gather",
		"{'region':'r','item':'x','elem':2,'count':2,'stride':5,'at':100}"));
	assert_int_equal(number(got, "bytes"), 4);
	assert_memory_equal(windows[0] + 100, "eebb", 4);
}

static void many_elements_are_many_messages(void **state)
{
	uint64_t *there = (uint64_t *)place_of(make(2 * MIB), 2);
	uint64_t *here = (uint64_t *)windows[0];

	for (uint64_t i = 0; i < 20000; i++)
		here[i] = i;
	result(guest(
		0, "mem.scatter",
		"{'region':'r','item':'x','elem':8,'count':20000,'stride':3,'at':0}"));
	for (uint64_t i = 0; i < 20000; i++)
		assert_int_equal(there[i * 3], i);
	result(guest(
		0, "mem.gather",
		"{'region':'r','item':'x','elem':8,'count':20000,'stride':3,'at':1048576}"));
	assert_memory_equal(windows[0] + MIB, here, 160000);
}

static void an_item_is_copied_from_home_to_home(void **state)
{
	uint8_t *at = place_of(make(1 * MIB), 2);

	result(guest(0, "mem.region.create", "{'name':'s','size':2097152}"));
	result(guest(0, "mem.alloc",
		     "{'region':'s','name':'y','size':1048576}"));
	memset(at, 'q', 1 * MIB);
	result(guest(
		1, "mem.copy",
		"{'region':'r','item':'x','offset':1,'size':1048575,'dst_region':'s','dst_item':'y'}"));
	at = windows[0] +
	     number(result(guest(0, "mem.map", "{'region':'s','item':'y'}")),
		    "at");
	for (size_t i = 0; i < MIB - 1; i++)
		assert_int_equal(at[i], 'q');
	assert_int_equal(at[MIB - 1], 0);
	assert_int_equal(
		error_code(guest(
			1, "mem.copy",
			"{'region':'r','item':'x','offset':2,'size':1048575,'dst_region':'s','dst_item':'y'}")),
		RPC_E_RANGE);
}

/* -- what is left of what went --------------------------------------------- */

static void assert_all(const uint8_t *at, int byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(at[i], byte);
}

static void what_goes_leaves_zeroes(void **state)
{
	uint8_t *at = place_of(make(10000), 2);

	memset(at, 's', 10000);
	result(guest(0, "mem.alloc", "{'region':'r','name':'y','size':64}"));
	memset(at + 10048, 'y', 64); /* the next at a multiple of 64 */
	result(guest(0, "mem.free", "{'region':'r','item':'x'}"));
	assert_all(at, 0, 10000);
	assert_all(at + 10048, 'y', 64);
	memset(at + 65536, 's', 8388608 - 65536);
	result(guest(0, "mem.region.resize", "{'region':'r','size':65536}"));
	assert_all(at + 65536, 0, 8388608 - 65536);
	assert_all(at + 10048, 'y', 64);
	memset(at, 's', 10000);
	result(guest(0, "mem.region.destroy", "{'region':'r'}"));
	assert_all(at, 0, 65536);
}

/* More than is on its way at a time: the rest would be another's. */
static void a_copy_ends_with_what_is_copied(void **state)
{
	json_t *x = make(6 * MIB), *y;
	uint8_t *at = place_of(x, 2), *to;
	char params[200];
	int copy;

	result(guest(0, "mem.region.create", "{'name':'s','size':6291456}"));
	y = result(guest(0, "mem.alloc", "{'region':'s','size':6291456}"));
	to = windows[0] + number(y, "at");
	memset(at, 'x', 6 * MIB);
	snprintf(
		params, sizeof(params),
		"{'region':%lld,'item':%lld,'size':6291456,'dst_region':%lld,'dst_item':%lld}",
		(long long)number(x, "region"), (long long)number(x, "item"),
		(long long)number(y, "region"), (long long)number(y, "item"));
	copy = ask(0, "mem.copy", params);
	snprintf(params, sizeof(params), "{'region':%lld,'item':%lld}",
		 (long long)number(x, "region"), (long long)number(x, "item"));
	result(ask(0, "mem.free", params));
	memset(at, '!', 6 * MIB);
	assert_int_equal(error_code(copy), RPC_E_NOENT);
	assert_non_null(strstr(words(copy), "freed"));
	result(ask(0, "mem.quiet", "{}"));
	for (size_t i = 0; i < 6 * MIB; i++)
		assert_int_not_equal(to[i], '!');
}

/* -- atomics --------------------------------------------------------------- */

static void a_word_is_changed_by_name(void **state)
{
	uint64_t *word = (uint64_t *)place_of(make(64), 2);
	json_t *r;
	double sum;

	*word = 40;
	r = result(guest(0, "mem.atomic",
			 "{'region':'r','item':'x','op':'add','value':2}"));
	assert_int_equal(number(r, "old"), 40);
	assert_int_equal(*word, 42);
	r = result(guest(
		0, "mem.atomic",
		"{'region':'r','item':'x','op':'cas','value':'18446744073709551615','cmp':42}"));
	assert_int_equal(number(r, "old"), 42);
	assert_true(*word == UINT64_MAX);
	r = result(guest(0, "mem.atomic",
			 "{'region':'r','item':'x','op':'fetch'}"));
	assert_string_equal(json_string_value(json_object_get(r, "old")),
			    "18446744073709551615");
	r = result(guest(
		0, "mem.atomic",
		"{'region':'r','item':'x','op':'set','type':'f64','value':0.5,'fetch':false}"));
	assert_null(json_object_get(r, "old"));
	r = result(guest(
		0, "mem.atomic",
		"{'region':'r','item':'x','op':'add','type':'f64','value':1}"));
	assert_true(json_real_value(json_object_get(r, "old")) == 0.5);
	memcpy(&sum, word, sizeof(sum));
	assert_true(sum == 1.5);
	assert_int_equal(
		error_code(guest(
			3, "mem.atomic",
			"{'region':'r','item':'x','op':'add','value':1}")),
		RPC_E_PERM);
	result(guest(3, "mem.atomic",
		     "{'region':'r','item':'x','op':'fetch'}"));
}

/* Each is 8 bytes further in the item. */
static void a_word_is_of_a_type(void **state)
{
	static const struct {
		const char *type, *is, *more, *sum; /* as in JSON */
	} words[] = {
		{ "i32", "-5", "3", "-2" },
		{ "u32", "4294967295", "2", "1" },
		{ "i64", "'-9223372036854775808'", "1",
		  "-9223372036854775807" },
		{ "u64", "9223372036854775807", "1",
		  "\"9223372036854775808\"" },
		{ "f32", "0.25", "0.5", "0.75" },
		{ "f64", "-0.25", "0.125", "-0.125" },
	};
	static const char *const ops[] = { "set", "add" };

	make(64);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		const char *value[] = { words[i].is, words[i].more };
		char params[160], *old;
		json_t *r;

		for (int j = 0; j < 2; j++) {
			snprintf(
				params, sizeof(params),
				"{'region':'r','item':'x','offset':%zu,'type':'%s','op':'%s','value':%s}",
				8 * i, words[i].type, ops[j], value[j]);
			result(guest(0, "mem.atomic", params));
		}
		snprintf(
			params, sizeof(params),
			"{'region':'r','item':'x','offset':%zu,'type':'%s','op':'fetch'}",
			8 * i, words[i].type);
		r = result(guest(0, "mem.atomic", params));
		old = json_dumps(json_object_get(r, "old"), JSON_ENCODE_ANY);
		assert_string_equal(old, words[i].sum);
		free(old);
	}
	assert_int_equal(
		error_code(guest(
			0, "mem.atomic",
			"{'region':'r','item':'x','op':'set','type':'f32','value':'no'}")),
		RPC_INVALID_PARAMS);
}

static void fill(uint8_t *at, unsigned int n, uint64_t add)
{
	struct memword_entry e = { .op = MEMWORD_ADD,
				   .type = MEMWORD_U64,
				   .value = add };

	for (unsigned int i = 0; i < n; i++)
		memcpy(at + i * sizeof(e), &e, sizeof(e));
}

/* Guests of both nodes have many batches under way. */
static void no_update_of_a_batch_is_lost(void **state)
{
	uint64_t *word = (uint64_t *)place_of(make(64), 2);
	int ids[40];

	result(guest(0, "mem.chmod", "{'region':'r','item':'x','mode':'666'}"));
	fill(windows[0], 8192, 1);
	fill(windows[1], 8192, 3);
	for (int i = 0; i < 40; i++)
		ids[i] = ask((uint32_t)i % 4, "mem.batch",
			     "{'region':'r','item':'x','at':0,'n':8192}");
	for (int i = 0; i < 40; i++)
		assert_int_equal(number(result(ids[i]), "done"), 8192);
	assert_int_equal(*word, 20 * 8192 + 20 * 8192 * 3);
}

static void a_batch_says_what_words_were_and_where_it_ended(void **state)
{
	uint64_t *word = (uint64_t *)place_of(make(64), 2);
	struct memword_entry e;
	int id;

	*word = 100;
	fill(windows[0] + 64, 3, 5);
	result(guest(0, "mem.batch",
		     "{'region':'r','item':'x','at':64,'n':3,'fetch':true}"));
	memcpy(&e, windows[0] + 64 + 2 * sizeof(e), sizeof(e));
	assert_int_equal(e.value, 110);
	fill(windows[0] + 64, 3, 5);
	windows[0][64 + 32 + offsetof(struct memword_entry, op)] = 77;
	id = guest(0, "mem.batch", "{'region':'r','item':'x','at':64,'n':3}");
	assert_int_equal(error_code(id), -32602);
	assert_int_equal(*word, 120); /* as far as it was right */
}

/* -- room ------------------------------------------------------------------ */

/* The most that waits at node 1 while two of node 0 get more than there is room
 * for at a time. */
static size_t get_much(void)
{
	struct memkeep *k = helpers[2].mem->keep;
	size_t most = 0;
	int ids[8];

	for (int i = 0; i < 8; i++)
		ids[i] = ask((uint32_t)i % 2, i < 6 ? "mem.get" : "mem.put",
			     "{'region':'r','item':'x','at':0,'size':4194304}");
	for (int i = 0; i < 8; i++) {
		while (!find_answer(ids[i])) {
			run_a_little();
			if (memkeep_waiting(k) > most)
				most = memkeep_waiting(k);
		}
		result(ids[i]);
	}
	assert_int_equal(memkeep_waiting(k), 0);
	return most;
}

static void what_waits_for_room_is_bounded(void **state)
{
	uint8_t *at = place_of(make(4 * MIB), 2);

	memset(at, 3, 4 * MIB);
	memset(windows[0], 3, 4 * MIB); /* which is put meanwhile */
	assert_true(get_much() > 1000);
	memkeep_let_wait(helpers[2].mem->keep, 1000);
	assert_true(get_much() <= 1000);
	assert_all(windows[0], 3, 4 * MIB);
	assert_all(at, 3, 4 * MIB);
}

/* -- order ----------------------------------------------------------------- */

static void quiet_waits_for_what_nobody_waits_for(void **state)
{
	uint8_t *at = place_of(make(4 * MIB), 2);
	json_t *r;

	memset(windows[0], 5, 4 * MIB);
	result(ask(
		0, "mem.put",
		"{'region':'r','item':'x','at':0,'size':4194304,'wait':false}"));
	assert_int_equal(
		number(result(guest(0, "mem.progress", "{}")), "pending"), 1);
	assert_int_equal(error_code(guest(0, "mem.quiet", "{'timeout_ms':0}")),
			 RPC_E_TIMEOUT);
	r = result(ask(0, "mem.quiet", "{}"));
	assert_int_equal(number(r, "pending"), 0);
	assert_memory_equal(at, windows[0], 4 * MIB);
}

static void quiet_tells_what_has_failed(void **state)
{
	int id;

	make(64);
	result(guest(
		0, "mem.put",
		"{'region':'r','item':'x','at':0,'size':65,'wait':false}"));
	id = guest(0, "mem.quiet", "{}");
	assert_int_equal(error_code(id), RPC_E_RANGE);
	assert_non_null(strstr(words(id), "1 failed"));
	result(guest(0, "mem.fence", "{}")); /* it was told */
}

/* Pieces of a scatter whose sums wrap: nothing of it is done. */
static void no_element_comes_round(void **state)
{
	uint8_t *at = place_of(make(64), 2);

	memset(at, '.', 64);
	memset(windows[0], '!', 16385 * 8);
	assert_int_equal(
		error_code(guest(
			0, "mem.scatter",
			"{'region':'r','item':'x','elem':8,'count':16385,'stride':140737488355328,'at':0}")),
		RPC_E_RANGE);
	for (int i = 0; i < 64; i++)
		assert_int_equal(at[i], '.');
}

/* A program that has died may have left its piece of the window in use. */
static void a_piece_in_use_is_a_guests_alone(void **state)
{
	int id, again;

	make(4 * MIB);
	id = guest(0, "mem.put",
		   "{'region':'r','item':'x','at':0,'size':4194304}");
	again = guest(0, "mem.get",
		      "{'region':'r','item':'x','at':4194300,'size':8}");
	assert_int_equal(error_code(again), RPC_E_BUSY);
	result(id);
	result(guest(0, "mem.get",
		     "{'region':'r','item':'x','at':4194300,'size':8}"));
}

/* -- ends ------------------------------------------------------------------ */

static void who_waits_for_a_keeper_that_is_lost_is_told(void **state)
{
	json_t *x = make(4 * MIB);
	char params[128];
	int put;

	snprintf(params, sizeof(params),
		 "{'region':%lld,'item':%lld,'at':0,'size':4194304}",
		 (long long)number(x, "region"), (long long)number(x, "item"));
	put = guest(0, "mem.put", params);
	lose_task(2);
	assert_int_equal(error_code(put), RPC_E_UNREACHABLE);
	assert_int_equal(error_code(guest(0, "mem.put", params)),
			 RPC_E_UNREACHABLE);
	/* The memory of the other node is as it was. */
	result(guest(1, "mem.region.create", "{'name':'s','size':1}"));
}

static void a_name_of_who_has_ended_is_free(void **state)
{
	json_t *r;

	make(64);
	assert_int_equal(error_code(guest(1, "mem.region.create",
					  "{'name':'r','size':1}")),
			 RPC_E_EXIST);
	lose_task(2);
	r = result(guest(1, "mem.region.create", "{'name':'r','size':1}"));
	assert_int_equal(number(r, "home"), 0);
	assert_int_equal(
		number(result(guest(3, "mem.region.lookup", "{'name':'r'}")),
		       "home"),
		0);
	assert_int_equal(error_code(guest(1, "mem.region.create",
					  "{'name':'r','size':1}")),
			 RPC_E_EXIST);
}

static void a_link_that_breaks_is_no_answer_lost(void **state)
{
	int ids[8];

	make(4 * MIB);
	for (int i = 0; i < 8; i++)
		ids[i] = ask((uint32_t)i % 2, "mem.put",
			     "{'region':'r','item':'x','at':0,'size':4194304}");
	restart_net(1);
	for (int i = 0; i < 8; i++)
		if (!json_object_get(answer(ids[i]), "result"))
			assert_in_set((unsigned long)error_code(ids[i]),
				      ((unsigned long[]){ RPC_E_LOST,
							  RPC_E_UNREACHABLE }),
				      2);
	result(ask(0, "mem.put",
		   "{'region':'r','item':'x','at':0,'size':4194304}"));
}

/* As a task ends, and with it its program's wishes. */
static void an_end_answers_what_is_under_way(void **state)
{
	json_t *x = make(4 * MIB);
	char params[128];
	int by_name, by_number, quiet;

	snprintf(params, sizeof(params),
		 "{'region':%lld,'item':%lld,'at':0,'size':4194304}",
		 (long long)number(x, "region"), (long long)number(x, "item"));
	by_name = ask(0, "mem.put",
		      "{'region':'r','item':'x','at':0,'size':4194304}");
	by_number = ask(0, "mem.put", params);
	quiet = ask(0, "mem.quiet", "{}");
	assert_null(find_answer(by_number));
	peers_end(helpers[0].peers, "the task has ended");
	op_mem_free(helpers[0].mem);
	helpers[0].mem = NULL;
	assert_int_equal(error_code(by_name), RPC_E_STATE);
	assert_int_equal(error_code(by_number), RPC_E_GONE);
	assert_int_equal(error_code(quiet), RPC_E_GONE);
}

static void a_program_that_ends_wants_no_more(void **state)
{
	json_t *x = make(4 * MIB);
	char params[128];

	snprintf(params, sizeof(params),
		 "{'region':%lld,'item':%lld,'at':0,'size':4194304}",
		 (long long)number(x, "region"), (long long)number(x, "item"));
	memset(place_of(x, 2), 9, 4 * MIB);
	memset(windows[0], 1, 4 * MIB);
	ask(0, "mem.get", params);
	ask(0, "mem.get", "{'region':'r','item':'x','at':0,'size':4194304}");
	end_program(0);
	result(ask(0, "mem.quiet", "{}"));
	for (size_t i = 0; i < 4 * MIB; i++)
		assert_int_equal(windows[0][i], 1); /* it may be another's */
}

/* A copy from here, quiet, and a name that another region has. */
static void a_program_that_ends_waits_for_nothing(void **state)
{
	json_t *x = make(4 * MIB), *y;
	char copy[200], put[128], claim[64];

	result(guest(2, "mem.region.create",
		     "{'name':'s','size':4194304,'home':0}"));
	y = result(guest(2, "mem.alloc",
			 "{'region':'s','size':4194304,'mode':'0666'}"));
	snprintf(
		copy, sizeof(copy),
		"{'region':%lld,'item':%lld,'size':4194304,'dst_region':%lld,'dst_item':%lld}",
		(long long)number(x, "region"), (long long)number(x, "item"),
		(long long)number(y, "region"), (long long)number(y, "item"));
	snprintf(
		put, sizeof(put),
		"{'region':%lld,'item':%lld,'at':0,'size':4194304,'wait':false}",
		(long long)number(x, "region"), (long long)number(x, "item"));
	snprintf(claim, sizeof(claim), "{'name':'r','region':%lld}",
		 (long long)number(y, "region"));
	assert_null(find_answer(ask(2, "mem.copy", copy)));
	ask(0, "mem.put", put);
	assert_null(find_answer(ask(0, "mem.quiet", "{}")));
	assert_null(find_answer(ask(0, "mem.name", claim)));
	end_program(0);
	end_program(2);
	assert_int_equal(
		number(result(guest(1, "mem.region.lookup", "{'name':'r'}")),
		       "region"),
		number(x, "region"));
	result(ask(0, "mem.quiet", "{}"));
	result(ask(2, "mem.copy", copy));
}

/* With indices a piece of a transfer is more than there is room for, where a
 * little less was left: it waits, and is not sent when nobody waits for it. */
static void what_waits_for_room_is_forgotten_too(void **state)
{
	enum { ELEM = 32, PIECE = 8192, N = 6 * PIECE };
	json_t *x = make(4 * MIB);
	uint8_t *there = place_of(x, 2);
	size_t size = 128 + N * 8, len;
	char *params = malloc(size), put[128];

	assert_non_null(params);
	memset(windows[0], 1, 4 * MIB);
	memset(there, 0, 4 * MIB);
	len = (size_t)snprintf(
		params, size,
		"{'region':%lld,'item':%lld,'at':0,'elem':%d,'index':[0",
		(long long)number(x, "region"), (long long)number(x, "item"),
		ELEM);
	for (int i = 1; i < N; i++)
		len += (size_t)snprintf(params + len, size - len, ",%d", i);
	snprintf(params + len, size - len, "]}");
	snprintf(
		put, sizeof(put),
		"{'region':%lld,'item':%lld,'at':0,'size':180000,'offset':4000000}",
		(long long)number(x, "region"), (long long)number(x, "item"));
	ask(0, "mem.put", put);
	ask(0, "mem.scatter", params);
	free(params);
	end_program(0);
	memset(windows[0], 7, 4 * MIB); /* it is another's now */
	result(ask(0, "mem.quiet", "{}"));
	assert_int_equal(there[4 * PIECE * ELEM], 1);
	for (int i = 0; i < N * ELEM; i++)
		assert_int_not_equal(there[i], 7);
}

int main(void)
{
#define EACH(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(a_region_is_known_by_name_everywhere),
		EACH(an_item_has_its_place_and_its_mode),
		EACH(what_makes_no_sense_is_refused),
		cmocka_unit_test(without_a_window_it_says_so),
		EACH(bytes_go_there_and_back),
		EACH(data_goes_from_window_to_window),
		EACH(elements_go_to_their_places),
		EACH(many_elements_are_many_messages),
		EACH(an_item_is_copied_from_home_to_home),
		EACH(what_goes_leaves_zeroes),
		EACH(a_copy_ends_with_what_is_copied),
		EACH(a_word_is_changed_by_name),
		EACH(a_word_is_of_a_type),
		EACH(no_update_of_a_batch_is_lost),
		EACH(a_batch_says_what_words_were_and_where_it_ended),
		EACH(what_waits_for_room_is_bounded),
		EACH(quiet_waits_for_what_nobody_waits_for),
		EACH(quiet_tells_what_has_failed),
		EACH(no_element_comes_round),
		EACH(a_piece_in_use_is_a_guests_alone),
		EACH(who_waits_for_a_keeper_that_is_lost_is_told),
		EACH(a_name_of_who_has_ended_is_free),
		EACH(a_link_that_breaks_is_no_answer_lost),
		EACH(an_end_answers_what_is_under_way),
		EACH(a_program_that_ends_wants_no_more),
		EACH(a_program_that_ends_waits_for_nothing),
		EACH(what_waits_for_room_is_forgotten_too),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
