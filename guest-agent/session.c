#include <config.h>

#include "session.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "command.h"
#include "file.h"
#include "filecopy.h"
#include "fsmount.h"
#include "kernel.h"
#include "log.h"
#include "netconf.h"
#include "opsock.h"
#include "port.h"
#include "power.h"
#include "proc.h"
#include "sysinfo.h"
#include "useradd.h"

/* All that the host may ask. */
static const struct rpc_method methods[] = {
	{ "file.get", filecopy_get },
	{ "file.hash", file_hash },
	{ "file.list", file_list },
	{ "file.mkdir", file_mkdir },
	{ "file.put", filecopy_put },
	{ "file.read", file_read },
	{ "file.readlink", file_readlink },
	{ "file.remove", file_remove },
	{ "file.rename", file_rename },
	{ "file.set", file_set },
	{ "file.stat", file_stat },
	{ "file.symlink", file_symlink },
	{ "file.truncate", file_truncate },
	{ "file.write", file_write },
	{ "fs.mount", fsmount_mount },
	{ "fs.sync", fsmount_sync },
	{ "fs.unmount", fsmount_unmount },
	{ "kernel.add", kernel_add },
	{ "kernel.copy", kernel_copy },
	{ "kernel.drop", kernel_drop },
	{ "kernel.get", kernel_get },
	{ "kernel.list", kernel_list },
	{ "net.configure", netconf_configure },
	{ "op.find", kernel_find_op },
	{ "op.register", kernel_register },
	{ "op.unregister", kernel_unregister },
	{ "proc.attach", proc_attach },
	{ "proc.kill_all", proc_kill_all },
	{ "proc.list", proc_list },
	{ "proc.resize", proc_resize },
	{ "proc.signal", proc_signal },
	{ "proc.start", proc_start },
	{ "proc.usage", proc_usage },
	{ "sys.info", sysinfo_get },
	{ "sys.time.set", sysinfo_set_time },
	{ "task.echo", sysinfo_echo },
	{ "tree.get", filecopy_tree_get },
	{ "tree.put", filecopy_tree_put },
	{ "user.add", useradd_add },
	{ "vm.shutdown", power_shutdown },
	{ 0 },
};

/* Of the host's, that wait: what the connections of users may ask. */
#define CALLS_MAX    4096
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 5000

struct session {
	struct agent *agent;
	const char *path; /* borrowed */
	int fd;
	struct loop_timer *retry, *beacon;
	int64_t retry_ms;
	bool modprobed, waiting; /* said so */
	int64_t beacon_ms;	 /* what the host asked for; 0: none */
	json_int_t n_beacons;
};

static void try_open(void *arg);

/* -- signs of life --------------------------------------------------------- */

static void on_beacon(void *arg)
{
	struct session *s = arg;
	struct agent *a = s->agent;

	if (!a->mux || !mux_is_up(a->mux))
		return;
	rpc_notify(a->rpc, "agent.alive",
		   sysinfo_alive(++s->n_beacons, procs_running(a->procs)));
	loop_timer_set(s->beacon, s->beacon_ms);
}

static void start_beacons(struct session *s, const json_t *ms)
{
	s->beacon_ms = json_integer_value(ms);
	if (s->beacon_ms > 0)
		loop_timer_set(s->beacon, s->beacon_ms);
}

/* -- what the mux reports -------------------------------------------------- */

static void on_welcome(const struct rpc_reply *reply, void *arg)
{
	struct session *s = arg;
	const json_t *rank = json_object_get(reply->result, "rank");
	const json_t *ntasks = json_object_get(reply->result, "ntasks");
	const json_t *user = json_object_get(reply->result, "user");

	if (json_is_integer(rank) && json_is_integer(ntasks))
		log_info("the host calls this guest task %lld of %lld",
			 (long long)json_integer_value(rank),
			 (long long)json_integer_value(ntasks));
	start_beacons(s, json_object_get(reply->result, "beacon_ms"));
	if (!json_is_true(json_object_get(reply->result, "attach")))
		procs_let_go(s->agent->procs);
	if (s->agent->opsock && json_is_string(user))
		opsock_set_user(s->agent->opsock, json_string_value(user));
}

static void on_up(const struct mux_peer *peer, void *arg)
{
	struct session *s = arg;
	int r;

	r = rpc_request(s->agent->rpc, "agent.hello", sysinfo_hello(),
			on_welcome, s);
	if (r < 0)
		log_warn("cannot say hello to the host: %s", strerror(-r));
}

static void on_down(const char *why, void *arg)
{
	struct session *s = arg;

	log_limited(LOG_LEVEL_INFO, "the host is gone: %s", why);
	loop_timer_set(s->beacon, -1);
	procs_host_gone(s->agent->procs);
	rpc_forget(s->agent->rpc, why);
}

static void on_ctrl(const char *text, size_t len, void *arg)
{
	struct session *s = arg;

	rpc_receive(s->agent->rpc, text, len);
}

static void drop_port(struct session *s)
{
	mux_free(TAKE_PTR(s->agent->mux));
	if (s->fd >= 0)
		close(TAKE_FD(s->fd));
}

static void on_closed(const char *why, void *arg)
{
	struct session *s = arg;

	drop_port(s);
	s->waiting = false;
	loop_timer_set(s->retry, s->retry_ms = RETRY_MIN_MS);
}

static int send_text(const char *text, size_t len, void *arg)
{
	struct agent *a = arg;
	int r = a->mux ? mux_ctrl(a->mux, text, len) : -ENOTCONN;

	if (r == -ENOBUFS)
		log_limited(LOG_LEVEL_WARN,
			    "the host reads no answers: one is lost");
	return r;
}

/* -- the port -------------------------------------------------------------- */

static void on_modprobe(int wstatus, void *arg)
{
	try_open(arg);
}

/* Debian's kernel, for one, has the port's driver as a module, and nothing in
 * an initramfs may have loaded it. */
static bool modprobe(struct session *s)
{
	static const char *const argv[] = { "modprobe", "-q", "virtio_console",
					    NULL };

	if (s->modprobed || s->path || geteuid() != 0)
		return false;
	s->modprobed = true;
	return command_run(s->agent->loop, argv, on_modprobe, s, NULL) == 0;
}

static void try_later(struct session *s, const char *why)
{
	if (!s->waiting)
		log_info("%s; waiting for it", why);
	s->waiting = true;
	loop_timer_set(s->retry, s->retry_ms);
	s->retry_ms =
		s->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : s->retry_ms * 2;
}

static void try_open(void *arg)
{
	static const struct mux_ops ops = { on_up, on_down, on_ctrl,
					    on_closed };
	struct session *s = arg;
	struct errmsg err;
	int r = port_open(s->path, &s->fd, &err);

	if (r == -ENOENT && modprobe(s))
		return;
	if (r == 0)
		r = mux_new(s->agent->loop, s->fd, &ops, s, &s->agent->mux,
			    &err);
	if (r < 0) {
		drop_port(s);
		try_later(s, err.text);
	}
}

int session_new(struct agent *a, const char *path, struct session **ret,
		struct errmsg *err)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return errmsg_set(err, -ENOMEM, "session");
	s->agent = a;
	s->path = path;
	s->fd = -1;
	s->retry_ms = RETRY_MIN_MS;
	a->rpc = rpc_new(methods, a, send_text, a);
	if (a->rpc)
		rpc_set_limit(a->rpc, CALLS_MAX);
	if (!a->rpc || loop_timer_add(a->loop, 0, try_open, s, &s->retry) < 0 ||
	    loop_timer_add(a->loop, -1, on_beacon, s, &s->beacon) < 0) {
		session_free(s);
		return errmsg_set(err, -ENOMEM, "session");
	}
	*ret = s;
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	drop_port(s);
	loop_timer_free(s->retry);
	loop_timer_free(s->beacon);
	rpc_free(TAKE_PTR(s->agent->rpc));
	free(s);
}
