#include <config.h>

#include "seed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "disk.h"
#include "hosts.h"
#include "isofile.h"
#include "memstream.h"
#include "sshkey.h"
#include "userdata.h"
#include "usernet.h"

#define AGENT_PATH PKGLIBEXECDIR "/vmstep-agent"

/* -- texts ----------------------------------------------------------------- */

/* Each line of @text indented, as a YAML block scalar wants it. */
static void put_block(FILE *f, const char *indent, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		fprintf(f, "%s%.*s\n", indent, (int)n, text);
		text += n + (text[n] == '\n');
	}
}

/* For user-data of the user's, which may be a template. */
static void put_facts(FILE *f, const struct task *t, const struct spec *s)
{
	fprintf(f, "local-hostname: %s\n", s->hostname);
	fprintf(f, "vmstep_rank: %u\n", t->rank);
	fprintf(f, "vmstep_ranks: %u\n", t->ranks);
	fprintf(f, "vmstep_step: %s\n", t->step);
}

/* Another instance-id for each VM: cloud-init then does its work even where the
 * image has booted before. */
static void put_meta_data(FILE *f, const struct task *t, const struct spec *s)
{
	fprintf(f, "instance-id: vmstep-%s-%u\n", t->step, t->rank);
	put_facts(f, t, s);
}

/* Without a network there is a card all the same (qemu.c), with no address but
 * the one that it gives itself. There is no router on a step's network, and
 * systemd-networkd, and the boot with it, would wait 12 s for one to answer. */
static void put_step_card(FILE *f, const struct task *t, const struct spec *s)
{
	char mac[18], ip[INET_ADDRSTRLEN], server[INET_ADDRSTRLEN];

	addr_mac_text(t->rank, mac);
	fprintf(f,
		"version: 2\n"
		"ethernets:\n"
		"  vmstep0:\n"
		"    match:\n"
		"      macaddress: \"%s\"\n",
		mac);
	if (s->net == NET_NONE)
		return;
	addr_ip_text(addr_ip(&s->cidr, t->rank), ip);
	addr_ip_text(addr_service_ip(&s->cidr), server);
	fprintf(f,
		"    accept-ra: false\n"
		"    addresses: [%s/%d]\n"
		"    mtu: %u\n"
		"    nameservers:\n"
		"      addresses: [%s]\n",
		ip, s->cidr.prefix, s->mtu, server);
	if (*s->domain)
		fprintf(f, "      search: [\"%s\"]\n", s->domain);
}

/* What is asked of it by name is not the step's: those names stay ours. */
static void put_network_config(FILE *f, const struct task *t,
			       const struct spec *s)
{
	struct usernet u;

	put_step_card(f, t, s);
	if (usernet_of(t, s, &u))
		fprintf(f,
			"  vmstep1:\n"
			"    match:\n"
			"      macaddress: \"%s\"\n"
			"    dhcp4: true\n"
			"    dhcp4-overrides:\n"
			"      use-domains: false\n"
			"      use-hostname: false\n"
			"    accept-ra: false\n",
			u.mac);
}

/* As the agent will write them, marks and all. */
static void put_hosts(FILE *f, const struct task *t, const struct spec *s)
{
	_cleanup_free_ char *text = NULL;

	fprintf(f, "  - path: /etc/hosts\n"
		   "    append: true\n"
		   "    content: |\n"
		   "      # vmstep begin\n");
	if (s->net != NET_NONE && hosts_text(t, s, &text) < 0)
		text = NULL;
	if (hosts_usernet(t, s, &text) == 0 && text)
		put_block(f, "      ", text);
	fprintf(f, "      # vmstep end\n");
}

/* Or is the guest to do with QEMU's, or none? */
static bool seed_has_agent(const struct spec *s)
{
	return s->exec == EXEC_AUTO || s->exec == EXEC_AGENT;
}

/* An image that has booted before has the machine id of then; one that has not
 * has made its own by now. */
static void put_machine_id(FILE *f, const struct task *t)
{
	char id[TASK_MACHINE_ID];

	task_machine_id(t, id);
	fprintf(f,
		"bootcmd:\n"
		"  - - sh\n"
		"    - -c\n"
		"    - |\n"
		"      made=$(stat -c %%Y /etc/machine-id) || exit 0\n"
		"      boot=$(sed -n 's/^btime //p' /proc/stat)\n"
		"      [ -s /etc/machine-id ] && [ $made -lt $boot ] || exit 0\n"
		"      echo %s >/etc/machine-id\n"
		"      [ ! -f /var/lib/dbus/machine-id ] || [ -L /var/lib/dbus/machine-id ] ||\n"
		"        cp /etc/machine-id /var/lib/dbus/machine-id\n",
		id);
}

/* The agent is on the seed itself. It is started as soon as cloud-init runs
 * commands at all, long before the system is up. */
static void put_agent_start(FILE *f)
{
	/* a tmpfs of its own: Debian's /run is noexec */
	fputs("  - - sh\n"
	      "    - -c\n"
	      "    - |\n"
	      "      set -e\n"
	      "      [ ! -e /run/vmstep/vmstep-agent ] || exit 0\n"
	      "      mkdir -p /run/vmstep /run/vmstep.seed\n"
	      "      mount -t tmpfs -o mode=755,size=16m vmstep /run/vmstep\n"
	      "      mount -t iso9660 -o ro LABEL=cidata /run/vmstep.seed\n"
	      "      cp /run/vmstep.seed/vmstep-agent /run/vmstep/\n"
	      "      ln -sf /run/vmstep/vmstep-agent /usr/local/bin/vmop || true\n"
	      "      umount /run/vmstep.seed\n"
	      "      rmdir /run/vmstep.seed\n"
	      "      modprobe -q virtio_console || true\n"
	      "      if command -v systemd-run >/dev/null; then\n"
	      "        systemd-run --quiet --no-block --collect --unit=vmstep-agent -p DefaultDependencies=no -p Restart=on-failure /run/vmstep/vmstep-agent\n"
	      "      else\n"
	      "        /run/vmstep/vmstep-agent --daemon\n"
	      "      fi\n",
	      f);
}

static void put_ssh(FILE *f, const struct sshkey *user,
		    const struct sshkey *host)
{
	fprintf(f, "disable_root: false\n"
		   "ssh_deletekeys: true\n"
		   "ssh_genkeytypes: [ed25519]\n"
		   "ssh_keys:\n"
		   "  ed25519_private: |\n");
	put_block(f, "    ", host->priv);
	fprintf(f, "  ed25519_public: %s vmstep\n", host->pub);
	/* the image's own user */
	fprintf(f, "ssh_authorized_keys:\n  - %s vmstep\n", user->pub);
	fprintf(f,
		"users:\n"
		"  - default\n"
		"  - name: root\n"
		"    lock_passwd: true\n"
		"    ssh_authorized_keys:\n"
		"      - %s vmstep\n",
		user->pub);
	fprintf(f, "write_files:\n"
		   "  - path: /root/.ssh/id_ed25519\n"
		   "    permissions: '0600'\n"
		   "    content: |\n");
	put_block(f, "      ", user->priv);
	fprintf(f,
		"  - path: /etc/ssh/ssh_known_hosts\n"
		"    content: |\n"
		"      * %s\n",
		host->pub);
}

int seed_ssh_keys(const uint8_t key[NETCTL_KEY_LEN], struct sshkey *ret_user,
		  struct sshkey *ret_host, struct errmsg *err)
{
	int r = sshkey_derive(key, NETCTL_KEY_LEN, "vmstep ssh user", ret_user,
			      err);

	return r < 0 ? r
		     : sshkey_derive(key, NETCTL_KEY_LEN, "vmstep ssh host",
				     ret_host, err);
}

static int put_user_data(FILE *f, const struct task *t, const struct spec *s,
			 const uint8_t key[NETCTL_KEY_LEN], struct errmsg *err)
{
	struct sshkey user, host;
	int r = seed_ssh_keys(key, &user, &host, err);

	if (r < 0)
		return r;
	fprintf(f,
		"#cloud-config\n"
		"preserve_hostname: false\n"
		"hostname: %s\n",
		s->hostname);
	if (*s->domain)
		fprintf(f, "fqdn: %s.%s\n", s->hostname, s->domain);
	put_machine_id(f, t);
	if (seed_has_agent(s))
		put_agent_start(f);
	put_ssh(f, &user, &host);
	put_hosts(f, t, s);
	explicit_bzero(&user, sizeof(user));
	explicit_bzero(&host, sizeof(host));
	return 0;
}

/* -- the image ------------------------------------------------------------- */

typedef int (*text_fn)(FILE *f, const struct task *t, const struct spec *s,
		       const uint8_t *key, struct errmsg *err);

static int meta_data(FILE *f, const struct task *t, const struct spec *s,
		     const uint8_t *key, struct errmsg *err)
{
	put_meta_data(f, t, s);
	return 0;
}

static int facts(FILE *f, const struct task *t, const struct spec *s,
		 const uint8_t *key, struct errmsg *err)
{
	put_facts(f, t, s);
	return 0;
}

static int network_config(FILE *f, const struct task *t, const struct spec *s,
			  const uint8_t *key, struct errmsg *err)
{
	put_network_config(f, t, s);
	return 0;
}

static int merged_user_data(FILE *f, const struct task *t, const struct spec *s,
			    const uint8_t *key, struct errmsg *err)
{
	int r = put_user_data(f, t, s, key, err);

	fputs(USERDATA_MERGE_HOW, f);
	return r;
}

/* What @fn writes; to be freed. */
static int text_of(text_fn fn, const struct task *t, const struct spec *s,
		   const uint8_t *key, char **ret, struct errmsg *err)
{
	struct memstream m;
	int r;

	if (!memstream_open(&m))
		return errmsg_set(err, -ENOMEM, "cloud-init seed");
	r = fn(m.f, t, s, key, err);
	*ret = memstream_close(&m, NULL);
	if (r == 0 && !*ret)
		r = errmsg_set(err, -ENOMEM, "cloud-init seed");
	return r;
}

/* With what the user has of it: a network-config or vendor-data of the user's
 * stands alone. */
static int make_text(enum seed_text which, const struct task *t,
		     const struct spec *s, const struct seed_user *user,
		     const uint8_t *key, char **ret, struct errmsg *err)
{
	static const text_fn ours[SEED_TEXTS] = {
		[SEED_META_DATA] = meta_data,
		[SEED_NETWORK_CONFIG] = network_config,
		[SEED_USER_DATA] = put_user_data,
	};
	const char *theirs = user->text[which];
	_cleanup_free_ char *own = NULL;
	char tail[160];
	int r;

	if (!theirs)
		return ours[which] ? text_of(ours[which], t, s, key, ret, err)
				   : 0;
	if (which == SEED_NETWORK_CONFIG || which == SEED_VENDOR_DATA) {
		*ret = strdup(theirs);
		return *ret ? 0 : errmsg_set(err, -ENOMEM, "cloud-init seed");
	}
	r = text_of(which == SEED_META_DATA ? facts : merged_user_data, t, s,
		    key, &own, err);
	if (r < 0)
		return r;
	if (which == SEED_META_DATA) {
		snprintf(tail, sizeof(tail), "-%s-%u", t->step, t->rank);
		return userdata_merge_meta(theirs, user->len[which], tail, own,
					   ret, err);
	}
	*ret = userdata_merge(theirs, user->len[which], own);
	return *ret ? 0 : errmsg_set(err, -ENOMEM, "cloud-init seed");
}

static int put_texts(struct archive *a, const struct task *t,
		     const struct spec *s, const struct seed_user *user,
		     const uint8_t *key, struct errmsg *err)
{
	for (int i = 0; i < SEED_TEXTS; i++) {
		_cleanup_free_ char *text = NULL;
		int r = make_text((enum seed_text)i, t, s, user, key, &text,
				  err);

		if (r == 0 && text)
			r = isofile_put(a, seed_text_names[i], 0600, text,
					strlen(text), err);
		if (text)
			explicit_bzero(text, strlen(text)); /* has a key */
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_users_files(struct archive *a, const struct seed_user *user,
			   struct errmsg *err)
{
	int r = 0;

	for (size_t i = 0; i < user->files.n && r == 0; i++) {
		_cleanup_free_ char *bytes = NULL;
		size_t size;

		r = seed_user_read(user, user->files.v[i], &bytes, &size, err);
		if (r == 0)
			r = isofile_put(a, user->files.v[i], 0755, bytes, size,
					err);
	}
	return r;
}

static int put_agent(struct archive *a, struct errmsg *err)
{
	_cleanup_close_ int fd = open(AGENT_PATH, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *bytes = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errmsg_say(
			err, -errno,
			"%s, the agent for the guest: %s; install vmstep on this node, or take an image that has the agent and --vm-cloud-init=none",
			AGENT_PATH, strerror(errno));
	bytes = malloc((size_t)st.st_size);
	if (!bytes || read(fd, bytes, (size_t)st.st_size) != st.st_size)
		return errmsg_set(err, -EIO, "agent %s", AGENT_PATH);
	return isofile_put(a, "vmstep-agent", 0755, bytes, (size_t)st.st_size,
			   err);
}

static int write_iso(int fd, const struct task *t, const struct spec *s,
		     const struct seed_user *user, const uint8_t *key,
		     struct errmsg *err)
{
	struct archive *a = isofile_new(fd, "cidata", err);
	int r;

	if (!a)
		return -EIO;
	r = put_texts(a, t, s, user, key, err);
	if (r == 0)
		r = put_users_files(a, user, err);
	if (r == 0)
		r = seed_has_agent(s) ? put_agent(a, err) : 0;
	return isofile_end(a, r, err);
}

int seed_make(const struct task *t, const struct spec *s,
	      const struct seed_user *user, const uint8_t key[NETCTL_KEY_LEN],
	      struct errmsg *err)
{
	_cleanup_close_ int fd = disk_anonymous(t->step_dir, err);
	int r = fd < 0 ? fd : write_iso(fd, t, s, user, key, err);

	if (r == 0)
		r = isofile_reopen(fd, err);
	return r < 0 ? errmsg_prefix(err, r, "cloud-init seed") : r;
}

/* -- the key of a step on one node ----------------------------------------- */

static int read_key(const char *path, uint8_t key[NETCTL_KEY_LEN])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	return read(fd, key, NETCTL_KEY_LEN) == NETCTL_KEY_LEN ? 0 : -EIO;
}

/* Whole from its first moment: written under another name, then linked. */
static int make_key(const char *dir, uint32_t rank, const char *path)
{
	_cleanup_close_ int fd = -1;
	uint8_t key[NETCTL_KEY_LEN];
	char own[4096];
	int r = 0;

	snprintf(own, sizeof(own), "%s/key.%u", dir, rank);
	fd = open(own, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (getrandom(key, sizeof(key), 0) != sizeof(key) ||
	    write(fd, key, sizeof(key)) != sizeof(key))
		r = -EIO;
	else if (link(own, path) < 0 && errno != EEXIST)
		r = -errno;
	unlink(own);
	explicit_bzero(key, sizeof(key));
	return r;
}

int seed_local_key(const struct task *t, uint8_t key[NETCTL_KEY_LEN],
		   struct errmsg *err)
{
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/key", t->step_dir);
	r = read_key(path, key);
	if (r == -ENOENT) {
		r = make_key(t->step_dir, t->rank, path);
		if (r == 0)
			r = read_key(path, key);
	}
	return r < 0 ? errmsg_set(err, r, "the step's key %s", path) : 0;
}
