#!/bin/bash
# What happens in a step, and being part of it: events, ops that are cancelled
# or kept, consoles, logs, top.
. "$(dirname "$0")/vm.sh"

need jq socat script python3
vm_cluster 2
conf "beacon_interval = 1"
vmstep=$build/inst/bin/vmstep

vms() { vsh "$vmstep -j 1.0 $*" 2>"$tmp/vms.err"; }
on_node() # NODE CMD...: as the user
{
	local node=$1
	shift
	(cd "$tmp/home" && mc vm node "$node" setpriv --reuid="$test_user" \
		--regid="$test_user" --init-groups env PATH="$PATH" "$@")
}
sock() { echo "$runtime/$(id -u "$test_user")/1.0/task.$1.sock"; }
# RANK METHOD [PARAMS]: the answer of its socket
ask()
{
	echo '{"jsonrpc":"2.0","id":1,"method":"'"$2"'","params":'"${3-"{}"}"'}' |
		on_node "n$(($1 + 1))" socat -t60 - "UNIX-CONNECT:$(sock "$1")" |
		jq -c 'select(.id == 1)'
}
say_err() { diag "$(cat "$tmp/vms.err")"; }

bg vrun -N2 -n2 --ntasks-per-node=1 --vm-image=tiny \
	sh -c 'echo said before >/dev/ttyS0; echo up; read line </dev/ttyS0; echo "typed: $line" >/dev/ttyS0; sleep 10000' >"$tmp/out"
step=$!
all_up() { (($(grep -c up "$tmp/out") == 2)); }
ok "a step of two guests on two nodes" wait_for 240 all_up

# ---- events ----

bg as_user vm "$vmstep" -j 1.0 --json events >"$tmp/events"
watcher=$!
saw() # RANK KIND [FILTER]
{
	[[ $(jq -c "select(.rank == $1 and .kind == \"$2\" and (${3-true}))" "$tmp/events") ]]
}
ok "events: what is kept comes first, of each node" wait_for 60 saw 1 task.joined
ok "... a guest's start" wait_for 60 saw 0 vm.running '.from == "booting"'
ok "... the step's command" wait_for 60 saw 0 proc.start '.label == "command"'
cat >subscribe.py <<'END'
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b'{"jsonrpc":"2.0","id":1,"method":"event.subscribe","params":{"to":"all","kinds":["vm.*"]}}\n')
s.shutdown(socket.SHUT_WR)
seen = []
for line in s.makefile():
    m = json.loads(line)
    if m.get("id") == 1:
        print(m["result"]["sub"], flush=True)
    if m.get("method") == "event":
        seen.append((m["params"]["rank"], m["params"]["kind"]))
        if len(seen) == 4:
            break
print(sorted(seen))
END
bg on_node n1 timeout 60 python3 "$PWD/subscribe.py" "$(sock 0)" >sub.out
sub=$!
ok "event.subscribe at one task, of all" wait_for 60 grep -qE '^[0-9]+$' sub.out
known() { [[ $(ask 1 op.list | jq '[.result[] | select(.method == "event.take" and .who == "task")] | length') == 1 ]]; }
ok "... the other task knows of it" wait_for 60 known
vms pause
vms resume
ok "... a pause is seen" wait_for 60 saw 1 vm.paused
ok "... and its end" wait_for 60 saw 0 vm.running '.from == "paused"'
wait $sub
is "... by who has subscribed, too" "$(tail -n +2 sub.out)" \
	"[(0, 'vm.paused'), (0, 'vm.running'), (1, 'vm.paused'), (1, 'vm.running')]"
vms -r 1 exec sh -c "'exit 7'"
ok "... how a process ended" wait_for 60 saw 1 proc.exit '.exit == 7'
for _ in {1..65}; do echo '{"jsonrpc":"2.0","id":1,"method":"msg.send","params":{"data":1,"queue":"q"}}'; done |
	on_node n1 socat -t60 - "UNIX-CONNECT:$(sock 0)" >sent
is "a queue is full" "$(grep -c E_FULL sent)" 1
ok "... which is an event" wait_for 60 saw 0 queue.full '.queue == "q"'
is "event.take has the same, for scripts" \
	"$(ask 0 event.take '{"kinds":["queue.*"]}' | jq -c '[.result.events[].kind]')" \
	'["queue.open","queue.full"]'
vms -r 0 events --once "'vm.*'" >once.out
is "events --once: status 0" $? 0
say_err
like "... lines for people, of those that are wanted" "$(<once.out)" 'vm\[0\]@n1 vm.paused from=running'
is "... and only those" "$(grep -vc 'vm\[0\]@n1 vm\.' once.out)" 0

# An agent that stands still for some time.
# shellcheck disable=SC2016  # the guest's
stop='a=$(pidof vmstep-agent); { sleep 15; kill -CONT $a; } >/dev/null 2>&1 & kill -STOP $a'
vms -r 1 exec sh -c "'$stop'" &
stopped=$!
ok "an agent whose beacons do not come is late" wait_for 60 saw 1 task.late
ok "... then lost" wait_for 60 saw 1 task.lost
ok "... then back" wait_for 60 saw 1 task.back
wait $stopped

# ---- ops: cancelled, kept, once ----

start=$SECONDS
ask 0 proc.run '{"argv":["sleep","1000"],"to":1,"opid":"long"}' >routed &
pid=$!
sleeps() { [[ $(ask 1 proc.list | jq '[.result.procs[] | select(.program == "sleep" and .state == "running")] | length') == "$1" ]]; }
ok "an op that another task carries out" wait_for 60 sleeps 1
is "op.get finds it" "$(ask 0 op.get '{"opid":"long"}' | jq -r '.result.method, .result.state' | xargs)" \
	"proc.run running"
is "op.cancel" "$(ask 0 op.cancel '{"opid":"long"}' | jq -c .result)" '{"cancelled":1}'
wait $pid
is "... its asker is told, once" "$(jq -c .error.data.name routed)" '"E_CANCELLED"'
ok "... and the process has ended in that guest" wait_for 60 sleeps 0
is "... another time there is no such op" "$(ask 0 op.cancel '{"opid":"long"}' | jq .error.code)" 10
ok "... all of it soon" test $((SECONDS - start)) -lt 120

run='{"shell":"echo x >>/tmp/once; sleep 1; wc -l </tmp/once","opid":"once","session":"mine"}'
is "session.open" "$(ask 1 session.open '{"name":"mine","max_ops":2}' | jq -c '[.result.session, .result.max_ops]')" \
	'["mine",2]'
on_node n2 socat -t0.1 - "UNIX-CONNECT:$(sock 1)" >/dev/null \
	<<<'{"jsonrpc":"2.0","id":1,"method":"proc.run","params":'"$run}"
is "who leaves and asks again gets the answer of the first time" \
	"$(ask 1 proc.run "$run" | jq -r .result.out)" 1
is "... also when it has been answered" "$(ask 1 proc.run "$run" | jq -r .result.out)" 1
is "result.take: another client has it, too" \
	"$(ask 1 result.take '{"session":"mine","wait_ms":10000}' |
		jq -c '[.result.results[] | [.opid, .result.out]]')" '[["once","1\n"]]'
is "... once" "$(ask 1 result.take '{"session":"mine"}' | jq -c .result.results)" '[]'
is "session.close" "$(ask 1 session.close '{"session":"mine"}' | jq -c .result)" '{"ops":0}'

# ---- console ----

has_typed() { vms -r 1 console --once | grep -q "$1"; }
vsh "echo hello to vm1 | timeout 90 $vmstep -j 1.0 -r 1 console" >console.out 2>"$tmp/vms.err" &
pid=$!
ok "console: what is typed arrives, from a login host" wait_for 90 has_typed 'typed: hello to vm1'
kill $pid 2>/dev/null
is "... what was said before is still there" "$(vms -r 1 console --once | grep -c 'said before')" 1
cat >console.py <<'END'
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen, typed, end = b"", False, time.monotonic() + 60
while time.monotonic() < end:
    if not select.select([fd], [], [], 1)[0]:
        continue
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
    if not typed and b"leaves the console" in seen and b"typed: hello" in seen:
        typed = True
        os.write(fd, b"by hand\r~.")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b"said before" in seen)
END
is "console on a terminal: ~. leaves it" \
	"$(vsh "timeout 70 python3 $PWD/console.py $vmstep -j 1.0 -r 1 console" | tail -1)" "0 True"
is "... an op, for scripts" \
	"$(ask 1 vm.console | jq -r '.result.data' | grep -c 'typed: hello to vm1')" 1

# ---- log and top ----

vms log >log.out
is "log: status 0" $? 0
say_err
like "... of the helpers, also what is for --vm-verbose" "$(<log.out)" 'vm\[1\]@n2: agent .* says hello'
like "... of the networks" "$(<log.out)" 'net@n1: '
is "... in order of time" "$(cut -c1-23 log.out | sort -c 2>&1)" ""
is "... -r: of these tasks only" "$(vms -r 1 log | grep -vc 'vm\[1\]@n2: ')" 0

vms -r 1 exec sh -c "'while :; do :; done & sleep 100'" &
busy=$!
burns() { vms --json -r 1 top -d 1 >top.json && jq -e '.tasks[0].cpu_percent > 20' top.json; }
ok "top: who computes" wait_for 60 burns
is "... of whom it was asked for" "$(jq -c '[.tasks[] | [.rank, .node, .state, .cpus]]' top.json)" '[[1,"n2","running",1]]'
is "... all of the table" \
	"$(vms top -d 1 | awk '{ print $1, $2, $3, $4, $5 }' | paste -sd,)" \
	"RANK NAME NODE VM AGENT,0 vm0 n1 running alive,1 vm1 n2 running alive"
kill $busy

# ---- its end ----

vms poweroff
wait $step
ok "the step has ended" true
wait $watcher
is "events end with it: status 0" $? 0
ok "... the last of a task is that" saw 1 task.ended
ok "... the VM's end before" saw 0 vm.exited
clean "nothing stays"
done_testing
