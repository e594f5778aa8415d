#include <config.h>

#include "netproc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"
#include "localsock.h"

#ifndef NET_PROGRAM
#define NET_PROGRAM PKGLIBEXECDIR "/vmstep-net"
#endif

/* -- finding it ------------------------------------------------------------ */

int netproc_lock(int dir, struct errmsg *err)
{
	_cleanup_close_ int fd =
		openat(dir, "net.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return errmsg_set(err, -errno, "lock of the step's network");
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return TAKE_FD(fd);
	if (errno == EWOULDBLOCK || errno == EINTR)
		return errmsg_say(err, -EAGAIN,
				  "the lock of the step's network is held");
	return errmsg_set(err, -errno, "lock of the step's network");
}

int netproc_connect(int dir)
{
	return localsock_connect(dir, "net.sock", SOCK_SEQPACKET);
}

int netproc_listen(int dir, struct errmsg *err)
{
	int fd = localsock_listen(dir, "net.sock", SOCK_SEQPACKET);

	return fd < 0 ? errmsg_set(err, fd, "socket of the step's network")
		      : fd;
}

/* -- starting it ----------------------------------------------------------- */

/* The address others reach this node at: the one that leads to srun's host,
 * which the cluster's own network does by design. "" where that is not to be
 * known, and vmstep-net then looks for itself. */
static void own_address(char *text, size_t size)
{
	const char *srun = getenv("SLURM_LAUNCH_NODE_IPADDR");
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST,
				  .ai_socktype = SOCK_DGRAM };
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	_cleanup_close_ int fd = -1;
	struct addrinfo *res;

	text[0] = '\0';
	if (!srun || getaddrinfo(srun, "9", &hints, &res) != 0)
		return;
	fd = socket(res->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, res->ai_addr, res->ai_addrlen) == 0 &&
	    getsockname(fd, (struct sockaddr *)&own, &len) == 0)
		getnameinfo((struct sockaddr *)&own, len, text, (socklen_t)size,
			    NULL, 0, NI_NUMERICHOST);
	freeaddrinfo(res);
	if (strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0)
		text[0] = '\0';
}

static void net_text(const struct addr_net *net, char *text, size_t size)
{
	char ip[INET_ADDRSTRLEN];

	addr_ip_text(net->base, ip);
	snprintf(text, size, "--net=%s/%d", ip, net->prefix);
}

int netproc_start(const struct task *t, const struct spec *s,
		  const struct netproc_fds *given, pid_t *ret,
		  struct errmsg *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_free_ char *ranks = rankset_text(&t->local_ranks);
	char net[64], mtu[32], nranks[32], local[4096], node[300], own[128];
	char bind_to[160], device[300], ports[64], log[4200], lost_after[32];
	_cleanup_free_ char *paths = NULL;
	char workers[32], kind[16];
	char hostname[600], domain[300];
	struct child_fd fds[7] = { { null, 0 },
				   { null, 1 },
				   { null, 2 },
				   { given->lock, 3 },
				   { given->ctl, 4 } };
	const char *argv[26] = { NET_PROGRAM, "--lock=3", "--ctl=4", net,
				 mtu,	      nranks,	  local,     node,
				 lost_after,  hostname };
	struct child_spec spec = { argv, fds, 5, true, true };
	size_t n = 10;

	if (asprintf(&paths, "--sandbox-paths=%s", t->sandbox_paths) < 0)
		paths = NULL;
	if (null < 0 || !ranks || !paths)
		return errmsg_set(err, -ENOMEM, "start vmstep-net");
	net_text(&s->cidr, net, sizeof(net));
	snprintf(mtu, sizeof(mtu), "--mtu=%u", s->mtu);
	snprintf(lost_after, sizeof(lost_after), "--lost-after=%u",
		 t->lost_after_s);
	snprintf(workers, sizeof(workers), "--workers=%u", t->net_workers);
	snprintf(nranks, sizeof(nranks), "--nranks=%u", t->ranks);
	if ((size_t)snprintf(local, sizeof(local), "--ranks=%s", ranks) >=
	    sizeof(local))
		return errmsg_say(
			err, -E2BIG,
			"too many tasks on this node for one network");
	snprintf(node, sizeof(node), "--node=%s", t->node);
	snprintf(hostname, sizeof(hostname), "--hostname=%s",
		 s->hostname_pattern);
	snprintf(domain, sizeof(domain), "--domain=%s", s->domain);
	own_address(own, sizeof(own));
	snprintf(bind_to, sizeof(bind_to), "--bind=%s", own);
	snprintf(device, sizeof(device), "--device=%s", t->net_device);
	snprintf(ports, sizeof(ports), "--port-range=%s", t->net_port_range);
	snprintf(log, sizeof(log), "--log=%s/net.log", t->step_dir);
	if (given->link >= 0)
		fds[spec.n_fds++] = (struct child_fd){ given->link, 5 };
	if (s->log) /* one file for both, which the helper has opened */
		fds[spec.n_fds++] = (struct child_fd){ s->log_fd, 6 };
	if (*s->domain)
		argv[n++] = domain;
	if (given->link >= 0)
		argv[n++] = "--link=5";
	else if (*t->net_device)
		argv[n++] = device;
	else if (*own)
		argv[n++] = bind_to;
	if (*t->net_port_range)
		argv[n++] = ports;
	snprintf(kind, sizeof(kind), "--kind=%s", t->net_link);
	argv[n++] = kind;
	if (t->net_encrypt)
		argv[n++] = "--encrypt";
	argv[n++] = t->sandbox ? "--sandbox=yes" : "--sandbox=no";
	if (*t->sandbox_paths)
		argv[n++] = paths;
	if (t->net_workers > 1)
		argv[n++] = workers;
	argv[n++] = s->log ? "--log-fd=6" : log;
	if (s->verbose || s->log)
		argv[n++] = "--verbose";
	if (s->verbose || s->stats)
		argv[n++] = "--report";
	return child_start(&spec, ret, err);
}

void netproc_last_words(const struct task *t, char *text, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[4200], line[ERRMSG_MAX];
	const char *words;

	text[0] = '\0';
	snprintf(path, sizeof(path), "%s/net.log", t->step_dir);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		words = strstr(line, "error: "); /* after time and tag */
		if (words)
			snprintf(text, size, "%s", words + strlen("error: "));
	}
}
