/* fuzz_userdata.c - what a user has for cloud-init */
#include "userdata.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *merged = NULL;
	struct errmsg err;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (userdata_check(text, size, &err) == 0)
		free(userdata_merge(text, size, "#cloud-config\na: 1\n"));
	if (userdata_merge_meta(text, size, "-1.0-3", "local-hostname: vm3\n",
				&merged, &err) == 0 &&
	    userdata_check_yaml(merged, strlen(merged), &err) < 0)
		abort(); /* what we write is read again */
	free(merged);
	free(text);
	return 0;
}
