/* matrix.h - the traffic matrix of a step, as a picture
 *
 * Rows send, columns receive. Up to MATRIX_SIDE ranks have a row each; more are
 * folded into blocks of neighbours. One SVG file that needs no other.
 *
 * Owns:   its sums.
 */
#ifndef VMSTEP_CLI_MATRIX_H
#define VMSTEP_CLI_MATRIX_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "errmsg.h"

#define MATRIX_SIDE 64

struct matrix_sum {
	double frames, bytes;
};

struct matrix {
	char step[64];
	uint32_t ranks;
	uint32_t block; /* ranks of a row */
	uint32_t side;	/* rows */
	/* By row and column; in column side what went to all, in side + 1 what
	 * went to others (vmstep-api(7)). */
	struct matrix_sum (*sums)[MATRIX_SIDE + 2];
	char (*hosts)[64]; /* by rank; "" unknown */
};

/* Of gather_take()'s @step, whose ports have their peers. -EINVAL, -ENOMEM. */
int matrix_make(const json_t *step, struct matrix *ret, struct errmsg *err);
void matrix_done(struct matrix *m);

/* -EIO where @f says so. */
int matrix_svg(const struct matrix *m, FILE *f);

#endif
