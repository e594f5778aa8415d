/* param.h - taking a request's parameters apart
 *
 * All return 0, or -EINVAL with words that name the parameter. A text is a
 * JSON string, or {"b64": "..."} where its bytes are not UTF-8; a text with a
 * NUL byte in it is refused.
 */
#ifndef VMSTEP_PARAM_H
#define VMSTEP_PARAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"

/* *ret is untouched where @name is missing or null. */
int param_int(const json_t *params, const char *name, int64_t min, int64_t max,
	      int64_t *ret, struct errmsg *err);
int param_bool(const json_t *params, const char *name, bool *ret,
	       struct errmsg *err);
/* A new text, to be freed; what *ret was is freed. */
int param_text(const json_t *params, const char *name, char **ret,
	       struct errmsg *err);
/* One of @words (NULL at the end); its index. */
int param_word(const json_t *params, const char *name, const char *const *words,
	       int *ret, struct errmsg *err);

/* @value itself, which is called @name in the words. */
int param_value_text(const json_t *value, const char *name, char **ret,
		     struct errmsg *err);

/* Any bytes, NUL among them, to be freed; *ret is NULL where @name is missing
 * or null. */
int param_bytes(const json_t *params, const char *name, char **ret,
		size_t *ret_len, struct errmsg *err);

/* @b64, a JSON string: its bytes and a NUL, to be freed. */
int param_decode_b64(const json_t *b64, const char *name, char **ret,
		     size_t *ret_len, struct errmsg *err);
json_t *param_encode_b64(const char *data, size_t len); /* NULL: no memory */

/* The text as JSON, as {"b64"} where it has to be; NULL without memory. */
json_t *param_from_text(const char *text);
json_t *param_from_bytes(const char *data, size_t len);

#endif
