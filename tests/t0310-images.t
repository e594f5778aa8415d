#!/bin/bash
# Disks of guests: each format, each ctl flag, and who may write to what.
. "$(dirname "$0")/vm.sh"

vm_cluster 2
cd "$tmp/home" || exit 1

# What a guest says of its disks, a line each; then it writes to all it can.
look='cd /sys/block; for d in vd* sr*; do
	[ -e $d/size ] || continue
	echo "$(cat $d/serial 2>/dev/null) ro=$(cat $d/ro) $(head -c 7 /dev/$d | tr -d "\\000")"
	[ $(cat $d/ro) = 1 ] || printf WRITTEN | dd of=/dev/$d bs=512 conv=notrunc 2>/dev/null
done; sync'

# disk FORMAT NAME [ARG...]: one that begins with MARKED
printf MARKED. >mark
truncate -s 8M mark
disk() { qemu-img convert -f raw -O "$1" "${@:3}" mark "$2"; }
begin() { head -c7 "$1"; }
sums() { sha256sum raw.img chain?.qcow2 other.* 'a, b.qcow2' p.img | sha256sum; }

disk raw raw.img
disk raw p.img
disk raw w.img
disk qcow2 'a, b.qcow2'
for f in vmdk vdi vpc; do disk $f other.$f; done
disk qcow2 chain0.qcow2
for i in 1 2 3; do
	qemu-img create -q -f qcow2 -F qcow2 -b chain$((i - 1)).qcow2 chain$i.qcow2
done
chown "$test_user" ./*
before=$(sums)

# ---- formats and flags, in one guest ----

vrun -n1 --vm-image=tiny --vm-image=raw.img --vm-image=./chain3 hostname >out
is "a path has no suffix to be left out: 125" $? 125
like "... and says where it looked" "$(cat "$tmp/err")" 'chain3: no such image on this node, in '

vrun -n1 --vm-image=tiny --vm-image=raw.img,serial=raw \
	--vm-image=chain3.qcow2,serial=chain --vm-image='a,, b.qcow2,serial=comma' \
	--vm-image=other.vmdk,fmt=vmdk,serial=vmdk --vm-image=other.vdi,fmt=vdi,serial=vdi \
	--vm-image=other.vpc,fmt=vpc,serial=vpc --vm-image=p.img,ctl=p,serial=p \
	--vm-image=raw.img,mvpctl=s,cache=unsafe,serial=s \
	--vm-image=w.img,ctl=w,serial=w --vm-scratch=64M --vm-scratch=8M,16M \
	sh -c "$look; cat /sys/block/vd*/size" >out
is "a guest with a disk of each kind: 0" $? 0
diag "$(cat "$tmp/err")"
for d in raw chain comma vmdk vdi vpc s w; do
	ok "... it reads and writes the one of kind $d" grep -qx "$d ro=0 MARKED." out
done
ok "... ctl=p is read only" grep -qx "p ro=1 MARKED." out
ok "... a scratch disk is empty" grep -qx "scratch0 ro=0 " out
is "... both have their size" "$(tail -n2 out | tr '\n' ' ')" "131072 16384 "
is "... no image was written" "$(sums)" "$before"
is "... but that with ctl=w" "$(begin w.img)" WRITTEN
clean "nothing is left"

# ---- copies ----

mkdir run
chown "$test_user" run
head -c 3M /dev/urandom | dd of=raw.img bs=1M seek=1 conv=notrunc iflag=fullblock status=none
for i in 0 1; do disk raw d.img.$i; done
chown "$test_user" d.img.?
before=$(sums)
copies=(--vm-rundir="$PWD/run" --vm-image=tiny
	--vm-image=raw.img,ctl=cjd,serial=shared --vm-image=raw.img,ctl=cjrd,serial=own
	--vm-image=raw.img,ctl=cr,serial=kept)
vrun -n2 -N1 "${copies[@]}" --vm-image=d.img,ctl=RD,serial=gone \
	sh -c "$look" >out
is "two tasks with copies: 0" $? 0
diag "$(cat "$tmp/err")"
for d in shared own kept gone; do
	is "... each reads and writes the one of kind $d" "$(grep -cx "$d ro=0 MARKED." out)" 2
done
is "... no image was written" "$(sums)" "$before"
is "... what was to stay is there, as written, and nothing else" \
	"$(cd run && echo * && head -qc7 raw.img.*)" "raw.img.0 raw.img.1"$'\n'WRITTENWRITTEN
is "... ctl=D has removed its images" "$(echo d.img.*)" 'd.img.*'
ok "... a copy has the image's holes" test "$(du -k run/raw.img.0 | cut -f1)" -lt 4000 -a "$(du -k run/raw.img.0 | cut -f1)" -ge 3072
rm -f run/*

# in_use SERIAL: its guest runs, and its copies are there
in_use() { [[ -s out && -e $(echo run/raw.img.*.0) ]]; }
bg vrun -n1 -w n1 "${copies[@]}" sh -c 'echo runs; exec sleep 1000' >out
step=$!
ok "a guest runs on copies" wait_for 120 in_use
for pid in $(mc vm node n1 pgrep -x vmstep-helper); do mc vm node n1 kill -9 "$pid"; done
wait "$step"
is "its helper is killed: 137" $? 137
# by slurmstepd when it ends, or by the epilog; srun has not waited for these
is_kept() { [[ $(ls -A run) == raw.img.0 ]]; }
ok "... the copies are removed all the same, but for what was to stay" wait_for 60 is_kept
rm -f run/*

mc vm node n1 mount -t tmpfs -o size=1m,mode=1777 none "$PWD/run"
vrun -n1 -w n1 --vm-rundir="$PWD/run" --vm-image=tiny --vm-image=raw.img,ctl=c hostname >out
is "no room for a copy: 125" $? 125
like "... and says how much" "$(cat "$tmp/err")" \
	'error: copy of .*/raw.img in .*/run/raw.img: it takes 3.0M, and there is room for 1M only'
mc vm node n1 umount "$PWD/run"
clean "nothing is left"

# ---- saved disks ----

mkdir kept
chown "$test_user" kept
write='printf "WRITTEN$SLURM_PROCID" | dd of=/dev/vda bs=512 conv=notrunc 2>/dev/null'
vrun -n3 --vm-image=tiny --vm-image=raw.img --vm-image=./p.img \
	--vm-save=0:kept/a.qcow2 --vm-save=1:kept/b.qcow2,full --vm-save=2:kept/c.qcow2 \
	--vm-linger=none sh -c "$write; exit \$((SLURM_PROCID / 2 * 7))" >out
is "two of three tasks end with 0: 7" $? 7
is "... the disks of these are there when srun returns" "$(cd kept && echo *)" "a.qcow2 b.qcow2"
like "... and it is said that the third is not" "$(cat "$tmp/err")" \
	'vm\[2\]@n.: the disk is not saved: the status is 7'
like "... one above the image, named from where it is" \
	"$(qemu-img info kept/a.qcow2)" 'backing file: \.\./raw.img '
nok "... one whole" grep -q raw.img <(qemu-img info kept/b.qcow2)
for i in 0:a 1:b; do
	qemu-img convert -O raw "kept/${i#*:}.qcow2" whole
	is "... with what its guest wrote" "$(head -c8 whole)" "WRITTEN${i%:*}"
	ok "... and the rest of the image" cmp -i 8 whole raw.img
done
is "... which belongs to the user" "$(stat -c %U kept/a.qcow2)" "$test_user"
is "... no image was written" "$(sums)" "$before"
vrun -n1 --vm-image=tiny --vm-image=kept/a.qcow2 head -c8 /dev/vda >out
is "a guest boots with it" "$(<out)" WRITTEN0

# Between the end of the command and that of the guest.
killed_while_it_shuts_down()
{
	local step
	rm -f "$tmp/err" kept/d.qcow2
	bg vrun -n1 --vm-image=tiny --vm-image=raw.img --vm-save=kept/d.qcow2 \
		--vm-verbose true
	step=$!
	wait_for 120 grep -q ': ending' "$tmp/err"
	mc vm node n1 pkill -KILL -f '[q]emu-system'
	wait $step
	[[ $? == 125 && ! -e kept/d.qcow2 ]] &&
		grep -q 'not saved: QEMU has ended before the guest had shut down' "$tmp/err"
}
for _ in {1..10}; do # the guest may be faster
	killed_while_it_shuts_down && break
done
like "of a QEMU that is killed while its guest shuts down that is said" "$(cat "$tmp/err")" \
	'vm\[0\]@n1: error: the disk is not saved: QEMU has ended before'

# ---- who writes to what ----

refused()
{
	local name=$1 regex=$2
	shift 2
	vrun "$@" >out
	is "$name: 125" $? 125
	like "... and says why" "$(cat "$tmp/err")" "$regex"
}

refused "two tasks that write to one disk" \
	'vm\[1\]@n1: error: --vm-image: .*w.img, which task 1 writes to \(ctl=w\), is task 0.s, too' \
	-n2 -N1 --vm-image=tiny --vm-image=w.img,ctl=w hostname
refused "two nodes that write to one disk" 'w.img is to be written \(ctl=w\), and another VM uses it' \
	-n2 -N2 --vm-image=tiny --vm-image=w.img,ctl=w hostname
for i in 0 1; do disk raw r.img.$i; done
chown "$test_user" r.img.?
vrun -n2 -N2 --vm-image=tiny --vm-image=r.img,ctl=Rw true
is "with R in ctl= each task has its own: 0" $? 0
is "... both are there still" "$(begin r.img.0) $(begin r.img.1)" "MARKED. MARKED."

# ---- copies whose names would meet ----

mkdir other
cp raw.img other
chown -R "$test_user" other
refused "two images whose copies would have one name" \
	'home/raw.img and .*/other/raw.img would have one name for their copies, .*/run/raw.img: rename' \
	-n1 --vm-rundir="$PWD/run" --vm-image=tiny --vm-image=raw.img,ctl=c \
	--vm-image=other/raw.img,ctl=c hostname
refused "a copy that would be its image" \
	'home/raw.img: its copy would have its own name: add j or r to ctl=' \
	-n1 --vm-rundir="$PWD" --vm-image=tiny --vm-image=raw.img,ctl=c hostname

# ---- what the site says ----

refused "file=... where the site does not allow it" '\(allow_qemu_args\)' \
	-n1 --vm-image=tiny --vm-image=file=raw.img,format=raw hostname
refused "--vm-qemu-arg where the site does not allow it" '\(allow_qemu_args\)' \
	-n1 --vm-image=tiny --vm-qemu-arg=-no-hpet hostname
conf 'allow_qemu_args = yes' "allow_images = $images"
refused "an image from elsewhere than the site allows" \
	"raw.img: the site allows images from $images only \(allow_images\)" \
	-n1 --vm-image=tiny --vm-image=raw.img hostname
vrun -n1 --vm-image=tiny --vm-image=file=raw.img,format=raw,snapshot=on,media=cdrom,if=none,id=c \
	--vm-qemu-arg=-device --vm-qemu-arg=virtio-scsi-pci \
	--vm-qemu-arg=-device --vm-qemu-arg=scsi-cd,drive=c \
	sh -c "modprobe virtio_scsi; modprobe sr_mod; until [ -e /sys/block/sr0 ]; do :; done; $look" >out
is "file=... and --vm-qemu-arg where the site allows both: 0" $? 0
ok "... the guest has the disk" grep -q "ro=1 MARKED." out
clean "nothing is left"
done_testing
