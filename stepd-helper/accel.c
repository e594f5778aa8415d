#include <config.h>

#include "accel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cleanup.h"

/* vmx (Intel) or svm (AMD) among the flags of the first CPU. */
static bool cpu_has_virtualization(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/cpuinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) >= 0)
		if (strncmp(line, "flags", 5) == 0)
			return strstr(line, " vmx") || strstr(line, " svm");
	return false;
}

int accel_kvm_usable(struct errmsg *why)
{
	_cleanup_close_ int kvm = -1;
	_cleanup_close_ int vm = -1;

	if (!cpu_has_virtualization())
		return errmsg_say(why, -ENODEV,
				  "the CPU shows no vmx or svm flag");
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return errmsg_set(why, -errno, "/dev/kvm");
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return errmsg_say(
			why, -ENOSYS,
			"/dev/kvm speaks another version of its interface");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return errmsg_set(why, -errno, "/dev/kvm makes no VM");
	return 0;
}
