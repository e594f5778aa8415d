#!/bin/bash
# Every option that srun --help lists has an effect: in QEMU's command line, in
# a guest, or in the test that this one names. And every form of RANKS.
. "$(dirname "$0")/vm.sh"

need mksquashfs xorriso
vm_cluster 1
conf "allow_outbound = yes" "allow_qemu_args = yes" "virtiofsd = none"
cd "$tmp/home" || exit 1
mkdir run data boot disks.vm
touch data/file
truncate -s 8M d.raw seed.raw
cp d.raw disks.vm
echo a-seed | dd of=seed.raw conv=notrunc status=none
echo 'disk = d.raw,serial=bundled' >disks.vm/vm.conf
mksquashfs data x.sqsh -no-progress -quiet >"$tmp/mksquashfs" 2>&1
xorriso -as mkisofs -quiet -o m.iso data 2>"$tmp/xorriso"
cp "$tiny"/{vmlinux,initramfs} boot
ln -s "$(command -v qemu-system-x86_64)" my-qemu
chown -R "$test_user" .

seen=()

# dry SRUN-ARG...: what would be run, into out
dry() { vrun "$@" --vm-dry-run true >out || fail "$* is taken" "$(cat "$tmp/err")"; }

# effects BASE... -- OPTION REGEX...: with all these options the regexes match,
# and without them none does; those with a ! the other way round
effects()
{
	local base=() with=() want=() i
	while [[ $1 != -- ]]; do
		base+=("$1")
		shift
	done
	shift
	while (($#)); do
		with+=("$1") want+=("$2")
		seen+=("$1")
		shift 2
	done
	dry "${base[@]}"
	mv out base
	dry "${base[@]}" "${with[@]}"
	for i in "${!with[@]}"; do
		if [[ ${want[i]} == !* ]]; then
			is "${with[i]}" "$(grep -cE -- "${want[i]#!}" base out | xargs)" "base:1 out:0"
		else
			is "${with[i]}" "$(grep -cE -- "${want[i]}" base out | xargs)" "base:0 out:1"
		fi
	done
}

effects -n1 -c2 --vm-image=tiny -- \
	--vm-image=d.raw,ctl=p 'filename=[^ ]*/home/d\.raw' \
	--vm-image=d.raw,ctl=cr,serial=a 'filename=[^ ]*/run/d\.raw' \
	--vm-rundir=run 'filename=[^ ]*/run/d\.raw' \
	--vm-input=./x.sqsh 'filename=[^ ]*/x\.sqsh' \
	--vm-output=results 'local,[^ ]*path=[^ ]*/results,' \
	--vm-mounts=/etc:/e:ro 'local,[^ ]*path=/etc,[^ ]*readonly=on' \
	--vm-scratch=64M 'serial=scratch0' \
	--vm-append=a.word 'a\.word' \
	--vm-cpus=1 '-smp 1,' \
	--vm-mem=300M '-m 300M' \
	--vm-cpu=qemu64 '-cpu qemu64' \
	--vm-machine=pc-q35-7.0 '-machine pc-q35-7\.0' \
	--vm-fam=64M 'ivshmem-plain' \
	--vm-display=vnc '-vnc unix:' \
	--vm-qemu="$PWD/my-qemu" 'my-qemu -name' \
	--vm-qemu-arg=-no-hpet '-no-hpet' \
	--vm-net=dgram '-netdev dgram,' \
	--vm-net-cidr=10.9.0.0/16 ' 10\.9\.0\.1/16 ' \
	--vm-net-mtu=1400 'host_mtu=1400' \
	--vm-hostname=box ': box ' \
	--vm-outbound=user 'restrict=off' \
	--vm-tftp=data 'tftp=[^ ]*data'
effects -n1 --vm-image=d.raw -- \
	--vm-kernel=boot/vmlinux '-kernel [^ ]*boot/vmlinux' \
	--vm-initrd=boot/initramfs '-initrd [^ ]*boot/initramfs' \
	--vm-cloud-init=none '!cidata'
dry -n1 --vm-image=disks.vm
like "a bundle's disk" "$(<out)" 'serial=bundled'
effects -n1 --vm-image=d.raw -- \
	--vm-firmware=uefi 'pflash0=.*,serial=disk0,bootindex=1 '
effects -n1 --vm-image=d.raw -- \
	--vm-install=m.iso,unattended=data 'ide-cd,[^ ]*,id=install,bootindex=1'

export HWLOC_SYNTHETIC="numa:2 core:1 pu:1"
effects -n1 -c2 --vm-bind=cores --vm-image=tiny -- \
	--vm-numa=flat '!-numa node'
unset HWLOC_SYNTHETIC

# ---- what is seen in a guest ----

bg vrun -n1 --vm-image=tiny --vm-hostname=box --vm-net-cidr=10.9.0.0/16 --vm-net-mtu=1400 \
	--vm-workdir=/tmp --vm-env=A_WORD --vm-grace=1 --vm-console=console \
	--vm-cloud-init=./seed.raw \
	env A_WORD=said sh -c 'trap "" TERM; echo "$(head -qc 6 /dev/vd?) $(hostname) $(pwd) $A_WORD $(cat /sys/class/net/eth0/mtu) $(ip -4 -o addr show dev eth0)"; sleep 1000 & wait; wait; sleep 1000' >out
step=$!
up() { [[ -s out ]]; }
ok "a guest with other options" wait_for 120 up
like "... has a seed, name, directory, variable and network" "$(<out)" '^a-seed box /tmp said 1400 .* 10\.9\.0\.1/16'
as_user vm scancel --signal=TERM "$(as_user vm squeue -h -o %i)"
gone() { ! kill -0 "$step" 2>/dev/null; }
ok "... and --vm-grace is the time that it has" wait_for 15 gone
wait "$step"
is "... it was killed" $? 137
ok "... its console has its boot" test -s console
seen+=(--vm-workdir --vm-env --vm-grace --vm-console)

# ---- what other tests see ----

while read -r name test; do
	grep -qE -- "--vm-$name\b|^$name = " "$top/tests/$test"-*.t ||
		fail "--vm-$name: $test has it no more"
	seen+=("--vm-$name")
done <<-END
	save t0310
	mount-home t0320
	accel t0130
	bind t0140
	io-cpus t0140
	hugepages t0340
	domain t0160
	publish t0340
	capture t0190
	user t0100
	run t0100
	linger t0310
	wait t0160
	exec t0260
	boot-timeout t0110
	log t0186
	verbose t0195
	stats t0195
	config t0340
	restore t0360
	dry-run t0180
END
vsh "srun --help" | grep -oE -- '--vm-[a-z-]+' | sort -u >listed
ok "srun --help lists options" test "$(wc -l <listed)" -gt 40
missing=$(grep -vxF -f <(printf '%s\n' "${seen[@]%%=*}") listed)
is "no option of srun --help is left out" "$missing" ""

# ---- ranks ----

of() { # REGEX: the tasks that have it
	local i
	for i in 0 1 2 3; do
		! grep -E "^vm\[$i\]@n1: [^ ]*qemu" out | grep -qE -- "$1" || echo $i
	done | xargs
}
dry -n4 --overcommit --vm-config=@odd=1,3 --vm-image=tiny --vm-image=@odd:d.raw,ctl=p \
	--vm-mem=1,3:300M --vm-scratch=2-:64M --vm-qemu-arg=-1:-no-hpet \
	--vm-mounts=0-1,3:/etc:/e:ro --vm-console=:0-3:x --vm-input=./x.sqsh
is "RANKS: 1,3" "$(of '-m 300M')" "1 3"
is "... 2-" "$(of serial=scratch0)" "2 3"
is "... -1" "$(of -no-hpet)" "0 1"
is "... 0-1,3" "$(of path=/etc,)" "0 1 3"
is "... @GROUP" "$(of /d.raw)" "1 3"
is "... none: all" "$(of /x.sqsh)" "0 1 2 3"
dry -n4 --vm-image=tiny --vm-mem=310M,320M --vm-mem=2:330M --vm-scratch=:64M \
	--vm-qemu-arg='-no-hpet;-no-user-config'
is "a list by task: the first" "$(of '-m 310M')" 0
is "... the last again, but for who has one of their own" "$(of '-m 320M')" "1 3"
is "... which comes later" "$(of '-m 330M')" 2
is "... with ; between" "$(of -no-hpet)" 0
is "a colon before it: all" "$(of serial=scratch0)" "0 1 2 3"
dry -n2 --vm-image='tiny;d.raw' --vm-firmware=bios,uefi
is "a firmware by task" "$(of pflash0=)" 1
clean "nothing is left"
done_testing
