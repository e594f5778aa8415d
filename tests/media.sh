# tests/media.sh - a distribution to be installed, for tests; source it
#
#	media_needs                what is missing for it: skip_all
#	media_make BUNDLE OUT.iso  a CD that boots BUNDLE's kernel by a boot
#	                           loader, and by it an installer: that mounts the
#	                           CD at /media and what is shared by 9p as
#	                           "install" at /mnt, and runs /mnt/install.sh with
#	                           the disk to install to. /media/system.img boots
#	                           BUNDLE as it is from a disk that it is copied to
#
# shellcheck shell=bash disable=SC2154 # $tmp is of lib.sh

isolinux=/usr/lib/ISOLINUX

media_needs()
{
	need xorriso cpio gzip
	[[ -e $isolinux/isolinux.bin ]] || skip_all "there is no isolinux"
}

# media_tree BUNDLE DIR APPEND: kernel and boot loader; no initrd yet
media_tree()
{
	mkdir -p "$2/isolinux"
	cp "$1/vmlinuz" "$isolinux/isolinux.bin" \
		/usr/lib/syslinux/modules/bios/ldlinux.c32 "$2/isolinux"
	cat >"$2/isolinux/isolinux.cfg" <<-END
		DEFAULT linux
		PROMPT 0
		LABEL linux
		 KERNEL /isolinux/vmlinuz
		 APPEND initrd=/isolinux/initrd $3
	END
}

# Boots from a CD, and from a disk that it is copied to.
media_iso()
{
	xorriso -as mkisofs -quiet -R -J -o "$2" -isohybrid-mbr "$isolinux/isohdpfx.bin" \
		-b isolinux/isolinux.bin -c isolinux/boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table "$1" 2>"$tmp/xorriso" ||
		skip_all "xorriso: $(<"$tmp/xorriso")"
}

media_installer()
{
	mkdir -p "$1/sbin" "$1/media"
	cat >"$1/sbin/installer" <<-'END'
		#!/bin/busybox sh
		PATH=/sbin:/usr/sbin:/bin:/usr/bin
		exec >/dev/console 2>&1
		mount -t proc proc /proc
		mount -t devtmpfs dev /dev
		mount -t sysfs sys /sys
		modprobe -a virtio_pci virtio_blk ahci sr_mod isofs 9p 9pnet_virtio
		until [ -b /dev/sr0 ] && mount -t iso9660 -o ro /dev/sr0 /media; do
			sleep 0.1
		done
		mount -t 9p -o ro,trans=virtio install /mnt
		for d in /sys/block/vd*; do
			[ "$(cat "$d/serial")" != disk0 ] || disk=/dev/${d##*/}
		done
		sh /mnt/install.sh "$disk"
		poweroff -f
	END
	chmod 755 "$1/sbin/installer"
}

media_make()
{
	local dir=$tmp/media append

	append=$(sed -n 's/^append = //p' "$1/vm.conf")
	media_tree "$1" "$dir/system" "$append"
	gzip -1 <"$1/initramfs" >"$dir/system/isolinux/initrd"
	media_tree "$1" "$dir/iso" "$append rdinit=/sbin/installer"
	media_installer "$dir/extra"
	{
		cat "$1/initramfs"
		(cd "$dir/extra" && find . -mindepth 1 | cpio --quiet -o -H newc -R 0:0)
	} | gzip -1 >"$dir/iso/isolinux/initrd"
	media_iso "$dir/system" "$dir/iso/system.img"
	media_iso "$dir/iso" "$2"
	rm -rf "$dir"
}
