/* netjson.h - what vmstep-net has counted, as JSON
 *
 * vmstep-api(7) has the names. A record that is not as netstats.h has it is
 * refused: it may come from another node.
 */
#ifndef VMSTEP_HELPER_NETJSON_H
#define VMSTEP_HELPER_NETJSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

/* A new reference; NULL with words. */
json_t *netjson_stats(const uint64_t *words, size_t n, struct errmsg *err);
/* Of one port: what was asked for with its rank. */
json_t *netjson_peers(const uint64_t *words, size_t n, struct errmsg *err);

/* Of a step, named @step, at its end: as vmstep --json stats prints it. */
json_t *netjson_report(const char *step, const uint64_t *words, size_t n,
		       struct errmsg *err);

#endif
