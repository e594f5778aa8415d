#include <config.h>

#include "sysinfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "netlink.h"
#include "param.h"

static const char *const features[] = { "proc", "pty",	"net",	 "power",
					"time", "file", "kernel" };

/* The first line of a file, without its end; "" where there is none. */
static void read_line(const char *path, char *ret, int size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");

	if (!f || !fgets(ret, size, f))
		*ret = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

/* PRETTY_NAME="Debian GNU/Linux 12 (bookworm)" */
static void os_name(char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/os-release", "re");
	char line[256];

	snprintf(ret, size, "Linux");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "PRETTY_NAME=", 12) != 0)
			continue;
		char *value = line + 12 + strspn(line + 12, "\"'");

		value[strcspn(value, "\"'\n")] = '\0';
		snprintf(ret, size, "%s", value);
	}
}

static void add_ip(const char *text, void *arg)
{
	json_array_append_new(arg, json_string(text));
}

static void add_interface(const struct netlink_if *i, void *arg)
{
	json_t *ips = json_array();
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", i->mac[0],
		 i->mac[1], i->mac[2], i->mac[3], i->mac[4], i->mac[5]);
	netlink_each_ip(i->name, add_ip, ips);
	json_array_append_new(arg,
			      json_pack("{s:s, s:s, s:i, s:b, s:o}", "name",
					i->name, "mac", mac, "mtu", (int)i->mtu,
					"up", (int)i->up, "ip", ips));
}

static json_t *interfaces(void)
{
	json_t *list = json_array();

	netlink_each(add_interface, list);
	return list;
}

static json_t *all_macs(const json_t *ifs)
{
	json_t *macs = json_array();

	for (size_t i = 0; i < json_array_size(ifs); i++)
		json_array_append(
			macs, json_object_get(json_array_get(ifs, i), "mac"));
	return macs;
}

static json_t *names(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		json_array_append_new(list, json_string(features[i]));
	return list;
}

json_t *sysinfo_hello(void)
{
	struct utsname u = { 0 };
	char os[256], boot_id[64];
	json_t *ifs = interfaces();

	uname(&u);
	os_name(os, sizeof(os));
	read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
	return json_pack("{s:s, s:o, s:s, s:s, s:o, s:s, s:o, s:o, s:o}",
			 "version", PACKAGE_VERSION, "os", param_from_text(os),
			 "arch", u.machine, "kernel", u.release, "hostname",
			 param_from_text(u.nodename), "boot_id", boot_id,
			 "features", names(), "mac", all_macs(ifs),
			 "interfaces", ifs);
}

json_t *sysinfo_alive(json_int_t seq, unsigned int procs)
{
	struct sysinfo si = { 0 };

	sysinfo(&si);
	return json_pack("{s:I, s:I, s:f, s:I, s:i}", "seq", seq, "uptime_s",
			 (json_int_t)si.uptime, "load",
			 (double)si.loads[0] / (1 << SI_LOAD_SHIFT),
			 "free_bytes",
			 (json_int_t)((json_int_t)si.freeram * si.mem_unit),
			 "procs", (int)procs);
}

void sysinfo_get(struct rpc_call *call, const json_t *params, void *agent)
{
	json_t *info = sysinfo_hello();
	struct sysinfo si = { 0 };

	sysinfo(&si);
	if (info) {
		json_object_set_new(
			info, "cpus",
			json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
		json_object_set_new(
			info, "mem_bytes",
			json_integer((json_int_t)si.totalram * si.mem_unit));
		json_object_set_new(
			info, "free_bytes",
			json_integer((json_int_t)si.freeram * si.mem_unit));
		json_object_set_new(info, "uptime_s", json_integer(si.uptime));
	}
	rpc_result(call, info);
}

void sysinfo_set_time(struct rpc_call *call, const json_t *params, void *agent)
{
	int64_t ns = -1, old;
	struct timespec ts;
	struct errmsg err;

	if (param_int(params, "ns", 0, INT64_MAX, &ns, &err) < 0 || ns < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "ns: not the nanoseconds since 1970");
		return;
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	old = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	ts.tv_sec = (time_t)(ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		rpc_fail_os(call, rpc_error_of(errno), errno, "clock",
			    "cannot set the clock");
	else
		rpc_result(call, json_pack("{s:I}", "offset_ns",
					   (json_int_t)(ns - old)));
}

void sysinfo_echo(struct rpc_call *call, const json_t *params, void *agent)
{
	rpc_result(call, json_deep_copy(params));
}
