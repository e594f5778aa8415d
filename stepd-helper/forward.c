#include <config.h>

#include "forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "usernet.h"

#define TRIES_MAX 64 /* for a free port */

struct forward {
	struct qmp *q;
	const struct task *task;
	const struct spec *spec;
	forward_fn fn;
	void *arg;
	struct publish ports[PUBLISH_MAX];
	size_t n, at;
	unsigned int tries; /* for the one at hand */
};

/* One that nobody listens at, at this moment. */
static uint16_t free_port(bool udp)
{
	_cleanup_close_ int fd = socket(
		AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return 0;
	return ntohs(sa.sin_port);
}

static uint16_t candidate(const struct forward *f)
{
	const struct task *t = f->task;
	unsigned int size = t->publish_last - t->publish_first + 1u;

	if (t->publish_last == UINT16_MAX)
		return free_port(f->ports[f->at].udp);
	/* the node's tasks begin at different places of the site's range */
	return (uint16_t)(t->publish_first +
			  (t->job * 31 + t->rank * PUBLISH_MAX +
			   (unsigned int)f->at + f->tries) %
				  size);
}

static unsigned int tries_max(const struct forward *f)
{
	const struct task *t = f->task;

	if (f->spec->ports[f->at].host)
		return 1;
	return t->publish_last == UINT16_MAX
		       ? TRIES_MAX
		       : t->publish_last - t->publish_first + 1u;
}

static void on_answer(json_t *result, const char *error, void *arg);

static void ask(struct forward *f)
{
	struct publish *p = &f->ports[f->at];
	char line[128];

	if (!f->spec->ports[f->at].host)
		p->host = candidate(f);
	f->tries++;
	snprintf(line, sizeof(line),
		 "hostfwd_add " USERNET_ID " %s:127.0.0.1:%u-:%u",
		 p->udp ? "udp" : "tcp", p->host, p->guest);
	if (qmp_send(f->q, "human-monitor-command",
		     json_pack("{s:s}", "command-line", line), on_answer,
		     f) < 0)
		f->fn("QEMU takes no orders", f->arg);
}

static void give_up(struct forward *f, const char *words)
{
	const struct publish *p = &f->ports[f->at];
	struct errmsg err;

	if (f->spec->ports[f->at].host)
		errmsg_say(
			&err, 0,
			"--vm-publish=%u: port %u of 127.0.0.1 on %s cannot be had, another program may have it: name another, or none, for a free one",
			p->guest, p->host, f->task->node);
	else
		errmsg_say(
			&err, 0,
			"--vm-publish=%u: no port of %u-%u is free on %s: %.200s",
			p->guest, f->task->publish_first, f->task->publish_last,
			f->task->node, words);
	err.text[strcspn(err.text, "\r\n")] = '\0';
	f->fn(err.text, f->arg);
}

/* What a person would see: nothing, or what is wrong. */
static void on_answer(json_t *result, const char *error, void *arg)
{
	struct forward *f = arg;
	const char *words = error ? error : json_string_value(result);

	if (words && *words && f->tries < tries_max(f)) {
		ask(f);
		return;
	}
	if (words && *words) {
		give_up(f, words);
		return;
	}
	f->tries = 0;
	if (++f->at < f->n)
		ask(f);
	else
		f->fn(NULL, f->arg);
}

int forward_start(struct qmp *q, const struct task *t, const struct spec *s,
		  forward_fn fn, void *arg, struct forward **ret)
{
	struct forward *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->q = q;
	f->task = t;
	f->spec = s;
	f->fn = fn;
	f->arg = arg;
	f->n = s->n_ports;
	memcpy(f->ports, s->ports, sizeof(f->ports));
	*ret = f;
	ask(f);
	return 0;
}

void forward_free(struct forward *f)
{
	free(f);
}

const struct publish *forward_ports(const struct forward *f, size_t *ret_n)
{
	*ret_n = f ? f->at : 0;
	return f ? f->ports : NULL;
}
