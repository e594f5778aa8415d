#include <config.h>

#include "capture.h"

#include <unistd.h>

#include "console.h"
#include "log.h"

enum { HERE };
const struct cmd_option capture_options[] = {
	[HERE] = { "--here", NULL, "this node, for another vmstep" },
	{ 0 },
};

int capture_run(const struct invocation *inv)
{
	static const char *const words[] = { "capture", "--here", NULL };
	const struct console_way way = { .inv = inv,
					 .op = "net.capture",
					 .here = inv->options[HERE],
					 .words = words,
					 .unbuffered = true };

	/* srun --unbuffered gives the other one a terminal, which is raw */
	if (isatty(STDOUT_FILENO) && !way.here) {
		log_err("a capture is no text for a terminal: vmstep capture >FILE, or | tshark -r -");
		return EXIT_USAGE;
	}
	return console_attach(&way);
}
