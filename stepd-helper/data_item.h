/* data_item.h - what a guest is to have of the node's data, and how
 *
 * Made by plan_data.h, carried out by data.h, told by vm.info.
 */
#ifndef VMSTEP_DATA_ITEM_H
#define VMSTEP_DATA_ITEM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "errmsg.h"

enum data_kind { DATA_INPUT, DATA_OUTPUT, DATA_MOUNT, DATA_SCRATCH };
/* BY_COPY: the guest cannot have it otherwise. */
enum data_by { BY_DISK, BY_VIRTIOFS, BY_9P, BY_COPY };

struct data_item {
	enum data_kind kind;
	enum data_by by;
	char *src; /* owned; of the node, without links; NULL: none */
	char *dst; /* owned; in the guest */
	char tag[32];
	bool ro;
	bool there; /* the guest has it */
};

struct data_items {
	struct data_item *v; /* owned */
	size_t n;
};

/* "virtiofs" */
const char *data_by_name(enum data_by by);
/* "--vm-input" */
const char *data_option(enum data_kind kind);

/* A new one with copies of the texts, or NULL with words: another is at that
 * place in the guest. @src may be NULL. */
struct data_item *data_items_add(struct data_items *d, enum data_kind kind,
				 const char *src, const char *dst,
				 struct errmsg *err);
/* [{"path", "from", "by", "ro", "there"}, ...] */
json_t *data_items_json(const struct data_items *d);
void data_items_done(struct data_items *d);

#endif
