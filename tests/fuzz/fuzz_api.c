/* fuzz_api.c - a client's bytes at a task's socket: lines, requests, and the
 * parameters of each method. They come in two pieces, at any place.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "api_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What goes back is JSON, on one line. */
static int send_text(const char *text, size_t len, void *arg)
{
	json_t *msg = json_loadb(text, len, 0, NULL);

	if (!msg || memchr(text, '\n', len))
		abort();
	json_decref(msg);
	return 0;
}

static void net_stats(struct rpc_call *call, const json_t *params, void *arg)
{
	rpc_result(call, json_deep_copy(params));
}

static void net_peers(struct rpc_call *call, const json_t *params, void *arg)
{
	struct errmsg err = { "" };
	uint32_t rank = 0;

	if (api_net_rank(params, &rank, &err) == 0)
		rpc_result(call, json_integer(rank));
	else if (err.text[0])
		rpc_fail(call, RPC_INVALID_PARAMS, err.text);
	else
		abort(); /* a refusal has its words */
}

static void take(struct rpc *r, char *buf, size_t *len, const uint8_t *data,
		 size_t size)
{
	static const bool no_hold = false;
	while (size) {
		size_t n = API_LINE_MAX - *len;

		if (n > size)
			n = size;
		memcpy(buf + *len, data, n);
		*len += n;
		data += n;
		size -= n;
		if (api_take_lines(r, buf, *len - n, len, &no_hold) < 0)
			return; /* the connection ends */
		if (memchr(buf, '\n', *len))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rpc_method methods[] = {
		{ "net.peers", net_peers },
		{ "net.stats", net_stats },
		{ 0 },
	};
	struct rpc *r = rpc_new(methods, NULL, send_text, NULL);
	char *buf = malloc(API_LINE_MAX);
	size_t len = 0, cut;

	if (!r || !buf)
		abort();
	cut = size ? data[0] % size : 0;
	take(r, buf, &len, data, cut);
	take(r, buf, &len, data + cut, size - cut);
	free(buf);
	rpc_free(r);
	return 0;
}
