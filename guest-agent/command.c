#include <config.h>

#include "command.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spawn.h"

struct command {
	command_fn fn;
	void *arg;
};

static void on_end(pid_t pid, int wstatus, void *arg)
{
	struct command c = *(struct command *)arg;

	free(arg);
	c.fn(wstatus, c.arg);
}

int command_run(struct loop *l, const char *const *argv, command_fn fn,
		void *arg, struct errmsg *err)
{
	char path[] = "PATH=" SPAWN_PATH;
	char *env[] = { path, NULL };
	gid_t group = getegid();
	char root[] = "/";
	const struct account self = { .uid = geteuid(),
				      .gid = group,
				      .groups = &group,
				      .n_groups = 1,
				      .home = root };
	const struct spawn s = { .argv = (char *const *)argv,
				 .envp = env,
				 .user = &self,
				 .in = -1,
				 .out = -1,
				 .err = STDERR_FILENO };
	struct command *c = malloc(sizeof(*c));
	int r, status;
	pid_t pid;

	if (!c)
		return errmsg_set(err, -ENOMEM, "%s", argv[0]);
	*c = (struct command){ fn, arg };
	r = spawn_start(&s, &pid, &status, err);
	if (r < 0) {
		free(c);
		return r;
	}
	close(status); /* its exit status says enough */
	r = loop_child(l, pid, on_end, c);
	if (r == 0)
		return 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	free(c);
	return errmsg_set(err, r, "%s", argv[0]);
}
