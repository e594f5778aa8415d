#include <config.h>

#include "vmfam_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "param.h"

#define AGAIN_US 1000
#define PAGE	 4096

/* -- the task's scratch ---------------------------------------------------- */

static int find_scratch(struct vmfam *f)
{
	json_t *r = NULL;
	uint64_t size;
	int error;

	if (f->n_slots)
		return 0;
	error = vmfam_ask(f, "mem.scratch", json_object(), &r);
	if (error < 0)
		return error;
	f->scratch = (uint64_t)json_integer_value(json_object_get(r, "at"));
	size = (uint64_t)json_integer_value(json_object_get(r, "size"));
	json_decref(r);
	if (size < PAGE || f->scratch > f->map_len ||
	    size > f->map_len - f->scratch)
		return vmfam_say(
			f, -EPROTO,
			"the host's scratch is no piece of the window");
	f->slot_size = size / VMFAM_SLOTS / PAGE * PAGE;
	if (f->slot_size < PAGE)
		f->slot_size = PAGE;
	if (f->slot_size > VMFAM_SLOT_MAX)
		f->slot_size = VMFAM_SLOT_MAX;
	size /= f->slot_size;
	f->n_slots = size < VMFAM_SLOTS ? (int)size : VMFAM_SLOTS;
	return 0;
}

static uint64_t place(const struct vmfam *f, int slot)
{
	return f->scratch + (uint64_t)slot * f->slot_size;
}

size_t vmfam_slot_size(const struct vmfam *f, int slot)
{
	return slot == VMFAM_OWN ? VMFAM_OWN_SIZE : f->slot_size;
}

uint8_t *vmfam_slot_memory(const struct vmfam *f, int slot)
{
	return slot == VMFAM_OWN ? f->own : f->map + place(f, slot);
}

/* -- whose it is ----------------------------------------------------------- */

static int lock(struct vmfam *f, int slot, short type, int how)
{
	struct flock l = { .l_type = type,
			   .l_whence = SEEK_SET,
			   .l_start = (off_t)place(f, slot),
			   .l_len = (off_t)f->slot_size };
	int r;

	do
		r = fcntl(f->fd, how, &l);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		f->slots[slot].locked = type == F_WRLCK;
	return r < 0 ? -errno : 0;
}

static bool is_free(const struct vmfam *f, int slot)
{
	return !f->slots[slot].id && f->batch.slot != slot;
}

/* One that is ours already, else one that nobody has; -1: neither. */
static int find_free(struct vmfam *f)
{
	for (int i = 0; i < f->n_slots; i++)
		if (f->slots[i].locked && is_free(f, i))
			return i;
	for (int i = 0; i < f->n_slots; i++)
		if (!f->slots[i].locked &&
		    lock(f, i, F_WRLCK, F_OFD_SETLK) == 0)
			return i;
	return -1;
}

static bool has_some(const struct vmfam *f)
{
	for (int i = 0; i < f->n_slots; i++)
		if (f->slots[i].locked)
			return true;
	return false;
}

static int take_answer(struct vmfam *f)
{
	json_t *result = NULL;
	int error = 0;
	int64_t id = vmfam_receive(f, &result, &error);

	if (id < 0)
		return (int)id;
	vmfam_slot_answer(f, id, result, error);
	json_decref(result);
	return 0;
}

static int find_own(struct vmfam *f)
{
	if (!f->own)
		f->own = malloc(VMFAM_OWN_SIZE);
	return f->own ? VMFAM_OWN : vmfam_say(f, -ENOMEM, "out of memory");
}

/* There is none now: has something of ours to end, or another's? */
static int wait_for_one(struct vmfam *f)
{
	if (f->batch.slot >= 0)
		return vmfam_flush(f);
	if (has_some(f) || f->slots[VMFAM_OWN].id)
		return take_answer(f);
	usleep(AGAIN_US);
	return 0;
}

/* Elements that need one of those that are shared wait for others: that is all
 * that does. */
int vmfam_slot_get(struct vmfam *f, size_t least)
{
	int r = find_scratch(f), slot;

	if (r == 0 && least > VMFAM_OWN_SIZE && least > f->slot_size)
		return vmfam_say(f, -EMSGSIZE,
				 "elements have %zu bytes at most",
				 f->slot_size);
	while (r == 0) {
		slot = least <= f->slot_size ? find_free(f) : -1;
		if (slot >= 0)
			return slot;
		if (!has_some(f) && is_free(f, VMFAM_OWN) &&
		    least <= VMFAM_OWN_SIZE)
			return find_own(f);
		r = wait_for_one(f);
	}
	return r;
}

/* -- requests -------------------------------------------------------------- */

int vmfam_slot_ask(struct vmfam *f, int slot, const struct slot_ask *ask)
{
	struct slot *s = &f->slots[slot];
	int64_t id;

	if (slot != VMFAM_OWN)
		json_object_set_new(ask->params, "at",
				    json_integer((json_int_t)place(f, slot)));
	else if (ask->out)
		json_object_set_new(ask->params, "data",
				    param_from_bytes((char *)f->own, ask->len));
	json_incref(ask->params);
	id = vmfam_send(f, ask->method, ask->params);
	if (id < 0) {
		json_decref(ask->params);
		return (int)id;
	}
	s->id = id;
	s->method = ask->method;
	s->params = ask->params;
	s->awaited = ask->awaited;
	s->to = ask->to;
	s->len = ask->len;
	return 0;
}

static void keep_failure(struct vmfam *f, const struct slot *s, int error)
{
	int *first = s->awaited ? &f->failed : &f->late;
	char *words = s->awaited ? f->failed_words : f->late_words;

	if (*first)
		return;
	*first = error;
	snprintf(words, VMFAM_WORDS, "%s", f->words);
}

/* A program that died before us may have left the slot in use: its request is
 * still under way, and ends soon. */
static bool ask_again(struct vmfam *f, struct slot *s, int error)
{
	if (error != -EBUSY)
		return false;
	usleep(AGAIN_US);
	s->id = vmfam_send(f, s->method, json_incref(s->params));
	return s->id > 0;
}

/* What has come is in the slot, or in the answer. */
static int copy_out(struct vmfam *f, int slot, const json_t *result)
{
	const struct slot *s = &f->slots[slot];
	char *data = NULL;
	size_t len = 0;
	int r;

	if (slot != VMFAM_OWN) {
		memcpy(s->to, vmfam_slot_memory(f, slot), s->len);
		return 0;
	}
	r = param_bytes(result, "data", &data, &len, NULL);
	if (r == 0 && len == s->len)
		memcpy(s->to, data, len);
	else
		r = vmfam_say(f, -EPROTO, "the host's answer has other bytes");
	free(data);
	return r;
}

void vmfam_slot_answer(struct vmfam *f, int64_t id, const json_t *result,
		       int error)
{
	struct slot *s = f->slots;
	int i = 0;

	while (i <= VMFAM_OWN && s[i].id != id)
		i++;
	if (id <= 0 || i > VMFAM_OWN)
		return; /* nobody's any more */
	s += i;
	if (!result && ask_again(f, s, error))
		return;
	s->id = 0;
	json_decref(s->params);
	s->params = NULL;
	if (result && s->to)
		error = copy_out(f, i, result);
	if (error < 0)
		keep_failure(f, s, error);
}

static bool has_any(const struct vmfam *f, bool awaited)
{
	for (int i = 0; i <= VMFAM_OWN; i++)
		if (f->slots[i].id && (f->slots[i].awaited || !awaited))
			return true;
	return false;
}

/* Others may have what we do not need. */
static int wait_for(struct vmfam *f, bool awaited)
{
	int r = 0;

	while (r == 0 && has_any(f, awaited))
		r = take_answer(f);
	for (int i = 0; i < f->n_slots; i++)
		if (f->slots[i].locked && is_free(f, i))
			lock(f, i, F_UNLCK, F_OFD_SETLK);
	return r;
}

int vmfam_slot_wait(struct vmfam *f)
{
	int r = wait_for(f, true);

	if (r == 0 && f->failed)
		r = vmfam_say(f, f->failed, "%s", f->failed_words);
	f->failed = 0;
	return r;
}

int vmfam_slot_wait_all(struct vmfam *f)
{
	return wait_for(f, false);
}
