#include <config.h>

#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "hosts.h"
#include "log.h"
#include "mux.h"
#include "start_error.h"

/* For the guest to find its network card. */
#define CARD_TIMEOUT_MS 60000

struct reply {
	json_t *result;	     /* borrowed; NULL on error */
	int code;	     /* of the error */
	const char *message; /* of the error */
	const char *what; /* its data.what: what was not found; may be NULL */
};
typedef void (*reply_fn)(struct guest *g, const struct reply *r);

struct call {
	struct call *next;
	json_int_t id;
	reply_fn fn;
};

struct guest {
	struct loop *loop;
	const struct task *task;
	const struct spec *spec;
	int fd;
	struct mux *mux;
	struct guest_ops ops;
	void *arg;
	bool greeted;
	json_int_t next_id;
	struct call *calls;

	guest_done_fn configure_fn;
	void *configure_arg;

	/* the command */
	guest_exit_fn exit_fn;
	void *exit_arg;
	json_int_t proc; /* the agent's number for it; 0: not started */
	bool pty;
	bool out_open, err_open; /* its output still flows */
	bool exited;		 /* proc.exit came */
	int status;
};

/* -- calls ----------------------------------------------------------------- */

static int send_json(struct guest *g, json_t *msg)
{
	_cleanup_free_ char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;

	json_decref(msg);
	if (!text)
		return -ENOMEM;
	return mux_ctrl(g->mux, text, strlen(text));
}

/* @params is stolen. */
static int call(struct guest *g, const char *method, json_t *params,
		reply_fn fn)
{
	_cleanup_free_ struct call *c = calloc(1, sizeof(*c));
	int r;

	if (!c || !params) {
		json_decref(params);
		return -ENOMEM;
	}
	c->id = ++g->next_id;
	c->fn = fn;
	r = send_json(g,
		      json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id",
				c->id, "method", method, "params", params));
	if (r < 0)
		return r;
	c->next = g->calls;
	g->calls = c;
	TAKE_PTR(c);
	return 0;
}

static struct call *take_call(struct guest *g, json_int_t id)
{
	for (struct call **pp = &g->calls; *pp; pp = &(*pp)->next)
		if ((*pp)->id == id) {
			struct call *c = *pp;

			*pp = c->next;
			return c;
		}
	return NULL;
}

static void drop_calls(struct guest *g)
{
	struct call *c;

	while ((c = g->calls)) {
		g->calls = c->next;
		free(c);
	}
}

static void on_reply(struct guest *g, json_t *msg)
{
	json_t *error = json_object_get(msg, "error");
	struct call *c =
		take_call(g, json_integer_value(json_object_get(msg, "id")));
	struct reply r = { .result = json_object_get(msg, "result") };

	if (!c)
		return;
	if (error || !r.result) {
		r.result = NULL;
		r.code =
			(int)json_integer_value(json_object_get(error, "code"));
		r.message =
			json_string_value(json_object_get(error, "message"));
		r.what = json_string_value(json_object_get(
			json_object_get(error, "data"), "what"));
		if (!r.message)
			r.message = "the agent gave no reason";
	}
	if (c->fn)
		c->fn(g, &r);
	free(c);
}

/* -- hello ----------------------------------------------------------------- */

static void on_hello(struct guest *g, json_t *msg)
{
	json_t *id = json_object_get(msg, "id");
	json_t *params = json_object_get(msg, "params");
	const char *version =
		json_string_value(json_object_get(params, "version"));

	log_debug("agent %s says hello (%s)", version ? version : "?",
		  json_string_value(json_object_get(params, "kernel")));
	send_json(g, json_pack("{s:s, s:O, s:{s:i, s:i, s:s}}", "jsonrpc",
			       "2.0", "id", id ? id : json_null(), "result",
			       "rank", (int)g->task->rank, "ntasks",
			       (int)g->task->ranks, "name", g->spec->hostname));
	if (!g->greeted) {
		g->greeted = true;
		g->ops.hello(g->arg);
	}
}

/* -- the command ----------------------------------------------------------- */

static void close_channels(struct guest *g)
{
	mux_reset(g->mux, CHAN_STDIN, true, EPIPE);
	if (g->out_open)
		mux_reset(g->mux, CHAN_STDOUT, false, EPIPE);
	if (g->err_open)
		mux_reset(g->mux, CHAN_STDERR, false, EPIPE);
	g->out_open = g->err_open = false;
}

static void finish(struct guest *g, int status, const char *error)
{
	guest_exit_fn fn = g->exit_fn;

	if (!fn)
		return;
	g->exit_fn = NULL;
	g->proc = 0;
	close_channels(g);
	fn(status, error, g->exit_arg);
}

static void finish_if_ended(struct guest *g)
{
	if (g->exited && !g->out_open && !g->err_open)
		finish(g, g->status, NULL);
}

static void on_output_done(unsigned int chan, int error, void *arg)
{
	struct guest *g = arg;

	if (chan == CHAN_STDOUT)
		g->out_open = false;
	else
		g->err_open = false;
	finish_if_ended(g);
}

static void on_input_done(unsigned int chan, int error, void *arg)
{
	if (error && error != EPIPE)
		log_debug("stdin: %s", strerror(error));
}

static void on_exit_event(struct guest *g, json_t *params)
{
	json_t *exit_code = json_object_get(params, "exit");
	json_t *signal = json_object_get(params, "signal");

	if (!g->exit_fn ||
	    json_integer_value(json_object_get(params, "proc")) != g->proc)
		return;
	g->exited = true;
	if (json_is_integer(signal))
		g->status = 128 + (int)(json_integer_value(signal) & 0x7f);
	else
		g->status = (int)(json_integer_value(exit_code) & 0xff);
	if (json_is_true(json_object_get(params, "out_open"))) {
		/* a daemon it left behind holds them; as with any other task,
		 * the step does not wait for it */
		finish(g, g->status, NULL);
		return;
	}
	finish_if_ended(g);
}

static void not_started(struct guest *g, const struct reply *r)
{
	const struct start_error e = { r->code, r->what, r->message };
	struct errmsg words;
	int status = start_error_status(&e, g->spec, g->task->argv0, &words);

	finish(g, status, words.text);
}

static void on_started(struct guest *g, const struct reply *r)
{
	int fd;

	if (!g->exit_fn)
		return;
	if (!r->result) {
		not_started(g, r);
		return;
	}
	g->proc = json_integer_value(json_object_get(r->result, "proc"));
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
	if (fd < 0)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 &&
	    mux_send_fd(g->mux, CHAN_STDIN, fd, on_input_done, g) < 0)
		log_warn("stdin does not reach the guest");
}

static int receive(struct guest *g, unsigned int chan, int from, bool *open_)
{
	int fd = fcntl(from, F_DUPFD_CLOEXEC, 10), r;

	if (fd < 0)
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = mux_recv_fd(g->mux, chan, fd, on_output_done, g);
	*open_ = r == 0;
	return r;
}

int guest_run(struct guest *g, const struct guest_cmd *cmd, guest_exit_fn fn,
	      void *arg)
{
	int r;

	g->exit_fn = fn;
	g->exit_arg = arg;
	g->pty = cmd->pty != NULL;
	r = receive(g, CHAN_STDOUT, STDOUT_FILENO, &g->out_open);
	if (r == 0 && !g->pty)
		r = receive(g, CHAN_STDERR, STDERR_FILENO, &g->err_open);
	if (r == 0)
		r = call(g, "proc.start", start_params(g->task, g->spec, cmd),
			 on_started);
	if (r < 0)
		g->exit_fn = NULL;
	return r;
}

void guest_signal(struct guest *g, int sig)
{
	if (g->proc)
		call(g, "proc.signal",
		     json_pack("{s:I, s:i, s:b}", "proc", g->proc, "signal",
			       sig, "group", 1),
		     NULL);
}

void guest_resize(struct guest *g, const struct winsize *ws)
{
	if (g->proc)
		call(g, "proc.resize",
		     json_pack("{s:I, s:i, s:i}", "proc", g->proc, "rows",
			       ws->ws_row, "cols", ws->ws_col),
		     NULL);
}

int guest_shutdown(struct guest *g)
{
	if (!g->greeted || !mux_is_up(g->mux))
		return -ENOTCONN;
	return call(g, "vm.shutdown", json_pack("{s:s}", "how", "poweroff"),
		    NULL);
}

/* -- configuration --------------------------------------------------------- */

static void on_configured(struct guest *g, const struct reply *r)
{
	if (g->configure_fn)
		g->configure_fn(r->result ? NULL : r->message,
				g->configure_arg);
}

static json_t *network_params(const struct guest *g)
{
	const struct spec *s = g->spec;
	char mac[18], ip[INET_ADDRSTRLEN], server[INET_ADDRSTRLEN];

	addr_mac_text(g->task->rank, mac);
	addr_ip_text(addr_ip(&s->cidr, g->task->rank), ip);
	addr_ip_text(addr_service_ip(&s->cidr), server);
	return json_pack("{s:s, s:s, s:i, s:i, s:s, s:i}", "mac", mac, "ip", ip,
			 "prefix", s->cidr.prefix, "mtu", s->mtu, "nameserver",
			 server, "timeout_ms", CARD_TIMEOUT_MS);
}

int guest_configure(struct guest *g, guest_done_fn fn, void *arg)
{
	_cleanup_free_ char *hosts = NULL;
	json_t *p;

	g->configure_fn = fn;
	g->configure_arg = arg;
	p = g->spec->net == NET_NONE ? json_object() : network_params(g);
	if (!p)
		return -ENOMEM;
	json_object_set_new(p, "hostname", json_string(g->spec->hostname));
	json_object_set_new(p, "domain", json_string(g->spec->domain));
	if (g->spec->net != NET_NONE) {
		if (hosts_text(g->task, g->spec, &hosts) == 0)
			json_object_set_new(p, "hosts", json_string(hosts));
		else
			log_warn(
				"the guest's hosts file is left as it is: %u guests are too many for it",
				g->task->ranks);
	}
	return call(g, "net.configure", p, on_configured);
}

/* -- the port -------------------------------------------------------------- */

static void on_up(const struct mux_peer *peer, void *arg)
{
	log_debug("the agent's port is up, protocol %u", peer->proto);
}

static void on_down(const char *why, void *arg)
{
	struct guest *g = arg;
	bool had = g->greeted;

	g->greeted = false;
	drop_calls(g);
	g->out_open = g->err_open = false;
	if (had)
		g->ops.lost(why, g->arg);
}

static void on_ctrl(const char *text, size_t len, void *arg)
{
	struct guest *g = arg;
	json_t *msg = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const char *method = json_string_value(json_object_get(msg, "method"));

	if (!msg)
		log_limited(LOG_LEVEL_WARN,
			    "the agent sent what is no JSON, ignoring");
	else if (!method)
		on_reply(g, msg);
	else if (strcmp(method, "agent.hello") == 0)
		on_hello(g, msg);
	else if (strcmp(method, "proc.exit") == 0)
		on_exit_event(g, json_object_get(msg, "params"));
	else
		log_debug("the agent says %s, ignoring", method);
	json_decref(msg);
}

int guest_new(struct loop *l, int fd, const struct task *t,
	      const struct spec *s, const struct guest_ops *ops, void *arg,
	      struct guest **ret, struct errmsg *err)
{
	static const struct mux_ops mux_ops = { on_up, on_down, on_ctrl };
	struct guest *g = calloc(1, sizeof(*g));
	int r;

	if (!g) {
		close(fd);
		return errmsg_set(err, -ENOMEM, "agent's port");
	}
	g->loop = l;
	g->task = t;
	g->spec = s;
	g->fd = fd;
	g->ops = *ops;
	g->arg = arg;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r = mux_new(l, fd, &mux_ops, g, &g->mux, err);
	if (r < 0) {
		guest_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void guest_free(struct guest *g)
{
	if (!g)
		return;
	mux_free(g->mux);
	drop_calls(g);
	close(g->fd);
	free(g);
}
