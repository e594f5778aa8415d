#!/bin/bash
# Bad input: each with its exit status and a message that names thing, value
# and cure; and nothing else suffers.
. "$(dirname "$0")/vm.sh"

vm_cluster 2

# refused STATUS REGEX NAME SRUN-ARG...
refused()
{
	local want=$1 regex=$2 name=$3
	shift 3
	vrun "$@" >"$tmp/out"
	is "$name: status $want" $? "$want"
	like "... and says why" "$(cat "$tmp/err")" "$regex"
	[[ ! -s $tmp/out ]] || { fail "... but something ran" "$(cat "$tmp/out")"; }
}

cd "$tmp/home" || exit 1
: >empty.qcow2
cp /etc/os-release text.qcow2
qemu-img create -q -f qcow2 good.qcow2 64M
qemu-img create -q -f qcow2 "$tmp/secret.qcow2" 64M
qemu-img create -q -f qcow2 -F qcow2 -b "$tmp/secret.qcow2" over.qcow2
chmod 600 "$tmp/secret.qcow2"
cp good.qcow2 closed.qcow2
chmod 600 closed.qcow2
mkdir plain.d
echo '0 hostname' >multi.conf

refused 125 'vm\[0\]@n1: error: --vm-image: nosuch: no such image on this node, neither in .*/home nor' \
	"a missing image" -n1 --vm-image=nosuch hostname
refused 125 'closed.qcow2: Permission denied' \
	"an unreadable image" -n1 --vm-image=closed.qcow2 hostname
refused 125 'plain.d is a directory without vm.conf' \
	"a directory" -n1 --vm-image=./plain.d hostname
refused 125 'empty.qcow2 is empty' "an empty image" \
	-n1 --vm-image=empty.qcow2 hostname
refused 125 'over.qcow2: .*secret.qcow2: Permission denied' \
	"a backing file that the user may not read" -n1 --vm-image=over.qcow2 hostname
refused 125 'text.qcow2 has no qcow2 header; if it is a raw disk, say --vm-image=.*/text.qcow2,fmt=raw' \
	"a raw file named qcow2" -n1 --vm-image=text.qcow2 hostname
# shellcheck disable=SC2046 # a word each
refused 125 'error: the command.s arguments and environment take 3[0-9]* bytes, and 26[0-9]* go into a guest' \
	"a command with 300 KB of arguments" -n1 --vm-image=tiny \
	echo $(printf '%.999d ' $(seq 300))
mkfifo -m 666 unread
for option in console log capture; do
	refused 125 "error: --vm-$option=.*unread: nobody reads this FIFO" \
		"--vm-$option of a FIFO without a reader" \
		-n1 --vm-image=tiny --vm-$option="$PWD/unread" hostname
done
refused 125 '--vm-cpus=99: the task has 1' "more CPUs than the task has" \
	-n1 --vm-image=tiny --vm-cpus=99 hostname
refused 125 '--vm-mem=900T: n1 has .*; ask for less' "more memory than the node has" \
	-n1 --vm-image=tiny --vm-mem=900T hostname
for option in cpu=nosuch machine=nosuch; do
	refused 125 "QEMU was given --vm-$option" "what QEMU does not take, --vm-$option" \
		-n1 --vm-image=tiny "--vm-$option" hostname
done
refused 125 'error: .*tiny.vm wants 1[0-9][0-9]M of memory at the least' "less memory than the bundle wants" \
	-n1 --vm-image=tiny --vm-mem=64M hostname

# Every option with a value that does not parse, from both places.
bad=(cpus=x mem=4X accel=fast bind=maybe net=token-ring net-cidr=10.0.0.1/8
	net-mtu=1 hostname=a_b domain=-x run=some linger=x wait=x exec=x
	env=1A boot-timeout=0 grace=-1 cloud-init= image=a,ctl=z image=a,ctl=d qemu-arg= scratch=big save=,full
	mounts=a:b mounts=/a:/ input= output=
	rundir= kernel= initrd= cpu= machine= user= workdir= console= log=
	mem=10M log=f,loud numa=some hugepages=3M
	display=x outbound=x tftp= restore= publish=x publish=22=80 qemu=
	install=x.iso,unattended= image=a,size=1G)
for option in "${bad[@]}"; do
	name=${option%%=*} value=${option#*=}
	var=VMSTEP_${name^^}
	refused 255 "--vm-$name" "--vm-$option" -n1 --vm-image=tiny "--vm-$option" hostname
	(cd "$tmp/home" && as_user vm env VMSTEP_IMAGE=tiny "${var//-/_}=$value" \
		srun -n1 hostname >"$tmp/out" 2>"$tmp/err")
	is "$var=$value: status 255" $? 255
	like "... and says why" "$(cat "$tmp/err")" "${var//-/_}"
done
for row in outbound=user:allow_outbound tftp=/tmp:allow_outbound \
	publish=22:allow_publish qemu=/bin/true:allow_qemu_args; do
	refused 125 "--vm-${row%:*}: the site does not allow it \\(${row#*:} in vmstep.conf\\)" \
		"--vm-${row%:*}, which a site has to allow" -n1 --vm-image=tiny "--vm-${row%:*}" hostname
done
refused 125 '--vm-hugepages=1G: (the VM has|the VM needs [0-9]+ pages, n1 has 0 free)' \
	"huge pages that the node has not" -n1 --vm-image=tiny --vm-hugepages=1G --vm-mem=1G hostname
printf 'image = tiny\n[0]\nmem = 4X\n' >bad.conf
refused 255 'bad.conf:3: mem: .4X. is not a size' "a bad line in the file of --vm-config" \
	-n1 --vm-config=bad.conf hostname
refused 255 '--vm-config=nosuch.conf: No such file' "a file that is not there" \
	-n1 --vm-image=tiny --vm-config=nosuch.conf hostname
refused 255 "--vm-mem=@head:1G: there is no group 'head'" "a group that nobody named" \
	-n1 --vm-image=tiny --vm-mem=@head:1G hostname
refused 255 '--vm-mem needs --vm-image' "--vm-mem without an image" -n1 --vm-mem=1G hostname
(cd "$tmp/home" && as_user vm env VMSTEP_MEM=1G srun -n1 hostname >"$tmp/out" 2>"$tmp/err")
is "VMSTEP_MEM without an image: status 255" $? 255
like "... and names it" "$(cat "$tmp/err")" 'unset VMSTEP_MEM'

refused 125 'add --mpi=pmix' "two nodes without PMIx" \
	-N2 -n2 --mpi=none --vm-image=tiny hostname
like "... by name on each node" "$(cat "$tmp/err")" 'vm\[1\]@n2'
refused 125 '--vm-accel=kvm: ' "KVM where there is none" \
	-n1 --vm-image=tiny --vm-accel=kvm hostname
refused 125 '--multi-prog is not in this version' "--multi-prog" \
	-n1 --vm-image=tiny --multi-prog multi.conf
refused 125 'vm\[1\]@n2.*no such image' "an image that one node lacks" \
	-N2 -n2 --vm-image='0:tiny' --vm-image='1:nosuch' hostname

wait_for 60 is_clean
vrun -N1 -n2 --vm-image=0:tiny --vm-image=1:nosuch --vm-dry-run hostname >"$tmp/out"
is "a dry run of which a task is refused: status 125" $? 125
like "... and says why" "$(cat "$tmp/err")" 'vm\[1\]@n1.*no such image'
ok "... and starts nothing that stays" wait_for 15 is_clean

vrun -n1 --vm-image=tiny --vm-mem=5-7:1G --vm-dry-run hostname >"$tmp/out"
is "a value for tasks that the step lacks is no error" $? 0
like "... but told of" "$(cat "$tmp/err")" \
	'vm\[0\]@n1: .*--vm-mem=5-7:1G: no such task in this step of 1, ignoring'

# ---- the site ----

plain() { is "$1" "$(vrun -n1 hostname)" n1; }

conf 'no_such_key = 1'
refused 255 "unknown key 'no_such_key'" "an unknown key of vmstep.conf" \
	-n1 --vm-image=tiny hostname
plain "a step without VMs does not care"
conf 'mem_reserve = much'
refused 255 "mem_reserve" "a bad value in vmstep.conf" -n1 --vm-image=tiny hostname
conf 'runtime_dir = relative'
refused 255 "vmstep.conf:[0-9]+: runtime_dir: 'relative' is not an absolute path" \
	"a relative path in vmstep.conf" -n1 --vm-image=tiny hostname
nok "... and no directory is made" mc vm node n1 test -e /relative
conf 'allow_users = nosuchuser'
refused 255 "user $test_user may not run VMs here.*'nosuchuser' is not known" \
	"a user who may not" -n1 --vm-image=tiny hostname
conf 'allow_users = nobody'
cp "$tmp/vmstep.conf" "$tmp/n1.conf"
conf
mc vm node n1 mount --bind "$tmp/n1.conf" "$tmp/vmstep.conf"
refused 125 "vm\[0\]@n1: error: user $test_user may not run VMs here" \
	"one who may not on this node" -n1 --vm-image=tiny hostname
mc vm node n1 umount "$tmp/vmstep.conf"
conf 'max_vms_per_node = 1'
refused 125 "the step has 2 VMs on this node, where 1 of the site's 1" \
	"more VMs than a node may have" -N1 -n2 --vm-image=tiny hostname
vrun -N1 -n1 --vm-image=tiny true
is "... one is none too many" $? 0
conf 'allow_tcg = no'
refused 125 "the site does not allow VMs without it" "TCG where it is not allowed" \
	-n1 --vm-image=tiny hostname
conf "qemu = /nonexistent/qemu"
refused 125 'QEMU \(vmstep.conf: qemu=/nonexistent/qemu\)' "QEMU not installed" \
	-n1 --vm-image=tiny hostname
conf
for what in optional required; do
	sed -i "s/^[a-z]*/$what/; s/ config=.*/ nonsense/" "$tmp/plugstack.conf"
	refused 255 "unknown argument 'nonsense'" "a bad plugstack argument ($what)" \
		-n1 --vm-image=tiny hostname
	plain "a step without VMs does not care ($what)"
	sed -i "s# nonsense# config=$tmp/vmstep.conf#" "$tmp/plugstack.conf"
done
all_idle() { [[ $(vsh "sinfo -h -o %T" | sort -u) == idle ]]; }
ok "no node was drained" wait_for 60 all_idle

# ---- nowhere to write ----

mc vm node n1 mkdir -p "$tmp/full"
mc vm node n1 mount -t tmpfs -o size=4k,mode=1777 none "$tmp/full"
mc vm node n1 dd if=/dev/zero of="$tmp/full/x" bs=4k count=1 2>/dev/null
refused 125 "overlay of .*good.qcow2 in $tmp/full" "a full run directory" \
	-n1 --vm-image=good.qcow2 --vm-rundir="$tmp/full" hostname
refused 125 'error: run directory \(--vm-rundir, .*: /nonexistent: No such file' "a run directory that is not there" \
	-n1 --vm-image=good.qcow2 --vm-rundir=/nonexistent hostname

# ---- nothing that boots ----

refused 124 'boot timeout: .*; give it longer, or see whether the image has' \
	"an image without a system" \
	-n1 --vm-image=good.qcow2 --vm-boot-timeout=6 hostname
like "... with what an empty console means" "$(cat "$tmp/err")" \
	"nothing came on the guest's serial console: .*console=ttyS0"

# ---- half installed ----

mask() { mc vm node "$1" mount --bind /dev/null "$2"; }
unmask() { mc vm node "$1" umount "$2"; }
for what in optional required; do
	sed -i "s/^[a-z]*/$what/" "$tmp/plugstack.conf"
	mask n2 "$tmp/plugstack.conf"
	vrun -N2 -n2 --vm-image=tiny hostname >"$tmp/out"
	is "the plugin missing on one node ($what): 125" $? 125
	nok "... and nothing ran on a host" grep -q '^n[12]' "$tmp/out"
	like "... which is said by name" "$(cat "$tmp/err")" 'plugin is not loaded on this node'
	unmask n2 "$tmp/plugstack.conf"
done
mask n2 "$libexec/vmstep-helper"
vrun -N2 -n2 --vm-image=tiny --vm-boot-timeout=8 hostname >"$tmp/out"
is "the helper missing on one node: 125" $? 125
nok "... and nothing ran on a host" grep -q '^n[12]' "$tmp/out"
like "... which is said" "$(cat "$tmp/err")" \
	'vm\[1\]: .*vmstep-helper cannot be run: .*; install vmstep on this node'
unmask n2 "$libexec/vmstep-helper"
mask ctl "$tmp/plugstack.conf"
(cd "$tmp/home" && as_user vm env VMSTEP_IMAGE=tiny srun -n1 hostname >"$tmp/out" 2>"$tmp/err")
is "the plugin missing where srun is, VMSTEP_IMAGE set: 125" $? 125
like "... and says so" "$(cat "$tmp/err")" 'srun did not load the vmstep plugin'
unmask ctl "$tmp/plugstack.conf"

clean "no refusal leaves anything"
done_testing
