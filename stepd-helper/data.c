/* data.c - see data.h
 *
 * A queue of one: each item is done before the next begins, so that one error
 * is told, and a mount may lie below another. What an item needs is a chain of
 * steps, each ended by the agent's answer:
 *
 *	fs.mount ── done
 *	   └ cannot ── tree.put ── fs.mount readonly ── done    (only read)
 *	   └ cannot ── fs.mount dir ── done                     (an output)
 *	tree.get ── done                                        (collecting)
 *	fs.sync ── done
 */
#include <config.h>

#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "data_item.h"
#include "log.h"
#include "param.h"
#include "seed.h"
#include "tree.h"
#include "work.h"

struct data {
	struct loop *loop;
	const struct task *task;
	const struct spec *spec;
	struct machine *machine;

	bool collecting; /* else it is set up */
	bool user_done;
	size_t at;	  /* the item under way */
	guest_done_fn fn; /* NULL: nothing is under way */
	void *arg;

	/* a copy, until both ends have said how it went */
	struct work *work;
	int pipe[2]; /* ours, and the one the process has */
	bool out;
	unsigned int chan;
	bool chan_open, answered, worked;
	struct errmsg why;
	bool failed;
};

static void next(struct data *d);

static struct data_item *item(const struct data *d)
{
	return &machine_data(d->machine)->v[d->at];
}

static struct guest *guest(const struct data *d)
{
	return machine_guest(d->machine);
}

/* Nothing is heard any more of what was under way. */
static void stop(struct data *d)
{
	struct guest *g = guest(d);

	if (g) {
		guest_forget_request(g, d);
		if (d->chan_open)
			mux_reset(guest_mux(g), d->chan, !d->out, ECANCELED);
	}
	d->chan_open = false;
	work_free(TAKE_PTR(d->work));
	for (int i = 0; i < 2; i++)
		if (d->pipe[i] >= 0)
			close(TAKE_FD(d->pipe[i]));
}

static void end(struct data *d, const char *error)
{
	guest_done_fn fn = d->fn;

	stop(d);
	d->fn = NULL;
	fn(error, d->arg);
}

static void fail(struct data *d, const char *why)
{
	const struct data_item *i = item(d);
	struct errmsg err;

	errmsg_say(&err, 0, "%s: %s: %s", data_option(i->kind), i->dst, why);
	end(d, err.text);
}

static void done(struct data *d)
{
	d->at++;
	next(d);
}

/* @params are stolen. What the agent cannot be asked it has not done. */
static void ask(struct data *d, const char *method, json_t *params,
		rpc_reply_fn fn)
{
	struct guest *g = guest(d);
	int r;

	if (params)
		json_object_set_new(params, "user", json_string("root"));
	r = g ? guest_request(g, method, params, fn, d) : -ENOTCONN;
	if (!g)
		json_decref(params);
	if (r == -ENOTCONN)
		fail(d,
		     g && guest_uses_qga(g)
			     ? "vmstep-agent has to do it, and this guest has QEMU's only: take an image with cloud-init or vmstep-agent"
			     : "the guest's agent is not there");
	else if (r < 0)
		fail(d, strerror(-r));
}

/* -- copies ---------------------------------------------------------------- */

static void on_copied(struct data *d);

/* The item's directory, and the stream between it and the agent. */
static int open_tree(const struct data *d, int *ret_dir, struct flow *ret,
		     struct errmsg *err)
{
	int r;

	close(d->pipe[0]);
	*ret_dir = open(item(d)->src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir < 0)
		return errmsg_set(err, -errno, "%s", item(d)->src);
	r = flow_init(ret, d->pipe[1], DIGEST_NONE);
	return r < 0 ? errmsg_set(err, r, "%s", item(d)->src) : 0;
}

static int send_tree(size_t i, const void *what, struct errmsg *err)
{
	const struct data *d = what;
	_cleanup_(flow_done) struct flow out = { 0 };
	_cleanup_close_ int dir = -1;
	struct tree_counts n;
	int r = open_tree(d, &dir, &out, err);

	if (r < 0)
		return r;
	r = tree_send(dir, NULL, &out, &n, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", item(d)->src) : 0;
}

static int receive_tree(size_t i, const void *what, struct errmsg *err)
{
	static const struct tree_options o = { 0 };
	const struct data *d = what;
	_cleanup_(flow_done) struct flow in = { 0 };
	_cleanup_close_ int dir = -1;
	struct tree_counts n;
	int r = open_tree(d, &dir, &in, err);

	if (r < 0)
		return r;
	r = tree_receive(dir, &in, &o, &n, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", item(d)->src) : 0;
}

/* The first words are the cause, what follows from it comes later. */
static void copy_failed(struct data *d, const char *why)
{
	if (!d->failed)
		errmsg_say(&d->why, 0, "%s", why);
	d->failed = true;
}

static void on_worked(const char *error, const int *fds, void *arg)
{
	struct data *d = arg;

	d->worked = true;
	if (error)
		copy_failed(d, error);
	on_copied(d);
}

static void on_chan_end(unsigned int chan, int error, void *arg)
{
	struct data *d = arg;

	d->chan_open = false; /* the agent has the last word */
}

static void on_tree(const struct rpc_reply *reply, void *arg)
{
	struct data *d = arg;

	d->answered = true;
	if (!reply->result)
		copy_failed(d, reply->message);
	on_copied(d);
}

/* Our end of the pipe is the channel's, whatever becomes of it. */
static int open_channel(struct data *d)
{
	struct guest *g = guest(d);
	int fd = TAKE_FD(d->pipe[0]), r;

	d->chan = guest_take_channels(g, 1);
	r = d->out ? mux_recv_fd(guest_mux(g), d->chan, fd, on_chan_end, d)
		   : mux_send_fd(guest_mux(g), d->chan, fd, on_chan_end, d);
	d->chan_open = r == 0;
	return r;
}

static int start_copy(struct data *d, struct errmsg *err)
{
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "pipe");
	d->pipe[0] = p[d->out ? 1 : 0];
	d->pipe[1] = p[d->out ? 0 : 1];
	r = work_start(d->loop, d->out ? receive_tree : send_tree, d, 1,
		       on_worked, d, &d->work, err);
	if (r < 0)
		return r;
	close(TAKE_FD(d->pipe[1]));
	r = open_channel(d);
	return r < 0 ? errmsg_set(err, r, "the agent's port") : 0;
}

/* The directory into the guest, or with @out the other way. */
static void copy(struct data *d, bool out)
{
	struct errmsg err;
	int r;

	if (!guest(d) || !guest_is_there(guest(d))) {
		fail(d, "the guest's agent is not there");
		return;
	}
	d->out = out;
	d->answered = d->worked = d->failed = false;
	r = start_copy(d, &err);
	if (r < 0) {
		fail(d, err.text);
		return;
	}
	ask(d, out ? "tree.get" : "tree.put",
	    json_pack("{s:o, s:i, s:b, s:b, s:s}", "path",
		      param_from_text(item(d)->dst), "data", (int)d->chan,
		      "parents", 1, "owner", 1, "hash", "none"),
	    on_tree);
}

static void on_there(const struct rpc_reply *reply, void *arg)
{
	struct data *d = arg;

	if (!reply->result) {
		fail(d, reply->message);
		return;
	}
	item(d)->there = true;
	done(d);
}

/* Both have to be through: what the process has made is whole then. */
static void on_copied(struct data *d)
{
	/* where the process has failed, the agent's end follows */
	if (!d->answered || (!d->failed && !d->worked))
		return;
	stop(d);
	if (d->failed)
		fail(d, d->why.text);
	else if (d->out)
		done(d);
	else
		ask(d, "fs.mount",
		    json_pack("{s:s, s:o}", "kind", "readonly", "path",
			      param_from_text(item(d)->dst)),
		    on_there);
}

/* -- setting up ------------------------------------------------------------ */

static void set_up_copy(struct data *d)
{
	const struct data_item *i = item(d);

	if (i->there)
		done(d); /* from an earlier hello on */
	else if (i->kind == DATA_OUTPUT)
		ask(d, "fs.mount",
		    json_pack("{s:s, s:o}", "kind", "dir", "path",
			      param_from_text(i->dst)),
		    on_there);
	else
		copy(d, false);
}

/* The guest has no such file system. What it is to write to cannot be a copy,
 * which nobody else would see, but for results. */
static void cannot_mount(struct data *d, const char *why)
{
	struct data_item *i = item(d);
	struct errmsg err;

	if (i->kind == DATA_MOUNT && !i->ro) {
		errmsg_say(
			&err, 0,
			"%s; take a kernel that has it (Debian's linux-image-amd64 has both), or have %s:ro copied into the guest",
			why, i->dst);
		fail(d, err.text);
		return;
	}
	log_debug("%s: %s; it is copied", i->dst, why);
	i->by = BY_COPY;
	set_up_copy(d);
}

static void on_mounted(const struct rpc_reply *reply, void *arg)
{
	struct data *d = arg;
	struct data_item *i = item(d);

	if (reply->result) {
		i->there = true;
		log_debug("%s has %s by %s", i->dst, i->src ? i->src : i->tag,
			  data_by_name(i->by));
		done(d);
	} else if (i->kind == DATA_SCRATCH) {
		log_warn("--vm-scratch: %s: %s; it stays an empty disk", i->dst,
			 reply->message);
		done(d);
	} else if (i->by != BY_DISK && reply->code == RPC_E_NOTSUP) {
		cannot_mount(d, reply->message);
	} else {
		fail(d, reply->message);
	}
}

static void mount_item(struct data *d)
{
	const struct data_item *i = item(d);

	ask(d, "fs.mount",
	    json_pack("{s:s, s:s, s:o, s:b, s:b}", "kind", data_by_name(i->by),
		      "source", i->tag, "path", param_from_text(i->dst), "ro",
		      (int)i->ro, "format", i->kind == DATA_SCRATCH),
	    on_mounted);
}

static void set_up_item(struct data *d)
{
	const struct data_item *i = item(d);

	if (i->kind == DATA_SCRATCH && guest(d) && guest_uses_qga(guest(d))) {
		log_warn(
			"--vm-scratch: %s: vmstep-agent would format and mount it, and is not in this guest; it stays an empty disk",
			i->dst);
		done(d);
	} else if (i->by == BY_COPY) {
		set_up_copy(d);
	} else {
		mount_item(d);
	}
}

/* -- the user -------------------------------------------------------------- */

static void on_user(const struct rpc_reply *reply, void *arg)
{
	struct data *d = arg;
	struct errmsg err;

	if (reply->result) {
		d->user_done = true;
		next(d);
		return;
	}
	errmsg_say(&err, 0, "--vm-user=me: %s", reply->message);
	end(d, err.text);
}

static json_t *user_params(const struct data *d)
{
	const uint8_t *key = machine_seed_key(d->machine);
	const struct passwd *pw = getpwuid(getuid());
	const struct group *gr = getgrgid(getgid());
	const char *name = d->spec->guest_user;
	struct sshkey user, host;
	char home[300];
	json_t *p;

	snprintf(home, sizeof(home), "/home/%s", name);
	p = json_pack("{s:o, s:o, s:o, s:I, s:I}", "name",
		      param_from_text(name), "group",
		      param_from_text(gr ? gr->gr_name : name), "home",
		      param_from_text(pw && pw->pw_dir && *pw->pw_dir == '/' &&
						      pw->pw_dir[1]
					      ? pw->pw_dir
					      : home),
		      "uid", (json_int_t)getuid(), "gid", (json_int_t)getgid());
	if (!p || !key || seed_ssh_keys(key, &user, &host, NULL) < 0)
		return p;
	json_object_set_new(p, "authorized",
			    json_sprintf("%s vmstep\n", user.pub));
	json_object_set_new(p, "private_key", json_string(user.priv));
	explicit_bzero(&user, sizeof(user));
	explicit_bzero(&host, sizeof(host));
	return p;
}

static void add_user(struct data *d)
{
	struct guest *g = guest(d);
	int r = g ? guest_request(g, "user.add", user_params(d), on_user, d)
		  : -ENOTCONN;

	if (r < 0)
		end(d,
		    "--vm-user=me: vmstep-agent has to make the user, and it is not in this guest: take an image with cloud-init or vmstep-agent, or name a user by --vm-user");
}

/* -- collecting ------------------------------------------------------------ */

static void on_synced(const struct rpc_reply *reply, void *arg)
{
	struct data *d = arg;

	if (reply->result)
		done(d);
	else
		fail(d, reply->message);
}

static void collect_item(struct data *d)
{
	const struct data_item *i = item(d);

	if (!i->there || i->ro || i->kind == DATA_SCRATCH)
		done(d);
	else if (i->by == BY_COPY)
		copy(d, true);
	else
		ask(d, "fs.sync",
		    json_pack("{s:o}", "path", param_from_text(i->dst)),
		    on_synced);
}

/* -------------------------------------------------------------------------- */

/* Mounts come before the user, whose home may be one. */
static void next(struct data *d)
{
	bool more = d->at < machine_data(d->machine)->n;

	if (more && d->collecting)
		collect_item(d);
	else if (more)
		set_up_item(d);
	else if (!d->collecting && d->spec->user_is_me && !d->user_done)
		add_user(d);
	else
		end(d, NULL);
}

static void begin(struct data *d, bool collecting, guest_done_fn fn, void *arg)
{
	stop(d);
	d->collecting = collecting;
	d->at = 0;
	d->user_done = false;
	d->fn = fn;
	d->arg = arg;
	next(d);
}

void data_setup(struct data *d, guest_done_fn fn, void *arg)
{
	begin(d, false, fn, arg);
}

void data_collect(struct data *d, guest_done_fn fn, void *arg)
{
	begin(d, true, fn, arg);
}

void data_forget(struct data *d)
{
	stop(d);
	d->fn = NULL;
}

void data_reset(struct data *d)
{
	struct data_items *all = machine_data(d->machine);

	data_forget(d);
	for (size_t i = 0; i < all->n; i++)
		all->v[i].there = false;
}

bool data_has_results(const struct data *d)
{
	const struct data_items *all = machine_data(d->machine);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].there && !all->v[i].ro &&
		    all->v[i].kind != DATA_SCRATCH)
			return true;
	return false;
}

int data_new(struct loop *l, const struct task *t, const struct spec *s,
	     struct machine *m, struct data **ret, struct errmsg *err)
{
	struct data *d = calloc(1, sizeof(*d));

	if (!d)
		return errmsg_set(err, -ENOMEM, "data");
	d->loop = l;
	d->task = t;
	d->spec = s;
	d->machine = m;
	d->pipe[0] = d->pipe[1] = -1;
	*ret = d;
	return 0;
}

void data_free(struct data *d)
{
	if (!d)
		return;
	stop(d);
	free(d);
}
