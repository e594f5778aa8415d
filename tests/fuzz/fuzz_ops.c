/* fuzz_ops.c - what a helper is told by the agent in its guest, and by the
 * helpers of other tasks: hello, answers, exits, and ops
 *
 * Ours is rank 0 of 4, with its queues, store and barriers. The first byte of
 * the input says what the rest is:
 *   0  lines, each a control message of the agent's; two processes have been
 *      asked for, and the guest's address
 *   1  lines, each a message from the rank that its first byte has, after
 *      which requests of ours wait for them all
 *   2  a batch as vmstep-net gives it to a helper
 * An empty line is a second that passes.
 */
#include <config.h>

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "guest.h"
#include "op_msg.h"
#include "op_store.h"
#include "op_sync.h"
#include "peers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RANKS 4

static char name[] = "vm0", user[] = "root", domain[] = "", pattern[] = "vm%t";
static const struct task task = { .rank = 0,
				  .ranks = RANKS,
				  .step = "1.0",
				  .node = "here",
				  .beacon_interval_s = 10 };
static const struct spec spec = { .hostname = name,
				  .hostname_pattern = pattern,
				  .domain = domain,
				  .guest_user = user,
				  .cidr = { 0x0a000000, 8 } };

static struct {
	struct loop *loop;
	struct loop_timer *tick;
	struct ops *ops;
	struct peers *peers;
	struct op_msg *msg;
	struct op_store *store;
	struct op_sync *sync;
	int link; /* vmstep-net's end */
	struct ops_origin origin;
	struct guest *guest;
	int port; /* the agent's end */
	uint64_t last_id;
	unsigned int asked, answered;
} fuzz;

static void on_tick(void *arg)
{
	loop_stop(fuzz.loop, 0);
}

/* A round, which does not sleep; what is said is thrown away. */
static void turn(void)
{
	uint8_t buf[65536];

	loop_timer_set(fuzz.tick, 0);
	loop_run(fuzz.loop);
	while (fuzz.port >= 0 &&
	       recv(fuzz.port, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	while (recv(fuzz.link, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void second(void)
{
	loop_skip(1000);
	turn();
}

static void make_helper(void)
{
	signal(SIGPIPE, SIG_IGN);
	loop_clock_stop(); /* only second() lets time go by */
	fuzz.port = -1;
	fuzz.last_id = fuzz.asked = fuzz.answered = 0;
	fuzz.ops = ops_new();
	if (loop_new(&fuzz.loop, NULL) < 0 ||
	    loop_timer_add(fuzz.loop, -1, on_tick, NULL, &fuzz.tick) < 0 ||
	    peers_new(fuzz.loop, &task, &spec, fuzz.ops, &fuzz.peers, NULL) <
		    0 ||
	    op_msg_new(fuzz.loop, &task, NULL, fuzz.ops, &fuzz.msg) < 0 ||
	    op_store_new(&task, fuzz.peers, fuzz.ops, &fuzz.store) < 0 ||
	    op_sync_new(fuzz.loop, &task, fuzz.peers, fuzz.ops, &fuzz.sync) < 0)
		abort();
	ops_set_router(fuzz.ops, peers_route, fuzz.peers);
	fuzz.link = oplink_connect(peers_link(fuzz.peers));
	if (fuzz.link < 0)
		abort();
}

static void end_helper(void)
{
	peers_end(fuzz.peers, "the end");
	shutdown(fuzz.link, SHUT_WR); /* or it waits for us to take its last */
	op_sync_free(fuzz.sync);
	op_store_free(fuzz.store);
	op_msg_free(fuzz.msg);
	peers_free(fuzz.peers);
	ops_free(fuzz.ops);
	loop_timer_free(fuzz.tick);
	loop_free(fuzz.loop);
	close(fuzz.link);
}

/* @fn with each line of the input. */
static void each_line(const uint8_t *p, size_t len,
		      void (*fn)(const uint8_t *line, size_t len))
{
	while (len) {
		const uint8_t *nl = memchr(p, '\n', len);
		size_t n = nl ? (size_t)(nl - p) : len;

		if (n)
			fn(p, n);
		else
			second();
		p += n + !!nl;
		len -= n + !!nl;
	}
}

/* -- the agent ------------------------------------------------------------- */

static void on_hello(void *arg)
{
	if (!guest_hello(fuzz.guest))
		abort();
}

static void on_lost(const char *why, void *arg)
{
	if (!*why)
		abort();
}

static void on_started(struct proc *p, const struct rpc_reply *reply, void *arg)
{
	if (!reply->result && (!reply->code || !reply->message))
		abort();
	fuzz.answered++;
}

static void on_configured(const char *error, void *arg)
{
}

static void send_frame(uint8_t type, const void *payload, size_t len)
{
	uint8_t out[FRAME_HEADER + FRAME_PAYLOAD_MAX];
	const struct frame h = { type, 0, 0, (uint32_t)len };

	frame_encode(&h, out);
	memcpy(out + FRAME_HEADER, payload, len);
	if (send(fuzz.port, out, FRAME_HEADER + len, MSG_NOSIGNAL) < 0)
		abort();
	turn();
}

static void send_ctrl(const uint8_t *line, size_t len)
{
	send_frame(FRAME_CTRL, line,
		   len < FRAME_PAYLOAD_MAX ? len : FRAME_PAYLOAD_MAX);
}

/* Answer its SYNC, so that it is up. */
static void come_up(int port)
{
	uint8_t in[FRAME_HEADER + FRAME_SYNC_LEN], out[FRAME_SYNC_LEN];
	struct frame_sync s;

	do /* a timer of 0 ms may be a round late, if the clock says so */
		turn();
	while (recv(port, in, sizeof(in), MSG_DONTWAIT) < 0);
	fuzz.port = port;
	frame_sync_decode(in + FRAME_HEADER, &s);
	memcpy(s.echo, s.nonce, sizeof(s.echo));
	frame_sync_encode(&s, out);
	send_frame(FRAME_SYNC, out, sizeof(out));
	while (!mux_is_up(guest_mux(fuzz.guest)))
		turn();
}

static void ask_agent(void)
{
	static const char hello[] =
		"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"agent.hello\",\"params\":{}}";

	send_ctrl((const uint8_t *)hello, strlen(hello));
	for (int i = 0; i < 2; i++) {
		struct proc_spec p = {
			.params = json_pack("{s:[s]}", "argv", "x"),
			.fd = { -1, -1, -1 },
			.keep = 4096,
			.started = on_started,
		};

		if (procs_start(guest_procs(fuzz.guest), &p, NULL) < 0)
			abort();
		fuzz.asked++;
	}
	guest_configure(fuzz.guest, on_configured, NULL);
}

static void fuzz_agent(const uint8_t *data, size_t size)
{
	static const struct guest_ops ops = { on_hello, on_lost };
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0 ||
	    guest_new(fuzz.loop, sv[0], &task, &spec, &ops, NULL, &fuzz.guest,
		      NULL) < 0)
		abort();
	fuzz.origin = (struct ops_origin){ fuzz.ops, OPS_GUEST, NULL, 0 };
	guest_set_handler(fuzz.guest, ops_handle, &fuzz.origin);
	come_up(sv[1]);
	ask_agent();
	turn();
	each_line(data, size, send_ctrl);
	guest_set_handler(fuzz.guest, NULL, NULL);
	guest_forget_all(fuzz.guest, "the end");
	if (fuzz.asked != fuzz.answered)
		abort();		   /* each is answered */
	op_sync_free(TAKE_PTR(fuzz.sync)); /* calls of the guest's end first */
	guest_free(fuzz.guest);
	close(fuzz.port);
}

/* -- other tasks ----------------------------------------------------------- */

static void on_reply(uint32_t rank, const struct rpc_reply *reply, void *arg)
{
	if (reply && !reply->result && !reply->message)
		abort();
	fuzz.answered++;
}

static void ask_others(void)
{
	struct rank_range range = { 1, RANKS - 1 };
	const struct rankset others = { &range, 1 };

	for (int i = 0; i < 2; i++) {
		peers_request(fuzz.peers, &others, "task.ping", json_object(),
			      i ? 60000 : -1, on_reply, NULL);
		fuzz.asked += RANKS;
	}
	turn();
}

static void send_batch(const uint8_t *batch, size_t len)
{
	if (send(fuzz.link, batch, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return; /* it has hung up: what vmstep-net says was no good */
	turn();
}

static void send_message(const uint8_t *line, size_t len)
{
	uint8_t batch[OPMSG_BATCH];
	struct opmsg *m;

	if (len > OPMSG_BATCH / 2)
		len = OPMSG_BATCH / 2;
	m = opmsg_new(line[0] % RANKS, ++fuzz.last_id, len - 1);
	if (!m)
		abort();
	memcpy(m->data, line + 1, len - 1);
	send_batch(batch, opmsg_put_piece(batch, m, 0, len - 1, "0", 1));
	opmsg_unref(m);
}

static void fuzz_others(const uint8_t *data, size_t size)
{
	ask_others();
	each_line(data, size, send_message);
	peers_end(fuzz.peers, "the end");
	if (fuzz.asked != fuzz.answered)
		abort(); /* each is answered */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	make_helper();
	if (data[0] == 0)
		fuzz_agent(data + 1, size - 1);
	else if (data[0] == 1)
		fuzz_others(data + 1, size - 1);
	else
		send_batch(data + 1, size - 1);
	end_helper();
	return 0;
}
