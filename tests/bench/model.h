/* model.h - a quantity as a sum of terms, fitted to what was measured
 *
 * y = c[0] * x[0] + ... + c[n-1] * x[n-1], by least squares.
 */
#ifndef VMSTEP_BENCH_MODEL_H
#define VMSTEP_BENCH_MODEL_H

#define MODEL_TERMS 7

struct model {
	double c[MODEL_TERMS];
};

struct model_sum {
	double xx[MODEL_TERMS][MODEL_TERMS], xy[MODEL_TERMS];
};

void model_add(struct model_sum *s, const double x[MODEL_TERMS], double y);
/* A term that never varied on its own has 0. */
struct model model_fit(const struct model_sum *s);
double model_at(const struct model *m, const double x[MODEL_TERMS]);

#endif
