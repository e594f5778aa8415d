#include <config.h>

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

/* From include/uapi/linux/landlock.h and asm-generic/unistd.h of Linux 6.12;
 * Debian 12's headers end at ABI 2. The numbers are the kernel's for good. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule	    445
#define SYS_landlock_restrict_self  446
#endif
#define CREATE_RULESET_VERSION (1u << 0)
#define RULE_PATH_BENEATH      1

enum { /* of files */
       FS_EXECUTE = 1 << 0,
       FS_WRITE_FILE = 1 << 1,
       FS_READ_FILE = 1 << 2,
       FS_READ_DIR = 1 << 3,
       FS_REMOVE_DIR = 1 << 4,
       FS_REMOVE_FILE = 1 << 5,
       FS_MAKE_CHAR = 1 << 6,
       FS_MAKE_DIR = 1 << 7,
       FS_MAKE_REG = 1 << 8,
       FS_MAKE_SOCK = 1 << 9,
       FS_MAKE_FIFO = 1 << 10,
       FS_MAKE_BLOCK = 1 << 11,
       FS_MAKE_SYM = 1 << 12,
       FS_REFER = 1 << 13,     /* ABI 2, Linux 5.19 */
       FS_TRUNCATE = 1 << 14,  /* ABI 3, Linux 6.2 */
       FS_IOCTL_DEV = 1 << 15, /* ABI 5, Linux 6.10 */
};

enum { NET_BIND_TCP = 1 << 0, NET_CONNECT_TCP = 1 << 1 }; /* ABI 4, Linux 6.7 */
enum { SCOPE_ABSTRACT = 1 << 0, SCOPE_SIGNAL = 1 << 1 }; /* ABI 6, Linux 6.12 */

/* Rights that a file can have, for a rule on one may name no other. */
#define OF_A_FILE \
	(FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

/* The kernel takes one that is longer than its own if the rest is zeroes. */
struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

struct sandbox {
	int fd;	     /* the ruleset; -1: the kernel has no Landlock */
	uint64_t fs; /* what of files it decides on */
	unsigned int deny;
};

int sandbox_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   CREATE_RULESET_VERSION);

	return abi < 2 ? 0 : (int)abi;
}

const char *sandbox_text(bool wanted, char text[SANDBOX_TEXT])
{
	if (!wanted)
		snprintf(text, SANDBOX_TEXT, "none, by the site's choice");
	else if (!sandbox_abi())
		snprintf(text, SANDBOX_TEXT,
			 "none, this kernel has no Landlock");
	else
		snprintf(text, SANDBOX_TEXT, "Landlock, ABI %d", sandbox_abi());
	return text;
}

int sandbox_require(const char *node, struct errmsg *err)
{
	if (sandbox_abi())
		return 0;
	return errmsg_say(
		err, -ENOSYS,
		"the site requires a sandbox (sandbox in vmstep.conf), and the kernel of %s has no Landlock: it takes Linux 5.19 or later with landlock among its lsm=",
		node);
}

static struct ruleset denials(unsigned int deny, int abi)
{
	struct ruleset r = { 0 };

	if (deny & SANDBOX_FILES)
		r.fs = FS_REFER | (FS_REFER - 1) |
		       (abi >= 3 ? FS_TRUNCATE : 0u) |
		       (abi >= 5 ? FS_IOCTL_DEV : 0u);
	if (abi >= 4)
		r.net = (deny & SANDBOX_TCP_BIND ? NET_BIND_TCP : 0u) |
			(deny & SANDBOX_TCP_CONNECT ? NET_CONNECT_TCP : 0u);
	if (abi >= 6 && deny & SANDBOX_OTHERS)
		r.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
	return r;
}

int sandbox_new(unsigned int deny, struct sandbox **ret, struct errmsg *err)
{
	struct sandbox *s = calloc(1, sizeof(*s));
	struct ruleset r = denials(deny, sandbox_abi());

	if (!s)
		return errmsg_set(err, -ENOMEM, "sandbox");
	s->fd = -1;
	s->deny = deny;
	/* an empty ruleset is refused: of an old kernel we want nothing then */
	if (sandbox_abi() && (r.fs || r.net || r.scoped)) {
		s->fs = r.fs;
		s->fd = (int)syscall(SYS_landlock_create_ruleset, &r, sizeof(r),
				     0);
		if (s->fd < 0) {
			free(s);
			return errmsg_set(err, -errno, "Landlock's ruleset");
		}
		fcntl(s->fd, F_SETFD, FD_CLOEXEC);
	}
	*ret = s;
	return 0;
}

void sandbox_free(struct sandbox *s)
{
	if (s && s->fd >= 0)
		close(s->fd);
	free(s);
}

static uint64_t access_of(unsigned int rights)
{
	static const struct {
		unsigned int right;
		uint64_t access;
	} table[] = {
		{ SANDBOX_READ, FS_READ_FILE | FS_READ_DIR },
		{ SANDBOX_EXEC, FS_EXECUTE },
		{ SANDBOX_WRITE, FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV },
		{ SANDBOX_MAKE, FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR |
					FS_MAKE_REG | FS_MAKE_SOCK |
					FS_MAKE_FIFO | FS_MAKE_SYM | FS_REFER },
		{ SANDBOX_SOCKETS, FS_MAKE_SOCK | FS_REMOVE_FILE },
	};
	uint64_t access = 0;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (rights & table[i].right)
			access |= table[i].access;
	return access;
}

int sandbox_fd(struct sandbox *s, int fd, unsigned int rights,
	       struct errmsg *err)
{
	struct path_beneath rule = { access_of(rights) & s->fs, fd };
	struct stat st;

	if (s->fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return errmsg_set(err, -errno, "sandbox");
	if (!S_ISDIR(st.st_mode))
		rule.allowed &= OF_A_FILE;
	/* EBADFD: it is on no file system with names, as a memfd is, which
	 * Landlock leaves alone */
	if (!rule.allowed ||
	    syscall(SYS_landlock_add_rule, s->fd, RULE_PATH_BENEATH, &rule,
		    0) == 0 ||
	    errno == EBADFD)
		return 0;
	return errmsg_set(err, -errno, "sandbox");
}

int sandbox_path(struct sandbox *s, const char *path, unsigned int rights,
		 struct errmsg *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (s->fd < 0)
		return 0;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return errmsg_set(err, -errno, "sandbox: %s", path);
	if (fd < 0)
		return 0;
	r = sandbox_fd(s, fd, rights, err);
	return r < 0 ? errmsg_prefix(err, r, "%s", path) : 0;
}

int sandbox_paths(struct sandbox *s, const char *const *paths, size_t n,
		  unsigned int rights, struct errmsg *err)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = sandbox_path(s, paths[i], rights, err);
	return r;
}

/* -- the system ------------------------------------------------------------ */

static const char *const programs[] = { "/usr",	  "/bin",   "/sbin",  "/lib",
					"/lib32", "/lib64", "/libx32" };

/* Of /etc no more than that: elsewhere in it may be what users can read, and a
 * guest should not. */
static const char *const settings[] = {
	"/etc/crypto-policies",
	"/etc/gai.conf",
	"/etc/gnutls",
	"/etc/group",
	"/etc/host.conf",
	"/etc/hosts",
	"/etc/ld.so.cache",
	"/etc/ld.so.preload",
	"/etc/libibverbs.d",
	"/etc/localtime",
	"/etc/nsswitch.conf",
	"/etc/passwd",
	"/etc/pkcs11",
	"/etc/protocols",
	"/etc/rdma",
	"/etc/resolv.conf",
	"/etc/services",
	"/etc/ssl/openssl.cnf",
	"/etc/ucx",
};

/* What these tell of other processes of the user is what a list of them has:
 * their memory, environment and descriptors need a right to trace them. */
static const char *const kernel[] = { "/proc", "/sys" };

static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full",
				       "/dev/random", "/dev/urandom" };

/* "" between two ':' would be the working directory. */
static int allow_list(struct sandbox *s, const char *dirs, unsigned int rights,
		      struct errmsg *err)
{
	int r = 0;

	for (const char *p = dirs; p && *p && r == 0; p += *p == ':') {
		size_t n = strcspn(p, ":");
		_cleanup_free_ char *dir = strndup(p, n);

		p += n;
		if (!dir)
			return errmsg_set(err, -ENOMEM, "sandbox");
		if (*dir == '/')
			r = sandbox_path(s, dir, rights, err);
	}
	return r;
}

int sandbox_system(struct sandbox *s, bool exec, const char *dirs,
		   struct errmsg *err)
{
	const unsigned int use = SANDBOX_READ | (exec ? SANDBOX_EXEC : 0u);
	int r = sandbox_paths(s, programs, ARRAY_SIZE(programs), use, err);

	if (r == 0)
		r = allow_list(s, getenv("LD_LIBRARY_PATH"), use, err);
	if (r == 0)
		r = allow_list(s, dirs, use, err);
	if (r == 0)
		r = sandbox_paths(s, settings, ARRAY_SIZE(settings),
				  SANDBOX_READ, err);
	if (r == 0)
		r = sandbox_paths(s, kernel, ARRAY_SIZE(kernel), SANDBOX_READ,
				  err);
	return r < 0 ? r
		     : sandbox_paths(s, devices, ARRAY_SIZE(devices),
				     SANDBOX_READ | SANDBOX_WRITE, err);
}

/* -- system calls ---------------------------------------------------------- */

/* Those of another architecture have other numbers: none is wanted. */
#ifdef __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define OTHER_ABI    0x40000000u /* x32's have this bit */
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define OTHER_ABI    UINT32_MAX
#endif

/* Async-signal-safe. io_uring would do the same behind the filter's back. */
static int give_up_calls(unsigned int deny)
{
#ifdef ARCHITECTURE
#define LOAD(at)		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define RETURN(result)		BPF_STMT(BPF_RET | BPF_K, result)
#define FAIL(error)		RETURN(SECCOMP_RET_ERRNO | (error))
#define UNLESS(op, value, skip) BPF_JUMP(BPF_JMP | (op) | BPF_K, value, 0, skip)
	const uint32_t none = UINT32_MAX; /* no call's number */
	struct sock_filter filter[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
		FAIL(EPERM),
		LOAD(offsetof(struct seccomp_data, nr)),
		UNLESS(BPF_JGE, OTHER_ABI, 1),
		FAIL(EPERM),
		UNLESS(BPF_JEQ, SYS_io_uring_setup, 1),
		FAIL(ENOSYS),
		UNLESS(BPF_JEQ, deny & SANDBOX_CONNECT ? SYS_connect : none, 1),
		FAIL(EACCES),
		UNLESS(BPF_JEQ, deny & SANDBOX_UNIX ? SYS_socket : none, 3),
		/* an int, and these machines have its half first */
		LOAD(offsetof(struct seccomp_data, args)),
		UNLESS(BPF_JEQ, AF_UNIX, 1),
		FAIL(EACCES),
		RETURN(SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { ARRAY_SIZE(filter), filter };

	/* EINVAL: this kernel has no seccomp */
	if (deny & (SANDBOX_UNIX | SANDBOX_CONNECT) &&
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 &&
	    errno != EINVAL)
		return -errno;
#endif
	return 0;
}

/* -------------------------------------------------------------------------- */

int sandbox_enter(const struct sandbox *s)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (s->fd >= 0 && syscall(SYS_landlock_restrict_self, s->fd, 0) < 0)
		return -errno;
	return give_up_calls(s->deny);
}
