/* fake-slurm.c - srun, sbatch, salloc, slurmd, slurmstepd and the epilog, as a
 * SPANK plugin meets them
 *
 * One program, and argv[0] says which it plays, so that the plugin finds in
 * /proc/self/cmdline what it would find there in Slurm ("slurmstepd: [12.0]").
 * Nothing is scheduled and nothing is sent: what srun would launch, and what
 * the task would exec, is reported (report.h) to the test, which hands it on.
 *
 * What is played is the order of calls that spank.h draws, and these habits of
 * Slurm 22.05 (src/common/plugstack.c, src/srun, src/slurmd/slurmstepd):
 *   - of a repeated option only the last argument goes to the nodes, while the
 *     callback in srun sees each;
 *   - SLURM_SPANK__SLURM_SPANK_OPTION_* is replayed as if it had been typed,
 *     again for each component of a heterogeneous step;
 *   - on the node the callback runs twice, from the message and from the
 *     environment; a flag brings NULL, then "";
 *   - a callback that fails ends srun, but not slurmstepd;
 *   - long options may be abbreviated;
 *   - --export=NONE lets nothing but SLURM_* through;
 *   - srun calls local_user_init() for one component of a step only.
 */
#include <config.h>

#include "programs.h"

#include <dlfcn.h>
#include <err.h>
#include <string.h>

#include "cleanup.h"
#include "orders.h"

bool start_plugin(spank_context_t context)
{
	int argc;
	char **argv = order_list("plugin_arg", &argc);

	host.context = context;
	host.required = order_number("required");
	host_load(order_text("plugin"), argv, argc);
	return host_call(CALL_INIT);
}

static const struct {
	const char *name;
	int (*play)(int argc, char **argv);
} programs[] = {
	{ "srun", play_srun },	      { "sbatch", play_allocator },
	{ "salloc", play_allocator }, { "slurmstepd:", play_slurmstepd },
	{ "slurmd", play_slurmd },    { "epilog", play_epilog },
};

int main(int argc, char **argv)
{
	const char *preload;

	orders_read();
	preload = order_text("preload");
	if (preload && !dlopen(preload, RTLD_NOW))
		errx(1, "%s", dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (strncmp(argv[0], programs[i].name,
			    strlen(programs[i].name)) == 0 &&
		    (programs[i].name[strlen(programs[i].name) - 1] == ':' ||
		     !argv[0][strlen(programs[i].name)]))
			return programs[i].play(argc, argv);
	errx(1, "%s: no such program", argv[0]);
}
