#include <config.h>

#include "signs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op_vm.h"

struct signs {
	struct service_conf conf;
	struct op_event *events;
	struct loop_timer *overdue;
	const char *vm, *agent; /* as they were; of op_vm.c's constants */
	char boot_id[64];	/* of the agent that joined; "": none */
};

static void say(const struct signs *s, const char *kind, const char *name,
		const char *value)
{
	op_event_say(s->events, kind,
		     value ? json_pack("{s:s}", name, value) : NULL);
}

/* -- the VM ---------------------------------------------------------------- */

static void look_at_vm(struct signs *s)
{
	const char *now = op_vm_state(s->conf.machine);
	char kind[32];

	if (strcmp(now, s->vm) == 0)
		return;
	snprintf(kind, sizeof(kind), "vm.%s", now);
	say(s, kind, "from", s->vm);
	s->vm = now;
}

/* -- the agent ------------------------------------------------------------- */

static const char *boot_id_of(const struct guest *g)
{
	const char *id = json_string_value(
		json_object_get(g ? guest_hello(g) : NULL, "boot_id"));

	return id ? id : "?";
}

/* Another one has said hello, maybe before the first was seen to be gone. */
static void look_for_hello(struct signs *s)
{
	const struct guest *g = machine_guest(s->conf.machine);
	const char *id = boot_id_of(g);

	if (!g || !guest_is_there(g) ||
	    strncmp(id, s->boot_id, sizeof(s->boot_id) - 1) == 0)
		return;
	if (s->boot_id[0])
		say(s, "task.left", "reason", NULL);
	snprintf(s->boot_id, sizeof(s->boot_id), "%s", id);
	say(s, "task.joined", "boot_id", s->boot_id);
	s->agent = "alive";
}

static void leave(struct signs *s)
{
	const struct guest *g = machine_guest(s->conf.machine);

	if (!s->boot_id[0])
		return;
	s->boot_id[0] = '\0';
	say(s, "task.left", "reason", g ? guest_bye(g) : NULL);
}

static void look_at_agent(struct signs *s)
{
	const struct machine *m = s->conf.machine;
	const char *now = op_vm_agent_state(m);
	const char *was = s->agent;

	look_for_hello(s);
	if (!machine_runs(m))
		now = "gone";
	s->agent = now;
	if (!s->boot_id[0] || strcmp(now, was) == 0)
		return;
	if (strcmp(now, "gone") == 0)
		leave(s);
	else if (strcmp(now, "late") == 0)
		say(s, "task.late", "agent", NULL);
	else if (strcmp(now, "lost") == 0)
		say(s, "task.lost", "agent", NULL);
	else if (strcmp(was, "late") == 0 || strcmp(was, "lost") == 0)
		say(s, "task.back", "agent", NULL);
}

/* When the agent, as it is now, will be late, lost, or back. */
static void watch_overdue(struct signs *s)
{
	int64_t interval_ms = 1000 * (int64_t)s->conf.task->beacon_interval_s;
	const struct guest *g = machine_guest(s->conf.machine);
	int64_t age_ms, due_ms = interval_ms;

	if (!g || !guest_is_there(g) || !machine_runs(s->conf.machine) ||
	    machine_is_paused(s->conf.machine)) {
		loop_timer_set(s->overdue, -1);
		return;
	}
	age_ms = loop_now_ms() - guest_seen_ms(g);
	if (age_ms < 3 * interval_ms)
		due_ms = 3 * interval_ms - age_ms;
	else if (age_ms < 9 * interval_ms / 2)
		due_ms = 9 * interval_ms / 2 - age_ms;
	loop_timer_set(s->overdue, due_ms);
}

void signs_changed(struct signs *s)
{
	look_at_vm(s);
	look_at_agent(s);
	watch_overdue(s);
}

static void on_overdue(void *arg)
{
	signs_changed(arg);
}

void signs_reset(struct signs *s)
{
	say(s, "vm.reset", "by", NULL);
}

/* -- processes ------------------------------------------------------------- */

static void on_proc(struct proc *p, void *arg)
{
	struct signs *s = arg;

	op_event_say(s->events,
		     proc_state(p) == PROC_RUNNING ? "proc.start" : "proc.exit",
		     proc_json(p, false));
}

void signs_has_guest(struct signs *s)
{
	procs_set_watch(guest_procs(machine_guest(s->conf.machine)), on_proc,
			s);
}

/* -------------------------------------------------------------------------- */

int signs_new(const struct service_conf *conf, struct op_event *events,
	      struct signs **ret)
{
	struct signs *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	s->events = events;
	s->vm = "created";
	s->agent = "none";
	if (loop_timer_add(conf->loop, -1, on_overdue, s, &s->overdue) < 0) {
		free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

void signs_free(struct signs *s)
{
	struct guest *g;

	if (!s)
		return;
	g = s->conf.machine ? machine_guest(s->conf.machine) : NULL;
	if (g)
		procs_set_watch(guest_procs(g), NULL, NULL);
	loop_timer_free(s->overdue);
	free(s);
}
