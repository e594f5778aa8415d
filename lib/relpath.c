#include "relpath.h"

#include <stdlib.h>
#include <string.h>

char *relpath(const char *dir, const char *target)
{
	size_t same = 0, ups = 0, i;
	char *ret, *p;

	for (i = 0; dir[i] && dir[i] == target[i]; i++)
		if (dir[i] == '/')
			same = i + 1;
	if (!dir[i] && target[i] == '/')
		same = i + 1;
	for (i = same; same && i < strlen(dir); i++)
		ups += i == same || dir[i] == '/';
	ret = malloc(3 * ups + strlen(target) + 1);
	if (!ret)
		return NULL;
	for (p = ret; ups; ups--)
		p = stpcpy(p, "../");
	strcpy(p, target + same);
	return ret;
}
