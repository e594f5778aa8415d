#!/bin/bash
# A step is saved, ends, and goes on in another job on other nodes: four guests,
# with a TCP transfer, a writer to a disk and a command's output under way.
. "$(dirname "$0")/vm.sh"

need jq socat
mkdir "$tmp/small"
mount -t tmpfs -o size=24m,mode=1777 none "$tmp/small" || skip_all "no tmpfs"
at_exit umount "$tmp/small"
vm_cluster 4
home=$tmp/home
conf "beacon_interval = 1" "allow_images = $images:$home:$tmp/small"
mkdir -m 777 "$tmp/else"
vms() { vsh "$build/inst/bin/vmstep -j $job $*" 2>"$tmp/vms.err"; }
say() { diag "$(cat "$tmp/vms.err" "$tmp/err")"; }

script=$(cat <<'END'
case $SLURM_PROCID in
0)	mkfifo /tmp/f && exec 3<>/tmp/f # nc ends with its input
	nc -l -p 5000 <&3 >/tmp/got
	echo got $(wc -c </tmp/got) $(sha256sum </tmp/got) ;;
1)	until [ -e /tmp/go ]; do
		head -c 20000 /dev/urandom
		sleep 0.05
	done | tee /tmp/sent | until nc vm0 5000; do sleep 0.2; done
	echo sent $(wc -c </tmp/sent) $(sha256sum </tmp/sent) ;;
2)	touch /tmp/n
	until [ -e /tmp/go ]; do
		dd if=/dev/urandom of=/scratch/new bs=64k count=4 2>/dev/null
		sha256sum /scratch/new >/scratch/sum && sync
		mv /scratch/new /scratch/data && mv /scratch/sum /scratch/of
		echo x >>/tmp/n
	done
	sed 's/new/data/' /scratch/of | sha256sum -c -s && echo written
	dev=$(grep " /scratch " /proc/mounts | cut -d" " -f1)
	umount /scratch && mount -r "$dev" /scratch && echo mounted again
	dmesg | grep -iE 'ext[234].*(error|unchecked|corrupt)|I/O error' || : ;;
3)	i=0
	until [ -e /tmp/go ]; do echo tick $((i += 1)); sleep 0.1; done
	echo last $i; exit 3 ;;
esac
END
)
job=1.0
bg vrun -N2 -n4 -w n1,n2 --vm-image=tiny --vm-mem=160M --vm-scratch=2:32M --vm-linger=all sh -c "$script" >out
step=$!
ok "four guests on two nodes" wait_for 240 grep -q 'tick 5' out
half() { vms -r 0 exec test -s /tmp/got && vms -r 2 exec test -s /tmp/n; }
ok "... a transfer and a writer are under way" wait_for 60 half

vsh "cd $tmp/small && $build/inst/bin/vmstep -j 1.0 save full" 2>vms.err
is "no room to save it: status 1" $? 1
like "... which is said, by task" "$(<vms.err)" "full: vm\[[0-3]\]: .*No space left"
is "... nothing stays there" "$(ls -A "$tmp/small")" ""
was=$(wc -l <out)
more() { (($(wc -l <out) > was)); }
ok "... and the step goes on" wait_for 60 more

vms save "$home/first" >saved
is "vmstep save: status 0" $? 0
say
like "... says how much, and how long it stood still" "$(<saved)" "first: 4 VMs, .*; they stood still for [0-9.]+ s"
is "... a directory with all of it, its user's alone" \
	"$(find "$home/first" -mindepth 1 -printf '%P\n' | LC_ALL=C sort | xargs; stat -c %a "$home/first")" \
	"disk0.2 memory.0 memory.1 memory.2 memory.3 options step.json task.json.0 task.json.1 task.json.2 task.json.3
700"
was=$(wc -l <out)
ok "... the step goes on" wait_for 60 more
vms save "$tmp/else/where"
is "where the site has no images: status 1" $? 1
like "... which could not be restored" "$(<vms.err)" \
	"$tmp/else/where: the site allows images from .* only \(allow_images\)"
is "... nothing stays there" "$(ls -A "$tmp/else")" ""
vms save "$home/first"
is "there already: status 1" $? 1
like "... and says so" "$(<vms.err)" "first is there already: name a new directory"
vms -r 1 save other
is "some of its tasks: refused" $? 2

vms save --stop "$home/second" >saved
is "save --stop: status 0" $? 0
wait $step
is "... the step has ended, with 0" $? 0
say
clean "... and nothing of it stays"

sums() { (cd "$home/second" && sha256sum -- *); }
before=$(sums)
ticks() { sed -n 's/^tick //p' "$1"; }
goes_on() # FILE FILE: what was on its way within the guest may be missing
{
	local last first
	last=$(ticks "$1" | tail -1) first=$(ticks "$2" | head -1)
	echo "$last, $first"
	((first - last >= 1 && first - last <= 2))
}
whole() { [[ $(sed -n 's/^got //p' "$1") == "$(sed -n 's/^sent //p' "$1")" ]] && grep 'got [1-9]' "$1"; }
bg vrun -N2 -n4 -w n3,n4 --vm-restore="$home/second" vmresume >out2
step=$! job=2.0
ok "restored on two other nodes" wait_for 240 grep -q 'tick' out2
diag "$(cat "$tmp/err")"
is "... its nodes are others" "$(vms --json ps | jq -r '[.results[].result.node] | unique | join(",")')" n3,n4
ok "... clocks are right" wait_for 60 clocks_right
ok "... guests reach each other" vms -r 3 exec ping -c1 -w30 vm0
is "... by the addresses they had" "$(vms -r 3 exec ip -4 addr show eth0 | grep -c 10.0.0.4/8)" 1
vms save --stop "$home/third" >saved
is "... saved again, above what it came from: status 0" $? 0
wait $step
is "... what it came from is as it was" "$(sums)" "$before"
clean "... nothing of it stays"

# To load takes one VM longer than a boot may.
mkdir -m 777 "$tmp/load"
cat >"$tmp/load/qemu" <<END
#!/bin/sh
case "\$*" in *"-name vm1,"*)
	touch $tmp/load/begun
	until [ -e $tmp/load/go ]; do sleep 0.1; done ;;
esac
exec $(command -v qemu-system-x86_64) "\$@"
END
chmod 755 "$tmp/load/qemu"
conf "qemu = $tmp/load/qemu" "sandbox = no" # it writes
job=3.0
bg vrun -N1 -n4 -w n1 --overcommit --vm-boot-timeout=15 --vm-restore="$home/third" vmresume >out3
step=$!
ok "one VM loads late" wait_for 60 test -e "$tmp/load/begun"
late() { (($(date +%s) - $(stat -c %Y "$tmp/load/begun") > 16)); }
ok "... later than a boot may take" wait_for 60 late
touch "$tmp/load/go"
ok "restored on one node" wait_for 240 grep -q 'tick' out3
# A save that nobody makes: as when its end is lost.
part()
{
	echo '{"jsonrpc":"2.0","id":1,"method":"vm.save.part","params":{"to":"1","phase":"'"$1"'","dir":"'"$home"'"}}' |
		mc vm node n1 setpriv --reuid="$test_user" --regid="$test_user" \
			--init-groups socat -t60 - \
			"UNIX-CONNECT:$runtime/$(id -u "$test_user")/$job/task.0.sock" |
		jq -c 'select(.id == 1) | has("result")'
}
state_is() { [[ $(vms -r 1 --json ps | jq -r '.results["1"].result.state') == "$1" ]]; }
# Not before its command goes on, too; and again where five seconds, after which it
# asks who saves it, were over before it was looked at.
stands_still()
{
	[[ $(part begin) == true && $(part pause) == true ]] && state_is paused ||
		return 1
	! vms -r 1 pause || { vms -r 1 resume; return 1; }
	[[ $(<"$tmp/vms.err") == *"the VM is being saved"* ]]
}
ok "a save is begun, which stops a VM, and cannot be stopped twice" \
	wait_for 120 stands_still
mc vm node ctl scontrol suspend 3
stopped() { mc vm node n1 ps -eo stat=,args= | grep '[q]emu-system' | grep -q '^T'; }
ok "... while the job is suspended, too" wait_for 60 stopped
mc vm node ctl scontrol resume 3
ok "... until it finds that nobody saves it" wait_for 60 state_is running
ok "all are told to end" wait_for 60 vms exec touch /tmp/go
wait $step
is "... the status is that of a saved command" $? 3
say
diag "$(grep -v tick out3)"
ok "the transfer is whole" whole out3
is "what was written is whole, its file system clean" \
	"$(grep -E 'written|mounted|ext[234]|I/O' out3 | xargs)" "written mounted again"
ok "the command's output goes on where it was" goes_on out out2
ok "... both times" goes_on out2 out3
is "... to its end" "$(sed -n 's/^last //p' out3)" "$(ticks out3 | tail -1)"
clean "nothing of it stays"

refused() # REGEX ARG...
{
	local want=$1
	shift
	vrun "$@" >out
	is "refused: ${*: -2:1}" $? "${status-125}"
	like "... and says why" "$(<"$tmp/err")" "$want"
}
cp -r "$home/second" "$home/broken" && truncate -s 5M "$home/broken/memory.1"
chown -R "$test_user" "$home/broken"
refused "vm\[1\]@n[12]: error: (--vm-restore: QEMU cannot load|QEMU ended)" -N2 -n4 --vm-restore="$home/broken" vmresume
refused "is a step of 4 tasks, this one has 2: start it with -n4" -n2 --vm-restore="$home/first" vmresume
refused 'the saved VM has memory of "160M", this one would have "192M": --vm-mem' \
	-N2 -n4 --vm-mem=192M --vm-restore="$home/first" vmresume
refused "vmresume goes on with the command of a saved step" -n1 --vm-image=tiny vmresume
status=255 refused "nowhere/options: No such file" -n1 --vm-restore="$tmp/nowhere" vmresume

# A disk that is to be kept when the command has ended goes into the save instead.
qemu-img create -q -f qcow2 "$home/kept.qcow2" 32M
chown "$test_user" "$home/kept.qcow2"
bg vrun -n1 --vm-image=tiny --vm-image=kept.qcow2 --vm-save=after.qcow2 \
	sh -c 'echo up; exec sleep 100000' >out
step=$!
ok "a step whose disk is to be saved" wait_for 120 grep -q up out
job=$(vsh 'squeue -h -o %i').0
vms save --stop "$home/fourth" >saved
is "... is saved, and stopped: status 0" $? 0
wait $step
is "... ends with 0" $? 0
say
is "... its disk is there, and nowhere else" \
	"$(cd "$home" && ls fourth/disk0.0 after.qcow2 2>/dev/null)" fourth/disk0.0

# A seed is saved with the VM that has read it; and a command's end.
mkdir "$home/seeds" && echo '#cloud-config' >"$home/seeds/user-data"
chown -R "$test_user" "$home/seeds"
bg vrun -n2 --vm-image=tiny --vm-linger=all --vm-cloud-init="$home/seeds" sh -c '
	echo up
	[ $SLURM_PROCID = 0 ] || exit 0
	until [ -e /tmp/go ]; do sleep 0.1; done
	for d in /dev/vd?; do head -c 40000 $d | grep -aqi cidata && echo seed; done
	exit 5' >out 2>/dev/null
step=$!
both_up() { (($(grep -c up out) == 2)); }
ok "a step with a seed" wait_for 120 both_up
job=$(vsh 'squeue -h -o %i').0
running() { vms -r 1 --json op proc.list | jq '[.results["1"].result.procs[] | select(.state == "running")] | length'; }
has_ended() { [[ $(running) == 0 ]]; }
ok "... one of its commands has ended" wait_for 60 has_ended
vms save --stop "$home/fifth" >saved
is "... is saved, and stopped: status 0" $? 0 || as_user vm scancel "${job%.*}"
wait $step
say
bg vrun -n2 --vm-linger=all --vm-restore="$home/fifth" vmresume >out2
step=$!
has_job() { job=$(vsh 'squeue -h -o %i') && [[ $job ]]; }
wait_for 60 has_job
job=$(vsh 'squeue -h -o %i').0
ok "... and goes on" wait_for 120 vms exec true
vms -r 0 exec touch /tmp/go # with which all ends, this too
wait $step
is "... with its command: status 5" $? 5
is "... and the seed" "$(grep -c seed out2)" 1
is "... and the key that makes its host's" "$(jq '.key | length' "$home/fifth/task.json.0")" 64
clean "nothing stays"
done_testing
