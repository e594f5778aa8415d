#!/bin/bash
# A guest that has QEMU's guest agent and not ours: the Debian image, as
# cloud-init finds it, by --vm-exec=qga.
. "$(dirname "$0")/vm.sh"

need jq socat
image=$images/debian.qcow2
[[ -e $image ]] || skip_all "$image is not there: contrib/mkimage debian"
vm_cluster 1
vmstep=$build/inst/bin/vmstep

# METHOD [PARAMS]: the answer of the task's socket
ask()
{
	echo '{"jsonrpc":"2.0","id":1,"method":"'"$1"'","params":'"${2-"{}"}"'}' |
		(cd "$tmp/home" && mc vm node n1 setpriv --reuid="$test_user" \
			--regid="$test_user" --init-groups socat -t120 - \
			"UNIX-CONNECT:$runtime/$(id -u "$test_user")/$step_id/task.0.sock") |
		jq -c 'select(.id == 1)'
}

vrun -n1 --vm-image=tiny --vm-exec=qga --vm-workdir=/tmp true
is "what it cannot do is refused before anything runs" $? 125
like "... by name" "$(cat "$tmp/err")" '--vm-exec=qga: .*working directory'

# The command ends when the test has made a file; its output comes then.
step_id=2.0
printf 'in %s\n' put >"$tmp/in"
bg vrun -n1 --vm-image=debian --vm-exec=qga --vm-boot-timeout=600 --input="$tmp/in" \
	sh -c 'cat; echo "rank $SLURM_PROCID of $(uname -n)"; echo no >&2
		while [ ! -e /tmp/end ]; do sleep 0.2; done; exit 7' \
	>"$tmp/out"
step=$!
asked() { [[ $(ask vm.state | jq -r .result.agent) == qga ]]; }
ok "a guest whose agent is QEMU's" wait_for 600 asked
runs() { ask proc.list | jq -e '.result.procs[] | select(.label == "command" and .state == "running")'; }
ok "the step's command runs" wait_for 240 runs
is "proc.run: input, output, status" \
	"$(ask proc.run '{"argv":["sort","-r"],"input":"a\nb\n"}' |
		jq -c '[.result.out, .result.err, .result.exit, .result.degraded]')" '["b\na\n","",0,true]'
is "... its time is up" \
	"$(ask proc.run '{"argv":["sleep","100"],"timeout_ms":300}' |
		jq -c '[.result.signal, .result.timed_out]')" '[9,true]'
is "... a command that is not there" \
	"$(ask proc.run '{"argv":["no-such-program"]}' | jq -c .error.data.name)" '"E_NOENT"'
is "vmstep exec" "$(vsh "$vmstep -j $step_id exec uname -s")" Linux
is "... -i is refused by name" \
	"$(vsh "$vmstep -j $step_id exec -i cat </dev/null" 2>&1 | grep -c 'input as a whole')" 1
is "a file: written" \
	"$(ask file.write '{"path":"/tmp/f","data":"one two","create":true}' | jq .result.bytes)" 7
is "... in place" \
	"$(ask file.write '{"path":"/tmp/f","data":"TWO","offset":4}' | jq .result.bytes)" 3
is "... and read" \
	"$(ask file.read '{"path":"/tmp/f"}' | jq -c '[.result.data, .result.eof]')" '["one TWO",true]'
is "... from where it is asked" \
	"$(ask file.read '{"path":"/tmp/f","offset":4,"size":2}' | jq -c .result.data)" '"TW"'
is "... one that is not there" "$(ask file.read '{"path":"/nowhere"}' | jq .error.code)" 10
head -c 1000000 /dev/urandom >"$tmp/big"
cat >copy.py <<'END'
import array, hashlib, json, os, socket, sys, threading
data = open(sys.argv[2], "rb").read()
def op(method, params, fd):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    f = s.makefile("r")
    socket.send_fds(s, [json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                    "params": {**params, "io": "fd"}}).encode() + b"\n"], [fd])
    os.close(fd)
    while True:
        m = json.loads(f.readline())
        if m.get("id") == 1:
            return m
r, w = os.pipe()
t = threading.Thread(target=lambda: (os.fdopen(w, "wb").write(data)))
t.start()
put = op("file.put", {"path": "/tmp/big", "size": len(data)}, r)
t.join()
r, w = os.pipe()
got = []
t = threading.Thread(target=lambda: got.append(os.fdopen(r, "rb").read()))
t.start()
get = op("file.get", {"path": "/tmp/big"}, w)
t.join()
print(put["result"]["bytes"], put["result"]["sha256"] == hashlib.sha256(data).hexdigest(),
      get["result"]["sha256"] == put["result"]["sha256"], got[0] == data)
END
is "... a larger one, there and back" \
	"$(cd "$tmp/home" && mc vm node n1 setpriv --reuid="$test_user" --regid="$test_user" \
		--init-groups timeout 120 python3 "$tmp/copy.py" \
		"$runtime/$(id -u "$test_user")/$step_id/task.0.sock" "$tmp/big" 2>&1)" \
	"1000000 True True True"
is "sys.info: its system and address" \
	"$(ask sys.info | jq -c '[(.result.os | startswith("Debian")), .result.hostname,
		([.result.interfaces[].ip[]] | index("10.0.0.1") != null)]')" '[true,"vm0",true]'
is "its clock is set" "$(ask sys.time.set '{"ns":1000000000000000000}' | jq -c .result)" '{}'
is "... and shows it" "$(ask proc.run '{"argv":["date","+%Y"]}' | jq -r .result.out)" 2001
# not its only one, which would have all wait
is "file systems: none of a name that there is not is frozen" \
	"$(ask sys.fsfreeze '{"mounts":["/nowhere"]}' | jq -c .result)" '{"filesystems":0}'
is "... or thawed" "$(ask sys.thaw | jq -c .result)" '{"filesystems":0}'
for op in 'file.stat {"path":"/"}' 'file.put {"path":"/x","io":"fd","mode":420}' \
	'file.put {"path":"/x","io":"fd","atomic":true}' \
	'file.get {"path":"/x","io":"fd","user":"nobody"}' \
	'file.write {"path":"/x","data":"x","truncate":true}' \
	'file.hash {"path":"/"}' 'task.echo {}' \
	'proc.start {"argv":["cat"],"stdin":"stream","io":"events"}' \
	'proc.run {"argv":["id"],"user":"nobody"}'; do
	is "${op%% *} is refused by name" "$(ask "${op%% *}" "${op#* }" | jq -c .error.data.name)" '"E_NOTSUP"'
done

like "file.write without data" "$(ask file.write '{"path":"/x"}' | jq -r .error.message)" \
	'data: missing, or more than 64 KiB'
like "file.put with two sums" \
	"$(ask file.put '{"path":"/x","io":"fd","hash":"xxh64","sha256":"00"}' | jq -r .error.message)" \
	'sha256 cannot be checked with another hash'

# ---- another user of the node ----

other=vmtest2
id $other &>/dev/null || useradd -m $other
dir=$runtime/$(id -u "$test_user")
as_other() { (cd / && mc vm node n1 setpriv --reuid=$other --regid=$other --init-groups "$@" 2>&1); }
say='{"jsonrpc":"2.0","id":1,"method":"task.state"}'
like "another user does not see the step's directory" \
	"$(as_other ls "$dir")" 'Permission denied'
for name in task.0.sock node.sock key; do
	like "... $name is not there for them" "$(as_other stat "$dir/$step_id/$name")" 'Permission denied'
done
is "... no socket has a name that everybody can use" \
	"$(as_other grep -cE '@.*vmstep' /proc/net/unix)" 0
mc vm node n1 chmod o+x "$dir" "$dir/$step_id"
mc vm node n1 chmod o+rw "$dir/$step_id/task.0.sock"
is "... with the modes opened, who they are is looked at: no greeting, no answer" \
	"$(as_other sh -c "echo '$say' | socat -t5 - UNIX-CONNECT:$dir/$step_id/task.0.sock 2>/dev/null")" ""
is "... and the user is answered as before" "$(ask task.state | jq .result.rank)" 0
mc vm node n1 chmod o-rw "$dir/$step_id/task.0.sock"
mc vm node n1 chmod o-x "$dir/$step_id" "$dir"

ask proc.run '{"argv":["touch","/tmp/end"]}' >/dev/null # the step may be over first
ok "the command is told to end, and ends" wait_for 120 tap_not kill -0 $step
((tap_failed == 0)) || vsh "$vmstep -j $step_id poweroff" # or it would not
wait $step
is "the command's status" $? 7
is "... its output" "$(<"$tmp/out")" $'in put\nrank 0 of vm0'
like "... its error output" "$(cat "$tmp/err")" '^no$|[^a-z]no'
clean "nothing stays"
done_testing
