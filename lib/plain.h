/* plain.h - foreign text, made harmless for a terminal
 *
 * What a guest or a peer says may be shown to a person, whose terminal obeys
 * what comes after ESC, and who believes a line that looks like ours. Control
 * characters are bytes below ' ' other than TAB, DEL, and the C1 set: U+0080
 * to U+009F, and bytes 0x80 to 0x9f that are no part of a UTF-8 character.
 */
#ifndef VMSTEP_PLAIN_H
#define VMSTEP_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* How many bytes the character at @s has, of @len (1 or more) that are there:
 * 1 to 4. *ret_control: it is a control character. */
size_t plain_next(const char *s, size_t len, bool *ret_control);

/* Copy @text to @out, of @size bytes (1 or more), as one line: each byte of a
 * control character as \xNN. What does not fit is cut off between characters.
 * Returns the length of what is in @out. */
size_t plain_line(const char *text, char *out, size_t size);

/* Write @len bytes of @text to @f, harmless in the same way, however many. With
 * @lines a newline stays one. */
void plain_write(FILE *f, const char *text, size_t len, bool lines);

#endif
