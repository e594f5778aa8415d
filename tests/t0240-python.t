#!/bin/bash
# Python with a step at hand: PENVM's README session in vmstep connect, ops,
# processes, files and work spread over machines, from a login host and from a
# node; and the BOINC wrapper's story, by XML-RPC and by vmstep.
. "$(dirname "$0")/vm.sh"

need python3 jq script
vm_cluster 2
vmstep=$build/inst/bin/vmstep
other=vmtest2
id $other &>/dev/null || useradd -m $other

vms() { vsh "$vmstep -j 1.0 $*" 2>"$tmp/vms.err"; }
on_node() # USER NODE CMD...
{
	(cd "$tmp/home" && mc vm node "$2" setpriv --reuid="$1" --regid="$1" \
		--init-groups env PATH="$PATH" HOME="$tmp/home" "${@:3}")
}
say_err() { [[ ! -s $tmp/vms.err ]] || diag "$(tail -n 5 "$tmp/vms.err")"; }
at() { cat >"$tmp/home/$1"; }
# WORD: what a session printed behind the line "== WORD"
part() { awk -v w="== $1" '/^== / { on = $0 == w; next } on' session.out; }

bg vrun -N2 -n4 --ntasks-per-node=2 --vm-image=tiny sh -c 'echo up; sleep 10000' >"$tmp/out"
step=$!
all_up() { (($(grep -c up "$tmp/out") == 4)); }
ok "a step of four guests on two nodes" wait_for 240 all_up

# ---- PENVM's README, line by line ----

at session <<'END'
print("== session")
m = machines[0]
s = m.get_session()
print(s)
print("== ops")
print("\n".join(dir(s.kernel)))
s.kernel.machine_snapshot()
r = s.get_response()
print("== dict")
print(r.payload.dict())
print("== json")
print(r.payload.json())
print("== yaml")
print(r.payload.yaml())
s.kernel.machine_list_kernels()
r = s.get_response()
print("== kernels")
print(r.payload.json())
s.kernel.echo({"hello": "world"})
r = s.get_response()
print("== echo")
print(r.payload.json())
print("== sessions")
ss = [m.get_session() for m in machines]
print(ss)
[s.kernel.machine_get_state() for s in ss]
rs = [s.get_response() for s in ss]
print("== states")
for r in rs: print(r.payload.json())

exit()
END
vms connect <"$tmp/home/session" >session.out
is "vmstep connect, from a login host: PENVM's README session, status 0" $? 0
say_err
like "... a session" "$(part session)" '^<Session .*<Machine 0 vm0 of 1.0>>$'
is "... its kernel's ops, PENVM's and ours" \
	"$(part ops | grep -cxE 'echo|machine_get_state|run_exec|vm_pause|proc_run')" 5
is "... a snapshot, as JSON" "$(part json | jq -c '[.rank, .state, .agent]')" '[0,"running","alive"]'
like "... as a dict" "$(part dict)" "'state': 'running'"
is "... as YAML" "$(part yaml | grep -xE '(name|state): .*' | sort | paste -sd,)" "name: vm0,state: running"
ok "... the kernels" test -n "$(part kernels)"
is "... an echo" "$(part echo | jq -c .)" '{"hello":"world"}'
is "... a session for each machine" "$(part sessions | grep -o '<Machine [0-9]' | sort -u | wc -l)" 4
is "... the state of all" "$(part states | jq -r '"\(.name) \(.node)"' | paste -sd,)" \
	"vm0 n1,vm1 n1,vm2 n2,vm3 n2"
typed=$(printf 'print("a" + machines[2].name)\nexit()\n' |
	vsh "script -qec '$vmstep -j 1.0 connect' /dev/null" | tr -d '\r')
like "... at a terminal it is a prompt" "$typed" '<Step 1.0: 4 machines>.*>>> .*avm2'
echo 'machines[0].op("no.such.op")' >"$tmp/home/bad"
vms connect <"$tmp/home/bad"
like "... an error ends what is no terminal, with words" "$?:$(cat "$tmp/vms.err")" \
	'^1:.*NoSuchOp: .*no such op'
vsh "$vmstep -j 99 connect /dev/null" 2>"$tmp/vms.err"
is "... 3: there is no such step" $? 3
say_err

# ---- the same script on a login host and on a node ----

at net.penvm <<'END'
meta:
  name: net
networks:
  default:
    targets: box-[2-3]
  all:
    targets: "@all"
groups:
  all:
    targets: head box-[2-3]
templates:
  boxes:
    targets: box-[2-3]
    ncores: 1
targets:
  head: {host: vm0}
END
sed -i 's/{host: vm0}/\n    host: vm0/; $a\  box-2:\n    rank: 2\n  box-3:\n    host: 10.0.0.4' "$tmp/home/net.penvm"
at work.py <<'END'
import asyncio, hashlib, os, subprocess, sys
from vmstep.aio import AsyncStep
from vmstep.workers import ExecWorker, Mirror, OpWorker

def check(name, is_so):
    print("done" if is_so else "WRONG", name, flush=True)

m = step.machines[3]
check("ops", m.sys.info()["os"] and m.task.ping(path="agent")["rank"] == 3)
check("run", m.run(["cat"], input="in").out == b"in"
      and m.run("exit 3").returncode == 3 and m.run("kill -9 $$").returncode == -9)
check("timeout", m.run("sleep 100", timeout=0.2).timed_out)
data = os.urandom(600_000)
with m.start(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
    check("streams", p.communicate(data, 60)[0] == data and p.wait().exit == 0)
with m.start("read a; echo $a; exec sleep 100", stdin=subprocess.PIPE,
             stdout=subprocess.PIPE) as p:
    p.stdin.write(b"one\n")
    p.stdin.flush()
    check("line", p.stdout.readline() == b"one\n")
    p.terminate()
    check("signal", p.wait(20).signal == 15)
path = "/tmp/" + sys.argv[1]
m.put(data, path)
check("files", m.get(path) == data
      and hashlib.sha256(data).hexdigest() in m.run(["sha256sum", path]).text)
step.all.put(b"for all", path + ".all").check()
check("files to all", [x.get(path + ".all") for x in step.machines] == [b"for all"] * 4)
try:
    m.get("/nowhere")
except vmstep.VmstepError as e:
    check("no file", "nowhere" in str(e))
step[0].op("vm.pause").check()
r = step["0,2"].op("sys.info")
check("paused", isinstance(r[0], vmstep.WrongState) and r[2]["os"])
step[0].op("vm.resume").check()

class Names(ExecWorker):
    def process(self, ended):
        return ended.text.strip()
class All(Mirror, Names):
    pass
check("mirror", All(step.machines).run("uname -n") == ["vm0", "vm1", "vm2", "vm3"])
check("workers", Names(step.machines, ["wc", "-c"], width=2).run(["x" * n for n in range(12)])
      == [str(n) for n in range(12)])
check("world", [x.rank for x in network.get_machines()] == [2, 3] and machines == network.get_machines()
      and str(networks["all"].ranks) == "0,2-3")

async def story():
    async with AsyncStep(step) as a:
        out = await asyncio.gather(*(x.run(["uname", "-n"]) for x in a.machines))
        check("asyncio", [o.text for o in out] == [f"vm{n}\n" for n in range(4)])
        p = await a.machines[3].start("tr a b", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check("asyncio streams", await p.communicate(b"aaa") == (b"bbb", b""))
asyncio.run(story())
END
vms connect --world=net.penvm work.py login >login.out
is "ops, processes, files, workers, asyncio, a world file, from a login host" $? 0
say_err
is "... all is right" "$(grep -c ^done login.out):$(grep -v ^done login.out)" 15:
on_node $test_user n1 "$vmstep" -j 1.0 connect --world=net.penvm work.py node >node.out 2>"$tmp/vms.err"
is "the same on a node, by its sockets and by srun to the other" $? 0
say_err
is "... all is right" "$(grep -c ^done node.out):$(grep -v ^done node.out)" 15:
at near.py <<'END'
import os, subprocess
m = machines[0]
data = os.urandom(3_000_000)
m.put(data, "/tmp/near")
assert m.get("/tmp/near") == data
with open("near.out", "wb") as f, m.start(["cat", "/tmp/near"], stdout=f) as p:
    assert p.wait(60).exit == 0
print(vmstep.Step.__name__, m.op("task.state")["name"], end="")
END
is "... in a guest of that node: files and streams by descriptors" \
	"$(on_node $test_user n1 "$vmstep" -j 1.0 -r 1 connect near.py 2>&1)" "Step vm1"

# ---- without Python ----

echo '{"jsonrpc":"2.0","id":1,"method":"task.ping"}' >"$tmp/home/ping"
is "connect --raw: any program, to a task of any node" \
	"$(vms -r 3 connect --raw <"$tmp/home/ping" | jq -c 'select(.id == 1).result | [.rank, .node]')" '[3,"n2"]'
is "connect --where: on a node its sockets, elsewhere none" \
	"$(on_node $test_user n2 "$vmstep" -j 1 connect --where; vms connect --where)" \
	"{\"step\":\"1.0\",\"dir\":\"$runtime/$(id -u $test_user)/1.0\"}
{\"step\":\"1.0\",\"dir\":null}"
nok "another user has no step there" on_node $other n1 "$vmstep" -j 1.0 connect /dev/null

# ---- the BOINC wrapper's story, by XML-RPC ----

at client.py <<'END'
import http.client, os, socket, sys, time, xmlrpc.client

class Unix(xmlrpc.client.Transport):
    def make_connection(self, host):
        c = http.client.HTTPConnection("localhost")
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.connect(sys.argv[1])
        return c

def poll(fn, s=60):
    end = time.monotonic() + s
    while time.monotonic() < end:
        if (got := fn()):
            return got
    raise SystemExit("not in time")

def fault(fn, *args):
    try:
        fn(*args)
    except xmlrpc.client.Fault as e:
        return e.faultString

vm = xmlrpc.client.ServerProxy("http://localhost/RPC2", Unix(use_builtin_types=True))
me = vm.getNamesToIdsMapping()["vm3"]
assert vm.start(me) and vm.getState(me) == "Running" and me in vm.listRegisteredVMs()
assert vm.getIdsToNamesMapping()[me] == "vm3" and vm.ping(me, 5.0)
assert vm.cpFileToVM(me, "input", "/tmp/input")[2] == 0
assert vm.cpFileToVM(me, "/nowhere", "/tmp/x")[2] == 1
run = vm.runCmd(me, "/bin/sh", ["-c", 'cat >out; echo "$A" >>out; echo said; '
                                'while [ ! -e stop ]; do :; done; exit 7'],
                {"A": "of env"}, "/tmp", "/tmp/input")
assert vm.getCmdDetails(run)["env"] == {"A": "of env"}
assert vm.getCmdResults(run) == "" and run not in vm.listFinishedCmds()
first = poll(lambda: vm.getCmdUsage(run).get("utime_us"))
poll(lambda: vm.getCmdUsage(run)["utime_us"] > first + 100_000)
print("CPU time goes on")
assert vm.pause(me) and vm.getState(me) == "Paused"
assert "E_STATE" in fault(vm.runCmd, me, "true")
assert vm.unpause(me) and vm.getState(me) == "Running"
last = vm.getCmdUsage(run)["utime_us"]
poll(lambda: vm.getCmdUsage(run)["utime_us"] > last)
assert vm.cpFileToVM(me, "stop", "/tmp/stop")[2] == 0
poll(lambda: run in vm.listFinishedCmds())
r = vm.getCmdResults(run)
assert (r["out"], r["finished"], r["exitCodeOrSignal"]) == ("said\n", True, 7), r
assert r["resources"]["utime_us"] > 100_000
assert "E_NOENT" in fault(vm.getCmdResults, run)
run = vm.runCmd(me, "sleep", ["1000"])
assert vm.killCmd(run, "KILL")
r = poll(lambda: vm.getCmdResults(run))
assert (r["finished"], r["exitCodeOrSignal"]) == (False, 9), r
assert vm.cpFileFromVM(me, "/tmp/out", "boinc.out")[2] == 0
assert "E_NOTSUP" in fault(vm.saveSnapshot, me, "x") and "E_NOENT" in fault(vm.restoreSnapshot, me)
assert "E_NOTSUP" in fault(vm.saveState, me) and "E_NOENT" in fault(vm.pause, "vm9")
assert "help()" in fault(vm.system_exit) and "runCmd" in vm.help()
print("done")
END
echo "of stdin" >"$tmp/home/input"
: >"$tmp/home/stop"
bridge() # NAME ARG...: in the background on n1; $! is minicluster's
{
	bg on_node $test_user n1 "$build/inst/bin/vmstep-xmlrpc" -j 1.0 "${@:2}" >"$1.out" 2>"$1.err"
	wait_for 60 grep -q '^1.0 ' "$1.out"
}
bridge unix --socket="$tmp/home/boinc.sock"
ok "vmstep-xmlrpc listens on a socket of the user's alone" \
	test "$(stat -c %a:%U "$tmp/home/boinc.sock")" = "600:$test_user"
diag "$(cat unix.err)"
is "copy in, run with stdin and environment, watch it, pause, resume, take the result, copy out" \
	"$(on_node $test_user n1 python3 client.py "$tmp/home/boinc.sock" 2>&1 | paste -sd,)" \
	"CPU time goes on,done"
is "... what it read and was told" "$(paste -sd, "$tmp/home/boinc.out")" "of stdin,of env"
like "... another user is not let in" \
	"$(on_node $other n1 python3 "$tmp/home/client.py" "$tmp/home/boinc.sock" 2>&1)" 'Permission|denied'
bridge tcp --listen=127.0.0.1:0 --token-file="$tmp/home/token"
at tcp.py <<'END'
import sys, xmlrpc.client
url, token = sys.argv[1].replace("http://", ""), open("token").read().strip()
ask = lambda who: xmlrpc.client.ServerProxy(f"http://{who}{url}").listAvailableVMs()
print(",".join(ask(f"vmstep:{token}@")))
for who in ("", "vmstep:x@", f"vmstep:{token}x@"):
    try:
        print("IN", ask(who))
    except xmlrpc.client.ProtocolError as e:
        print(e.errcode)
END
is "on the loopback device it wants the token" \
	"$(on_node $test_user n1 python3 tcp.py "$(cut -d' ' -f2 tcp.out)" 2>&1 | paste -sd' ')" \
	"vm0,vm1,vm2,vm3 401 401 401"
is "... which is the user's alone" "$(stat -c %a:%U "$tmp/home/token")" "600:$test_user"
on_node $test_user n1 "$build/inst/bin/vmstep-xmlrpc" -j 1.0 --listen=0.0.0.0:0 --token-file=t 2>bad.err
like "... and no other device is listened on" "$?:$(cat bad.err)" '^2:.*no port of the loopback'
at off.py <<'END'
import http.client, socket, sys
exec(open("client.py").read().split("def poll")[0])
vm = xmlrpc.client.ServerProxy("http://localhost/RPC2", Unix())
print(vm.powerOff("vm3"), vm.getState("vm3"))
END
like "powerOff: the guest shuts down" \
	"$(on_node $test_user n1 python3 off.py "$tmp/home/boinc.sock" 2>&1)" '^True (PoweredOff|Unknown)'

mc vm node n1 pkill -f "[v]mstep-xmlrpc .*$tmp"
gone() { ! mc vm node n1 pgrep -f "[v]mstep-xmlrpc .*$tmp" && [[ ! -e $tmp/home/token ]]; }
ok "SIGTERM ends it, and takes the token away" wait_for 60 gone

# ---- the same by vmstep ----

vms cp input 2:/tmp/input
is "by vmstep: copy in" $? 0
say_err
at busy <<'END'
cat >/tmp/out; echo "$A" >>/tmp/out; echo said; while [ ! -e /tmp/stop ]; do :; done; exit 7
END
bg vsh "exec $vmstep -j 1.0 -r 2 exec -i env A='of env' sh -c '$(cat "$tmp/home/busy")' <input" >busy.out
busy=$!
ok "... run with stdin and environment" wait_for 60 grep -qx said busy.out
proc=$(vms -r 2 --json op proc.list | jq '[.results[].result.procs[] | select(.state == "running") | .proc] | max')
used() { vms -r 2 --json op proc.stat "'{\"proc\":$proc}'" | jq '.results[].result.usage.utime_us'; }
at_first=$(used)
goes_on() { (($(used) > at_first + 100000)); }
ok "... watch its CPU time" wait_for 60 goes_on
vms -r 2 pause
is "... pause" "$(vms -r 2 ps | awk 'NR > 1 { print $4 }')" paused
vms -r 2 resume
is "... resume" "$(vms -r 2 ps | awk 'NR > 1 { print $4 }')" running
vms -r 2 exec touch /tmp/stop
wait $busy
is "... its status" $? 7
vms cp 2:/tmp/out command.out
is "... copy out" "$(paste -sd, "$tmp/home/command.out")" "of stdin,of env"
vms -r 2 shutdown
is "... shut down" $? 0

vms poweroff
wait $step
clean "nothing is left of it"
done_testing
