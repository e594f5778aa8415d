/* seed.h - the NoCloud seed that makes a vendor's cloud image one of ours
 *
 * An ISO 9660 image labelled cidata (written by libarchive into a file without
 * a name): meta-data, network-config, user-data, the agent itself, which
 * bootcmd copies into the guest's /run and starts. The key pair and the host
 * key in it come from the step's key, so that every guest of the step makes
 * the same, and they ssh to each other unasked.
 */
#ifndef VMSTEP_SEED_H
#define VMSTEP_SEED_H

#include <stdint.h>

#include "errmsg.h"
#include "netctl.h"
#include "seed_user.h"
#include "spec.h"
#include "sshkey.h"
#include "task.h"

/* A read-only descriptor of the seed, or -errno. What @user has goes into it,
 * merged with ours; @user->dir may be NULL for nothing. */
int seed_make(const struct task *t, const struct spec *s,
	      const struct seed_user *user, const uint8_t key[NETCTL_KEY_LEN],
	      struct errmsg *err);

/* The pairs that @key makes: of who may log in, and of every guest. */
int seed_ssh_keys(const uint8_t key[NETCTL_KEY_LEN], struct sshkey *ret_user,
		  struct sshkey *ret_host, struct errmsg *err);

/* The key of a step on one node, which no PMIx spreads: made by the first task
 * that asks, kept in the step's directory. */
int seed_local_key(const struct task *t, uint8_t key[NETCTL_KEY_LEN],
		   struct errmsg *err);

#endif
