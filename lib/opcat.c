#include <config.h>

#include "opcat.h"

#include <stddef.h>
#include <string.h>

const struct op ops_table[] = {
	{ "event.subscribe", false, "[kinds, to, feed, after]",
	  "have events come as notifications" },
	{ "event.take", false, "[kinds, feed, after, count, wait_ms]",
	  "events that are kept, or the next" },
	{ "event.unsubscribe", false, "sub", "no more of them" },
	{ "file.get", false, "path, io, [offset, size, format, hash, user]",
	  "a file out of the guest" },
	{ "file.hash", false, "path, [offset, size, hash, user]",
	  "the sum of a file" },
	{ "file.list", false, "path, [pattern, limit, after, user]",
	  "what is in a directory" },
	{ "file.mkdir", false, "path, [mode, parents, user]",
	  "make a directory" },
	{ "file.put", false,
	  "path, io, [mode, uid, gid, mtime_ns, size, sha256, format, hash, sparse, parents, exclusive, sync, atomic, offset, user]",
	  "a file into the guest" },
	{ "file.read", false, "path, [offset, size, user]",
	  "a piece of a file" },
	{ "file.readlink", false, "path, [user]",
	  "where a symbolic link leads" },
	{ "file.remove", false, "path, [recursive, user]",
	  "a file or directory goes" },
	{ "file.rename", false, "path, to, [replace, user]",
	  "another name for a file" },
	{ "file.set", false,
	  "path, [mode, owner, uid, gid, mtime_ns, atime_ns, follow, user]",
	  "mode, owner and times of a file" },
	{ "file.stat", false, "path, [follow, user]", "what a file is" },
	{ "file.symlink", false, "path, target, [user]",
	  "make a symbolic link" },
	{ "file.truncate", false, "path, size, [user]", "the size of a file" },
	{ "file.write", false,
	  "path, data, [offset, create, truncate, append, mode, user]",
	  "a piece into a file" },
	{ "msg.peek", true, "[queue, count, from, ref]",
	  "messages of a queue, which stay" },
	{ "msg.recv", true, "[queue, count, wait_ms, from, ref]",
	  "take messages from a queue" },
	{ "msg.send", true, "data, [queue, ref, reply_to, wait]",
	  "put a message into a queue" },
	{ "net.peers", false, "rank", "who a guest has sent to" },
	{ "net.stats", false, "", "what the node's network has counted" },
	{ "op.cancel", false, "[opid, session]",
	  "take ops back that are not answered" },
	{ "op.get", false, "opid", "an op that is not answered" },
	{ "op.list", false, "[session]", "ops that are not answered" },
	{ "proc.attach", false, "proc, which, io",
	  "take over output that is kept, and what follows" },
	{ "proc.list", false, "", "processes started by ops" },
	{ "proc.release", false, "proc", "forget a process that has ended" },
	{ "proc.resize", false, "proc, rows, cols",
	  "the size of a process's terminal" },
	{ "proc.run", false,
	  "argv|shell, [cwd, env, env_clear, user, input, max_output, timeout_ms]",
	  "run a command, and take its output" },
	{ "proc.signal", false, "proc, signal, [group]",
	  "send a process a signal" },
	{ "proc.start", false,
	  "argv|shell, [cwd, env, env_clear, user, stdin, stdout, stderr, pty, io, max_output, label]",
	  "start a process" },
	{ "proc.stat", false, "proc, [output]",
	  "a process: its state, what it uses, how it ended" },
	{ "proc.wait", false, "proc, [output, timeout_ms]",
	  "wait for a process to end" },
	{ "queue.clear", false, "[queue]", "throw a queue's messages away" },
	{ "queue.freeze", false, "[queue, frozen]",
	  "give nothing away, or go on" },
	{ "queue.list", false, "", "the task's queues" },
	{ "queue.open", false, "[queue, depth, bytes, policy]",
	  "make a queue with bounds" },
	{ "queue.stat", false, "[queue]", "what is and was in a queue" },
	{ "result.list", false, "[session]", "results that are kept" },
	{ "result.peek", false, "[session, count, wait_ms, opid]",
	  "results that are kept, and stay" },
	{ "result.take", false, "[session, count, wait_ms, opid]",
	  "take results that are kept" },
	{ "session.close", false, "session, [kill]",
	  "end a session, and its ops" },
	{ "session.get", false, "[session]",
	  "a session: limits, what is in it" },
	{ "session.list", false, "", "the task's sessions" },
	{ "session.open", false,
	  "[name, max_ops, ttl_s, keep_results, keep_bytes, keep_s]",
	  "make a session for ops and their results" },
	{ "session.set", false,
	  "[session, max_ops, ttl_s, keep_results, keep_bytes, keep_s]",
	  "change its limits" },
	{ "store.drop", true, "key, [scope]", "forget a value" },
	{ "store.get", true, "key, [scope]", "a value, and its version" },
	{ "store.list", true, "[pattern, scope]", "names of values" },
	{ "store.pop", true, "key, [scope]", "take a value away" },
	{ "store.put", true, "key, value, [scope, if, ttl_ms]",
	  "keep a value by name" },
	{ "store.state", true, "[scope]", "how full the store is" },
	{ "sync.arrive", false, "[name, ranks, timeout_ms]",
	  "another task's sync.barrier, for who keeps it" },
	{ "sync.barrier", true, "[name, ranks, timeout_ms]",
	  "wait until all have come" },
	{ "sys.info", false, "", "the guest: system, memory, interfaces" },
	{ "sys.time.set", false, "ns", "set the guest's clock" },
	{ "task.echo", false, "any", "the agent says the same" },
	{ "task.features", false, "", "ops, limits, versions" },
	{ "task.list", true, "[state]",
	  "the tasks of the step, and how they are" },
	{ "task.ping", true, "[path]", "does it answer, and how is it" },
	{ "task.state", false, "", "all there is to know of a task" },
	{ "tree.get", false, "path, io, [hash, user]",
	  "a directory out of the guest, as a tar stream" },
	{ "tree.put", false, "path, io, [parents, owner, sync, hash, user]",
	  "a tar stream into a directory of the guest" },
	{ "vm.console", false, "[io, input, kept]",
	  "the serial console: what it has said, or as a stream" },
	{ "vm.pause", false, "", "stop the VM's CPUs" },
	{ "vm.poweroff", false, "", "switch the VM off" },
	{ "vm.qmp", false, "command, [arguments]",
	  "a command of QEMU's own, where the site allows it" },
	{ "vm.reset", false, "", "reset the VM" },
	{ "vm.resume", false, "", "let its CPUs go on" },
	{ "vm.screendump", false, "path", "the display, as a picture" },
	{ "vm.shutdown", false, "[mode, timeout_ms]",
	  "have the guest shut down, by agent or power button" },
	{ "vm.state", false, "", "of the VM, and of its agent" },
	{ "vm.stats", false, "", "what QEMU uses, and its disks" },
	{ "vm.wait", false, "phase, [timeout_ms]",
	  "wait until the VM has come so far" },
	{ "world.get", true, "", "the step: its tasks, names, addresses" },
	{ "world.hosts", true, "", "the same as a hosts file" },
	{ 0 },
};

const struct op *opcat_find(const char *name)
{
	for (const struct op *o = ops_table; o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

bool opcat_takes(const struct op *op, const char *param)
{
	size_t len = strlen(param);

	if (strcmp(op->params, "any") == 0)
		return true;
	for (const char *p = op->params; *p;) {
		size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_");

		if (n && n == len && memcmp(p, param, n) == 0)
			return true;
		p += n ? n : 1;
	}
	return false;
}
