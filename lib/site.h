/* site.h - vmstep.conf: what the administrator says
 *
 * One table of keys gives the parser, the message for an unknown key, and the
 * check of the man page vmstep.conf(5).
 */
#ifndef VMSTEP_SITE_H
#define VMSTEP_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errmsg.h"
#include "option.h"

#define SITE_DEFAULT_PATH SYSCONFDIR "/vmstep/vmstep.conf"

/* In vmstep.so, before its version. */
#define PLUGIN_RELEASE "vmstep.so of version "

#define SITE_WORKERS_MAX 16    /* that vmstep-net can have */
#define SITE_VMS_MAX	 65536 /* of a node: that many are no limit */

struct site {
	char *runtime_dir; /* sockets and small files of running steps */
	char *image_path;  /* directories, separated by ':' */
	char *rundir;	   /* overlays */
	char *kernel;	   /* what root file systems boot with; "" none */
	char *initrd;
	char *qemu;	      /* a name looked up in PATH, or a path */
	char *allow_users;    /* names, separated by commas or spaces; "" all */
	char *allow_groups;   /* the same; one of both must hold */
	bool allow_tcg;	      /* may guests run without KVM? */
	uint64_t max_fam;     /* bytes a node */
	unsigned int max_vms; /* a node, at once; SITE_VMS_MAX: no limit */
	uint64_t mem_reserve; /* of a task's memory, for QEMU; 0: auto */
	char *net_device;     /* interface or subnet of the links; "" auto */
	char *net_port_range; /* "40000-40999"; "" any */
	char *net_link;	      /* "auto", "tcp" or "ucx" */
	bool net_encrypt;     /* what goes over the links */
	unsigned int net_workers; /* threads that carry frames, a node */
	bool allow_qmp;
	char *allow_images; /* directories, separated by ':'; "" all */
	char *allow_mounts; /* the same */
	char *data_path;    /* directories, separated by ':' */
	char *virtiofsd;    /* a name, or a path */
	bool allow_qemu_args;
	bool allow_outbound;
	char *allow_devices; /* see vfio.h */
	char *allow_publish; /* see publish_allowed() */
	char *sandbox;	     /* "yes", "no" or "require" */
	char *sandbox_paths; /* directories, separated by ':' */
	unsigned int beacon_interval_s;
	unsigned int lost_after_s; /* then a node that is cut off is lost */
	struct optset defaults;	   /* default_NAME, boot_timeout, grace */
};

enum site_kind {
	SITE_TEXT,
	SITE_PATH,    /* absolute, or empty where its default is */
	SITE_PROGRAM, /* the same, or a name for PATH */
	SITE_SEARCH,  /* absolute paths with ':' between them */
	SITE_SIZE,
	SITE_RESERVE, /* a size, or auto */
	SITE_SECONDS,
	SITE_WORKERS, /* 1..SITE_WORKERS_MAX */
	SITE_VMS,     /* 1..SITE_VMS_MAX */
	SITE_PORTS,   /* FIRST-LAST, or empty */
	SITE_LINK,    /* auto, tcp or ucx */
	SITE_SANDBOX, /* yes, no or require */
	SITE_PUBLISH, /* no, yes, or FIRST-LAST */
	SITE_BOOL,
	SITE_OPTION
};

struct site_key {
	const char *name;
	enum site_kind kind;
	size_t offset; /* in struct site; of SITE_OPTION: the option */
	const char *dflt;
	const char *help;
};
extern const struct site_key site_keys[];
extern const size_t n_site_keys;

/* The defaults, then @path and the *.conf files of the directory of the same
 * name with ".d", in order. @must_exist: plugstack.conf names @path, and it is
 * an error if it is missing.
 * On failure @err names file, line and cure, and @ret is empty. */
int site_load(const char *path, bool must_exist, struct site *ret,
	      struct errmsg *err);

/* The same, and tell of each line that was understood, in order. @key is as it
 * is written, default_NAME included; all texts are valid in the call only. */
struct site_listener {
	void (*said)(const char *key, const char *value, const char *file,
		     unsigned int line, void *arg);
	void *arg;
};
int site_load_told(const char *path, bool must_exist,
		   const struct site_listener *listener, struct site *ret,
		   struct errmsg *err);

/* vmstep.so's arguments in plugstack.conf: "config=PATH" is all there is.
 * *ret_path is borrowed from them, or the usual one; *ret_given: was it named?
 * -EINVAL with words. */
int site_args(int ac, char *const *av, const char **ret_path, bool *ret_given,
	      struct errmsg *err);
void site_done(struct site *s);

#endif
