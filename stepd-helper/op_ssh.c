#include <config.h>

#include "op_ssh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "seed.h"

struct op_ssh {
	struct service_conf conf;
};

static void sys_ssh(struct rpc_call *call, const json_t *params, void *arg)
{
	struct op_ssh *o = arg;
	const uint8_t *key = machine_seed_key(o->conf.machine);
	struct sshkey user, host;
	struct errmsg err;

	if (!machine_guest(o->conf.machine)) {
		rpc_fail(call, RPC_E_STATE, "the VM has not been started yet");
	} else if (!key) {
		rpc_fail(
			call, RPC_E_NOTSUP,
			"this guest was given no key: it has no seed for cloud-init (--vm-cloud-init); vmstep exec -it needs none");
	} else if (seed_ssh_keys(key, &user, &host, &err) < 0) {
		rpc_fail(call, RPC_INTERNAL, err.text);
	} else {
		rpc_result(call, json_pack("{s:s, s:s, s:s, s:s, s:s}", "name",
					   o->conf.spec->hostname, "user",
					   o->conf.spec->guest_user, "key",
					   user.priv, "public_key", user.pub,
					   "host_key", host.pub));
		explicit_bzero(&user, sizeof(user));
		explicit_bzero(&host, sizeof(host));
	}
}

const struct rpc_method op_ssh_methods[] = {
	{ "sys.ssh", sys_ssh },
	{ 0 },
};

int op_ssh_new(const struct service_conf *conf, struct ops *ops,
	       struct op_ssh **ret)
{
	struct op_ssh *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->conf = *conf;
	r = ops_add(ops, op_ssh_methods, o);
	if (r < 0) {
		free(o);
		return r;
	}
	*ret = o;
	return 0;
}

void op_ssh_free(struct op_ssh *o)
{
	free(o);
}
