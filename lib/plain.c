#include "plain.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* UTF-8's characters by their first two bytes (Unicode, table 3-7); all
 * further ones are 80 to BF. */
static const struct {
	uint8_t first, last; /* of the first byte */
	uint8_t low, high;   /* the second */
	uint8_t len;
} forms[] = {
	{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
	{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
	{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
	{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

static bool is_between(uint8_t b, uint8_t low, uint8_t high)
{
	return b >= low && b <= high;
}

/* The bytes of the UTF-8 character at @s; 1 where there is none. */
static size_t utf8_len(const uint8_t *s, size_t len)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		size_t n = forms[i].len;
		bool valid = n <= len &&
			     is_between(s[0], forms[i].first, forms[i].last) &&
			     is_between(s[1], forms[i].low, forms[i].high);

		for (size_t j = 2; j < n && valid; j++)
			valid = is_between(s[j], 0x80, 0xbf);
		if (valid)
			return n;
	}
	return 1;
}

size_t plain_next(const char *text, size_t len, bool *ret_control)
{
	const uint8_t *s = (const uint8_t *)text;
	size_t n = utf8_len(s, len);

	if (n == 1)
		*ret_control = (s[0] < ' ' && s[0] != '\t') ||
			       is_between(s[0], 0x7f, 0x9f);
	else
		*ret_control = s[0] == 0xc2 && s[1] < 0xa0;
	return n;
}

size_t plain_line(const char *text, char *out, size_t size)
{
	size_t len = strlen(text), done = 0;

	while (len) {
		bool control;
		size_t n = plain_next(text, len, &control);

		if ((control ? 4 * n : n) >= size - done)
			break;
		for (size_t i = 0; i < n && control; i++)
			done += (size_t)snprintf(out + done, size - done,
						 "\\x%02x", (uint8_t)text[i]);
		if (!control) {
			memcpy(out + done, text, n);
			done += n;
		}
		text += n;
		len -= n;
	}
	out[done] = '\0';
	return done;
}

void plain_write(FILE *f, const char *text, size_t len, bool lines)
{
	while (len) {
		bool control;
		size_t n = plain_next(text, len, &control);

		if (!control || (lines && *text == '\n'))
			fwrite(text, 1, n, f);
		else
			for (size_t i = 0; i < n; i++)
				fprintf(f, "\\x%02x", (uint8_t)text[i]);
		text += n;
		len -= n;
	}
}
