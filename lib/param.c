#include <config.h>

#include "param.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

static const char digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Returns the number of bytes, or -EINVAL. @out has room for 3/4 of @len. */
static ssize_t base64_decode(const char *text, size_t len, char *out)
{
	size_t n = 0, pad = 0;
	uint32_t bits = 0;

	if (len % 4)
		return -EINVAL;
	while (len && pad < 2 && text[len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < len; i++) {
		const char *d =
			i < len - pad ? memchr(digits, text[i], 64) : digits;

		if (!d)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(d - digits);
		if (i % 4 < 3)
			continue;
		out[n++] = (char)(bits >> 16);
		out[n++] = (char)(bits >> 8);
		out[n++] = (char)bits;
	}
	return (ssize_t)(n - pad);
}

static char *base64_encode(const char *text, size_t len)
{
	char *out = malloc((len + 2) / 3 * 4 + 1), *p = out;

	for (size_t i = 0; out && i < len; i += 3) {
		uint32_t bits = 0;

		for (size_t j = 0; j < 3; j++)
			bits = bits << 8 |
			       (i + j < len ? (unsigned char)text[i + j] : 0);
		for (size_t j = 0; j < 4; j++)
			*p++ = i + j > len ? '='
					   : digits[bits >> (18 - 6 * j) & 63];
	}
	if (out)
		*p = '\0';
	return out;
}

int param_decode_b64(const json_t *b64, const char *name, char **ret,
		     size_t *ret_len, struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n;

	if (!json_is_string(b64))
		return errmsg_say(err, -EINVAL, "%s: not a text", name);
	text = malloc(json_string_length(b64) + 1);
	if (!text)
		return errmsg_set(err, -ENOMEM, "%s", name);
	n = base64_decode(json_string_value(b64), json_string_length(b64),
			  text);
	if (n < 0)
		return errmsg_say(err, -EINVAL, "%s: not base64", name);
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	*ret_len = (size_t)n;
	return 0;
}

static int decode_object(const json_t *value, const char *name, char **ret,
			 size_t *ret_len, struct errmsg *err)
{
	if (json_object_size(value) != 1)
		return errmsg_say(err, -EINVAL, "%s: not a text", name);
	return param_decode_b64(json_object_get(value, "b64"), name, ret,
				ret_len, err);
}

static int value_bytes(const json_t *value, const char *name, char **ret,
		       size_t *ret_len, struct errmsg *err)
{
	size_t len = json_string_length(value);

	if (json_is_object(value))
		return decode_object(value, name, ret, ret_len, err);
	if (!json_is_string(value))
		return errmsg_say(err, -EINVAL, "%s: not a text", name);
	*ret = malloc(len + 1);
	if (!*ret)
		return errmsg_set(err, -ENOMEM, "%s", name);
	memcpy(*ret, json_string_value(value), len + 1);
	*ret_len = len;
	return 0;
}

int param_value_text(const json_t *value, const char *name, char **ret,
		     struct errmsg *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = value_bytes(value, name, &text, &len, err);

	if (r < 0)
		return r;
	if (strlen(text) != len)
		return errmsg_say(err, -EINVAL, "%s: has a NUL byte", name);
	free(*ret);
	*ret = TAKE_PTR(text);
	return 0;
}

static bool is_missing(const json_t *value)
{
	return !value || json_is_null(value);
}

int param_text(const json_t *params, const char *name, char **ret,
	       struct errmsg *err)
{
	const json_t *value = json_object_get(params, name);

	return is_missing(value) ? 0 : param_value_text(value, name, ret, err);
}

int param_int(const json_t *params, const char *name, int64_t min, int64_t max,
	      int64_t *ret, struct errmsg *err)
{
	const json_t *value = json_object_get(params, name);

	if (is_missing(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < min ||
	    json_integer_value(value) > max)
		return errmsg_say(err, -EINVAL,
				  "%s: not a number from %lld to %lld", name,
				  (long long)min, (long long)max);
	*ret = json_integer_value(value);
	return 0;
}

int param_bool(const json_t *params, const char *name, bool *ret,
	       struct errmsg *err)
{
	const json_t *value = json_object_get(params, name);

	if (is_missing(value))
		return 0;
	/* 0 and 1 are taken as well, as json_pack("b") of old makes them */
	if (!json_is_boolean(value) && !json_is_integer(value))
		return errmsg_say(err, -EINVAL, "%s: neither true nor false",
				  name);
	*ret = json_is_true(value) || json_integer_value(value) != 0;
	return 0;
}

int param_word(const json_t *params, const char *name, const char *const *words,
	       int *ret, struct errmsg *err)
{
	const json_t *value = json_object_get(params, name);
	const char *text = json_string_value(value);

	if (is_missing(value))
		return 0;
	for (int i = 0; text && words[i]; i++)
		if (strcmp(words[i], text) == 0) {
			*ret = i;
			return 0;
		}
	return errmsg_say(err, -EINVAL, "%s: not one of the words it can be",
			  name);
}

int param_bytes(const json_t *params, const char *name, char **ret,
		size_t *ret_len, struct errmsg *err)
{
	const json_t *value = json_object_get(params, name);

	*ret = NULL;
	*ret_len = 0;
	return is_missing(value) ? 0
				 : value_bytes(value, name, ret, ret_len, err);
}

json_t *param_encode_b64(const char *data, size_t len)
{
	_cleanup_free_ char *b64 = base64_encode(data, len);

	return b64 ? json_string(b64) : NULL;
}

json_t *param_from_bytes(const char *data, size_t len)
{
	_cleanup_free_ char *b64 = NULL;
	json_t *s = NULL;

	if (!len)
		return json_string("");	     /* of which there may be no data */
	if (!memchr(data, '\0', len))	     /* which many parsers refuse */
		s = json_stringn(data, len); /* NULL where it is not UTF-8 */
	if (s)
		return s;
	b64 = base64_encode(data, len);
	return b64 ? json_pack("{s:s}", "b64", b64) : NULL;
}

json_t *param_from_text(const char *text)
{
	return param_from_bytes(text, strlen(text));
}
