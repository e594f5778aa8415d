#include <config.h>

#include "orders.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "desc.h"
#include "report.h"

static struct desc *orders;

void orders_read(void)
{
	struct errmsg err;

	if (!getenv("FAKE_SLURM_ORDERS") || !getenv("FAKE_SLURM_REPORT"))
		errx(1, "fake-slurm is run by its tests, not by hand");
	report_to(atoi(getenv("FAKE_SLURM_REPORT")));
	if (desc_read(atoi(getenv("FAKE_SLURM_ORDERS")), &orders, &err) < 0)
		errx(1, "%s", err.text);
	unsetenv("FAKE_SLURM_ORDERS");
	unsetenv("FAKE_SLURM_REPORT");
}

const char *order_text(const char *key)
{
	return desc_get(orders, key);
}

uint32_t order_number(const char *key)
{
	const char *text = order_text(key);

	return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

/* Lists that live as long as the process, where leak checkers see them; twice,
 * for the plugin may put a string of its own into the first. */
static char **kept[32];

char **keep(struct strings *list)
{
	size_t i = 0, n = list->n;

	while (kept[i])
		if (++i == ARRAY_SIZE(kept))
			abort();
	kept[i] = reallocarray(list->v, 2 * n + 1, sizeof(char *));
	kept[i][n] = NULL;
	memcpy(kept[i] + n + 1, kept[i], n * sizeof(char *));
	return kept[i];
}

char **order_list(const char *key, int *ret_n)
{
	struct strings list = { 0 };
	const char *k, *value;
	size_t len;

	for (size_t i = 0; (value = desc_at(orders, i, &k, &len)); i++)
		if (len == strlen(key) && strncmp(k, key, len) == 0)
			strings_add(&list, value, strlen(value));
	if (ret_n)
		*ret_n = (int)list.n;
	return keep(&list);
}
