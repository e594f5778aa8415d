/* vmfam_impl.h - what the parts of libvmfam share
 *
 *	vmfam_host.c  requests to the host by the agent's socket, and answers
 *	vmfam_slot.c  pieces of the window that requests name, and what is on
 *		      its way by them
 *	vmfam.c       regions and items
 *	vmfam_data.c  data and atomics
 *
 * A request that names a piece of the window does so with one of a few slots of
 * the task's scratch (mem.scratch). All programs of the guest share these: a
 * lock of the window's file, of the slot's bytes, says whose it is, and is gone
 * with the program that had it. Nobody waits for another program, which may
 *wait for it in its turn: who gets none of them has a slot in memory of its
 *own, whose bytes go in requests and answers.
 */
#ifndef VMFAM_IMPL_H
#define VMFAM_IMPL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmfam.h"

#define VMFAM_PATH	"/dev/vmstep-fam"
#define VMFAM_PATH_ENV	"VMSTEP_FAM" /* another path, for tests */
#define VMFAM_SLOTS	8
#define VMFAM_OWN	VMFAM_SLOTS /* the one that is no piece of the window */
#define VMFAM_OWN_SIZE	(64 * 1024)
#define VMFAM_SLOT_MAX	(1024 * 1024)
#define VMFAM_BATCH_MAX 8192
#define VMFAM_WORDS	256

struct slot {
	bool locked;  /* it is ours */
	bool awaited; /* by a call that has not returned */
	int64_t id;   /* of the request that uses it; 0: none */
	/* What is to be done when it is answered. */
	json_t *params; /* to ask again, where it was in use; owned */
	const char *method;
	void *to; /* NULL: nothing is to be copied out */
	size_t len;
};

struct batch {	  /* of atomics that have not been sent */
	int slot; /* -1: none is open */
	uint64_t region, item;
	unsigned int n;
};

struct vmfam {
	int sock;
	bool heard; /* an answer has come */
	int64_t last_id;
	char *in; /* what was read and not taken */
	size_t in_len, in_size;

	int fd;
	uint8_t *map;
	size_t map_len;
	uint64_t scratch; /* in the window */
	size_t slot_size;
	int n_slots; /* 0: not asked for yet */
	uint8_t *own;
	struct slot slots[VMFAM_SLOTS + 1];
	struct batch batch;

	/* -errno of the first that failed: of those that are awaited, and of
	 * those that are not. */
	int failed, late;
	char failed_words[VMFAM_WORDS], late_words[VMFAM_WORDS];
	char words[VMFAM_WORDS];
};

/* Keep words about a failure, and return @error. */
int vmfam_say(struct vmfam *f, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* -- vmfam_host.c ---------------------------------------------------------- */

/* By VMSTEP_OPS_SOCKET or the agent's path. */
int vmfam_connect(struct vmfam *f);
/* @params are stolen. The request's number, or -errno. */
int64_t vmfam_send(struct vmfam *f, const char *method, json_t *params);
/* The next answer: its number; *ret (owned) is its result, or NULL where it is
 * an error, which is in *ret_error. */
int64_t vmfam_receive(struct vmfam *f, json_t **ret, int *ret_error);
/* Both, for one that no slot is about. */
int vmfam_ask(struct vmfam *f, const char *method, json_t *params,
	      json_t **ret);

/* -- vmfam_slot.c ---------------------------------------------------------- */

/* A slot that is ours and free, of @least bytes or more, waiting for answers if
 * need be. -EMSGSIZE. */
int vmfam_slot_get(struct vmfam *f, size_t least);
size_t vmfam_slot_size(const struct vmfam *f, int slot);
uint8_t *vmfam_slot_memory(const struct vmfam *f, int slot);

struct slot_ask {
	const char *method;
	json_t *params; /* stolen */
	bool awaited;
	bool out; /* so many of its bytes are what is sent */
	size_t len;
	void *to; /* so many of its bytes go there in the end; NULL: none */
};
int vmfam_slot_ask(struct vmfam *f, int slot, const struct slot_ask *ask);
/* An answer to a slot's request, or to none. */
void vmfam_slot_answer(struct vmfam *f, int64_t id, const json_t *result,
		       int error);
/* Wait for those that are awaited: how they went. */
int vmfam_slot_wait(struct vmfam *f);
/* Wait for all, however they go; -errno: the host is gone. */
int vmfam_slot_wait_all(struct vmfam *f);

/* -- vmfam_data.c ---------------------------------------------------------- */

/* Send atomics that wait for others. */
int vmfam_flush(struct vmfam *f);

#endif
