#include <config.h>

#include "memword.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static_assert(sizeof(struct memword_entry) == MEMWORD_ENTRY, "as in net.md");

const char *const memword_ops[] = {
	[MEMWORD_SET] = "set", [MEMWORD_FETCH] = "fetch",
	[MEMWORD_ADD] = "add", [MEMWORD_SUB] = "sub",
	[MEMWORD_MIN] = "min", [MEMWORD_MAX] = "max",
	[MEMWORD_AND] = "and", [MEMWORD_OR] = "or",
	[MEMWORD_XOR] = "xor", [MEMWORD_SWAP] = "swap",
	[MEMWORD_CAS] = "cas", [MEMWORD_OPS] = NULL,
};

const char *const memword_types[] = {
	[MEMWORD_I32] = "i32",	[MEMWORD_I64] = "i64", [MEMWORD_U32] = "u32",
	[MEMWORD_U64] = "u64",	[MEMWORD_F32] = "f32", [MEMWORD_F64] = "f64",
	[MEMWORD_TYPES] = NULL,
};

size_t memword_size(unsigned int type)
{
	static const uint8_t sizes[] = {
		[MEMWORD_I32] = 4, [MEMWORD_I64] = 8, [MEMWORD_U32] = 4,
		[MEMWORD_U64] = 8, [MEMWORD_F32] = 4, [MEMWORD_F64] = 8,
	};

	return type < MEMWORD_TYPES ? sizes[type] : 0;
}

static bool is_float(unsigned int type)
{
	return type == MEMWORD_F32 || type == MEMWORD_F64;
}

int memword_check(unsigned int op, unsigned int type)
{
	bool bits = op == MEMWORD_AND || op == MEMWORD_OR || op == MEMWORD_XOR;

	if (op >= MEMWORD_OPS || type >= MEMWORD_TYPES ||
	    (bits && is_float(type)))
		return -EINVAL;
	return 0;
}

/* -- what a word becomes --------------------------------------------------- */

static double to_double(enum memword_type type, uint64_t bits)
{
	uint32_t half = (uint32_t)bits;
	double d;
	float f;

	if (type == MEMWORD_F32) {
		memcpy(&f, &half, sizeof(f));
		return f;
	}
	memcpy(&d, &bits, sizeof(d));
	return d;
}

/* A sum of two floats is exact in a double, and rounded once. */
static uint64_t from_double(enum memword_type type, double d)
{
	float f = (float)d;
	uint64_t bits = 0;

	if (type == MEMWORD_F32)
		memcpy(&bits, &f, sizeof(f));
	else
		memcpy(&bits, &d, sizeof(d));
	return bits;
}

static int64_t to_signed(enum memword_type type, uint64_t bits)
{
	return type == MEMWORD_I32 ? (int32_t)(uint32_t)bits : (int64_t)bits;
}

static bool is_less(enum memword_type type, uint64_t a, uint64_t b)
{
	if (is_float(type))
		return to_double(type, a) < to_double(type, b);
	if (type == MEMWORD_I32 || type == MEMWORD_I64)
		return to_signed(type, a) < to_signed(type, b);
	return memword_size(type) == 4 ? (uint32_t)a < (uint32_t)b : a < b;
}

static uint64_t sum(enum memword_type type, uint64_t a, uint64_t b, bool minus)
{
	double d;

	if (!is_float(type))
		return minus ? a - b : a + b;
	d = to_double(type, b);
	return from_double(type, to_double(type, a) + (minus ? -d : d));
}

static uint64_t changed(enum memword_op op, enum memword_type type,
			uint64_t old, uint64_t value, uint64_t cmp)
{
	switch (op) {
	case MEMWORD_ADD:
		return sum(type, old, value, false);
	case MEMWORD_SUB:
		return sum(type, old, value, true);
	case MEMWORD_MIN:
		return is_less(type, value, old) ? value : old;
	case MEMWORD_MAX:
		return is_less(type, old, value) ? value : old;
	case MEMWORD_AND:
		return old & value;
	case MEMWORD_OR:
		return old | value;
	case MEMWORD_XOR:
		return old ^ value;
	case MEMWORD_CAS:
		return old == cmp ? value : old;
	case MEMWORD_SET:
	case MEMWORD_SWAP:
		return value;
	case MEMWORD_FETCH:
	case MEMWORD_OPS:
		break;
	}
	return old;
}

/* -- on shared memory ------------------------------------------------------ */

uint64_t memword_apply(void *at, enum memword_op op, enum memword_type type,
		       uint64_t value, uint64_t cmp)
{
	uint32_t *half = at, old32, new32;
	uint64_t *word = at, old, new;

	if (memword_size(type) == 8) {
		old = __atomic_load_n(word, __ATOMIC_SEQ_CST);
		do
			new = changed(op, type, old, value, cmp);
		while (op != MEMWORD_FETCH &&
		       !__atomic_compare_exchange_n(word, &old, new, false,
						    __ATOMIC_SEQ_CST,
						    __ATOMIC_SEQ_CST));
		return old;
	}
	old32 = __atomic_load_n(half, __ATOMIC_SEQ_CST);
	do
		new32 = (uint32_t)changed(op, type, old32, (uint32_t)value,
					  (uint32_t)cmp);
	while (op != MEMWORD_FETCH &&
	       !__atomic_compare_exchange_n(half, &old32, new32, false,
					    __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST));
	return old32;
}
