/* test_plugin.h - what the tests of the plugin share: a cluster a test
 *
 * Include cmocka.h, with what that wants, before it.
 */
#ifndef VMSTEP_TEST_PLUGIN_H
#define VMSTEP_TEST_PLUGIN_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster.h"
#include "plugin.h"

#define STEP_0 STEP_ENV "0"
#define STEP_1 STEP_ENV "1"
#define HEAD   PACKAGE_VERSION "\n"

struct test {
	struct cluster *c;
	struct played job;  /* sbatch or salloc, which others run in */
	struct played srun; /* what a node or an epilog is told of */
	struct played run;  /* what is looked at */
	char user[128];	    /* the user's directory under runtime_dir */
};

static inline int test_setup(void **state)
{
	struct test *t = calloc(1, sizeof(*t));
	int r = cluster_setup((void **)&t->c);

	snprintf(t->user, sizeof(t->user), "%s/%u", t->c->runtime, getuid());
	*state = t;
	return r;
}

static inline int test_teardown(void **state)
{
	struct test *t = *state;

	played_done(&t->job);
	played_done(&t->srun);
	played_done(&t->run);
	cluster_teardown((void **)&t->c);
	free(t);
	return 0;
}

#define TEST(text, fn)                                    \
	{                                                 \
		text, fn, test_setup, test_teardown, NULL \
	}

#endif
