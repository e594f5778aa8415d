/* sshkey.h - an ed25519 key pair for OpenSSH, made from a step's key
 *
 * The same step and the same purpose give the same pair on every node: no key
 * has to be sent to any guest.
 */
#ifndef VMSTEP_SSHKEY_H
#define VMSTEP_SSHKEY_H

#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"

struct sshkey {
	char priv[600]; /* as in id_ed25519, with its last newline */
	char pub[128];	/* "ssh-ed25519 AAAA...", no comment, no newline */
};

/* HKDF-SHA256 of @key (of @size bytes) for @purpose, as in "vmstep ssh host",
 * is the seed of the pair. */
int sshkey_derive(const uint8_t *key, size_t size, const char *purpose,
		  struct sshkey *ret, struct errmsg *err);

#endif
