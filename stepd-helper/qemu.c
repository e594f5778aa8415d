#include <config.h>

#include "qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "child.h"
#include "cleanup.h"
#include "log.h"
#include "port.h"
#include "qemu_sandbox.h"
#include "restore.h"
#include "usernet.h"

#define FIRST_FD 3 /* in QEMU, in the order of enum qemu_fd */

void qemu_plan_init(struct qemu_plan *p)
{
	*p = (struct qemu_plan){ 0 };
	for (int i = 0; i < QEMU_FD_COUNT; i++)
		p->fd[i] = -1;
	for (int i = 0; i < QEMU_DISKS_MAX; i++)
		p->copy_fd[i] = -1;
}

static bool is_disk(int which)
{
	return which == QEMU_FD_SEED ||
	       (which >= QEMU_FD_DISK && which < QEMU_FD_DISK + QEMU_DISKS_MAX);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(TAKE_FD(*fd));
}

int qemu_fd_number(enum qemu_fd which)
{
	return FIRST_FD + (int)which;
}

void qemu_plan_close_fds(struct qemu_plan *p)
{
	for (int i = 0; i < QEMU_FD_COUNT; i++)
		if (!is_disk(i))
			close_fd(&p->fd[i]);
}

void qemu_plan_done(struct qemu_plan *p)
{
	for (int i = 0; i < QEMU_FD_COUNT; i++)
		close_fd(&p->fd[i]);
	restore_free(p->restore);
	free(p->kernel);
	free(p->initrd);
	free(p->append);
	for (unsigned int i = 0; i < p->n_disks; i++)
		qemu_disk_done(&p->disk[i]);
	for (unsigned int i = 0; i < p->n_copies; i++) {
		diskcopy_done(&p->copy[i]);
		if (p->copy_fd[i] >= 0)
			close(p->copy_fd[i]);
	}
	strings_done(&p->devices);
	for (unsigned int i = 0; i < p->n_shares; i++)
		share_done(&p->share[i]);
	data_items_done(&p->data);
	strings_done(&p->to_remove);
	firmware_done(&p->firmware);
	seed_user_done(&p->seed_user);
	hold_done(&p->hold);
	qemu_plan_init(p);
}

/* -- arguments ------------------------------------------------------------- */

bool qemu_shares_memory(const struct qemu_plan *p)
{
	bool shares = p->spec->net == NET_VHOST_USER;

	for (unsigned int i = 0; i < p->n_shares; i++)
		shares = shares || p->share[i].virtiofs;
	return shares;
}

/* For one CPU TCG leaves memory barriers and locks out of its code, also where
 * another process has the same memory. That there might be a second cures it.
 */
static void smp_args(struct args *a, const struct qemu_plan *p)
{
	const struct shape *s = &p->shape;
	unsigned int cpus = p->spec->cpus;

	args_add(a, "-smp");
	if ((qemu_shares_memory(p) || p->spec->fam.bytes) && !p->kvm &&
	    cpus == 1)
		args_add(a, "1,maxcpus=2,sockets=1,cores=2,threads=1");
	else if (!s->sockets)
		args_add(a, "%u,sockets=1,cores=%u,threads=1", cpus, cpus);
	else
		args_add(a, "%u,sockets=%u,cores=%u,threads=%u", cpus,
			 s->sockets, s->cores, s->threads);
}

/* AMD's CPUs tell of their threads by a feature that "host" leaves out. */
static const char *cpu_model(const struct qemu_plan *p)
{
	if (p->spec->cpu)
		return p->spec->cpu;
	/* What TCG carries out byte by byte, eight times slower, the kernel
	 * would take for the fast way to copy (ERMS, FSRM) and to clear (FSRS,
	 * in a leaf of CPUID of which older QEMUs know no name). None without
	 * the others: Linux takes FSRM to imply ERMS, and hangs where it does
	 * not; QEMU has offered it under TCG since 8. */
	if (!p->kvm)
		return OPTION_TCG_CPU;
	return p->shape.threads > 1 && __builtin_cpu_is("amd")
		       ? "host,topoext=on"
		       : "host";
}

/* Has guest memory to be an object of its own, of which something is said? */
static bool has_backend(const struct qemu_plan *p)
{
	return qemu_shares_memory(p) || p->spec->hugepage_bytes ||
	       p->shape.n_nodes;
}

/* vmstep-net maps the memory of a guest with a vhost-user port, virtiofsd that
 * of one with a share. QEMU seals it against shrinking. */
static void backend_args(struct args *a, const struct qemu_plan *p,
			 const char *id, uint64_t bytes,
			 const struct shape_node *node)
{
	uint64_t page = p->spec->hugepage_bytes;
	bool shared = qemu_shares_memory(p);
	char huge[96] = "", bound[64] = "";

	/* all of it now, or a page that is missing would kill the guest */
	if (page)
		snprintf(huge, sizeof(huge),
			 ",hugetlb=on,hugetlbsize=%lluM,prealloc=on",
			 (unsigned long long)page >> 20);
	if (node && p->shape.bound)
		snprintf(bound, sizeof(bound), ",host-nodes=%u,policy=bind",
			 node->host);
	args_add(a, "-object");
	args_add(a, "memory-backend-%s,id=%s,size=%lluM%s%s%s",
		 shared || page ? "memfd" : "ram", id,
		 (unsigned long long)bytes >> 20, shared ? ",share=on" : "",
		 huge, bound);
}

static void node_args(struct args *a, const struct qemu_plan *p)
{
	for (unsigned int i = 0; i < p->shape.n_nodes; i++) {
		const struct shape_node *n = &p->shape.node[i];
		char id[16];

		snprintf(id, sizeof(id), "mem%u", i);
		backend_args(a, p, id, n->mem_bytes, n);
		args_add(a, "-numa");
		args_add(a, "node,nodeid=%u,cpus=%u-%u,memdev=%s", i, n->first,
			 n->first + n->n - 1, id);
	}
}

static void memory_args(struct args *a, const struct qemu_plan *p)
{
	args_add(a, "-m");
	args_add(a, "%lluM", (unsigned long long)p->spec->mem_bytes >> 20);
	if (p->shape.n_nodes > 1)
		node_args(a, p);
	else if (has_backend(p))
		backend_args(a, p, "mem", p->spec->mem_bytes,
			     p->shape.n_nodes ? &p->shape.node[0] : NULL);
}

/* Its variables are this machine's own. */
static void firmware_args(struct args *a, const struct qemu_plan *p)
{
	const struct firmware *f = &p->firmware;
	_cleanup_free_ char *code = f->code ? args_quoted(f->code) : NULL;

	if (!f->code)
		return;
	if (!code)
		a->error = -ENOMEM;
	args_add(a, "-blockdev");
	args_add(
		a,
		"driver=%s,node-name=fwcode,read-only=on,file.driver=file,file.filename=%s",
		f->code_format, code ? code : "");
	args_add(a, "-add-fd");
	args_add(a, "fd=%d,set=%d", FIRST_FD + QEMU_FD_VARS, QEMU_FD_VARS);
	args_add(a, "-blockdev");
	args_add(
		a,
		"driver=%s,node-name=fwvars,file.driver=file,file.filename=/dev/fdset/%d",
		f->vars_format, QEMU_FD_VARS);
}

/* At the place that programs for it know, before other devices get places. */
static void fam_args(struct args *a, const struct spec *s)
{
	if (!s->fam.bytes)
		return;
	args_add(a, "-object");
	args_add(
		a,
		"memory-backend-file,id=fam,mem-path=/proc/self/fd/%d,size=%lluM,share=on",
		FIRST_FD + QEMU_FD_FAM, (unsigned long long)s->fam.bytes >> 20);
	args_add2(a, "-device", "ivshmem-plain,memdev=fam,bus=pcie.0,addr=0x4");
}

/* In a directory that is its user's alone; there is no TCP port. A tablet says
 * where the pointer is, a mouse only how far it went. */
static void display_args(struct args *a, const struct qemu_plan *p)
{
	_cleanup_free_ char *dir = NULL;

	if (!p->spec->vnc) {
		args_add2(a, "-display", "none");
		args_add2(a, "-vga", "none");
		return;
	}
	dir = args_quoted(p->task->step_dir);
	args_add(a, "-vnc");
	args_add(a, "unix:" QEMU_DISPLAY, dir ? dir : "", p->task->rank);
	args_add2(a, "-vga", "std");
	args_add2(a, "-device", "qemu-xhci");
	args_add2(a, "-device", "usb-tablet");
}

/* A translation cache of QEMU's own default size (1 GiB) would not fit into
 * what is kept back for QEMU: it has what is left of that. */
#define TCG_BESIDE  72 /* MiB */
#define TCG_DISPLAY 24 /* more, for the picture and its copies */
#define TCG_LEAST   32
#define TCG_MOST    512

static void accel_args(struct args *a, const struct qemu_plan *p)
{
	uint64_t beside = TCG_BESIDE + (p->spec->vnc ? TCG_DISPLAY : 0);
	uint64_t mib = p->task->mem_reserve >> 20;

	mib = mib > beside + TCG_LEAST ? mib - beside : TCG_LEAST;
	args_add(a, "-accel");
	if (p->kvm)
		args_add(a, "kvm");
	else
		args_add(a, "tcg,thread=multi,tb-size=%u",
			 (unsigned int)(mib < TCG_MOST ? mib : TCG_MOST));
}

static void machine_args(struct args *a, const struct qemu_plan *p)
{
	const struct spec *s = p->spec;
	_cleanup_free_ char *name = args_quoted(s->hostname);
	char uuid[TASK_UUID];

	args_add(a, "-name");
	/* names threads too ("CPU 0/KVM"), for whoever looks at top -H */
	args_add(a, "%s,debug-threads=on", name ? name : "vm");
	args_add(a, "-nodefaults");
	args_add(a, "-no-user-config");
	args_add2(
		a, "-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	args_add(a, "-machine");
	args_add(a, "%s%s%s", s->machine,
		 has_backend(p) && p->shape.n_nodes < 2 ? ",memory-backend=mem"
							: "",
		 p->firmware.code ? ",pflash0=fwcode,pflash1=fwvars" : "");
	firmware_args(a, p);
	accel_args(a, p);
	args_add2(a, "-cpu", cpu_model(p));
	smp_args(a, p);
	memory_args(a, p);
	args_add(a, "-S"); /* until the virtual CPUs are pinned */
	if (p->restore)
		args_add2(a, "-incoming", "defer");
	display_args(a, p);
	args_add2(a, "-rtc", "base=utc");
	task_uuid(p->task, uuid);
	args_add2(a, "-uuid", uuid);
	fam_args(a, s);
	args_add2(a, "-object", "rng-random,id=rng0,filename=/dev/urandom");
	args_add2(a, "-device", "virtio-rng-pci,rng=rng0");
}

static void port_args(struct args *a, const struct spec *s)
{
	args_add(a, "-chardev");
	args_add(a, "socket,id=qmp,fd=%d", FIRST_FD + QEMU_FD_QMP);
	args_add2(a, "-mon", "chardev=qmp,mode=control");
	args_add(a, "-chardev");
	args_add(a, "socket,id=console,fd=%d", FIRST_FD + QEMU_FD_CONSOLE);
	args_add2(a, "-serial", "chardev:console");
	args_add2(a, "-device", "virtio-serial-pci,id=vs0,max_ports=8");
	args_add(a, "-chardev");
	args_add(a, "socket,id=agent,fd=%d", FIRST_FD + QEMU_FD_AGENT);
	/* without its own id= there is no VSERPORT_CHANGE event */
	args_add2(a, "-device",
		  "virtserialport,id=" AGENT_PORT_ID
		  ",bus=vs0.0,nr=1,chardev=agent,name=" AGENT_PORT);
	if (!spec_wants_qga(s))
		return;
	args_add(a, "-chardev");
	args_add(a, "socket,id=qga,fd=%d", FIRST_FD + QEMU_FD_QGA);
	args_add2(a, "-device",
		  "virtserialport,id=" QGA_PORT_ID
		  ",bus=vs0.0,nr=2,chardev=qga,name=" QGA_PORT);
}

/* More queues than CPUs would lie idle. Without KVM QEMU 7.2 crashes when a
 * vhost-user card has MSI-X vectors; without vectors there is one queue. */
static unsigned int queues(const struct qemu_plan *p)
{
	if (p->spec->net != NET_VHOST_USER || !p->kvm)
		return 1;
	return p->spec->cpus < QEMU_QUEUES_MAX ? p->spec->cpus
					       : QEMU_QUEUES_MAX;
}

static void netdev_args(struct args *a, const struct qemu_plan *p)
{
	const int fd = FIRST_FD + QEMU_FD_NET;

	if (p->spec->net == NET_VHOST_USER) {
		/* the server: it listens again when vmstep-net was lost */
		args_add(a, "-chardev");
		args_add(a,
			 "socket,id=net0c,path=" PORT_SOCKET_PATH
			 ",server=on,wait=off",
			 fd, p->task->rank);
	}
	args_add(a, "-netdev");
	switch (p->spec->net) {
	case NET_VHOST_USER:
		args_add(a,
			 "vhost-user,id=" QEMU_NETDEV
			 ",chardev=net0c,queues=%u",
			 queues(p));
		break;
	case NET_DGRAM:
		args_add(a,
			 "dgram,id=" QEMU_NETDEV ",local.type=fd,local.str=%d",
			 fd);
		break;
	default:
		args_add(a,
			 "stream,id=" QEMU_NETDEV
			 ",server=off,addr.type=fd,addr.str=%d",
			 fd);
	}
}

/* A card whose wire leads nowhere. */
static void lone_card_args(struct args *a, const char *mac)
{
	args_add2(a, "-netdev", "hubport,id=" QEMU_NETDEV ",hubid=0");
	args_add(a, "-device");
	args_add(a,
		 "virtio-net-pci,netdev=" QEMU_NETDEV ",mac=%s,romfile=", mac);
}

static void net_args(struct args *a, const struct qemu_plan *p)
{
	char mac[18], more[64] = "";
	unsigned int n = queues(p);

	addr_mac_text(p->task->rank, mac);
	if (p->spec->net == NET_NONE) {
		if (p->seed) /* systemd waits two minutes for some card */
			lone_card_args(a, mac);
		return;
	}
	netdev_args(a, p);
	if (p->spec->net == NET_VHOST_USER && !p->kvm)
		snprintf(more, sizeof(more), ",vectors=0");
	else if (n > 1) /* two a queue, one for changes, one for control */
		snprintf(more, sizeof(more), ",mq=on,vectors=%u", 2 * n + 2);
	args_add(a, "-device");
	/* no option ROM: nothing boots from this network */
	args_add(a,
		 "virtio-net-pci,netdev=" QEMU_NETDEV
		 ",mac=%s,host_mtu=%u,romfile=%s",
		 mac, p->spec->mtu, more);
}

/* The fdset has the number of its place among enum qemu_fd. */
static void disk_args(struct args *a, int n, const char *node,
		      const struct qemu_disk *d)
{
	qemu_disk_args(a, d, node, FIRST_FD + n, n);
}

static void boot_args(struct args *a, const struct qemu_plan *p)
{
	static const struct qemu_disk seed = { .format = "raw",
					       .read_only = true };

	qemu_scsi_args(a, p->disk, p->n_disks);
	for (unsigned int i = 0; i < p->n_disks; i++) {
		char node[16];

		snprintf(node, sizeof(node), QEMU_DISK_NODE, i);
		disk_args(a, QEMU_FD_DISK + (int)i, node, &p->disk[i]);
	}
	if (p->seed)
		disk_args(a, QEMU_FD_SEED, "cidata", &seed);
	for (unsigned int i = 0; i < p->n_shares; i++)
		share_args(a, &p->share[i], FIRST_FD + QEMU_FD_SHARE + (int)i,
			   p->kvm);
	if (!p->kernel)
		return;
	if (p->install) /* or the installer would boot again */
		args_add(a, "-no-reboot");
	args_add2(a, "-kernel", p->kernel);
	if (p->initrd)
		args_add2(a, "-initrd", p->initrd);
	if (p->append && *p->append)
		args_add2(a, "-append", p->append);
}

int qemu_args(const struct qemu_plan *p, const char *qemu, struct strings *ret)
{
	struct args a = { .list = ret };

	args_add(&a, "%s", qemu);
	machine_args(&a, p);
	port_args(&a, p->spec);
	net_args(&a, p);
	usernet_args(&a, p->task, p->spec);
	for (size_t i = 0; i < p->devices.n; i++) {
		args_add(&a, "-device");
		args_add(&a, "vfio-pci,host=%s", p->devices.v[i]);
	}
	boot_args(&a, p);
	for (size_t i = 0; i < p->spec->qemu_args.n; i++)
		args_add(&a, "%s", p->spec->qemu_args.v[i]);
	return a.error;
}

/* -- process --------------------------------------------------------------- */

static int make_argv(const struct strings *args, const char ***ret)
{
	const char **argv = calloc(args->n + 1, sizeof(*argv));

	if (!argv)
		return -ENOMEM;
	for (size_t i = 0; i < args->n; i++)
		argv[i] = args->v[i];
	*ret = argv;
	return 0;
}

static int make_sandbox(const struct qemu_plan *p, const char *qemu,
			struct sandbox **ret, struct errmsg *err)
{
	char text[SANDBOX_TEXT];

	log_debug("QEMU's sandbox: %s", sandbox_text(p->task->sandbox, text));
	return p->task->sandbox ? qemu_sandbox(p, qemu, ret, err) : 0;
}

int qemu_start(struct qemu_plan *p, const char *qemu, pid_t *ret_pid,
	       int *ret_stderr, struct errmsg *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct child_fd fds[3 + QEMU_FD_COUNT];
	struct child_spec spec = { .fds = fds,
				   .deaf = true,
				   .private_files = true };
	const char **argv = NULL;
	struct strings args = { 0 };
	struct sandbox *sandbox = NULL;
	int pipefd[2], r;

	if (null < 0 || pipe2(pipefd, O_CLOEXEC) < 0)
		return errmsg_set(err, -errno, "start QEMU");
	r = qemu_args(p, qemu, &args);
	if (r == 0)
		r = make_argv(&args, &argv);
	fds[spec.n_fds++] = (struct child_fd){ null, 0 };
	fds[spec.n_fds++] = (struct child_fd){ null, 1 };
	fds[spec.n_fds++] = (struct child_fd){ pipefd[1], 2 };
	for (int i = 0; i < QEMU_FD_COUNT; i++)
		if (p->fd[i] >= 0)
			fds[spec.n_fds++] =
				(struct child_fd){ p->fd[i], FIRST_FD + i };
	spec.argv = argv;
	r = r < 0 ? errmsg_set(err, r, "start QEMU")
		  : make_sandbox(p, qemu, &sandbox, err);
	spec.sandbox = sandbox;
	if (r == 0)
		r = child_start(&spec, ret_pid, err);
	sandbox_free(sandbox);
	free(argv);
	strings_done(&args);
	close(pipefd[1]);
	if (r < 0) {
		close(pipefd[0]);
		return r;
	}
	*ret_stderr = pipefd[0];
	return 0;
}
