#include <config.h>

#include "qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "port.h"

#define FIRST_FD 3 /* in QEMU, in the order of enum qemu_fd */

void qemu_plan_init(struct qemu_plan *p)
{
	*p = (struct qemu_plan){ 0 };
	for (int i = 0; i < QEMU_FD_COUNT; i++)
		p->fd[i] = -1;
}

void qemu_plan_close_fds(struct qemu_plan *p)
{
	for (int i = 0; i < QEMU_FD_COUNT; i++) {
		if (p->fd[i] >= 0)
			close(p->fd[i]);
		p->fd[i] = -1;
	}
}

void qemu_plan_done(struct qemu_plan *p)
{
	qemu_plan_close_fds(p);
	free(p->kernel);
	free(p->initrd);
	free(p->append);
	qemu_plan_init(p);
}

char *qemu_find(const char *name, struct errmsg *err)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	if (strchr(name, '/')) {
		if (access(name, X_OK) == 0)
			return strdup(name);
		errmsg_set(err, -errno, "QEMU (vmstep.conf: qemu=%s)", name);
		return NULL;
	}
	if (!path || !*path)
		path = "/usr/local/bin:/usr/bin:/bin";
	for (const char *p = path; *p; p += *p == ':') {
		int n = (int)strcspn(p, ":");

		snprintf(file, sizeof(file), "%.*s/%s", n, p, name);
		if (n && access(file, X_OK) == 0)
			return strdup(file);
		p += n;
	}
	errmsg_say(
		err, -ENOENT,
		"%s is not installed on this node (not in PATH %s); install QEMU or name it by qemu= in vmstep.conf",
		name, path);
	return NULL;
}

/* -- arguments ------------------------------------------------------------- */

struct args {
	struct strings *list;
	int error;
};

static void add(struct args *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct args *a, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		text = NULL;
	if (!text || strings_add(a->list, text, (size_t)n) < 0)
		a->error = -ENOMEM;
}

static void add2(struct args *a, const char *option, const char *value)
{
	add(a, "%s", option);
	add(a, "%s", value);
}

/* In QEMU's option lists a comma in a value is written twice. */
static char *quoted(const char *value)
{
	char *out = malloc(2 * strlen(value) + 1), *o = out;

	if (!out)
		return NULL;
	for (; *value; value++) {
		if (*value == ',')
			*o++ = ',';
		*o++ = *value;
	}
	*o = '\0';
	return out;
}

/* For one CPU TCG leaves memory barriers out of its code, also where another
 * process reads the same memory. That there might be a second cures it. */
static void smp_args(struct args *a, const struct qemu_plan *p)
{
	unsigned int cpus = p->spec->cpus;

	add(a, "-smp");
	if (p->spec->net == NET_VHOST_USER && !p->kvm && cpus == 1)
		add(a, "1,maxcpus=2,sockets=1,cores=2,threads=1");
	else
		add(a, "%u,sockets=1,cores=%u,threads=1", cpus, cpus);
}

/* vmstep-net maps the memory of a guest with a vhost-user port. QEMU seals it
 * against shrinking. */
static void memory_args(struct args *a, const struct spec *s)
{
	unsigned long long mib = s->mem_bytes >> 20;

	add(a, "-m");
	add(a, "%lluM", mib);
	if (s->net != NET_VHOST_USER)
		return;
	add(a, "-object");
	add(a, "memory-backend-memfd,id=mem,size=%lluM,share=on", mib);
}

static void machine_args(struct args *a, const struct qemu_plan *p)
{
	const struct spec *s = p->spec;
	_cleanup_free_ char *name = quoted(s->hostname);

	add(a, "-name");
	/* names threads too ("CPU 0/KVM"), for whoever looks at top -H */
	add(a, "%s,debug-threads=on", name ? name : "vm");
	add(a, "-nodefaults");
	add(a, "-no-user-config");
	add2(a, "-sandbox",
	     "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add(a, "-machine");
	add(a, "%s%s", s->machine,
	    s->net == NET_VHOST_USER ? ",memory-backend=mem" : "");
	/* a translation cache of its own default size (1 GiB) would not fit
	 * into what the site keeps back for QEMU */
	add2(a, "-accel", p->kvm ? "kvm" : "tcg,thread=multi,tb-size=96");
	add2(a, "-cpu", s->cpu ? s->cpu : p->kvm ? "host" : "max");
	smp_args(a, p);
	memory_args(a, s);
	add(a, "-S"); /* until the virtual CPUs are pinned */
	add2(a, "-display", "none");
	add2(a, "-vga", "none");
	add2(a, "-rtc", "base=utc");
	add2(a, "-object", "rng-random,id=rng0,filename=/dev/urandom");
	add2(a, "-device", "virtio-rng-pci,rng=rng0");
}

static void port_args(struct args *a)
{
	add(a, "-chardev");
	add(a, "socket,id=qmp,fd=%d", FIRST_FD + QEMU_FD_QMP);
	add2(a, "-mon", "chardev=qmp,mode=control");
	add(a, "-chardev");
	add(a, "socket,id=console,fd=%d", FIRST_FD + QEMU_FD_CONSOLE);
	add2(a, "-serial", "chardev:console");
	add2(a, "-device", "virtio-serial-pci,id=vs0,max_ports=8");
	add(a, "-chardev");
	add(a, "socket,id=agent,fd=%d", FIRST_FD + QEMU_FD_AGENT);
	/* without its own id= there is no VSERPORT_CHANGE event */
	add2(a, "-device",
	     "virtserialport,id=agentport,bus=vs0.0,nr=1,chardev=agent,name=" AGENT_PORT);
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
		add(a, "-chardev");
		add(a,
		    "socket,id=net0c,path=" PORT_SOCKET_PATH
		    ",server=on,wait=off",
		    fd, p->task->rank);
	}
	add(a, "-netdev");
	switch (p->spec->net) {
	case NET_VHOST_USER:
		add(a, "vhost-user,id=net0,chardev=net0c,queues=%u", queues(p));
		break;
	case NET_DGRAM:
		add(a, "dgram,id=net0,local.type=fd,local.str=%d", fd);
		break;
	default:
		add(a, "stream,id=net0,server=off,addr.type=fd,addr.str=%d",
		    fd);
	}
}

/* A card whose wire leads nowhere. */
static void lone_card_args(struct args *a, const char *mac)
{
	add2(a, "-netdev", "hubport,id=net0,hubid=0");
	add(a, "-device");
	add(a, "virtio-net-pci,netdev=net0,mac=%s,romfile=", mac);
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
	add(a, "-device");
	/* no option ROM: nothing boots from this network */
	add(a, "virtio-net-pci,netdev=net0,mac=%s,host_mtu=%u,romfile=%s", mac,
	    p->spec->mtu, more);
}

/* @n: place among enum qemu_fd; its fdset has the same number. */
static void disk_args(struct args *a, int n, const char *node,
		      const char *format, bool read_only)
{
	add(a, "-add-fd");
	add(a, "fd=%d,set=%d", FIRST_FD + n, n);
	add(a, "-blockdev");
	/* what is thrown away need not reach the platter: no-flush */
	add(a,
	    "driver=%s,node-name=%s,read-only=%s,discard=unmap,cache.no-flush=on,file.driver=file,file.filename=/dev/fdset/%d",
	    format, node, read_only ? "on" : "off", n);
	add(a, "-device");
	add(a, "virtio-blk-pci,drive=%s,serial=%s", node, node);
}

static void boot_args(struct args *a, const struct qemu_plan *p)
{
	for (unsigned int i = 0; i < p->n_disks; i++) {
		char node[16];

		snprintf(node, sizeof(node), "disk%u", i);
		disk_args(a, QEMU_FD_DISK + (int)i, node, "qcow2", false);
	}
	if (p->seed)
		disk_args(a, QEMU_FD_SEED, "cidata", "raw", true);
	if (!p->kernel)
		return;
	add2(a, "-kernel", p->kernel);
	if (p->initrd)
		add2(a, "-initrd", p->initrd);
	if (p->append && *p->append)
		add2(a, "-append", p->append);
}

int qemu_args(const struct qemu_plan *p, const char *qemu, struct strings *ret)
{
	struct args a = { .list = ret };

	add(&a, "%s", qemu);
	machine_args(&a, p);
	port_args(&a);
	net_args(&a, p);
	boot_args(&a, p);
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
		  : child_start(&spec, ret_pid, err);
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
