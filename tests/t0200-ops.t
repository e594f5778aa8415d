#!/bin/bash
# Ops: processes in guests, and the VMs themselves, by vmstep from a login host
# and from nodes, and by the tasks' sockets.
. "$(dirname "$0")/vm.sh"

need jq socat script python3
vm_cluster 2
conf "beacon_interval = 1"
vmstep=$build/inst/bin/vmstep
other=vmtest2
id $other &>/dev/null || useradd -m $other

# From the login host; standard input is passed on.
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
	local node=n1
	(($1 >= 2)) && node=n2
	echo '{"jsonrpc":"2.0","id":1,"method":"'"$2"'","params":'"${3-"{}"}"'}' |
		on_node $node socat -t60 - "UNIX-CONNECT:$(sock "$1")" |
		jq -c 'select(.id == 1)'
}
soon() # NAME SECONDS-MOST FROM
{
	ok "$1" test "$((SECONDS - $3))" -le "$2"
}
say_err() { diag "$(cat "$tmp/vms.err")"; }

bg vrun -N2 -n4 --ntasks-per-node=2 --vm-image=tiny --vm-scratch=8M \
	sh -c 'echo up; sleep 10000' >"$tmp/out"
step=$!
all_up() { (($(grep -c up "$tmp/out") == 4)); }
ok "a step of four guests on two nodes" wait_for 240 all_up

# ---- ps and exec ----

vms ps >ps.out
is "ps: status 0" $? 0
say_err
is "... every VM runs, its agent is alive" \
	"$(awk '/^[0-9]/ { print $1, $2, $3, $4, $5 }' ps.out | paste -sd,)" \
	"0 vm0 n1 running alive,1 vm1 n1 running alive,2 vm2 n2 running alive,3 vm3 n2 running alive"
is "... --json is for jq" \
	"$(vms --json ps | jq -c '[.step, .tasks, (.results | map(.result.state) | unique)]')" \
	'["1.0",4,["running"]]'

vms -r 0-3 exec uname -n >exec.out
is "exec in all: status 0" $? 0
say_err
is "... each line with its rank" "$(sort exec.out | paste -sd,)" "0: vm0,1: vm1,2: vm2,3: vm3"
is "... --fold shows the same output once" \
	"$(vms -r 0,1,3 exec --fold uname -s | paste -sd,)" "---- 0-1,3 ----,Linux"
vms exec sh -c "'exit \$((SLURM_PROCID + 3))'"
is "... the highest exit status is that of vmstep" $? 6
is "... srun's words about it are not shown" "$(cat "$tmp/vms.err")" ""
vms -r 1 exec no-such-program
is "... 127: not found" $? 127
vms -r 1 exec /etc
is "... 126: cannot be run" $? 126
vms -r 1 exec --cwd=/nowhere true
is "... 126: no such directory" $? 126
like "... and which" "$(cat "$tmp/vms.err")" '/nowhere'
vms -r 9 exec true
is "... a rank that is not there: 125" $? 125
vms exec --here true
is "... 125: no task on this node" $? 125
like "... and why" "$(cat "$tmp/vms.err")" 'not yet or no more'
vms -r 2 exec sh -c "'kill -9 \$\$'"
is "... 137: ended by a signal" $? 137
is "... words are passed as they are" "$(vms -r 0 exec printf "'<%s>'" "'a  b'" "'*'")" '<a  b><*>'

head -c 3000000 /dev/urandom >"$tmp/data"
is "exec -i: one guest's input and output are as they are" \
	"$(vms -r 2 exec -i cat <"$tmp/data" | sha256sum)" "$(sha256sum <"$tmp/data")"
is "... several guests all get it" \
	"$(vms -r 1-2 exec -i sha256sum <"$tmp/data" | cut -d' ' -f2 | sort -u)" \
	"$(sha256sum <"$tmp/data" | cut -d' ' -f1)"
big='i=0; while [ $i -lt 20 ]; do head -c 1048576 /dev/zero; head -c 1048576 /dev/zero >&2; i=$((i + 1)); done'
vms -r 0 exec sh -c "'$big'" 2>/dev/null | { sleep 1; wc -c; } >bytes
is "... 20 MiB on each stream arrive at a slow reader" "$(<bytes)" 20971520
ok "... and on the other" test "$(wc -c <"$tmp/vms.err")" -ge 20971520
is "exec -t: a terminal of the guest's" \
	"$(vsh "script -qec '$vmstep -j 1.0 -r 3 exec -t tty' /dev/null" </dev/null | grep -o '/dev/pts/[0-9]')" \
	/dev/pts/0

bg as_user vm "$vmstep" -j 1.0 -r 0 exec sh -c 'echo on; exec sleep 1000' >on.out
pid=$!
ok "a command that goes on" wait_for 60 grep -q on on.out
from=$SECONDS
kill -TERM $pid
wait $pid
is "... ends by SIGTERM to vmstep: 143" $? 143
soon "... soon" 45 $from

# ---- the sockets ----

ask 1 net.link '{"up":false}' >link.out
is "net.link: the plug is pulled" \
	"$(ask 1 proc.run '{"shell":"f=/sys/class/net/eth0/operstate; for i in $(seq 100); do grep -q down $f && break; sleep 0.1; done; cat $f; ping -c1 -W1 vm0 >/dev/null && echo reached"}' |
		jq -r .result.out)" down
ask 1 net.link '{"up":true}' >link.out
is "... and is in again" \
	"$(ask 1 proc.run '{"shell":"for i in $(seq 100); do ping -c1 -W1 vm0 >/dev/null && break; sleep 0.1; done; ping -c1 -W10 vm0 >/dev/null && echo reached"}' |
		jq -r .result.out)" reached
is "... up is needed" "$(ask 1 net.link '{}' | jq .error.code)" -32602

is "file.unmount" "$(ask 1 file.unmount '{"path":"/scratch"}' | jq -c .result)" '{}'
like "... what is no mount is refused" "$(ask 1 file.unmount '{"path":"/scratch"}')" \
	'/scratch: nothing is mounted there'
is "file.mount: the disk has another place" \
	"$(ask 1 file.mount '{"kind":"disk","source":"scratch0","path":"/mnt/again"}' | jq -c .result)" \
	'{"had":false}'
is "... and is there" \
	"$(ask 1 proc.run '{"shell":"grep -c \" /mnt/again ext\" /proc/mounts"}' | jq -r .result.out)" 1
is "... a disk that is not: E_NOENT" \
	"$(ask 1 file.mount '{"kind":"disk","source":"none","path":"/mnt/none"}' | jq .error.code)" 10
is "... a busy one stays: E_BUSY" \
	"$(ask 1 proc.start '{"argv":["sleep","1000"],"cwd":"/mnt/again"}' >busy
		ask 1 file.unmount '{"path":"/mnt/again"}' | jq .error.code)" 9

is "proc.run by socat and jq" "$(ask 2 proc.run '{"argv":["uname","-n"]}' | jq -r .result.out)" vm2
is "... input, error output, status" \
	"$(ask 0 proc.run '{"shell":"cat; echo no >&2; exit 7","input":"yes"}' |
		jq -c '[.result.out, .result.err, .result.exit]')" '["yes","no\n",7]'
is "... its time is up" \
	"$(ask 0 proc.run '{"shell":"echo first; sleep 100","timeout_ms":3000}' |
		jq -c '[.result.out, .result.signal, .result.timed_out]')" '["first\n",9,true]'
is "... output beyond max_output is told" \
	"$(ask 0 proc.run '{"shell":"seq 1000","max_output":10}' |
		jq -c '[.result.out, .result.out_truncated]')" '["1\n2\n3\n4\n5\n",true]'
is "... what is no UTF-8 comes as b64" \
	"$(ask 0 proc.run '{"argv":["printf","\\377"]}' | jq -c .result.out)" '{"b64":"/w=="}'
proc=$(ask 1 proc.start '{"shell":"echo kept; sleep 0.3; echo later; exit 3","label":"mine"}' |
	jq .result.proc)
is "proc.start: another client waits for it, and takes its output" \
	"$(ask 1 proc.wait "{\"proc\":$proc,\"output\":true}" | jq -c '[.result.exit, .result.out, .result.label]')" \
	'[3,"kept\nlater\n","mine"]'
is "... so does a third" "$(ask 1 proc.stat "{\"proc\":$proc}" | jq -c .result.exit)" 3
is "... until it is released" \
	"$(ask 1 proc.release "{\"proc\":$proc}" | jq -c .result; ask 1 proc.stat "{\"proc\":$proc}" | jq .error.code)" \
	$'{}\n10'
proc=$(ask 1 proc.start '{"shell":"echo kept; until [ -e /tmp/on ]; do sleep 0.1; done; echo more"}' |
	jq .result.proc)
attach='{"jsonrpc":"2.0","id":1,"method":"proc.attach","params":{"which":"stdout","io":"raw","proc":'
echo "$attach$proc}}" | on_node n1 socat -t60 - "UNIX-CONNECT:$(sock 1)" >attached &
attached=$!
ok "proc.attach: output that was kept comes" wait_for 30 grep -qx kept attached
is "... to one only" \
	"$(ask 1 proc.attach "{\"proc\":$proc,\"which\":\"stdout\",\"io\":\"events\"}" | jq .error.code)" 9
is "... who has to say which" \
	"$(ask 1 proc.attach "{\"proc\":$proc,\"io\":\"events\"}" | jq -r .error.message)" \
	"which: stdout or stderr?"
is "vm.wait: for some time" \
	"$(ask 1 vm.wait '{"phase":"exit","timeout_ms":100}' | jq -c .error.data)" '{"name":"E_TIMEOUT"}'
is "what runs is not released" "$(ask 1 proc.release "{\"proc\":$proc}" | jq .error.code)" 9
is "proc.wait: for some time" \
	"$(ask 1 proc.wait "{\"proc\":$proc,\"timeout_ms\":100}" | jq -c .error.data)" '{"name":"E_TIMEOUT"}'
ask 1 proc.run '{"argv":["touch","/tmp/on"]}' >/dev/null
wait $attached
is "... and what follows, until it ends" "$(sed '/^{.*}$/d; s/^{.*}//' attached | paste -sd,)" kept,more
proc=$(ask 1 proc.start '{"shell":"until [ \"$(stty size)\" = \"30 90\" ]; do sleep 0.1; done; echo now","pty":{"rows":5,"cols":7}}' |
	jq .result.proc)
is "proc.resize: of no process" "$(ask 1 proc.resize '{"proc":99999,"rows":1}' | jq .error.code)" 10
ask 1 proc.resize "{\"proc\":$proc,\"rows\":30,\"cols\":90}" >/dev/null
is "... its terminal has that size" \
	"$(ask 1 proc.wait "{\"proc\":$proc,\"output\":true,\"timeout_ms\":60000}" | jq -r .result.out)" $'now\r'
start='{"jsonrpc":"2.0","id":1,"method":"proc.start","params":'
for ((i = 0; i < 70; i++)); do
	echo "$start"'{"argv":["true"]}}'
done | on_node n1 socat -t60 - "UNIX-CONNECT:$(sock 1)" >/dev/null
kept() { (($(ask 1 proc.list | jq '[.result.procs[] | select(.state == "ended")] | length') == 64)); }
ok "64 processes that have ended are kept" wait_for 60 kept
{ echo "$start"'{"argv":["sort"],"stdin":"stream","stdout":"stream","io":"raw"}}'; cat; } \
	>raw.in < <(seq 100000)
on_node n1 socat -t60 - "UNIX-CONNECT:$(sock 1)" <raw.in | tail -n +3 | sha256sum >raw.sum
is "raw: the connection becomes the stream, through socat" "$(<raw.sum)" \
	"$(seq 100000 | LC_ALL=C sort | sha256sum)"
cat >events.py <<'END'
import base64, json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f, to = s.makefile("r"), s.makefile("w") # one for both would forget lines
def say(method, params, **more):
    print(json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}),
          file=to, flush=True)
say("proc.start", {"shell": "cat; echo done >&2", "stdin": "stream", "stdout": "stream",
                   "stderr": "stream", "io": "events"}, id=1)
todo, got, err, credit, seq, ends, ids = b"x" * 3000000 + b"end", b"", b"", 0, 0, 0, None
while ends < 2:
    m = json.loads(f.readline())
    p = m.get("params", {})
    if m.get("id") == 1:
        ids = m["result"]["streams"]
    elif m["method"] == "stream.credit":
        credit += p["bytes"]
    elif m["method"] == "stream.data":
        data = p["data"]
        data = base64.b64decode(data["b64"]) if isinstance(data, dict) else data.encode()
        say("stream.credit", {"stream": p["stream"], "bytes": len(data)})
        if p["stream"] == ids["stdout"]:
            assert p["seq"] == seq, (p["seq"], seq)
            seq += 1
            got += data
        else:
            err += data
    elif m["method"] == "stream.eof":
        ends += 1
    while ids and credit and todo:
        piece = todo[:min(credit, 16384)]
        todo = todo[len(piece):]
        credit -= len(piece)
        say("stream.data", {"stream": ids["stdin"], "data": piece.decode()})
        if not todo:
            say("stream.eof", {"stream": ids["stdin"]})
assert got == b"x" * 3000000 + b"end", len(got)
assert err == b"done\n", err
say("stream.data", {"stream": ids["stdin"], "data": "late"}, id=2)
while True:
    m = json.loads(f.readline())
    if m.get("id") == 2:
        break
print(m["error"]["data"]["name"])
END
is "events: streams as notifications, with credit, both ways" \
	"$(on_node n1 timeout 60 python3 "$PWD/events.py" "$(sock 0)" 2>&1)" E_GONE
proc=$(ask 1 proc.start '{"shell":"while :; do :; done"}' | jq .result.proc)
used() { (($(ask 1 proc.stat "{\"proc\":$proc}" | jq '.result.usage.utime_us') > ${1-0})); }
ok "proc.stat: what it uses, while it runs" wait_for 60 used 50000
is "proc.signal" "$(ask 1 proc.signal "{\"proc\":$proc,\"signal\":\"TERM\"}" | jq -c .result)" '{}'
is "... ends it" "$(ask 1 proc.wait "{\"proc\":$proc}" | jq .result.signal)" 15
is "the step's command is one of them" \
	"$(ask 3 proc.list | jq -c '[.result.procs[] | select(.label == "command") | .state]')" '["running"]'
is "a daemon left behind does not hold up its parent's end" \
	"$(ask 0 proc.run '{"shell":"sleep 3 & echo done"}' | jq -c '[.result.out, .result.exit]')" '["done\n",0]'

from=$SECONDS
is "an unknown op" "$(ask 0 vm.fly | jq .error.code)" -32601
is "... an unknown parameter" "$(ask 0 vm.pause '{"why":1}' | jq .error.code)" -32602
is "... a process that is not there" "$(ask 0 proc.wait '{"proc":999}' | jq .error.code)" 10
soon "... are answered at once" 20 $from
is "vm.qmp is the site's to allow" "$(ask 0 vm.qmp '{"command":"query-status"}' | jq .error.code)" 6
is "another user cannot ask" \
	"$(mc vm node n1 setpriv --reuid=$other --regid=$other --init-groups \
		socat -t2 - "UNIX-CONNECT:$runtime/$(id -u "$test_user")/1.0/task.0.sock" 2>&1 </dev/null |
		grep -c 'Permission denied')" 1

# ---- the VM ----

vms -r 0-1 pause
is "pause: status 0" $? 0
is "... of two VMs" "$(vms --json op vm.state | jq -Sc '.results | map_values(.result.state)')" \
	'{"0":"paused","1":"paused","2":"running","3":"running"}'
from=$SECONDS
vms -r 0 exec true
is "... exec says so: 125" $? 125
like "... with the cure" "$(cat "$tmp/vms.err")" 'paused: resume it first'
soon "... at once" 20 $from
is "... one of two" "$(vms -r 0,2 exec echo on)" "2: on"
paused_long() { (($(ask 0 task.state | jq .result.seen_ms) > 6000)); }
ok "... longer than an agent may be silent" wait_for 60 paused_long
is "... it is not dead" "$(ask 0 vm.state | jq -c '[.result.state, .result.agent]')" '["paused","alive"]'
vms -r 0-1 resume
is "resume: status 0" $? 0
is "... the guest runs" "$(vms -r 0 exec echo on)" on
ok "... with its clock set" wait_for 30 clocks_right
is "vm.stats" "$(ask 0 vm.stats | jq '.result.qemu.utime_us > 0 and .result.qemu.rss_bytes > 1000000')" true

# ---- a step whose directory is there, and no task: not yet, or no more ----

bg vsh 'exec srun -J bare --jobid=1 --overlap -w n1 -N1 -n1 sleep 1000' 2>bare.err
bare=$!
begins() { bare_step=$(vsh 'squeue -h -s -j 1 -o "%i %j"' | sed -n 's/ bare$//p') && [[ $bare_step ]]; }
wait_for 60 begins
ok "a step without tasks of ours" test "${bare_step-}"
bare_dir=$runtime/$(id -u "$test_user")/$bare_step
mc vm node n1 install -d -m 700 -o "$test_user" "$bare_dir"
vsh "$vmstep -j $bare_step pause" 2>"$tmp/vms.err"
is "... nothing of it can be paused: status 3" $? 3
like "... and it says so" "$(<"$tmp/vms.err")" "step $bare_step has no task that answers"
mc vm node n1 rmdir "$bare_dir"
vsh "scancel $bare_step"
wait $bare

# ---- ends ----

bg as_user vm "$vmstep" -j 1.0 -r 3 exec sleep 1000 2>"$tmp/vms.err"
pid=$!
sleeping() { [[ $(ask 3 proc.list | jq '[.result.procs[] | select(.state == "running")] | length') == 2 ]]; }
ok "a command in guest 3" wait_for 60 sleeping
ask 3 proc.run '{"shell":"kill -9 $(pidof vmstep-agent)"}' >killed
is "its agent is killed: what it was asked for ends" "$(jq .error.code killed)" 15
wait $pid
is "... and so does exec: 125" $? 125
like "... with words" "$(cat "$tmp/vms.err")" 'agent|task has ended'
ok "... the step says so" \
	wait_for 60 grep -q "vm\[3\]@n2: error: the guest's agent was lost" "$tmp/err"
gone() { vms -r 3 exec true; (($? == 125)); }
ok "... and there is no such VM any more" wait_for 60 gone
vms -r 0-2 shutdown --mode=acpi --timeout=1
is "a power button that nobody looks at: status 1" $? 1
vms -r 0-2 poweroff
is "poweroff: status 0" $? 0
wait $step
is "the step ends, as it has lost its commands" $? 125
clean "nothing stays"

mkdir "$tmp/in"
truncate -s 32M "$tmp/in/file"
printf '#!/bin/bash\nsrun -N1 -n2 --vm-image=tiny --vm-input=%s vmboot\n' "$tmp/in" >"$tmp/home/job.sh"
held=$(vsh 'sbatch --parsable -H -N1 -n2 --mem=1G job.sh')
vsh "$vmstep -j $held wait --timeout=1" 2>"$tmp/wait.err"
is "wait for a job that does not begin: status 3" $? 3
like "... and says why it does not" "$(<"$tmp/wait.err")" \
	"waited 1 s for step 2 to begin.*PENDING \(JobHeldUser\)"
vsh "$vmstep -j $held wait" 2>"$tmp/wait.err" &
waits=$!
ok "... while it waits, too" wait_for 60 \
	grep -q "waiting for a VM step of 2 to begin, .*JobHeldUser" "$tmp/wait.err"
vsh "scontrol release $held"
wait $waits
is "... until all VMs are there: status 0" $? 0
diag "$(<"$tmp/wait.err")"
agents() { [[ $(vsh "$vmstep -j 2.0 --json op vm.state" | jq '[.results[].result.agent == "alive"] | all') == true ]]; }
is "a step of VMs without a command" "$(agents; echo $?)" 0
boot_id() { vsh "$vmstep -j 2.0 -r 1 --json op task.state" | jq -r '.results["1"].result.guest.boot_id'; }
before=$(boot_id)
vsh "$vmstep -j 2.0 -r 1 reset"
is "reset: status 0" $? 0
another() { local now; now=$(boot_id) && [[ $now != null && $now != "$before" ]]; }
ok "... it comes back, as another" wait_for 180 another
is "wait: its data is there, too" \
	"$(vsh "$vmstep -j 2.0 -r 1 wait && $vmstep -j 2.0 -r 1 exec stat -c %s /input/file" |
		tail -n 1)" $((32 << 20))
is "shutdown, by the agent" \
	"$(vsh "$vmstep -j 2.0 --json shutdown" | jq -c '[.results[].result.how] | unique')" '["agent"]'
vsh "$vmstep -j 2.0 wait exit"
ended() { vsh "scontrol -o show job $held" | grep -q "JobState=COMPLETED.*ExitCode=0:0"; }
ok "... the step ends well" wait_for 60 ended
clean "nothing stays"
vsh "$vmstep -j 2.0 ps" 2>"$tmp/vms.err"
is "a step that has ended: status 3" $? 3
done_testing
