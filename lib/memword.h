/* memword.h - atomic operations on a word of memory that others share
 *
 * What programs of guests do to it by instructions of their own, and other
 * helpers by these, is one order for each word.
 *
 * In libvmfam they have names of its own (guest-lib/vmfam_names.h).
 *
 * Pure. Thread: any.
 */
#ifndef VMSTEP_MEMWORD_H
#define VMSTEP_MEMWORD_H

#include <stddef.h>
#include <stdint.h>

enum memword_op {
	MEMWORD_SET,
	MEMWORD_FETCH,
	MEMWORD_ADD,
	MEMWORD_SUB,
	MEMWORD_MIN,
	MEMWORD_MAX,
	MEMWORD_AND,
	MEMWORD_OR,
	MEMWORD_XOR,
	MEMWORD_SWAP,
	MEMWORD_CAS, /* becomes value where it was cmp */
	MEMWORD_OPS,
};

enum memword_type {
	MEMWORD_I32,
	MEMWORD_I64,
	MEMWORD_U32,
	MEMWORD_U64,
	MEMWORD_F32,
	MEMWORD_F64,
	MEMWORD_TYPES,
};

/* One operation in a batch, little endian, as it lies in a guest's window and
 * travels between nodes. Values are the bits of their type, in the lower half
 * where that has 32. What value was comes back in its place. */
struct memword_entry {
	uint64_t offset; /* in the item */
	uint8_t op, type;
	uint8_t zero[6];
	uint64_t value, cmp;
};
#define MEMWORD_ENTRY 32

/* By name, with a NULL at the end. */
extern const char *const memword_ops[];
extern const char *const memword_types[];

/* Bytes; 0: there is no such type. */
size_t memword_size(unsigned int type);
/* -EINVAL: there is no such operation on that type (and, or, xor of a float).
 */
int memword_check(unsigned int op, unsigned int type);
/* @op and @type are checked, @at is aligned to the size. What it was. */
uint64_t memword_apply(void *at, enum memword_op op, enum memword_type type,
		       uint64_t value, uint64_t cmp);

#endif
