#!/bin/bash
# Requests that wait: who leaves is forgotten, and who is still there hears of the
# task's end.
. "$(dirname "$0")/vm.sh"

need python3 jq
vm_cluster 1
vms() { vsh "$build/inst/bin/vmstep -j 1 $*"; }
bg vrun -N1 -n2 --overcommit --vm-image=tiny --vm-fam=16M \
	sh -c 'echo up; sleep 10000' >"$tmp/out"
step=$!
all_up() { (($(grep -c up "$tmp/out") == 2)); }
ok "two guests" wait_for 240 all_up

cat >"$tmp/home/waits.py" <<'END'
import json
import os
import socket
import sys
import time

PATH = sys.argv[1]
pipes = []


def forever(opid):
    return [
        ("event.take", {"kinds": ["task.lost"], "wait_ms": -1}),
        ("msg.recv", {"queue": "empty", "wait_ms": -1}),
        ("sync.barrier", {"name": "never"}),
        ("vm.wait", {"phase": "exit"}),
        ("proc.run", {"argv": ["sleep", "1000"]}),
        ("proc.run", {"argv": ["sleep", "1000"], "to": 1}),
        ("proc.run", {"argv": ["sleep", "1000"], "session": "kept", "opid": opid}),
        ("proc.run", {"argv": ["sleep", "1000"], "session": "kept", "opid": opid}),
        ("file.get", {"path": "/bin/busybox", "io": "fd"}),
        ("file.put", {"path": "/tmp/put", "io": "fd"}),
        ("tree.get", {"path": "/bin", "io": "fd"}),
        ("code.run", {"interp": "sh", "code": "sleep 1000"}),
        ("result.take", {"session": "other", "wait_ms": -1}),
        ("sleep", {"seconds": 1000}),
        ("sleep", {"seconds": 1000, "to": 1}),
    ]


# but for what waits for a result, and for the answer of another with its opid
LISTED = len(forever("")) - 2


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(PATH)
    s.settimeout(120)
    return s


def begin(method, params):
    s = connect()
    request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    line = json.dumps(request).encode() + b"\n"
    if params.get("io") == "fd":  # a pipe that nobody reads, or writes to
        pipe = os.pipe()
        pipes.append(pipe)
        socket.send_fds(s, [line], [pipe[0 if method == "file.put" else 1]])
    else:
        s.sendall(line)
    return s


def answer(s):
    for line in s.makefile("r"):
        message = json.loads(line)
        if "id" in message:
            return message
    return None


def ask(method, **params):
    return answer(begin(method, params))["result"]


def waiting():
    """The requests of others that the task has not answered."""
    return sorted(o["method"] for o in ask("op.list") if o["method"] != "op.list")


def until(what, condition):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within a minute; waiting: {waiting()}")
        time.sleep(0.1)


ask("session.open", name="kept", keep_results=4)
ask("session.open", name="other", keep_results=4)
all_of_them = [begin(m, p) for m, p in forever("one")]
until("all wait", lambda: len(waiting()) == LISTED)
for s in all_of_them:
    s.close()
# what a session keeps goes on without its asker
until("who leaves is forgotten", lambda: len(waiting()) <= 1)
print("forgotten", flush=True)
ask("op.cancel", session="kept")
again = [(m, begin(m, p)) for m, p in forever("two")]
until("all wait again", lambda: len(waiting()) == LISTED)
print("waiting", flush=True)
end = {"event.take": [], "vm.wait": "exited"}  # what it is for these
for method, s in again:
    said = answer(s)  # None: the connection has ended, and that says it
    result = said and said.get("result")
    if result and end.get(method) not in result.values():
        print(f"{method}: {json.dumps(said)}")
print("told", flush=True)
END
(cd "$tmp/home" && mc vm node n1 setpriv --reuid="$test_user" --regid="$test_user" \
	--init-groups timeout 400 python3 waits.py \
	"$runtime/$(id -u "$test_user")/1.0/task.0.sock" >"$tmp/said" 2>&1) &
waits=$!
ok "requests that wait are forgotten when their askers leave" \
	wait_for 120 grep -qx forgotten "$tmp/said"
is "... the tasks are well" "$(vms ps | grep -c running)" 2
ok "others wait" wait_for 120 grep -qx waiting "$tmp/said"
as_user vm scancel 1
wait $waits
wait $step
is "... and hear of the task's end" "$(cat "$tmp/said")" $'forgotten\nwaiting\ntold'
clean "nothing stays"
done_testing
