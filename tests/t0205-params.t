#!/bin/bash
# Each op, with each of its parameters of another type than it is, or out of its
# bounds, while the others are right: it is refused, by the parameter's name, and
# the task goes on.
. "$(dirname "$0")/vm.sh"

need python3 jq
vm_cluster 1
vms() { vsh "$build/inst/bin/vmstep -j 1 $*"; }
bg vrun -N1 -n2 --overcommit --vm-image=tiny --vm-fam=16M \
	sh -c 'echo up; sleep 10000' >"$tmp/out"
step=$!
all_up() { (($(grep -c up "$tmp/out") == 2)); }
ok "two guests" wait_for 240 all_up
vms --json ops >"$tmp/home/ops.json"

cat >"$tmp/home/sweep.py" <<'END'
import json
import re
import socket
import sys

ops = json.load(open("ops.json"))
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.settimeout(20)
lines = peer.makefile("r")
asked = 0


def ask(method, params):
    global asked
    asked += 1
    request = {"jsonrpc": "2.0", "id": asked, "method": method, "params": params}
    peer.sendall(json.dumps(request).encode() + b"\n")
    while True:
        try:
            answer = json.loads(lines.readline())
        except TimeoutError:
            sys.exit(f"no answer to {json.dumps(request)[:200]}")
        if answer.get("id", 0) in (asked, None):  # None: what is no JSON has no id
            return answer


def made(method, **params):
    return ask(method, params)["result"]


# What is right for a parameter, wherever there is one of that name.
proc = made("proc.start", argv=["sleep", "10000"])["proc"]
made("session.open", name="other")
made("mem.region.create", name="there", size=65536)
made("mem.alloc", region="there", name="thing", size=4096)
made("queue.open", queue="q")
right = {
    "path": "/nonexistent/x", "to": "/nonexistent/y", "target": "y", "data": "text",
    "size": 8, "offset": 0, "proc": proc, "signal": "CONT", "which": "stdout",
    "rows": 24, "cols": 80, "io": "events", "argv": ["true"], "shell": "true",
    "code": "1", "interp": "sh", "kind": "disk", "source": "x", "region": "there",
    "item": "thing", "op": "no", "elem": 8, "n": 1, "dst_region": "there",
    "dst_item": "thing", "name": "unheard", "mode": 0o600, "key": "k", "value": 1,
    "kernel": "none", "session": "other", "opid": 10**9, "sub": 10**9,
    "seconds": 0, "ns": 0, "up": True, "rank": 1, "phase": "begin",
    "command": "no-such-command", "text": "a line", "by": 1, "user": True, "params": {},
}
# And what is so for one op.
right_for = {
    "mem.atomic": {"op": "add", "value": 1}, "mem.home": {"op": "region.stat"},
    "mem.put": {"data": "text"}, "op.call": {"kernel": "k"},
    "proc.wait": {"timeout_ms": 100}, "sync.arrive": {"timeout_ms": 100},
    "sync.barrier": {"timeout_ms": 100}, "vm.wait": {"phase": "agent"},
}
# A descriptor has to come along for these, or a file be there; that comes first.
others_first = {"file.get", "file.put", "op.register", "tree.get", "tree.put"}
# These take any JSON, or an object.
free = {"any", "args", "arguments", "data", "env", "io", "kwargs", "ops", "params", "pty",
        "stdin", "value"}
# With all right these would do what ends the test.
dangerous = ("vm.", "sys.time.set", "proc.signal", "session.close", "mem.region.destroy")
# These may be long.
waits = {"wait_ms", "timeout_ms", "seconds"}
wrong_types = ({}, [], [[]], {"b64": 1}, {"b64": "*"}, {"x": 1}, "", "no\0", 1.5)
wrong_values = ("no such", "x" * 5000, -1, -2**60, 2**60, 10**9, False)


def ways(op):
    """Its required parameters, once for each that stands for another."""
    required = re.sub(r"\[.*\]", "", op["params"]).strip(", ")
    names = [p.strip().split("|") for p in required.split(",") if p.strip()]
    n = max([len(n) for n in names], default=0)
    return [[p[min(i, len(p) - 1)] for p in names] for i in range(n)] or [[]]


def wrong_for(op, name):
    yield from wrong_types
    if op["op"].startswith(dangerous):
        return
    for value in wrong_values:
        if name not in waits or not isinstance(value, int):
            yield value


refused = silent = 0
for op in ops:
    if op["params"] in ("", "any"):
        continue
    every = re.findall(r"\w+", op["params"])
    for required in ways(op):
        base = {p: right[p] for p in required}
        base.update(right_for.get(op["op"], {}))
        for name in required:
            less = {p: v for p, v in base.items() if p != name}
            if "error" not in ask(op["op"], less):
                print(op["op"], "does without", name)
        for name in every:
            for value in wrong_for(op, name):
                answer = ask(op["op"], {**base, name: value})
                error = answer.get("error", {}).get("message", "")
                refused += "error" in answer
                if name not in free and value == {} and name not in error \
                        and op["op"] not in others_first:
                    print(f"{op['op']}: {name}: {json.dumps(value)[:40]}:",
                          json.dumps(answer)[:200])
# Parameters of which each is right.
for method, params, words in (
    ("op.cancel", {"opid": "a", "session": "b"}, "either opid or session"),
    ("proc.start", {"argv": ["true"], "stdout": "stream"}, "io has to say"),
    ("proc.start", {"argv": ["true"], "io": "raw", "stdout": "stream",
                    "stderr": "stream"}, "one of stdout and stderr"),
    ("queue.clear", {"queue": "none"}, "no queue 'none'"),
):
    answer = ask(method, params)
    if words not in answer.get("error", {}).get("message", ""):
        print(f"{method}: {json.dumps(params)}:", json.dumps(answer)[:200])
print(f"asked {asked}, refused {refused}")
made("proc.signal", proc=proc, signal="KILL")
END
sweep()
{
	(cd "$tmp/home" && mc vm node n1 setpriv --reuid="$test_user" \
		--regid="$test_user" --init-groups timeout 300 python3 sweep.py \
		"$runtime/$(id -u "$test_user")/1.0/task.0.sock" >"$tmp/said" 2>&1)
}
ok "all ops, asked wrongly" sweep
diag "$(tail -n 1 "$tmp/said")"
is "each says which parameter it is" "$(grep -v '^asked' "$tmp/said")" ''
is "the tasks are well" "$(vms ps | grep -c running)" 2
as_user vm scancel 1
wait $step
clean "nothing stays"
done_testing
