#include <config.h>

#include "ucx_worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "ucx_lib.h"

#define AM_ID	 1
#define PROGRESS 256   /* events a round */
#define CLOSE_MS 1000  /* for what was sent to leave */
#define LAST_MS	 500   /* the same, when we end */
#define VAIN_MAX 1000  /* wake-ups for nothing, one after the other */
#define VAIN_MS	 2     /* from then on, until something moves */
#define SEGMENT	 "80k" /* a message, its headers and UCX's own */

/* From EP_LEFT on nobody sends through it. */
enum ep_state { EP_OPEN, EP_LEFT, EP_FLUSHING, EP_CLOSING };

struct ucx_ep {
	struct ucx_worker *worker;
	struct ucx_ep *next; /* in worker's eps */
	ucp_ep_h ep;	     /* UCX's own once it is closing */
	enum ep_state state;
	void *owner; /* NULL: nobody wants to hear of it */
	size_t sending;
	const char *failed; /* why; NULL: it works */
	bool in_order;
	ucs_status_ptr_t request; /* to flush or close; NULL: none */
	int fd;
	int64_t until_ms; /* what has not left by then does not */
};

struct ucx_worker {
	const struct ucx_lib *lib;
	struct loop *loop;
	const struct ucx_worker_events *events;
	void *arg;
	ucp_context_h context;
	ucp_worker_h worker;
	ucp_address_t *address;
	size_t address_len;
	int efd; /* UCX's */
	struct loop_io *io;
	struct loop_timer *timer;
	struct ucx_ep *eps;
	bool running;
	unsigned int in_vain; /* so often it was asked for nothing */
};

/* UCX wants to be asked again before it can be slept on. */
static void soon(struct ucx_worker *w)
{
	loop_timer_set(w->timer, 0);
}

/* -- receiving ------------------------------------------------------------ */

static ucs_status_t on_am(void *arg, const void *header, size_t header_len,
			  void *data, size_t len,
			  const ucp_am_recv_param_t *param)
{
	struct ucx_worker *w = arg;

	if (header_len != UCX_HEADER_LEN ||
	    (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV))
		w->events->stray(w->arg); /* which drops it */
	else
		w->events->message(header, data, len, w->arg);
	return UCS_OK;
}

static void end_failed(struct ucx_worker *w)
{
	struct ucx_ep *ep = w->eps;
	void *owner;

	while (ep) {
		owner = ep->failed ? ep->owner : NULL;
		if (!owner) {
			ep = ep->next;
			continue;
		}
		ep->owner = NULL;
		w->events->failed(owner, ep->failed, w->arg);
		ep = w->eps; /* others may be gone with it */
	}
}

static void drop_request(struct ucx_ep *ep)
{
	if (ep->request)
		ep->worker->lib->ucp_request_free(ep->request);
	ep->request = NULL;
}

static bool is_done(struct ucx_ep *ep)
{
	if (ep->request && ep->worker->lib->ucp_request_check_status(
				   ep->request) == UCS_INPROGRESS)
		return false;
	drop_request(ep);
	return true;
}

static void begin(struct ucx_ep *ep, enum ep_state state, ucs_status_ptr_t r)
{
	ep->state = state;
	ep->request = UCS_PTR_IS_PTR(r) ? r : NULL;
}

/* UCX closes in order by itself, but then a peer that takes nothing any more
 * keeps it, and what was sent, for ever. */
static void move_on(struct ucx_ep *ep)
{
	static const ucp_request_param_t none;
	static const ucp_request_param_t force = {
		.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
		.flags = UCP_EP_CLOSE_FLAG_FORCE,
	};
	const struct ucx_lib *lib = ep->worker->lib;

	if (ep->state == EP_LEFT)
		begin(ep, EP_FLUSHING,
		      ep->in_order ? lib->ucp_ep_flush_nbx(ep->ep, &none)
				   : NULL);
	if (ep->state == EP_FLUSHING &&
	    (is_done(ep) || loop_now_ms() >= ep->until_ms)) {
		drop_request(ep);
		begin(ep, EP_CLOSING, lib->ucp_ep_close_nbx(ep->ep, &force));
	}
}

static bool is_closed(struct ucx_ep *ep)
{
	return ep->state == EP_CLOSING && is_done(ep) && !ep->sending;
}

static void ep_free(struct ucx_ep *ep)
{
	if (ep->fd >= 0)
		close(ep->fd);
	free(ep);
}

/* Returns when to look again, -1: no need. */
static int64_t reap(struct ucx_worker *w)
{
	int64_t now = loop_now_ms(), next = -1;
	struct ucx_ep **at = &w->eps, *ep;

	while ((ep = *at)) {
		if (ep->state != EP_OPEN)
			move_on(ep);
		if (is_closed(ep)) {
			*at = ep->next;
			ep_free(ep);
			continue;
		}
		if (ep->state == EP_FLUSHING &&
		    (next < 0 || ep->until_ms - now < next))
			next = ep->until_ms - now;
		at = &ep->next;
	}
	return next;
}

/* True: it may be slept on. */
static bool progress(struct ucx_worker *w)
{
	const struct ucx_lib *lib = w->lib;

	w->in_vain++;
	for (int n = 0; n < PROGRESS;) {
		while (n < PROGRESS && lib->ucp_worker_progress(w->worker)) {
			w->in_vain = 0;
			n++;
		}
		if (n < PROGRESS &&
		    lib->ucp_worker_arm(w->worker) != UCS_ERR_BUSY)
			return true;
		n++;
	}
	return false;
}

/* As long as a peer owes it a handshake UCX wants to be asked all the time,
 * though there is nothing to do: one that is stopped would keep us busy for
 * ever. Then it is asked every now and then. */
static bool is_nagging(struct ucx_worker *w, bool settled)
{
	struct pollfd p = { .fd = w->efd, .events = POLLIN };

	if (w->in_vain >= VAIN_MAX && settled && poll(&p, 1, 0) == 0)
		w->in_vain = 0;
	loop_io_set(w->io, w->in_vain >= VAIN_MAX ? 0 : EPOLLIN);
	return w->in_vain >= VAIN_MAX;
}

void ucx_worker_poll(struct ucx_worker *w)
{
	bool settled;
	int64_t next;

	if (w->running)
		return;
	w->running = true;
	settled = progress(w);
	end_failed(w);
	next = reap(w);
	w->running = false;
	if (is_nagging(w, settled))
		loop_timer_set(w->timer, VAIN_MS);
	else if (!settled)
		soon(w);
	else if (next >= 0)
		loop_timer_set(w->timer, next);
}

static void on_efd(uint32_t events, void *arg)
{
	ucx_worker_poll(arg);
}

static void on_timer(void *arg)
{
	ucx_worker_poll(arg);
}

/* -- endpoints ------------------------------------------------------------ */

static void on_ep_error(void *arg, ucp_ep_h ep, ucs_status_t status)
{
	struct ucx_ep *e = arg;

	if (!e->failed)
		e->failed = e->worker->lib->ucs_status_string(status);
	soon(e->worker);
}

int ucx_ep_new(struct ucx_worker *w, const uint8_t *address, void *owner,
	       struct ucx_ep **ret, struct errmsg *err)
{
	struct ucx_ep *ep = calloc(1, sizeof(*ep));
	ucp_ep_params_t params = {
		.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS |
			      UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
			      UCP_EP_PARAM_FIELD_ERR_HANDLER,
		.address = (const ucp_address_t *)address,
		.err_mode = UCP_ERR_HANDLING_MODE_PEER,
		.err_handler = { on_ep_error, ep },
	};
	ucs_status_t st;

	if (!ep)
		return errmsg_set(err, -ENOMEM, "endpoint");
	ep->worker = w;
	ep->owner = owner;
	ep->fd = -1;
	st = w->lib->ucp_ep_create(w->worker, &params, &ep->ep);
	if (st != UCS_OK) {
		free(ep);
		return errmsg_say(err, -EIO, "UCX finds no way there: %s",
				  w->lib->ucs_status_string(st));
	}
	ep->next = w->eps;
	w->eps = ep;
	soon(w);
	*ret = ep;
	return 0;
}

struct sending {
	struct ucx_ep *ep;
	void *what;
};

static void done(struct ucx_ep *ep, void *what, ucs_status_t status)
{
	struct ucx_worker *w = ep->worker;

	if (status != UCS_OK && !ep->failed)
		ep->failed = w->lib->ucs_status_string(status);
	if (ep->failed || ep->state != EP_OPEN)
		soon(w);
	w->events->sent(what, w->arg);
}

static void on_sent(void *request, ucs_status_t status, void *arg)
{
	struct sending *s = arg;
	struct ucx_ep *ep = s->ep;
	void *what = s->what;

	free(s);
	ep->worker->lib->ucp_request_free(request);
	ep->sending--;
	done(ep, what, status);
}

void ucx_send(struct ucx_ep *ep, const uint8_t *header, const void *data,
	      size_t len, void *what)
{
	struct sending *s = malloc(sizeof(*s));
	const ucp_request_param_t param = {
		.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
				UCP_OP_ATTR_FIELD_USER_DATA |
				UCP_OP_ATTR_FIELD_FLAGS,
		.flags = UCP_AM_SEND_FLAG_EAGER,
		.cb.send = on_sent,
		.user_data = s,
	};
	ucs_status_ptr_t r;

	soon(ep->worker);
	if (!s || ep->failed) {
		free(s);
		done(ep, what, UCS_ERR_NO_MEMORY);
		return;
	}
	*s = (struct sending){ ep, what };
	r = ep->worker->lib->ucp_am_send_nbx(ep->ep, AM_ID, header,
					     UCX_HEADER_LEN, data, len, &param);
	if (UCS_PTR_IS_PTR(r)) {
		ep->sending++;
		return;
	}
	free(s);
	done(ep, what, UCS_PTR_STATUS(r));
}

/* Not from here: UCX may be in the middle of it. */
void ucx_ep_close(struct ucx_ep *ep, bool in_order, int fd)
{
	ep->owner = NULL;
	ep->state = EP_LEFT;
	ep->in_order = in_order && !ep->failed;
	ep->fd = fd;
	ep->until_ms = loop_now_ms() + CLOSE_MS;
	soon(ep->worker);
}

/* -- life ----------------------------------------------------------------- */

static int configure(const struct ucx_lib *lib, bool rdma, const char *device,
		     ucp_config_t **ret, struct errmsg *err)
{
	const struct {
		const char *name, *value;
	} settings[] = {
		{ "TLS", rdma ? "ib" : "tcp" },
		{ "NET_DEVICES", device ? device : "all" },
		{ "MAX_EAGER_LANES", "1" }, /* else messages may overtake */
		{ "KEEPALIVE_INTERVAL", "inf" }, /* the connection has one */
		{ "TCP_TX_SEG_SIZE", SEGMENT },
		{ "TCP_RX_SEG_SIZE", SEGMENT },
		{ "TCP_TX_BUFS_GROW", "2" },
		{ "TCP_RX_BUFS_GROW", "2" },
		{ "TCP_MAX_NUM_EPS", "inf" },
		{ "TCP_CONN_NB", "y" }, /* or all wait for one connect() */
	};
	ucs_status_t st = lib->ucp_config_read(NULL, NULL, ret);

	for (size_t i = 0; i < ARRAY_SIZE(settings) && st == UCS_OK; i++) {
		st = lib->ucp_config_modify(*ret, settings[i].name,
					    settings[i].value);
		if (st != UCS_OK)
			errmsg_say(err, -EIO, "UCX takes no %s=%s: %s",
				   settings[i].name, settings[i].value,
				   lib->ucs_status_string(st));
	}
	return st == UCS_OK ? 0 : -EIO;
}

static ucs_status_t make_worker(struct ucx_worker *w,
				const ucp_config_t *config)
{
	const struct ucx_lib *lib = w->lib;
	const ucp_params_t params = {
		.field_mask = UCP_PARAM_FIELD_FEATURES,
		.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
	};
	const ucp_worker_params_t worker = {
		.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
		.thread_mode = UCS_THREAD_MODE_SINGLE,
	};
	const ucp_am_handler_param_t am = {
		.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID |
			      UCP_AM_HANDLER_PARAM_FIELD_CB |
			      UCP_AM_HANDLER_PARAM_FIELD_ARG,
		.id = AM_ID,
		.cb = on_am,
		.arg = w,
	};
	ucs_status_t st;

	st = lib->ucp_init_version(UCP_API_MAJOR, UCP_API_MINOR, &params,
				   config, &w->context);
	if (st == UCS_OK)
		st = lib->ucp_worker_create(w->context, &worker, &w->worker);
	if (st == UCS_OK)
		st = lib->ucp_worker_set_am_recv_handler(w->worker, &am);
	if (st == UCS_OK)
		st = lib->ucp_worker_get_address(w->worker, &w->address,
						 &w->address_len);
	if (st == UCS_OK)
		st = lib->ucp_worker_get_efd(w->worker, &w->efd);
	return st;
}

/* Its thread shall have none of our signals: what the loop blocks later would
 * end the process there. */
static int start(struct ucx_worker *w, bool rdma, const char *device,
		 struct errmsg *err)
{
	ucp_config_t *config = NULL;
	sigset_t all, before;
	ucs_status_t st;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = ucx_lib_load(rdma, &w->lib, err);
	if (r == 0)
		r = configure(w->lib, rdma, device, &config, err);
	if (r == 0) {
		st = make_worker(w, config);
		if (st != UCS_OK)
			r = errmsg_say(err, -EIO,
				       "UCX does not start at %s: %s",
				       device ? device : "any device",
				       w->lib->ucs_status_string(st));
	}
	if (config)
		w->lib->ucp_config_release(config);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int ucx_worker_new(struct loop *l, bool rdma, const char *device,
		   const struct ucx_worker_events *events, void *arg,
		   struct ucx_worker **ret, struct errmsg *err)
{
	struct ucx_worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return errmsg_set(err, -ENOMEM, "UCX");
	w->loop = l;
	w->events = events;
	w->arg = arg;
	r = start(w, rdma, device, err);
	if (r == 0)
		r = loop_io_add(l, w->efd, EPOLLIN, on_efd, w, &w->io);
	if (r == 0)
		r = loop_timer_add(l, 0, on_timer, w, &w->timer);
	if (r < 0) {
		ucx_worker_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

/* The last words of a step's end are still to leave. */
static void wait_for_closes(struct ucx_worker *w)
{
	struct pollfd p = { .fd = w->efd, .events = POLLIN };
	int64_t until = loop_now_ms() + LAST_MS;

	for (struct ucx_ep *ep = w->eps; ep; ep = ep->next) {
		if (ep->state == EP_OPEN)
			ep->state = EP_LEFT;
		if (ep->until_ms > until)
			ep->until_ms = until;
	}
	for (;;) {
		bool settled = progress(w);

		reap(w);
		if (!w->eps || loop_now_ms() >= until + LAST_MS)
			return;
		if (settled)
			poll(&p, 1, 10);
	}
}

void ucx_worker_free(struct ucx_worker *w)
{
	if (!w)
		return;
	if (w->worker)
		wait_for_closes(w);
	loop_io_free(w->io);
	loop_timer_free(w->timer);
	if (w->address)
		w->lib->ucp_worker_release_address(w->worker, w->address);
	if (w->worker)
		w->lib->ucp_worker_destroy(w->worker);
	if (w->context)
		w->lib->ucp_cleanup(w->context);
	while (w->eps) { /* UCX knows of none of them any more */
		struct ucx_ep *ep = w->eps;

		w->eps = ep->next;
		ep_free(ep);
	}
	free(w);
}

const uint8_t *ucx_worker_address(const struct ucx_worker *w, size_t *ret_len)
{
	*ret_len = w->address_len;
	return (const uint8_t *)w->address;
}
