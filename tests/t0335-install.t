#!/bin/bash
# An installation from media to an empty disk: Linux on a CD, which finds what to
# do in the directory that comes with it, makes a partition and a boot sector and
# reboots; then the disk boots, and powers off. And vmstep image, which needs no
# step.
. "$(dirname "$0")/vm.sh"
. "$top/tests/media.sh"

media_needs
need jq mksquashfs
generic=$images/generic.vm
[[ -e $generic/vmlinuz ]] ||
	skip_all "$generic is not there, or is of an older mkimage: contrib/mkimage tiny --kernel-package linux-image-amd64 (contrib/check does)"
vm_cluster 1
cd "$tmp/home" || exit 1

# ---- media, and what they do ----

media_make "$generic" media.iso
mkdir -p answers/sub
cat >answers/install.sh <<'END'
to=$1
for d in /sys/block/vd*; do
	[ "$(cat "$d/serial")" != unattended ] || answers=/dev/${d##*/}
done
mkdir /disk
mount -t iso9660 -o ro "$answers" /disk
echo "installer: $(cat /disk/answer) and $(cat /disk/sub/more) to ${to##*/}"
echo "label $(dd if="$answers" bs=1 skip=32808 count=7 2>/dev/null)"
printf 'o\nn\np\n1\n\n\nw\n' | fdisk "$to" >/dev/null 2>&1
dd if=/mnt/boot of="$to" bs=440 count=1 conv=notrunc
printf 'by the installer' >"${to}1"
sync
reboot -f
END
# 16 bits: text to the serial port, then soft off by q35's PM1a control
printf '\x31\xc0\x8e\xd8\xfc\xbe\x1d\x7c\xba\xf8\x03\xac\x84\xc0\x74\x03\xee\xeb\xf8\xba\x04\x06\xb8\x00\x20\xef\xf4\xeb\xfd' >answers/boot
printf 'the disk boots\r\n\0' >>answers/boot
truncate -s 440 answers/boot
echo an-answer >answers/answer
echo one-below >answers/sub/more
: >answers/user-data
chown -R "$test_user" .

# ---- the installation ----

media=$(sha256sum media.iso)
vrun -n1 -t 15 --vm-image=new.qcow2,ctl=w,size=64M --vm-mem=400M --vm-console=console \
	--vm-install=media.iso,unattended=answers true >out
is "an installation ends when the guest powers off: 0" $? 0
diag "$(cat "$tmp/err")"
like "the installer has the directory by 9p and as a disk, and the new one" \
	"$(<console)" 'installer: an-answer and one-below to vda'
like "... with a label that is known" "$(<console)" 'label CIDATA'
is "it booted once, then the disk did" "$(grep -c '^installer: ' console) $(grep -c 'the disk boots' console)" "1 1"
is "the media are as they were" "$(sha256sum media.iso)" "$media"

# ---- vmstep image ----

vmstep="HOME=$tmp/home $build/inst/bin/vmstep --config=$tmp/vmstep.conf"
image() { vsh "$vmstep image $*" 2>&1; }
info() { vsh "$vmstep --json image info $1" | jq -r "$2"; }
is "the disk has what was installed" \
	"$(qemu-img convert -O raw new.qcow2 raw.img && grep -c 'by the installer' raw.img)" 1
is "image info" "$(info new.qcow2 '"\(.kind) \(.format) \(.size) \(.allowed) \(.files | length)"')" \
	"disk qcow2 67108864 true 1"
image overlay new.qcow2 answers/over.qcow2
like "image overlay: named from where it is" "$(image info answers/over.qcow2)" \
	"above +$PWD/new.qcow2"
like "... over what is there: refused" "$(image overlay new.qcow2 media.iso)" 'media.iso is there'
image resize answers/over.qcow2 +64M
is "image resize" "$(info answers/over.qcow2 .size)" 134217728
like "... a header that is none: refused" "$(image resize raw.img,fmt=qcow2 +1M)" 'no qcow2 header'
image squash answers data.sqsh
is "image squash, of which info knows what it is" \
	"$(info ./data.sqsh '"\(.kind) \(.format)"')" "root squashfs"
like "image seed, with a new key" "$(image seed own --packages=a,b)" 'own.key is a new key'
like "... which user-data lets in, as the packages" "$(cat own/user-data)" \
	"$(cut -d' ' -f2 own.key.pub | cut -c1-40 | tr + .).*- \"b\""
like "... once" "$(image seed own)" 'own/user-data: File exists'
vrun -n1 --vm-image=answers/over.qcow2 --vm-cloud-init=own --vm-dry-run true >out
is "a seed like that is taken: 0" $? 0
like "what is refused: media without a disk" \
	"$(vrun -n1 --vm-image=tiny --vm-install=media.iso true; cat "$tmp/err")" 'needs a disk to install to'
like "... size= without w" "$(vrun -n1 --vm-image=x,size=1G true; cat "$tmp/err")" 'add ctl=w'
clean "nothing is left"
done_testing
