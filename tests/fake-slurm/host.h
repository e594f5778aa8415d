/* host.h - one Slurm program with one plugin: the host's side of spank.h
 *
 * Loads the plugin, keeps the options it registers, calls it, and answers its
 * spank_*() calls as Slurm 22.05 does: an item that Slurm would not give in
 * this context is refused here too. State is the process's, as in Slurm.
 */
#ifndef FAKE_SLURM_HOST_H
#define FAKE_SLURM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Plugins look these up in the program that loads them. */
#pragma GCC visibility push(default)
#include <slurm/spank.h>
#pragma GCC visibility pop

enum host_call {
	CALL_INIT,
	CALL_POST_OPT,
	CALL_LOCAL_USER_INIT,
	CALL_USER_INIT,
	CALL_TASK_INIT_PRIVILEGED,
	CALL_TASK_INIT,
	CALL_TASK_POST_FORK,
	CALL_TASK_EXIT,
	CALL_EXIT,
	CALL_JOB_PROLOG,
	CALL_JOB_EPILOG,
	CALL_SLURMD_EXIT,
	CALL_COUNT,
};

/* An option that the plugin registered. */
struct host_option {
	struct spank_option def; /* its texts copied */
	char *env_name;		 /* "_SLURM_SPANK_OPTION_vmstep_vm_image" */
	char *last;		 /* the last argument; NULL: none */
	bool found;
};

/* What spank_get_item() tells; a program fills in what it knows. */
struct host_job {
	uint32_t job, step, nodes, node_id, local_tasks, tasks, cpus;
	uint64_t mem_mib;
	uid_t uid;
	gid_t gid;
	char **argv; /* NULL-terminated; the plugin may change elements */
	char **env;  /* of slurmstepd's; owned, see host_env_*() */
	uint32_t rank, local_id; /* of the task at hand */
	bool in_task, exited;
	int wait_status;
};

extern struct host {
	spank_context_t context;
	bool required; /* as of plugstack.conf */
	bool has_job;
	struct host_job job;
	struct host_option *options; /* owned */
	size_t n_options;
} host;

/* Load @plugin; @argv are its arguments in plugstack.conf. */
void host_load(const char *plugin, char **argv, int argc);
/* Call it. Returns false if a required plugin failed. */
bool host_call(enum host_call which);
/* Call the callback of option @i as Slurm does; 0, or what it returned. */
int host_option_given(size_t i, const char *arg, int remote);

const char *host_env_get(const char *name);
void host_env_set(const char *name, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void host_env_unset(const char *name);

#endif
