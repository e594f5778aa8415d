#include <config.h>

#include "cleanup.h"
#include "test_helpers.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "netmsg.h"
#include "service.h"

struct step s;
struct loop *loop;
static struct loop_timer *timer;
static struct spec specs[TASKS_MAX]; /* by node */
static char dirs[TASKS_MAX][32], files[TASKS_MAX][64];
static char names[] = "vm%t";

struct helper helpers[TASKS_MAX];

json_t *answers;
int last_id;
uint64_t helpers_fam;

/* -- waiting --------------------------------------------------------------- */

static void on_timer(void *arg)
{
	loop_stop(loop, 1);
}

void run_a_little(void)
{
	loop_timer_set(timer, 2);
	loop_run(loop);
}

/* -- the step -------------------------------------------------------------- */

static const struct rpc_method none[] = { { 0 } };

static int on_answer(const char *text, size_t len, void *arg)
{
	json_t *msg = json_loadb(text, len, 0, NULL);
	char id[16];

	assert_non_null(msg);
	snprintf(id, sizeof(id), "%" JSON_INTEGER_FORMAT,
		 json_integer_value(json_object_get(msg, "id")));
	assert_null(json_object_get(answers, id)); /* once */
	json_object_set_new(answers, id, msg);
	loop_stop(loop, 1);
	return 0;
}

static void give_socket(uint32_t rank)
{
	const struct netctl m = netmsg(NETCTL_OPS);
	int fd = oplink_connect(peers_link(helpers[rank].peers));

	assert_true(fd >= 0);
	step_send(s.ranks[rank].ctl, &m, fd);
	close(fd);
}

static void make_modules(struct helper *h)
{
	const struct spec *spec = &specs[h->task.node_id];
	const struct service_conf conf = { loop, &h->task, spec, NULL, NULL };

	assert_int_equal(op_msg_new(loop, &h->task, NULL, h->ops, &h->msg), 0);
	assert_int_equal(op_store_new(&h->task, h->peers, h->ops, &h->store),
			 0);
	assert_int_equal(
		op_sync_new(loop, &h->task, h->peers, h->ops, &h->sync), 0);
	assert_int_equal(op_world_new(&conf, h->peers, h->ops, &h->world), 0);
	assert_int_equal(
		op_mem_new(loop, &h->task, spec, h->peers, h->ops, &h->mem), 0);
}

static void new_program(struct helper *h)
{
	h->user_rpc = rpc_new(none, NULL, on_answer, NULL);
	rpc_set_limit(h->user_rpc, HELPERS_OPS);
	rpc_set_handler(h->user_rpc, ops_handle, &h->user);
}

static void make_helper(uint32_t rank)
{
	struct helper *h = &helpers[rank];
	uint32_t node = rank / s.per_node;

	h->task = (struct task){ .rank = rank,
				 .ranks = s.nranks,
				 .step = "7.0",
				 .step_dir = dirs[node],
				 .node = "here",
				 .node_id = node,
				 .local_tasks = s.per_node };
	assert_int_equal(rankset_add(&h->task.local_ranks, node * s.per_node,
				     (node + 1) * s.per_node - 1),
			 0);
	h->ops = ops_new();
	assert_int_equal(peers_new(loop, &h->task, &specs[node], h->ops,
				   &h->peers, NULL),
			 0);
	ops_set_router(h->ops, peers_route, h->peers);
	make_modules(h);
	h->user = (struct ops_origin){ h->ops, OPS_USER, NULL, 0 };
	h->guest = (struct ops_origin){ h->ops, OPS_GUEST, NULL, 0 };
	new_program(h);
	h->guest_rpc = rpc_new(none, NULL, on_answer, NULL);
	rpc_set_handler(h->guest_rpc, ops_handle, &h->guest);
}

static void make_node(uint32_t node)
{
	snprintf(dirs[node], sizeof(dirs[node]), "/tmp/vmstep-test-XXXXXX");
	assert_non_null(mkdtemp(dirs[node]));
	snprintf(files[node], sizeof(files[node]), "/dev/shm/vmstep-test.%d.%u",
		 getpid(), node);
	specs[node] = (struct spec){ .net = NET_VHOST_USER,
				     .cidr = { 0x0a000000, 8 },
				     .hostname_pattern = names,
				     .domain = names + 4,
				     .fam = { helpers_fam, files[node] } };
}

static void remove_node(uint32_t node)
{
	char path[sizeof(dirs) + 8]; /* gcc 14 reckons with all of them */

	snprintf(path, sizeof(path), "%s/fam", dirs[node]);
	unlink(path);
	unlink(files[node]);
	assert_int_equal(rmdir(dirs[node]), 0);
}

const char *window_file(uint32_t node)
{
	return files[node];
}

uint8_t *map_window(uint32_t node)
{
	int fd = open(files[node], O_RDWR | O_CREAT, 0600);
	void *map;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)helpers_fam), 0);
	map = mmap(NULL, helpers_fam, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   0);
	assert_true(map != MAP_FAILED);
	close(fd);
	return map;
}

void begin(uint32_t nnodes, uint32_t per_node)
{
	step_begin(&s, nnodes, per_node);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(loop_timer_add(loop, -1, on_timer, NULL, &timer), 0);
	for (uint32_t n = 0; n < nnodes; n++)
		make_node(n);
	answers = json_object();
	last_id = 0;
	memset(helpers, 0, sizeof(helpers));
	for (uint32_t r = 0; r < s.nranks; r++) {
		make_helper(r);
		give_socket(r);
	}
}

static void end_helper(uint32_t rank)
{
	struct helper *h = &helpers[rank];

	rpc_free(h->user_rpc);
	rpc_free(h->guest_rpc);
	op_mem_free(h->mem);
	op_world_free(h->world);
	op_sync_free(h->sync);
	op_store_free(h->store);
	op_msg_free(h->msg);
	peers_free(h->peers);
	ops_free(h->ops);
	rankset_done(&h->task.local_ranks);
	*h = (struct helper){ 0 };
}

void end(void)
{
	for (uint32_t r = 0; r < s.nranks; r++)
		end_helper(r);
	for (uint32_t n = 0; n < s.nnodes; n++)
		remove_node(n);
	json_decref(answers);
	loop_timer_free(timer);
	loop_free(loop);
	step_end(&s);
}

void lose_task(uint32_t rank)
{
	oplink_lost(peers_link(helpers[rank].peers));
	close(s.ranks[rank].ctl);
	s.ranks[rank].ctl = -1;
	end_helper(rank);
}

void end_program(uint32_t rank)
{
	rpc_free(helpers[rank].user_rpc);
	new_program(&helpers[rank]);
}

void restart_net(uint32_t node)
{
	step_restart(&s, node);
	for (uint32_t i = 0; i < s.per_node; i++)
		oplink_lost(peers_link(helpers[node * s.per_node + i].peers));
	for (uint32_t i = 0; i < s.per_node; i++)
		give_socket(node * s.per_node + i);
	step_table_to(&s, node, s.key);
}

/* -- asking ---------------------------------------------------------------- */

int ask_by(struct rpc *rpc, const char *method, const char *params)
{
	_cleanup_free_ char *text = NULL;

	assert_true(
		asprintf(
			&text,
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"%s\",\"params\":%s}",
			++last_id, method, params) > 0);
	for (char *p = text; *p; p++) /* so that tests can be read */
		if (*p == '\'')
			*p = '"';
	rpc_receive(rpc, text, strlen(text));
	return last_id;
}

int ask(uint32_t rank, const char *method, const char *params)
{
	return ask_by(helpers[rank].user_rpc, method, params);
}

json_t *find_answer(int id)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", id);
	return json_object_get(answers, name);
}

json_t *answer(int id)
{
	int64_t until = loop_now_ms() + WAIT_MS;

	while (!find_answer(id)) {
		if (loop_now_ms() > until)
			fail_msg("no answer to %d", id);
		run_a_little();
	}
	return find_answer(id);
}

json_t *result(int id)
{
	json_t *r = json_object_get(answer(id), "result");
	char *text;

	if (!r) {
		text = json_dumps(answer(id), 0);
		fail_msg("%s", text);
	}
	return r;
}

int error_code(int id)
{
	return (int)json_integer_value(
		json_object_get(json_object_get(answer(id), "error"), "code"));
}

const char *words(int id)
{
	return json_string_value(json_object_get(
		json_object_get(answer(id), "error"), "message"));
}

json_int_t number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}
