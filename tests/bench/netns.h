/* netns.h - two network namespaces that stand for two nodes
 *
 * They have no names, and end with the last process and socket in them. Needs
 * root and ip(8).
 */
#ifndef VMSTEP_BENCH_NETNS_H
#define VMSTEP_BENCH_NETNS_H

#include <stdbool.h>
#include <sys/types.h>

#define NETNS_MTU 1500

extern const char *const netns_address[2];

/* Make them, joined by a veth pair; false: this user may not. */
bool netns_make(int ret[2]);
/* Bytes that came over its veth. */
uint64_t netns_received(int netns);
int netns_socket(int netns, int family, int type);
/* Start @argv in there, on @cpu, with stdout at @out; its pid. It dies with
 * us. */
pid_t netns_run(int netns, int cpu, int out, char *const argv[]);

#endif
