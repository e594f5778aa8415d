#!/bin/bash
# contrib/mkimage: refusals, the tiny bundle, the cache, the Debian disk.
# The Debian disk comes from mkimage's own cache where it has one (a minute to
# make, else), all other things from a fresh one.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

mkimage=$top/contrib/mkimage
need apt-get dpkg-deb cpio cc qemu-system-x86_64
mkdir -m 777 cache work out
args=(--cache "$tmp/cache" --workdir "$tmp/work")

# refused ARG...: what it said on stderr, and its status
refused()
{
	{ "$mkimage" "$@" >/dev/null; } 2>&1
	echo "status $?"
}
make_tiny() { "$mkimage" tiny "$tmp/out/$1.vm" "${args[@]}" --agent "$tmp/agent" "${@:2}"; }
# two archives, one behind the other
listing() { { cpio --quiet -t; cpio --quiet -t; } <"out/$1.vm/initramfs"; }
conf_of() { sed -n "s/^$2 = //p" "out/$1.vm/vm.conf"; }
empty() { [[ -z $(find "$@" -mindepth 1) ]]; }

# Says where it got to on the console; "off" for an argument turns the VM off.
stand_in()
{
	cat >agent.c <<-'EOF'
	#include <fcntl.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <unistd.h>

	int main(void)
	{
		FILE *con = fopen("/dev/console", "w");
		int port;

		fprintf(con, "stand-in " VERSION " started, pid %d\n", getpid());
		fflush(con);
		while ((port = open("/dev/vport0p1", O_RDWR)) < 0)
			usleep(10000);
		system("{ cat /sys/class/virtio-ports/vport0p1/name; "
		       "id -un; ls -ld /tmp; iperf3 -s -1 >/dev/null & "
		       "until cat /proc/net/tcp* | grep -q ':1451 .* 0A '; do sleep 0.1; done; "
		       "iperf3 -c 127.0.0.1 -n 1M >/dev/null; echo sent $?; wait; "
		       "cat /sys/class/net/lo/flags; modprobe -a squashfs overlay "
		       "isofs loop virtiofs && echo modules; stty -F /dev/pts/ptmx; "
		       "} >/dev/console 2>&1");
		fprintf(con, "stand-in done\n");
		fflush(con);
		execl("/sbin/poweroff", "poweroff", NULL);
	}
	EOF
	cc -w -static -DVERSION="\"$1\"" -o agent agent.c
}

# boot NAME ARG...: QEMU in the background, its serial port in NAME.log
boot()
{
	qemu-system-x86_64 -machine q35 -accel tcg -cpu max -smp 1 -nodefaults \
		-no-reboot -display none -serial "file:$tmp/$1.log" "${@:2}" &
	qemu=$!
	at_exit end_qemu "$qemu"
}
end_qemu() { kill "$1" 2>/dev/null; }
gone() { ! kill -0 "$qemu"; }

# ---- refusals

like "an unknown kind is refused" "$(refused huge out/x.vm)" \
	'huge: no such kind .* tiny, root or debian.*status 2'
like "no output is refused" "$(refused tiny)" 'tiny: where to.*status 2'
like "a bundle not named .vm is refused" "$(refused tiny out/x)" 'x\.vm.*status 2'
like "an option of the other kind is refused" \
	"$(refused tiny out/x.vm --size 3G)" '--size: no such option for tiny.*status 2'
like "an option without its value is refused" \
	"$(refused tiny out/x.vm --agent)" '--agent: needs a value.*status 2'
like "a missing agent is refused" \
	"$(refused tiny out/x.vm --agent "$tmp/none")" '--agent=.*none: no such file.*status 2'
like "an agent that is no program is refused" \
	"$(refused tiny out/x.vm --agent "$mkimage")" '--agent=.*: no ELF.*status 2'
like "an agent with shared libraries is refused" \
	"$(refused tiny out/x.vm --agent /bin/ls)" '--agent=/bin/ls: .*-static.*status 2'
like "a bad package name is refused" \
	"$(refused tiny out/x.vm --packages 'good,b@d')" 'b@d: not a package.*status 2'
like "a bad mirror is refused" \
	"$(refused tiny out/x.vm --mirror somewhere)" 'somewhere: not a URL.*status 2'
like "a bad size is refused" \
	"$(refused debian out/x --size big)" '--size=big: .*status 2|(only root|programs are missing).*status 1'
like "a place that is not there is refused" \
	"$(refused tiny out/none/x.vm)" 'no directory .*out/none.*status 2'
ok "refusals leave nothing" empty out work cache

# ---- tiny, by two at once

ok "a stand-in agent can be built" stand_in one
make_tiny a >a.txt 2>&1 &
first=$!
make_tiny b >b.txt 2>&1
is "tiny is made" "$?" 0
wait "$first"
is "and by another at the same time" "$?" 0
is "of the two one built, one waited" "$(cat a.txt b.txt | grep -c downloading)" 1
ok "both are the same" diff -r out/a.vm out/b.vm
ok "nothing stays in the work directory" empty work
is "nothing stays beside the output" "$(ls -A out)" $'a.vm\nb.vm'

files=$(listing a)
builtin=$(cpio --quiet -i --to-stdout '*/modules.builtin' <out/a.vm/initramfs)
for file in init usr/bin/busybox usr/bin/sh usr/sbin/vmstep-agent \
	usr/bin/iperf3 usr/bin/ping etc/passwd etc/group etc/hosts \
	etc/nsswitch.conf etc/services etc/inittab etc/rc root tmp; do
	grep -qx "$file" <<<"$files" || missing+=" $file"
done
for file in virtio_pci virtio_net virtio_blk virtio_console virtio-rng \
	net_failover squashfs overlay isofs virtiofs fuse loop; do
	grep -q "/$file\.ko" <<<"$files $builtin" || missing+=" $file.ko"
done
is "the initramfs has what it should" "${missing-}" ""
ok "vm.conf names files of the bundle" \
	test -f "out/a.vm/$(conf_of a kernel)" -a -f "out/a.vm/$(conf_of a initrd)"
like "and the least memory" "$(conf_of a mem_min)" '^[0-9]+M$'

SECONDS=0
like "a second time it comes from the cache, while another uses that" \
	"$(flock -s cache/lock/tiny-* timeout 60 "$mkimage" tiny out/a.vm \
		"${args[@]}" --agent agent 2>&1)" 'from the cache.*made '
ok "in no time ($SECONDS s)" test "$SECONDS" -lt 45
ok "a new agent can be built" stand_in two
like "a new agent needs no new base" "$(make_tiny a 2>&1)" 'from the cache'
nok "but another initramfs" cmp -s out/a.vm/initramfs out/b.vm/initramfs

# ---- tiny, when things go wrong

out=$(make_tiny c --workdir work --mirror http://127.0.0.1:1/debian 2>&1)
is "a dead mirror is a failure" "$?" 1
like "that names the step and shows its log" "$out" 'failed: reading the mirror.*127\.0\.0\.1'
"$mkimage" tiny out/c.vm --agent agent --no-cache --workdir work &>/dev/null &
pid=$!
wait_for 60 compgen -G 'work/mkimage.*/debs' || diag "no download seen"
kill -TERM "$pid"
wait "$pid"
is "a signal ends it" "$?" 143
ok "neither leaves anything at work" empty work
is "nor beside the output" "$(ls -A out)" $'a.vm\nb.vm'
mkdir out/d.vm && touch out/d.vm/file
like "a directory that is no bundle is not replaced" \
	"$(refused tiny out/d.vm --agent agent)" 'no bundle.*status 2'

if ((EUID)); then
	skip "an ordinary user can make one" "this is one"
elif ! id "$test_user" &>/dev/null; then
	skip "an ordinary user can make one" "there is no $test_user"
else
	ok "an ordinary user can make one" \
		setpriv --reuid "$test_user" --regid "$test_user" --clear-groups \
		"$mkimage" tiny out/user.vm --agent agent --no-cache --workdir work
fi

# ---- tiny boots

boot tiny -m "$(conf_of a mem_min)" -kernel out/a.vm/vmlinux \
	-initrd out/a.vm/initramfs -append "$(conf_of a append)" \
	-device virtio-serial-pci -chardev null,id=agent \
	-device virtserialport,chardev=agent,id=agent,name=org.vmstep.agent.0
ok "it boots to the agent in its least memory" \
	wait_for 240 grep -q 'stand-in two started' tiny.log
ok "its work there ends" wait_for 120 grep -q 'stand-in done' tiny.log
ok "busybox's poweroff ends QEMU" wait_for 120 gone
log=$(tr -d '\r' <tiny.log)
like "the port is there, by its name" "$log" $'\norg\.vmstep\.agent\.0\n'
like "it runs as root" "$log" $'\nroot\n'
like "/tmp is everybody's" "$log" 'drwxrwxrwt'
like "iperf3 has its libraries, also for the end" "$log" $'\nsent 0\n'
nok "... of either side" grep 'must be installed\|Aborted' <<<"$log"
like "lo is up" "$log" $'\n0x9\n'
like "modules can be loaded" "$log" $'\nmodules\n'
((tap_failed == 0)) || diag "$log"

# ---- debian

debian=("a Debian disk is made" "it holds no agent" "it holds no host keys"
	"its machine-id is empty" "it boots to cloud-init's bootcmd")
if ((EUID)) || ! command -v mmdebstrap >/dev/null; then
	for name in "${debian[@]}"; do
		skip "$name" "it needs root and mmdebstrap"
	done
	done_testing
fi
need genisoimage debugfs sfdisk

seed()
{
	mkdir seed # without a card that is up, wait-online takes its two minutes
	echo 'instance-id: t0020' >seed/meta-data
	cat >seed/user-data <<-'EOF'
	#cloud-config
	bootcmd:
	  - echo "bootcmd on $(uname -n)" >/dev/ttyS0
	EOF
	echo 'local-hostname: t0020' >>seed/meta-data
	cat >seed/network-config <<-'EOF'
	version: 2
	ethernets:
	  eth0:
	    match: { macaddress: "52:54:00:00:00:00" }
	    addresses: [ 10.0.0.1/8 ]
	EOF
	genisoimage -quiet -V cidata -r -J -o seed.iso seed
}
in_root() { debugfs -R "$1" "disk.raw?offset=$root_offset" 2>/dev/null; }

ok "${debian[0]}" "$mkimage" debian out/debian.qcow2 --workdir work
ok "it leaves nothing at work" empty work
qemu-img convert -O raw out/debian.qcow2 disk.raw
root_offset=$(sfdisk -l -o Start disk.raw | awk 'END { print $1 * 512 }')
nok "${debian[1]}" grep -aq vmstep-agent disk.raw
like "${debian[2]}" "$(in_root 'ls /etc/ssh' | grep -o '[a-z_0-9]*key[a-z.]*\|sshd_config' | xargs)" '^sshd_config( sshd_config)?$'
is "${debian[3]}" "$(in_root 'cat /etc/machine-id')" ""
rm disk.raw

seed
boot debian -m 1024 \
	-drive file=out/debian.qcow2,if=virtio,format=qcow2,snapshot=on \
	-drive file=seed.iso,if=virtio,format=raw,readonly=on \
	-netdev hubport,hubid=1,id=net \
	-device virtio-net-pci,netdev=net,mac=52:54:00:00:00:00
SECONDS=0
ok "${debian[4]}" wait_for 600 grep -q 'bootcmd on t0020' debian.log
diag "bootcmd after $SECONDS s"
((tap_failed == 0)) || diag "$(tail -n 20 debian.log)"
end_qemu "$qemu"
done_testing
