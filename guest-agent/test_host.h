/* test_host.h - for tests of the agent: the real one (VMSTEP_AGENT, or the one
 * built here) over a unix socket, and the test as its host
 */
#ifndef VMSTEP_TEST_HOST_H
#define VMSTEP_TEST_HOST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop.h"
#include "mux.h"

struct fixture {
	char dir[64], path[80];
	struct loop *loop;
	struct loop_timer *tick;
	int listener, port;
	struct mux *mux;
	pid_t agent;
	int n_up, n_hello, n_done;
	bool attach;   /* the host says that it may take over processes */
	int n_results; /* answers that are no errors */
	json_t *hello;
	json_int_t last_id;
	json_t *reply;	/* to the last request */
	json_t *exits;	/* proc.exit, by proc */
	json_t *opened; /* the last file.opened */
	unsigned int last_chan;
};

/* Of cmocka; *state is a struct fixture. */
int setup(void **state);
int teardown(void **state);

pid_t run_agent(struct fixture *f, const char *option, int err_fd);
void accept_agent(struct fixture *f);
void hang_up(struct fixture *f);

void spin(struct fixture *f);
void pass(struct fixture *f, int64_t ms);

#define WAIT_FOR(f, condition)                             \
	do {                                               \
		int64_t end_ = loop_now_ms() + 30000;      \
		while (!(condition)) {                     \
			assert_true(loop_now_ms() < end_); \
			spin(f);                           \
		}                                          \
	} while (0)

/* Ask and wait for the answer; @params are stolen, the answer is borrowed. */
json_t *ask(struct fixture *f, const char *method, json_t *params);
/* The same, without waiting: f->reply. */
void ask_only(struct fixture *f, const char *method, json_t *params);
json_t *result_of(json_t *reply);
void check_error(json_t *reply, int code, const char *what);

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

#endif
