#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op_mem_impl.h"

/* A 64-bit integer beyond JSON's is a text. */
static int word_integer(const json_t *v, bool is_signed, uint64_t *ret)
{
	const char *text = json_string_value(v);
	char *end;

	*ret = (uint64_t)json_integer_value(v);
	if (json_is_integer(v))
		return 0;
	if (!text || !*text)
		return -EINVAL;
	errno = 0;
	*ret = is_signed ? (uint64_t)strtoll(text, &end, 10)
			 : strtoull(text, &end, 10);
	return *end || errno ? -EINVAL : 0;
}

int op_mem_word_from_json(const json_t *v, enum memword_type type,
			  uint64_t *ret)
{
	double d = json_number_value(v);
	float f = (float)d;

	*ret = 0;
	if (type != MEMWORD_F32 && type != MEMWORD_F64)
		return word_integer(
			v, type == MEMWORD_I32 || type == MEMWORD_I64, ret);
	if (!json_is_number(v))
		return -EINVAL;
	if (type == MEMWORD_F32)
		memcpy(ret, &f, sizeof(f));
	else
		memcpy(ret, &d, sizeof(d));
	return 0;
}

json_t *op_mem_word_to_json(enum memword_type type, uint64_t bits)
{
	uint32_t half = (uint32_t)bits;
	char text[24];
	double d;
	float f;

	switch (type) {
	case MEMWORD_I32:
		return json_integer((int32_t)half);
	case MEMWORD_U32:
		return json_integer(half);
	case MEMWORD_F32:
		memcpy(&f, &half, sizeof(f));
		return json_real(f); /* NULL: no number, which JSON has not */
	case MEMWORD_F64:
		memcpy(&d, &bits, sizeof(d));
		return json_real(d);
	case MEMWORD_U64:
		if (bits <= INT64_MAX)
			break;
		snprintf(text, sizeof(text), "%" PRIu64, bits);
		return json_string(text);
	case MEMWORD_I64:
	case MEMWORD_TYPES:
		break;
	}
	return json_integer((json_int_t)bits);
}
