/* value.h - the small values people write: sizes, seconds, counts, words
 *
 * Each parser takes the whole text and refuses anything left over; the words
 * of the error name the value and how to write it, for the caller to prefix
 * with the option's name.
 */
#ifndef VMSTEP_VALUE_H
#define VMSTEP_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "errmsg.h"

/* "512M", "4G", "1T", "4096" (MiB, as Slurm's --mem): bytes. */
int value_size(const char *text, uint64_t *ret_bytes, struct errmsg *err);
/* The same, or "80%" of @whole_bytes. */
int value_size_pct(const char *text, uint64_t whole_bytes, uint64_t *ret_bytes,
		   struct errmsg *err);
int value_uint(const char *text, unsigned long min, unsigned long max,
	       unsigned long *ret, struct errmsg *err);
/* "40000-40999": TCP or UDP ports, the first not after the last. */
int value_ports(const char *text, uint16_t *ret_first, uint16_t *ret_last,
		struct errmsg *err);
int value_bool(const char *text, bool *ret, struct errmsg *err);
/* A path that begins at the root. */
int value_abs_path(const char *text, struct errmsg *err);
/* One of @words (NULL-terminated); its index in @ret. */
int value_word(const char *text, const char *const *words, int *ret,
	       struct errmsg *err);
/* A host or domain name as RFC 1123 has it: letters, digits, '-', '.'. */
int value_hostname(const char *text, struct errmsg *err);
/* @text without the white space at both ends; changed in place. */
char *value_strip(char *text);
/* "1.5G", "640M": for messages. */
void value_size_text(uint64_t bytes, char text[16]);

#endif
