#include <config.h>

#include "slurmconf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "child.h"
#include "cleanup.h"

#define ANSWER_MS  30000
#define ANSWER_MAX (256 * 1024)

int slurmconf_load(struct slurmconf *ret, struct errmsg *err)
{
	const char *const argv[] = { "scontrol", "show", "config", NULL };
	_cleanup_free_ char *text = malloc(ANSWER_MAX);
	int r;

	*ret = (struct slurmconf){ 0 };
	if (!text)
		return errmsg_set(err, -ENOMEM, "scontrol");
	r = child_output(argv, ANSWER_MS, text, ANSWER_MAX, err);
	if (r < 0)
		return r;
	if (r > 0) {
		text[strcspn(text, "\n")] = '\0';
		return errmsg_say(err, -EIO, "scontrol show config: %s",
				  *text ? text : "no words");
	}
	ret->text = TAKE_PTR(text);
	return 0;
}

void slurmconf_done(struct slurmconf *c)
{
	free(c->text);
	*c = (struct slurmconf){ 0 };
}

/* "Key       = value", a line each; "(null)" and "N/A" are no values. */
void slurmconf_get(const struct slurmconf *c, const char *key, char *ret,
		   size_t size)
{
	size_t len = strlen(key);

	*ret = '\0';
	for (const char *p = c->text; p && *p; p += strcspn(p, "\n")) {
		const char *value = p + (*p == '\n');

		p = value;
		if (strncmp(value, key, len) != 0)
			continue;
		value += len + strspn(value + len, " ");
		if (*value != '=')
			continue;
		value += 1 + strspn(value + 1, " ");
		snprintf(ret, size, "%.*s", (int)strcspn(value, "\n"), value);
		break;
	}
	if (strcmp(ret, "(null)") == 0 || strcmp(ret, "N/A") == 0)
		*ret = '\0';
}

bool slurmconf_has(const struct slurmconf *c, const char *key, const char *word)
{
	char value[1024];
	size_t len = strlen(word);

	slurmconf_get(c, key, value, sizeof(value));
	for (const char *p = value; *p; p += strspn(p, ",")) {
		size_t n = strcspn(p, ",");

		if (n == len && strncasecmp(p, word, n) == 0)
			return true;
		p += n;
	}
	return false;
}

void slurmconf_plugstack(const struct slurmconf *c, char *ret, size_t size)
{
	static const char configless[] = "/run/slurm/conf/plugstack.conf";
	const char *conf = getenv("SLURM_CONF");
	const char *slash = conf ? strrchr(conf, '/') : NULL;

	slurmconf_get(c, "PlugStackConfig", ret, size);
	if (*ret && access(ret, F_OK) == 0)
		return;
	/* what slurmctld's host has need not be here */
	if (access(configless, F_OK) == 0)
		snprintf(ret, size, "%s", configless);
	else if (!*ret && slash)
		snprintf(ret, size, "%.*s/plugstack.conf", (int)(slash - conf),
			 conf);
	else if (!*ret)
		snprintf(ret, size, "/etc/slurm/plugstack.conf");
}
