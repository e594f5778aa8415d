/* top_text.h - samples of top_here.h, as figures and as a table */
#ifndef VMSTEP_CLI_TOP_TEXT_H
#define VMSTEP_CLI_TOP_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* What the tasks of a sample use, by their ranks' texts: rank, name, node,
 * state, agent, cpus, mem_bytes, rss_bytes, procs; free_bytes and load of the
 * guest, where its agent has said so; and with the sample @before (NULL: none)
 * cpu_percent of one CPU, sent and received bytes by the second. A new
 * reference. */
json_t *top_figures(const json_t *sample, const json_t *before);

/* A table of such tasks, an array. */
void top_print(FILE *f, const json_t *tasks);

#endif
