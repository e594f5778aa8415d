/* scale.h - what the parts of tests/bench/scale share */
#ifndef VMSTEP_BENCH_SCALE_H
#define VMSTEP_BENCH_SCALE_H

#include "bench.h"
#include "crowd.h"
#include "model.h"

#define PORTS 16 /* of a node, where nothing else is said */

/* One process at one time. */
struct sample {
	double nodes, ports, links;
	double tree;		  /* links of these that the wire-up made */
	double kib, pte_kib, fds; /* fds -1: may not be counted */
	double wire_ms;		  /* CPU time of the wire-up; -1: none */
};

#define SAMPLES_MAX 1024

struct scale {
	const struct bench *bench;
	const char *boot; /* the frames of a guest's boot */
	struct sample fitted[SAMPLES_MAX], held[SAMPLES_MAX];
	unsigned int n_fitted, n_held;
	unsigned int missed; /* aims */
};

void scale_sample(struct scale *s, bool held, struct sample sample);
/* @value should be below @limit. */
void scale_aim(struct scale *s, const char *what, const char *unit,
	       double value, double limit);

/* Measure. */
void scale_step(struct scale *s, uint32_t nnodes, bool last);
void scale_ports(struct scale *s);
void scale_table(struct scale *s, uint32_t nnodes, bool held);
void scale_boot(struct scale *s);
/* What was measured, and the model of it, up to 10,000 nodes. */
void scale_model(struct scale *s);

#endif
