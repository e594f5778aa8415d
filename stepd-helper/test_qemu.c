#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cleanup.h"
#include "qemu.h"
#include "qemu_find.h"

struct fixture {
	struct task t;
	struct spec s;
	struct qemu_plan p;
	struct strings args;
	struct errmsg err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->t.rank = 0x1234;
	f->t.step = "1.0";
	f->s.cpus = 2;
	f->s.mem_bytes = 512ull << 20;
	f->s.machine = (char *)(uintptr_t) "q35";
	f->s.hostname = (char *)(uintptr_t) "vm0";
	f->s.mtu = 9000;
	f->s.net = NET_STREAM;
	qemu_plan_init(&f->p);
	f->p.task = &f->t;
	f->p.spec = &f->s;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qemu_plan_done(&f->p);
	strings_done(&f->args);
	free(f);
	return 0;
}

static void make(struct fixture *f)
{
	strings_done(&f->args);
	assert_int_equal(qemu_args(&f->p, "/usr/bin/qemu", &f->args), 0);
	for (size_t i = 0; i < f->args.n; i++)
		assert_non_null(f->args.v[i]);
}

/* Is there @option with @value after it (NULL: any)? How often? */
static int count(struct fixture *f, const char *option, const char *value)
{
	int n = 0;

	for (size_t i = 1; i < f->args.n; i++)
		if (strcmp(f->args.v[i], option) == 0)
			n += !value || (i + 1 < f->args.n &&
					strcmp(f->args.v[i + 1], value) == 0);
	return n;
}

static int mentions(struct fixture *f, const char *text)
{
	int n = 0;

	for (size_t i = 0; i < f->args.n; i++)
		n += strstr(f->args.v[i], text) != NULL;
	return n;
}

static void assert_option(struct fixture *f, const char *option,
			  const char *value)
{
	if (count(f, option, value) != 1)
		fail_msg("no %s %s", option, value ? value : "");
}

static void test_reserve(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_option(f, "-accel", "tcg,thread=multi,tb-size=32");
	f->t.mem_reserve = 160 << 20;
	make(f);
	assert_option(f, "-accel", "tcg,thread=multi,tb-size=88");
	f->t.step_dir = "/run";
	f->s.vnc = true;
	make(f);
	assert_option(f, "-accel", "tcg,thread=multi,tb-size=64");
	f->t.mem_reserve = 4ull << 30;
	make(f);
	assert_option(f, "-accel", "tcg,thread=multi,tb-size=512");
}

static void test_display(void **state)
{
	struct fixture *f = *state;

	f->t.step_dir = "/run/a,b/12.0";
	f->s.vnc = true;
	make(f);
	assert_option(f, "-vnc", "unix:/run/a,,b/12.0/vnc.4660");
	assert_option(f, "-vga", "std");
	assert_int_equal(count(f, "-display", NULL), 0);
}

/* -- finding it ------------------------------------------------------------ */

static void test_not_found(void **state)
{
	struct fixture *f = *state;

	setenv("PATH", "/nonexistent:/proc", 1);
	assert_null(
		qemu_find("qemu-system-x86_64", "vmstep.conf: qemu", &f->err));
	assert_non_null(strstr(
		f->err.text,
		"qemu-system-x86_64 is not installed on this node (not in PATH /nonexistent:/proc)"));
	assert_null(
		qemu_find("/nonexistent/qemu", "vmstep.conf: qemu", &f->err));
	assert_non_null(strstr(f->err.text, "qemu=/nonexistent/qemu"));
	assert_non_null(strstr(f->err.text, "No such file"));
}

static void test_found(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL;

	setenv("PATH", "/nonexistent::/bin", 1);
	a = qemu_find("sh", "--vm-qemu", &f->err);
	assert_string_equal(a, "/bin/sh");
	b = qemu_find("/bin/sh", "--vm-qemu", &f->err);
	assert_string_equal(b, "/bin/sh");
	setenv("PATH", "", 1);
	c = qemu_find("sh", "--vm-qemu", &f->err);
	assert_non_null(c);
	setenv("PATH", "/usr/bin:/bin", 1);
}

/* -- arguments ------------------------------------------------------------- */

static void test_machine(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_string_equal(f->args.v[0], "/usr/bin/qemu");
	assert_option(f, "-name", "vm0,debug-threads=on");
	assert_option(f, "-machine", "q35");
	assert_option(f, "-smp", "2,sockets=1,cores=2,threads=1");
	assert_option(f, "-m", "512M");
	assert_option(f, "-S", NULL);
	assert_option(f, "-nodefaults", NULL);
	assert_option(f, "-no-user-config", NULL);
	assert_option(f, "-display", "none");
	assert_int_equal(mentions(f, "spawn=deny"), 1);
	assert_int_equal(mentions(f, "elevateprivileges=deny"), 1);
	assert_int_equal(mentions(f, "resourcecontrol=deny"), 1);
	assert_int_equal(mentions(f, "obsolete=deny"), 1);
}

/* Auto has both, and each says which it is. */
static void test_ports(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_int_equal(mentions(f, "name=org.vmstep.agent.0"), 1);
	assert_option(
		f, "-device",
		"virtserialport,id=qgaport,bus=vs0.0,nr=2,chardev=qga,name=org.qemu.guest_agent.0");
	f->s.exec = EXEC_AGENT;
	make(f);
	assert_int_equal(mentions(f, "name=org.vmstep.agent.0"), 1);
	assert_int_equal(mentions(f, "qga"), 0);
}

static void test_firmware(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_int_equal(mentions(f, "fwcode"), 0);
	f->p.firmware.code = strdup("/a,b");
	f->p.firmware.code_format = strdup("raw");
	f->p.firmware.vars_format = strdup("raw");
	make(f);
	assert_option(f, "-machine", "q35,pflash0=fwcode,pflash1=fwvars");
	assert_option(
		f, "-blockdev",
		"driver=raw,node-name=fwcode,read-only=on,file.driver=file,file.filename=/a,,b");
	assert_int_equal(mentions(f, "node-name=fwvars"), 1);
	assert_int_equal(mentions(f, "fwvars,read-only"), 0);
}

static void test_accel(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_int_equal(count(f, "-accel", "kvm"), 0);
	assert_int_equal(mentions(f, "tcg,"), 1);
	/* QEMU 10 has FSRM, with which Linux hangs where ERMS is missing */
	assert_option(f, "-cpu", "max,erms=off,fsrm=off,level-func7=0");
	f->p.kvm = true;
	make(f);
	assert_option(f, "-accel", "kvm");
	assert_option(f, "-cpu", "host");
	f->s.cpu = (char *)(uintptr_t) "qemu64";
	make(f);
	assert_option(f, "-cpu", "qemu64");
}

static void test_comma(void **state)
{
	struct fixture *f = *state;

	/* a name cannot become an option of QEMU's */
	f->s.hostname = (char *)(uintptr_t) "a,process=b,,";
	make(f);
	assert_option(f, "-name", "a,,process=b,,,,,debug-threads=on");
}

static void test_net(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_option(f, "-netdev",
		      "stream,id=net0,server=off,addr.type=fd,addr.str=6");
	assert_option(
		f, "-device",
		"virtio-net-pci,netdev=net0,mac=52:54:00:00:12:34,host_mtu=9000,romfile=");
	assert_int_equal(mentions(f, "share=on"), 0);
	f->s.net = NET_DGRAM;
	make(f);
	assert_option(f, "-netdev", "dgram,id=net0,local.type=fd,local.str=6");
	assert_int_equal(mentions(f, "share=on"), 0);
	f->s.net = NET_NONE;
	make(f);
	assert_int_equal(count(f, "-netdev", NULL), 0);
	assert_int_equal(mentions(f, "virtio-net"), 0);
	assert_int_equal(mentions(f, "share=on"), 0);
	f->p.seed = true;
	make(f);
	assert_option(f, "-netdev", "hubport,id=net0,hubid=0");
	assert_int_equal(mentions(f, "virtio-net-pci,netdev=net0,mac="), 1);
}

static void test_vhost_user(void **state)
{
	struct fixture *f = *state;

	f->s.net = NET_VHOST_USER;
	f->p.kvm = true;
	make(f);
	assert_option(
		f, "-chardev",
		"socket,id=net0c,path=/proc/self/fd/6/port-4660.sock,server=on,wait=off");
	assert_option(f, "-netdev",
		      "vhost-user,id=net0,chardev=net0c,queues=2");
	assert_option(f, "-object",
		      "memory-backend-memfd,id=mem,size=512M,share=on");
	assert_option(f, "-machine", "q35,memory-backend=mem");
	assert_option(f, "-smp", "2,sockets=1,cores=2,threads=1");
	assert_int_equal(mentions(f, "romfile=,mq=on,vectors=6"), 1);
	f->s.cpus = 64;
	make(f);
	assert_option(f, "-netdev",
		      "vhost-user,id=net0,chardev=net0c,queues=8");
	assert_int_equal(mentions(f, ",mq=on,vectors=18"), 1);
	f->s.cpus = 1;
	make(f);
	assert_option(f, "-netdev",
		      "vhost-user,id=net0,chardev=net0c,queues=1");
	assert_option(f, "-smp", "1,sockets=1,cores=1,threads=1");
	assert_int_equal(mentions(f, "vectors="), 0);
}

static void test_vhost_user_tcg(void **state)
{
	struct fixture *f = *state;

	f->s.net = NET_VHOST_USER;
	make(f);
	assert_option(f, "-netdev",
		      "vhost-user,id=net0,chardev=net0c,queues=1");
	assert_int_equal(mentions(f, "romfile=,vectors=0"), 1);
	assert_option(f, "-smp", "2,sockets=1,cores=2,threads=1");
	f->s.cpus = 1;
	make(f);
	assert_option(f, "-smp", "1,maxcpus=2,sockets=1,cores=2,threads=1");
	f->s.net = NET_STREAM;
	make(f);
	assert_option(f, "-smp", "1,sockets=1,cores=1,threads=1");
	assert_int_equal(mentions(f, "vectors="), 0);
}

static void test_fam(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_int_equal(mentions(f, "ivshmem"), 0);
	f->s.net = NET_STREAM;
	f->s.cpus = 1;
	f->s.fam.bytes = 1ull << 30;
	make(f);
	assert_int_equal(mentions(f, "size=1024M,share=on"), 1);
	assert_int_equal(
		mentions(f,
			 "memory-backend-file,id=fam,mem-path=/proc/self/fd/"),
		1);
	assert_option(f, "-device",
		      "ivshmem-plain,memdev=fam,bus=pcie.0,addr=0x4");
	/* before any device that is given the next free place */
	for (size_t i = 0; i < f->args.n; i++) {
		if (strncmp(f->args.v[i], "ivshmem", 7) == 0)
			break;
		assert_null(strstr(f->args.v[i], "-pci"));
	}
	/* atomics of one CPU are atomic for others, too */
	assert_option(f, "-smp", "1,maxcpus=2,sockets=1,cores=2,threads=1");
	f->p.kvm = true;
	make(f);
	assert_option(f, "-smp", "1,sockets=1,cores=1,threads=1");
}

static void test_disks(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_int_equal(count(f, "-blockdev", NULL), 0);
	f->p.n_disks = 2;
	f->p.disk[0].format = f->p.disk[1].format = "qcow2";
	make(f);
	assert_int_equal(count(f, "-blockdev", NULL), 2);
	assert_int_equal(count(f, "-add-fd", NULL), 2);
	assert_int_equal(mentions(f, "node-name=disk0,read-only=off"), 1);
	assert_int_equal(mentions(f, "drive=disk1"), 1);
	assert_int_equal(mentions(f, "driver=raw"), 0);
	assert_int_equal(mentions(f, "cidata"), 0);
	f->p.seed = true;
	make(f);
	assert_int_equal(
		mentions(f, "driver=raw,node-name=cidata,read-only=on"), 1);
}

static void test_disk_kinds(void **state)
{
	struct fixture *f = *state;
	struct qemu_disk *d = f->p.disk;

	f->p.n_disks = 3;
	d[0] = (struct qemu_disk){ .format = "raw",
				   .path = strdup("/a,b c"),
				   .lasts = true };
	d[1] = (struct qemu_disk){ .format = "raw",
				   .read_only = true,
				   .cdrom = true,
				   .bus = BUS_IDE,
				   .id = INSTALL_ID,
				   .bootindex = 1,
				   .path = strdup("/iso") };
	d[2] = (struct qemu_disk){ .format = "vmdk",
				   .bus = BUS_SCSI,
				   .cache = CACHE_DIRECTSYNC,
				   .serial = strdup("a,b"),
				   .path = strdup("/c") };
	make(f);
	assert_int_equal(count(f, "-add-fd", NULL), 0);
	assert_option(
		f, "-blockdev",
		"driver=raw,node-name=disk0,read-only=off,discard=unmap,file.driver=file,file.filename=/a,,b c");
	assert_option(
		f, "-blockdev",
		"driver=raw,node-name=disk1,read-only=on,discard=unmap,cache.no-flush=on,file.driver=file,file.filename=/iso");
	assert_option(f, "-device",
		      "ide-cd,drive=disk1,serial=disk1,id=install,bootindex=1");
	assert_option(f, "-device", "virtio-scsi-pci,id=scsi0");
	assert_int_equal(mentions(f, "driver=vmdk"), 1);
	assert_int_equal(mentions(f, "cache.direct=on"), 1);
	assert_option(
		f, "-device",
		"scsi-hd,bus=scsi0.0,drive=disk2,serial=a,,b,write-cache=off");
}

static void test_drives(void **state)
{
	static const struct {
		const char *given, *more;
	} drives[] = {
		{ "file=/a", ",media=disk,if=virtio" },
		{ "file=/a,if=ide", ",media=disk" },
		{ "file=/a,media=cdrom,if=ide", "" },
		{ "file=/a,,if=x,media=disk", ",if=virtio" },
	};
	struct fixture *f = *state;

	f->p.n_disks = 1;
	for (size_t i = 0; i < ARRAY_SIZE(drives); i++) {
		char want[128];

		free(f->p.disk[0].drive);
		f->p.disk[0].drive = strdup(drives[i].given);
		snprintf(want, sizeof(want), "%s%s", drives[i].given,
			 drives[i].more);
		make(f);
		assert_option(f, "-drive", want);
		assert_int_equal(count(f, "-blockdev", NULL), 0);
	}
}

static void test_own_args(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_int_equal(mentions(f, "isa-debugcon"), 0);
	strings_add(&f->s.qemu_args, "-device", 7);
	strings_add(&f->s.qemu_args, "isa-debugcon,iobase=0x402", 25);
	make(f);
	assert_option(f, "-device", "isa-debugcon,iobase=0x402");
	assert_string_equal(f->args.v[f->args.n - 1],
			    "isa-debugcon,iobase=0x402");
	strings_done(&f->s.qemu_args);
}

static void test_kernel(void **state)
{
	struct fixture *f = *state;

	make(f);
	assert_int_equal(count(f, "-kernel", NULL), 0);
	f->p.kernel = strdup("/b/k");
	make(f);
	assert_option(f, "-kernel", "/b/k");
	assert_int_equal(count(f, "-initrd", NULL), 0);
	assert_int_equal(count(f, "-append", NULL), 0);
	f->p.initrd = strdup("/b/i");
	f->p.append = strdup("console=ttyS0 a,b");
	make(f);
	assert_option(f, "-initrd", "/b/i");
	assert_option(f, "-append", "console=ttyS0 a,b");
	assert_int_equal(count(f, "-no-reboot", NULL), 0);
	f->p.install = true;
	make(f);
	assert_option(f, "-no-reboot", NULL);
	f->p.append[0] = '\0';
	make(f);
	assert_int_equal(count(f, "-append", NULL), 0);
}

/* Does QEMU take what we say? It is asked to quit at once. */
static void test_qemu_takes_them(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *qemu =
		qemu_find("qemu-system-x86_64", "PATH", NULL);

	if (!qemu)
		skip();
	make(f);
	/* the devices it is built with, and no typing error among options */
	for (size_t i = 1; i + 1 < f->args.n; i++) {
		char command[512];

		if (strcmp(f->args.v[i], "-device") != 0)
			continue;
		snprintf(command, sizeof(command),
			 "%s -device %.*s,help >/dev/null 2>&1", qemu,
			 (int)strcspn(f->args.v[i + 1], ","), f->args.v[i + 1]);
		if (system(command) != 0)
			fail_msg("%s", command);
	}
}

/* -- process --------------------------------------------------------------- */

/* A QEMU that tells of its arguments and descriptors on its stderr. */
static void fake_qemu(struct fixture *f, const char *script, char path[64])
{
	FILE *file;

	snprintf(path, 64, "/tmp/vmstep-test-XXXXXX");
	close(mkstemp(path));
	file = fopen(path, "we");
	fprintf(file, "#!/bin/sh\n%s\n", script);
	fclose(file);
	chmod(path, 0700);
}

static void start(struct fixture *f, const char *script, char *out, size_t size)
{
	char path[64];
	int fd, status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	fake_qemu(f, script, path);
	if (qemu_start(&f->p, path, &pid, &fd, &f->err) < 0)
		fail_msg("%s", f->err.text);
	while ((n = read(fd, out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(path);
}

static void test_start_fails(void **state)
{
	struct fixture *f = *state;
	pid_t pid = -7;
	int fd = -7;

	assert_int_equal(qemu_start(&f->p, "/nonexistent", &pid, &fd, &f->err),
			 -ENOENT);
	assert_string_equal(f->err.text,
			    "exec /nonexistent: No such file or directory");
	assert_int_equal(pid, -7);
	assert_int_equal(fd, -7);
}

static void test_start(void **state)
{
	struct fixture *f = *state;
	char out[8192];

	f->p.fd[QEMU_FD_QMP] = open("/", O_RDONLY | O_CLOEXEC);
	f->p.fd[QEMU_FD_DISK + 1] = open("/tmp", O_RDONLY | O_CLOEXEC);
	start(f,
	      "list=$(for i in 0 1 2 3 4 5 6 7 8 9; do echo $i $(readlink /proc/$$/fd/$i); done); echo \"$list\" >&2; echo \"$@\" >&2",
	      out, sizeof(out));
	assert_non_null(strstr(out, "0 /dev/null\n1 /dev/null\n2 pipe:"));
	assert_non_null(strstr(out, "\n3 /\n"));
	assert_non_null(strstr(out, "\n9 /tmp\n"));
	assert_non_null(strstr(out, "socket,id=qmp,fd=3"));
	assert_non_null(strstr(out, "-name vm0"));
}

static void test_close_fds(void **state)
{
	struct fixture *f = *state;
	int p[2];
	char byte;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	f->p.fd[QEMU_FD_NET] = p[1];
	f->p.fd[QEMU_FD_DISK] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	qemu_plan_close_fds(&f->p);
	assert_int_equal(f->p.fd[QEMU_FD_NET], -1);
	assert_int_equal(read(p[0], &byte, 1), 0);
	assert_true(f->p.fd[QEMU_FD_DISK] >= 0); /* to be copied */
	close(p[0]);
}

#define TEST(text, fn)                          \
	{                                       \
		text, fn, setup, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST("a QEMU that is not there is said with where it was looked for",
		     test_not_found),
		TEST("a name is looked up in PATH, a path is taken",
		     test_found),
		TEST("a machine: stopped, sandboxed, without defaults",
		     test_machine),
		TEST("ports for our agent, and for QEMU's where it may be asked",
		     test_ports),
		TEST("UEFI: its code to read, its variables to write",
		     test_firmware),
		TEST("what TCG translates fits into what is kept back for QEMU",
		     test_reserve),
		TEST("a display on a socket of the step's directory",
		     test_display),
		TEST("KVM or TCG, and the CPU model that goes with it",
		     test_accel),
		TEST("a comma in a host name stays in it", test_comma),
		TEST("one network card, or none; a cloud image has one that leads nowhere",
		     test_net),
		TEST("a vhost-user card: shared memory, a queue a CPU up to 8",
		     test_vhost_user),
		TEST("... and what it takes without KVM", test_vhost_user_tcg),
		TEST("fabric-attached memory has its place, and is atomic",
		     test_fam),
		TEST("overlays are qcow2, the seed is raw and read-only",
		     test_disks),
		TEST("a disk says its bus, cache, serial and medium",
		     test_disk_kinds),
		TEST("file=... is for -drive, as it is", test_drives),
		TEST("a user's own arguments come last", test_own_args),
		TEST("a kernel, its RAM disk and words where there are any",
		     test_kernel),
		TEST("QEMU knows every device we name", test_qemu_takes_them),
		TEST("a QEMU that cannot be run is said", test_start_fails),
		TEST("it gets its descriptors by number, and stderr back",
		     test_start),
		TEST("our copies are closed, but for disks", test_close_fds),
	};

	return cmocka_run_group_tests_name("qemu", tests, NULL, NULL);
}
