#include <config.h>

#include "model.h"

#include <math.h>

#define SINGULAR 1e-9

void model_add(struct model_sum *s, const double x[MODEL_TERMS], double y)
{
	for (int i = 0; i < MODEL_TERMS; i++) {
		s->xy[i] += x[i] * y;
		for (int j = 0; j < MODEL_TERMS; j++)
			s->xx[i][j] += x[i] * x[j];
	}
}

/* Below and above the diagonal all becomes 0. The matrix is one of squares:
 * no row need be exchanged. */
struct model model_fit(const struct model_sum *sum)
{
	struct model_sum s = *sum;
	struct model m = { { 0 } };
	double factor;

	for (int i = 0; i < MODEL_TERMS; i++) {
		if (fabs(s.xx[i][i]) <= SINGULAR * fabs(sum->xx[i][i]))
			continue;
		for (int row = 0; row < MODEL_TERMS; row++) {
			if (row == i)
				continue;
			factor = s.xx[row][i] / s.xx[i][i];
			for (int j = 0; j < MODEL_TERMS; j++)
				s.xx[row][j] -= factor * s.xx[i][j];
			s.xy[row] -= factor * s.xy[i];
		}
	}
	for (int i = 0; i < MODEL_TERMS; i++)
		if (fabs(s.xx[i][i]) > SINGULAR * fabs(sum->xx[i][i]))
			m.c[i] = s.xy[i] / s.xx[i][i];
	return m;
}

double model_at(const struct model *m, const double x[MODEL_TERMS])
{
	double y = 0;

	for (int i = 0; i < MODEL_TERMS; i++)
		y += m->c[i] * x[i];
	return y;
}
