/* vmfam.h - fabric-attached memory of a vmstep step, for programs of its guests
 *
 * Regions and items on any node of the step (--vm-fam), as OpenFAM has them:
 * put, get, scatter, gather, copy, atomics. What is on the program's own node
 * it can map, load from and store to; put, get and atomics do that for it, and
 * reach all others by the host. vmfam(3) tells more.
 *
 * All return 0 or -errno; vmfam_words() has words about the last failure.
 * A struct vmfam is for one thread at a time; a program may have several.
 */
#ifndef VMFAM_H
#define VMFAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMFAM_NAME_MAX 128 /* bytes */
#define VMFAM_OWN_NODE (-1)

struct vmfam;

struct vmfam_region {
	uint64_t region; /* its number */
	uint64_t size, used;
	unsigned int mode;
	uint32_t home; /* the task whose node has it */
	int here;      /* is that ours? */
	char name[VMFAM_NAME_MAX + 1];
};

/* A descriptor: the same on all nodes but for here and at. */
struct vmfam_item {
	uint64_t region, item; /* their numbers */
	uint64_t size;
	unsigned int mode;
	uint32_t home;
	int here;
	uint64_t at; /* in our window, if it is here */
	char name[VMFAM_NAME_MAX + 1];
};

/* -ENODEV: the step has no --vm-fam; -ECONNREFUSED: the agent is not there.
 * That it is not for this user is what the first function says that asks it. */
int vmfam_open(struct vmfam **ret);
/* After what was begun, however it goes. NULL is fine. */
void vmfam_close(struct vmfam *f);
/* NULL: about a vmfam_open() of this thread. */
const char *vmfam_words(const struct vmfam *f);

/* -- regions and items ----------------------------------------------------- */

/* On the node of task @home, or VMFAM_OWN_NODE. @mode as of a file: the task
 * that made it, and others. */
int vmfam_region_create(struct vmfam *f, const char *name, uint64_t size,
			unsigned int mode, int home, struct vmfam_region *ret);
int vmfam_region_lookup(struct vmfam *f, const char *name,
			struct vmfam_region *ret);
int vmfam_region_resize(struct vmfam *f, struct vmfam_region *g, uint64_t size);
int vmfam_region_destroy(struct vmfam *f, const struct vmfam_region *g);

/* @name NULL: none. */
int vmfam_alloc(struct vmfam *f, const struct vmfam_region *g, const char *name,
		uint64_t size, unsigned int mode, struct vmfam_item *ret);
int vmfam_lookup(struct vmfam *f, const char *region, const char *item,
		 struct vmfam_item *ret);
int vmfam_stat(struct vmfam *f, struct vmfam_item *i); /* fills it anew */
int vmfam_chmod(struct vmfam *f, struct vmfam_item *i, unsigned int mode);
int vmfam_free(struct vmfam *f, const struct vmfam_item *i);

/* The item itself, until vmfam_close(). NULL: it is on another node. */
void *vmfam_map(struct vmfam *f, const struct vmfam_item *i);

/* -- data ------------------------------------------------------------------ */

/* It is there, or here, when they return. */
int vmfam_put(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
	      const void *data, size_t len);
int vmfam_get(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
	      void *data, size_t len);
/* ... by the next vmfam_quiet(), which tells what failed. @data of a put may be
 * used again at once, that of a get not before. */
int vmfam_put_nb(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
		 const void *data, size_t len);
int vmfam_get_nb(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
		 void *data, size_t len);

/* @count elements of @elem bytes (256 KiB at most), side by side in @data: in
 * the item number @first, and each next one @stride further; or those of
 * @index. */
int vmfam_scatter(struct vmfam *f, const struct vmfam_item *i, uint64_t first,
		  uint64_t stride, size_t elem, uint64_t count,
		  const void *data);
int vmfam_gather(struct vmfam *f, const struct vmfam_item *i, uint64_t first,
		 uint64_t stride, size_t elem, uint64_t count, void *data);
int vmfam_scatter_index(struct vmfam *f, const struct vmfam_item *i,
			const uint64_t *index, size_t elem, uint64_t count,
			const void *data);
int vmfam_gather_index(struct vmfam *f, const struct vmfam_item *i,
		       const uint64_t *index, size_t elem, uint64_t count,
		       void *data);

/* From item to item, without coming by here. */
int vmfam_copy(struct vmfam *f, const struct vmfam_item *from,
	       uint64_t from_offset, const struct vmfam_item *to,
	       uint64_t to_offset, uint64_t len);

/* -- atomics --------------------------------------------------------------- */

enum vmfam_op {
	VMFAM_SET,
	VMFAM_FETCH,
	VMFAM_ADD,
	VMFAM_SUB,
	VMFAM_MIN,
	VMFAM_MAX,
	VMFAM_AND,
	VMFAM_OR,
	VMFAM_XOR,
	VMFAM_SWAP,
	VMFAM_CAS, /* becomes the value where it was cmp */
};

enum vmfam_type {
	VMFAM_I32,
	VMFAM_I64,
	VMFAM_U32,
	VMFAM_U64,
	VMFAM_F32, /* their bits, see vmfam_f32() */
	VMFAM_F64,
};

/* On the word at @offset, aligned to its size. *old (NULL: nobody asks) is what
 * it was. Values are the bits of their type, in the lower half where it has 32.
 */
int vmfam_atomic(struct vmfam *f, const struct vmfam_item *i, uint64_t offset,
		 enum vmfam_op op, enum vmfam_type type, uint64_t value,
		 uint64_t cmp, uint64_t *old);
/* The same by the next vmfam_quiet(): many go in one request, and each is done
 * once. In which order, only vmfam_fence() says. */
int vmfam_atomic_nb(struct vmfam *f, const struct vmfam_item *i,
		    uint64_t offset, enum vmfam_op op, enum vmfam_type type,
		    uint64_t value);

static inline uint64_t vmfam_f64(double v)
{
	union {
		double v;
		uint64_t bits;
	} u = { v };

	return u.bits;
}

static inline uint64_t vmfam_f32(float v)
{
	union {
		float v;
		uint32_t bits;
	} u = { v };

	return u.bits;
}

static inline int vmfam_add_u64(struct vmfam *f, const struct vmfam_item *i,
				uint64_t offset, uint64_t value)
{
	return vmfam_atomic_nb(f, i, offset, VMFAM_ADD, VMFAM_U64, value);
}

static inline int vmfam_fetch_u64(struct vmfam *f, const struct vmfam_item *i,
				  uint64_t offset, uint64_t *ret)
{
	return vmfam_atomic(f, i, offset, VMFAM_FETCH, VMFAM_U64, 0, 0, ret);
}

static inline int vmfam_fetch_add_u64(struct vmfam *f,
				      const struct vmfam_item *i,
				      uint64_t offset, uint64_t value,
				      uint64_t *old)
{
	return vmfam_atomic(f, i, offset, VMFAM_ADD, VMFAM_U64, value, 0, old);
}

/* Was it @cmp, and is @value now? See *old. */
static inline int vmfam_cas_u64(struct vmfam *f, const struct vmfam_item *i,
				uint64_t offset, uint64_t cmp, uint64_t value,
				uint64_t *old)
{
	return vmfam_atomic(f, i, offset, VMFAM_CAS, VMFAM_U64, value, cmp,
			    old);
}

/* -- order ----------------------------------------------------------------- */

/* What was begun and is not done has no order, be it for one item, but by
 * these. All that was begun is done. -errno of the first that failed since the
 * last time. */
int vmfam_quiet(struct vmfam *f);
/* What is begun from now on comes after what was begun before. */
int vmfam_fence(struct vmfam *f);

#ifdef __cplusplus
}
#endif

#endif
