/* stats_text.h - a step's statistics as tables of 80 columns */
#ifndef VMSTEP_CLI_STATS_TEXT_H
#define VMSTEP_CLI_STATS_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* @step is gather_take()'s. With @before, an earlier one, ports and links show
 * rates since then, by each node's own clock. @verbose: batches and rings, too.
 */
void stats_print(FILE *f, const json_t *step, const json_t *before,
		 bool verbose);

#endif
