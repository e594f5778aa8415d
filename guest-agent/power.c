#include <config.h>

#include "power.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "cleanup.h"
#include "command.h"
#include "log.h"
#include "param.h"

/* An init that was told has so long until we do it ourselves: we would not be
 * there any more if it had done anything. systemd is not hurried: its stop jobs
 * may take longer, and the host has a limit of its own. */
#define INIT_MS 10000
/* For the answer to reach the host. */
#define ANSWER_MS 50

static const struct how {
	const char *word;
	const char *const systemctl[4], *const init[2];
	int reboot;
} hows[] = {
	{ "poweroff",
	  { "systemctl", "--no-block", "poweroff" },
	  { "poweroff" },
	  RB_POWER_OFF },
	{ "reboot",
	  { "systemctl", "--no-block", "reboot" },
	  { "reboot" },
	  RB_AUTOBOOT },
};

struct shutdown {
	struct loop *loop; /* borrowed */
	struct loop_timer *timer;
	const struct how *how;
	enum { BEGIN, SYSTEMD, INIT, FORCE } step;
};

int power_parse(const json_t *params, int *ret_how, struct errmsg *err)
{
	const char *const words[] = { hows[0].word, hows[1].word, NULL };

	*ret_how = 0;
	return param_word(params, "how", words, ret_how, err);
}

static void force(const struct shutdown *s)
{
	log_warn("no init does the %s: forcing it", s->how->word);
	sync();
	if (reboot(s->how->reboot) < 0)
		log_err("%s failed", s->how->word);
}

static void next_step(struct shutdown *s);

static void on_command(int wstatus, void *arg)
{
	struct shutdown *s = arg;

	if (wstatus != 0)
		next_step(s);
	else if (s->step == INIT)
		loop_timer_set(s->timer, INIT_MS);
}

static void try_command(struct shutdown *s, const char *const *argv)
{
	if (command_run(s->loop, argv, on_command, s, NULL) < 0)
		next_step(s);
}

static void next_step(struct shutdown *s)
{
	s->step++;
	if (s->step == SYSTEMD && access("/run/systemd/system", F_OK) != 0)
		s->step++;
	if (s->step == SYSTEMD)
		try_command(s, s->how->systemctl);
	else if (s->step == INIT)
		try_command(s, s->how->init);
	else
		force(s);
}

static void on_timer(void *arg)
{
	next_step(arg);
}

static struct shutdown *shutdown_new(struct loop *l, const struct how *how)
{
	struct shutdown *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = l;
	s->how = how;
	if (loop_timer_add(l, ANSWER_MS, on_timer, s, &s->timer) == 0)
		return s;
	free(s);
	return NULL;
}

void power_free(struct agent *a)
{
	if (!a->shutdown)
		return;
	loop_timer_free(a->shutdown->timer);
	free(TAKE_PTR(a->shutdown));
}

void power_shutdown(struct rpc_call *call, const json_t *params, void *agent)
{
	struct agent *a = agent;
	struct errmsg err;
	int how;

	if (power_parse(params, &how, &err) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
		return;
	}
	if (!a->shutdown) { /* asked twice, it is done once */
		log_info("%s, as the host asks", hows[how].word);
		a->shutdown = shutdown_new(a->loop, &hows[how]);
		rpc_notify(a->rpc, "agent.bye",
			   json_pack("{s:s}", "reason", hows[how].word));
	}
	if (a->shutdown)
		rpc_result(call, NULL);
	else
		rpc_fail(call, RPC_E_OS, "out of memory");
}
