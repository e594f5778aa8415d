#include <config.h>

#include "hosts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "memstream.h"
#include "usernet.h"

static int put_line(FILE *f, const struct task *t, const struct spec *s,
		    uint32_t rank)
{
	_cleanup_free_ char *name =
		task_expand(t, rank, s->hostname_pattern, NULL);
	char ip[INET_ADDRSTRLEN];

	if (!name)
		return -ENOMEM; /* the pattern was understood before */
	addr_ip_text(addr_ip(&s->cidr, rank), ip);
	if (*s->domain)
		fprintf(f, "%s\t%s.%s %s\n", ip, name, s->domain, name);
	else
		fprintf(f, "%s\t%s\n", ip, name);
	return 0;
}

int hosts_usernet(const struct task *t, const struct spec *s, char **text)
{
	char *both;
	struct usernet u;

	if (!usernet_of(t, s, &u))
		return 0;
	if (asprintf(&both, "%s%s\t" USERNET_HOST "\n", *text ? *text : "",
		     u.host) < 0)
		return -ENOMEM;
	free(*text);
	*text = both;
	return 0;
}

int hosts_text(const struct task *t, const struct spec *s, char **ret)
{
	_cleanup_free_ char *text = NULL;
	struct memstream m;
	int r = 0;

	if (t->ranks > HOSTS_MAX)
		return -E2BIG;
	if (!memstream_open(&m))
		return -ENOMEM;
	for (uint32_t rank = 0; rank < t->ranks && r == 0; rank++)
		r = put_line(m.f, t, s, rank);
	text = memstream_close(&m, NULL);
	if (r == 0 && !text)
		r = -ENOMEM;
	if (r == 0)
		*ret = TAKE_PTR(text);
	return r;
}
