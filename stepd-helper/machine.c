#include <config.h>

#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "console.h"
#include "forward.h"
#include "incoming.h"
#include "layout.h"
#include "log.h"
#include "outfile.h"
#include "plan.h"
#include "plan_disk.h"
#include "qemu.h"
#include "qemu_find.h"
#include "qmp.h"
#include "restore.h"
#include "sandbox.h"
#include "save.h"
#include "seed.h"
#include "work.h"

#define CONSOLE_LINES 15
#define QEMU_LINES    5
#define SHARE_LOST_MS 1000

struct machine {
	struct loop *loop;
	const struct task *task;
	const struct spec *spec;
	struct machine_ops ops;
	void *arg;

	struct qemu_plan plan;
	char *qemu; /* its path */
	struct errmsg why_not_kvm;
	uint8_t seed_key[NETCTL_KEY_LEN];
	bool has_seed_key;
	bool runs, paused; /* its CPUs, since they were first let go */
	bool saving;	   /* its state */
	bool accepted;	   /* QEMU takes orders: its arguments were good */

	struct work *copying; /* NULL: all copies are made */
	machine_prepared_fn prepared;
	struct save *save;  /* NULL: nothing is to be */
	bool started;	    /* has QEMU been? */
	bool was_shut_down; /* by the guest */

	struct incoming *incoming; /* NULL: nothing is loaded */
	machine_migration_fn migration;
	machine_job_fn job;
	void *migration_arg, *job_arg;

	pid_t pid; /* of QEMU; 0 when it does not run */
	struct qmp *qmp;
	struct console *console, *qemu_stderr;
	struct guest *guest;
	struct layout *layout;
	struct forward *forward;	/* NULL: no ports are published */
	struct loop_timer *share_timer; /* a virtiofsd has ended */
};

static void failed(struct machine *m, const char *what, const char *error)
{
	struct errmsg words;

	errmsg_say(&words, 0, "%s: %s", what, error);
	m->ops.failed(words.text, m->arg);
}

/* -- the monitor ----------------------------------------------------------- */

static void on_running(json_t *result, const char *error, void *arg)
{
	struct machine *m = arg;

	if (error)
		failed(m, "QEMU does not start the VM", error);
	else
		m->runs = true;
}

static void on_cpus(json_t *result, const char *error, void *arg)
{
	struct machine *m = arg;
	struct errmsg err;

	if (error) {
		failed(m, "QEMU does not tell its CPUs", error);
		return;
	}
	if (layout_bind(m->layout, m->pid, result, &err) < 0)
		log_warn("%s; the VM runs unpinned", err.text);
	qmp_send(m->qmp, "cont", NULL, on_running, m);
}

static void bind_and_run(struct machine *m)
{
	if (layout_binds(m->layout))
		qmp_send(m->qmp, "query-cpus-fast", NULL, on_cpus, m);
	else
		qmp_send(m->qmp, "cont", NULL, on_running, m);
}

static void say_ports(const struct machine *m)
{
	const struct publish *p;
	size_t n;

	p = forward_ports(m->forward, &n);
	for (size_t i = 0; i < n; i++)
		log_info("port %u/%s is 127.0.0.1:%u on %s", p[i].guest,
			 p[i].udp ? "udp" : "tcp", p[i].host, m->task->node);
}

static void on_forwarded(const char *error, void *arg)
{
	struct machine *m = arg;

	if (error) {
		m->ops.failed(error, m->arg);
		return;
	}
	say_ports(m);
	bind_and_run(m);
}

void machine_go_on(struct machine *m)
{
	int r = 0;

	if (m->spec->n_ports)
		r = forward_start(m->qmp, m->task, m->spec, on_forwarded, m,
				  &m->forward);
	else
		bind_and_run(m);
	if (r < 0)
		failed(m, "--vm-publish", strerror(-r));
}

static void on_loaded(const char *error, void *arg)
{
	struct machine *m = arg;

	incoming_free(TAKE_PTR(m->incoming));
	if (error)
		failed(m, "--vm-restore", error);
	else
		m->ops.loaded(m->arg);
}

static void on_qmp_ready(void *arg)
{
	struct machine *m = arg;

	m->accepted = true;
	if (!m->plan.restore)
		machine_go_on(m);
	else if (incoming_start(m, on_loaded, m, &m->incoming) < 0)
		failed(m, "--vm-restore", "QEMU takes no orders");
}

static void set_paused(struct machine *m, bool paused)
{
	if (!m->runs || m->paused == paused)
		return;
	m->paused = paused;
	if (m->ops.paused)
		m->ops.paused(paused, m->arg);
}

/* A program in the guest has opened a port of ours, or closed it. */
static void on_port(struct machine *m, const json_t *data)
{
	const char *id = json_string_value(json_object_get(data, "id"));
	bool open = json_is_true(json_object_get(data, "open"));

	/* a snapshot that is loaded, a job, resets the device first */
	if (!open && m->job)
		return;
	if (id && strcmp(id, AGENT_PORT_ID) == 0)
		guest_port(m->guest, open);
	else if (id && strcmp(id, QGA_PORT_ID) == 0)
		guest_qga_port(m->guest, open);
}

/* Media boot once: then the disk does, which has a system on it by now. */
static void on_reset(struct machine *m, bool by_guest)
{
	if (m->plan.install && by_guest) {
		qmp_send(m->qmp, "eject",
			 json_pack("{s:s, s:b}", "id", INSTALL_ID, "force", 1),
			 NULL, NULL);
		m->plan.install = false;
	}
	m->ops.reset(by_guest, m->arg);
}

static void on_job(const struct machine *m, const json_t *data)
{
	const char *id = json_string_value(json_object_get(data, "id"));
	const char *status = json_string_value(json_object_get(data, "status"));

	if (m->job && id && status)
		m->job(id, status, m->job_arg);
}

static void on_qmp_event(const char *name, json_t *data, void *arg)
{
	struct machine *m = arg;

	log_debug("QEMU: %s", name);
	if (strcmp(name, "RESET") == 0)
		on_reset(m, json_is_true(json_object_get(data, "guest")));
	else if (strcmp(name, "VSERPORT_CHANGE") == 0)
		on_port(m, data);
	else if (strcmp(name, "MIGRATION") == 0 && m->migration)
		m->migration(json_string_value(json_object_get(data, "status")),
			     m->migration_arg);
	else if (strcmp(name, "JOB_STATUS_CHANGE") == 0)
		on_job(m, data);
	else if (strcmp(name, "SHUTDOWN") == 0)
		m->was_shut_down = json_is_true(json_object_get(data, "guest"));
	else if (strcmp(name, "STOP") == 0)
		set_paused(m, true);
	else if (strcmp(name, "RESUME") == 0)
		set_paused(m, false);
}

static void on_qmp_gone(const char *why, void *arg)
{
	/* QEMU's exit, which comes with it, says more */
	log_debug("%s", why);
}

/* -- copies of disks ------------------------------------------------------- */

static int copy_one(size_t i, const void *what, struct errmsg *err)
{
	const struct machine *m = what;

	return diskcopy_make(&m->plan.copy[i], m->task->qemu, err);
}

static void on_copied(const char *error, const int *fds, void *arg)
{
	struct machine *m = arg;
	struct errmsg err;

	if (!error && plan_copied(&m->plan, fds, &err) < 0)
		error = err.text;
	work_free(TAKE_PTR(m->copying));
	m->prepared(error, m->arg);
}

int machine_prepare(struct machine *m, machine_prepared_fn fn,
		    struct errmsg *err)
{
	int r;

	if (!m->plan.n_copies)
		return 0;
	m->prepared = fn;
	r = work_start(m->loop, copy_one, m, m->plan.n_copies, on_copied, m,
		       &m->copying, err);
	return r < 0 ? r : 1;
}

bool machine_is_prepared(const struct machine *m)
{
	return !m->copying;
}

/* -- starting -------------------------------------------------------------- */

/* One end for QEMU in the plan, the other returned. */
static int make_pair(struct machine *m, enum qemu_fd which, struct errmsg *err)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return errmsg_set(err, -errno, "socket pair for QEMU");
	m->plan.fd[which] = sv[0];
	return sv[1];
}

/* Where a copy of the console goes: *ret, -1 for nowhere. */
static int open_console_copy(const struct machine *m, int *ret,
			     struct errmsg *err)
{
	const char *to = m->spec->console;
	int fd;

	*ret = -1;
	if (!to || strcmp(to, "off") == 0)
		return 0;
	if (strcmp(to, "stdout") == 0) {
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
		if (fd < 0)
			return errmsg_set(err, -errno, "--vm-console=stdout");
	} else {
		fd = outfile_open("--vm-console", to, O_TRUNC | O_APPEND, err);
		if (fd < 0)
			return fd;
	}
	*ret = fd;
	return 0;
}

static int start_console(struct machine *m, struct errmsg *err)
{
	int copy, fd, r;

	r = open_console_copy(m, &copy, err);
	if (r < 0)
		return r;
	fd = make_pair(m, QEMU_FD_CONSOLE, err);
	return fd < 0 ? fd : console_new(m->loop, fd, copy, &m->console, err);
}

static int start_qmp(struct machine *m, struct errmsg *err)
{
	static const struct qmp_ops ops = { on_qmp_ready, on_qmp_event,
					    on_qmp_gone };
	int fd = make_pair(m, QEMU_FD_QMP, err);

	return fd < 0 ? fd : qmp_new(m->loop, fd, &ops, m, &m->qmp, err);
}

static int start_guest(struct machine *m, struct errmsg *err)
{
	int fd = make_pair(m, QEMU_FD_AGENT, err), r;

	if (fd < 0)
		return fd;
	r = guest_new(m->loop, fd, m->task, m->spec, &m->ops.guest, m->arg,
		      &m->guest, err);
	if (r < 0 || !spec_wants_qga(m->spec))
		return r;
	fd = make_pair(m, QEMU_FD_QGA, err);
	return fd < 0 ? fd : guest_add_qga(m->guest, fd, err);
}

static void on_qemu_exit(pid_t pid, int wstatus, void *arg)
{
	struct machine *m = arg;

	m->pid = 0;
	m->ops.exited(wstatus, m->arg);
}

/* -- virtiofsd ------------------------------------------------------------- */

/* It also ends when QEMU does, whose own end is then known by now. */
static void on_lost_timer(void *arg)
{
	struct machine *m = arg;

	if (m->pid)
		m->ops.failed(
			"virtiofsd has ended, and with it the guest's view of the node's directories",
			m->arg);
}

static void on_share_exit(pid_t pid, int wstatus, void *arg)
{
	struct machine *m = arg;

	for (unsigned int i = 0; i < m->plan.n_shares; i++)
		if (m->plan.share[i].pid == pid)
			m->plan.share[i].pid = 0;
	loop_timer_set(m->share_timer, SHARE_LOST_MS);
}

static int watch_shares(struct machine *m, struct errmsg *err)
{
	int r = loop_timer_add(m->loop, -1, on_lost_timer, m, &m->share_timer);

	for (unsigned int i = 0; i < m->plan.n_shares && r == 0; i++)
		if (m->plan.share[i].pid > 0)
			r = loop_child(m->loop, m->plan.share[i].pid,
				       on_share_exit, m);
	return r < 0 ? errmsg_set(err, r, "virtiofsd") : 0;
}

static int start_qemu(struct machine *m, struct errmsg *err)
{
	int fd = -1, r;

	r = qemu_start(&m->plan, m->qemu, &m->pid, &fd, err);
	if (r < 0)
		return r;
	m->started = true;
	qemu_plan_close_fds(&m->plan);
	r = console_new(m->loop, fd, -1, &m->qemu_stderr, err);
	if (r == 0)
		r = loop_child(m->loop, m->pid, on_qemu_exit, m);
	return r < 0 ? r : watch_shares(m, err);
}

static void say_accel(const struct machine *m)
{
	if (!m->plan.kvm && m->spec->accel == ACCEL_AUTO && m->task->rank == 0)
		log_info(
			"no KVM on %s (%s): guests run under TCG, some 20 times slower",
			m->task->node, m->why_not_kvm.text);
}

int machine_start(struct machine *m, int net_fd,
		  const uint8_t key[NETCTL_KEY_LEN], struct errmsg *err)
{
	int r = 0;

	m->plan.fd[QEMU_FD_NET] = net_fd;
	say_accel(m);
	if (machine_wants_seed(m)) {
		r = seed_make(m->task, m->spec, &m->plan.seed_user, key, err);
		if (r < 0)
			return r;
		m->plan.fd[QEMU_FD_SEED] = r;
		r = 0;
		memcpy(m->seed_key, key, sizeof(m->seed_key));
		m->has_seed_key = true;
	}
	if (m->save)
		r = save_keep(m->save, m->plan.fd[QEMU_FD_DISK], err);
	if (r == 0)
		r = start_console(m, err);
	if (r == 0)
		r = start_qmp(m, err);
	if (r == 0)
		r = start_guest(m, err);
	if (r == 0)
		r = start_qemu(m, err);
	return r;
}

/* -- last words ------------------------------------------------------------ */

/* QEMU says this whenever it listens for vmstep-net. */
#define WAITS ": info: QEMU waiting for connection on: "

static void show_lines(const char *what, char *text)
{
	char *line;

	if (!text)
		return;
	while ((line = strsep(&text, "\n")))
		if (!strstr(line, WAITS))
			log_err("%s | %s", what, line);
}

static bool console_is_off(const struct machine *m)
{
	return m->spec->console && strcmp(m->spec->console, "off") == 0;
}

/* What QEMU then complains of may be what it was given by these. */
static void show_given(const struct machine *m)
{
	static const enum option_id ids[] = { OPT_CPU, OPT_MACHINE, OPT_MEM };

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		const struct optvals *vals = &m->task->options.opt[ids[i]];

		if (vals->n)
			log_err("QEMU was given --vm-%s=%s",
				option_defs[ids[i]].name, vals->v[vals->n - 1]);
	}
}

void machine_last_words(struct machine *m)
{
	_cleanup_free_ char *qemu = NULL, *console = NULL;

	if (m->qemu_stderr) {
		console_drain(m->qemu_stderr);
		qemu = console_tail(m->qemu_stderr, QEMU_LINES);
	}
	if (m->console && !console_is_off(m)) {
		console_drain(m->console);
		console = console_tail(m->console, CONSOLE_LINES);
	}
	show_lines("QEMU", qemu);
	if (qemu && !m->accepted)
		show_given(m);
	show_lines("console", console);
	if (m->accepted && !console && !console_is_off(m))
		log_err("nothing came on the guest's serial console: a kernel that is to log there needs console=ttyS0");
}

/* -- its end --------------------------------------------------------------- */

void machine_kill(struct machine *m)
{
	if (m->pid)
		kill(m->pid, SIGKILL);
}

bool machine_quit(struct machine *m)
{
	if (m->pid && m->qmp && qmp_send(m->qmp, "quit", NULL, NULL, NULL) == 0)
		return true;
	machine_kill(m);
	return false;
}

int machine_qmp(struct machine *m, const char *command, json_t *args,
		qmp_reply_fn fn, void *arg)
{
	return machine_qmp_fd(m, command, args, -1, fn, arg);
}

int machine_qmp_fd(struct machine *m, const char *command, json_t *args, int fd,
		   qmp_reply_fn fn, void *arg)
{
	if (m->accepted && m->pid)
		return qmp_send_fd(m->qmp, command, args, fd, fn, arg);
	json_decref(args);
	return -ENOTCONN;
}

void machine_watch_migration(struct machine *m, machine_migration_fn fn,
			     void *arg)
{
	m->migration = fn;
	m->migration_arg = arg;
}

void machine_watch_job(struct machine *m, machine_job_fn fn, void *arg)
{
	m->job = fn;
	m->job_arg = arg;
}

void machine_set_saving(struct machine *m, bool saving)
{
	m->saving = saving;
}

bool machine_is_saving(const struct machine *m)
{
	return m->saving;
}

const struct qemu_plan *machine_plan(const struct machine *m)
{
	return &m->plan;
}

struct restore *machine_restore(const struct machine *m)
{
	return m->plan.restore;
}

bool machine_is_paused(const struct machine *m)
{
	return m->paused;
}

pid_t machine_pid(const struct machine *m)
{
	return m->pid;
}

bool machine_saves(const struct machine *m)
{
	return m->save;
}

bool machine_was_shut_down(const struct machine *m)
{
	return m->was_shut_down;
}

int machine_save(struct machine *m, machine_saved_fn done, struct errmsg *err)
{
	return save_start(m->save, m->loop, done, m->arg, err);
}

void machine_powerdown(struct machine *m)
{
	qmp_send(m->qmp, "system_powerdown", NULL, NULL, NULL);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	if (m->pid) {
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
	}
	incoming_free(m->incoming);
	guest_free(m->guest);
	qmp_free(m->qmp);
	console_free(m->console);
	console_free(m->qemu_stderr);
	layout_free(m->layout);
	forward_free(m->forward);
	loop_timer_free(m->share_timer);
	work_free(m->copying);
	save_free(m->save);
	plan_clean(&m->plan, m->started);
	qemu_plan_done(&m->plan);
	free(m->qemu);
	explicit_bzero(m->seed_key, sizeof(m->seed_key));
	free(m);
}

/* -------------------------------------------------------------------------- */

bool machine_wants_seed(const struct machine *m)
{
	return m->plan.seed && !m->plan.seed_is_file;
}

const uint8_t *machine_seed_key(const struct machine *m)
{
	if (m->plan.restore)
		return restore_key(m->plan.restore);
	return m->has_seed_key ? m->seed_key : NULL;
}

bool machine_has_kernel(const struct machine *m)
{
	return m->plan.kernel;
}

struct data_items *machine_data(struct machine *m)
{
	return &m->plan.data;
}

bool machine_runs(const struct machine *m)
{
	return m->pid;
}

struct console *machine_console(const struct machine *m)
{
	return m->console;
}

struct guest *machine_guest(const struct machine *m)
{
	return m->guest;
}

const struct publish *machine_ports(const struct machine *m, size_t *ret_n)
{
	return forward_ports(m->forward, ret_n);
}

int machine_print(const struct machine *m)
{
	return plan_print(&m->plan, m->qemu);
}

static int plan(struct machine *m, struct errmsg *err)
{
	int r = m->task->sandbox_required ? sandbox_require(m->task->node, err)
					  : 0;

	if (r < 0)
		return r;
	m->qemu = m->spec->qemu
			  ? qemu_find(m->spec->qemu, "--vm-qemu", err)
			  : qemu_find(m->task->qemu, "vmstep.conf: qemu", err);
	if (!m->qemu)
		return -ENOENT;
	r = plan_accel(m->task, m->spec, &m->plan, &m->why_not_kvm, err);
	if (r == 0)
		r = layout_new(m->task, m->spec, &m->plan.shape, &m->layout,
			       err);
	if (r == 0)
		r = plan_prepare(m->task, m->spec, &m->plan, err);
	if (r == 0 && m->plan.restore)
		r = restore_check(m->plan.restore, &m->plan, err);
	if (r == 0)
		r = save_new(m->task, m->spec, &m->plan, &m->save, err);
	return r;
}

int machine_new(struct loop *l, const struct task *t, const struct spec *s,
		const struct machine_ops *ops, void *arg, struct machine **ret,
		struct errmsg *err)
{
	struct machine *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return errmsg_set(err, -ENOMEM, "machine");
	m->loop = l;
	m->task = t;
	m->spec = s;
	m->ops = *ops;
	m->arg = arg;
	qemu_plan_init(&m->plan);
	r = plan(m, err);
	if (r < 0) {
		machine_free(m);
		return r;
	}
	*ret = m;
	return 0;
}
