# shellcheck shell=bash disable=SC2034 # some are read by common.sh
# debian.sh - a Debian disk as a vendor makes them: cloud-init, ssh, no agent
#
# GPT: 1 BIOS boot (GRUB's core image), 2 EFI system, 3 root, last so that
# growpart can grow it.  The disk is put together from files: mke2fs -d fills
# the root, mtools the ESP, and GRUB's two boot sectors are patched here as
# grub-bios-setup would, so nothing is mounted and no loop device is needed.
# GRUB comes from the image's own packages, not from this machine's.
DEBIAN_PACKAGES='linux-image-cloud-amd64 initramfs-tools lz4 zstd
	grub-pc-bin grub-efi-amd64-bin grub2-common
	systemd-sysv systemd-resolved libpam-systemd dbus udev kmod
	cloud-init cloud-guest-utils fdisk netplan.io
	openssh-server sudo qemu-guest-agent
	gcc libc6-dev make openmpi-bin libopenmpi-dev iperf3
	iproute2 iputils-ping ca-certificates curl less procps'

# Where the parts begin, in sectors of 512 bytes
BIOS_START=2048
ESP_START=4096
ROOT_START=36864
ROOT_LABEL=root

debian_check()
{
	need apt-get=apt mmdebstrap=mmdebstrap mke2fs=e2fsprogs sfdisk=fdisk \
		mformat=mtools mcopy=mtools qemu-img=qemu-utils
	[[ $EUID -eq 0 ]] || die "debian: only root can unpack a whole system; run it as root"
	SUITE=${SUITE:-bookworm}
	[[ $OUT = *.qcow2 ]] || OUT=$OUT.qcow2
	[[ ! -d $OUT ]] || usage_error "$OUT: is a directory; name a file"
	[[ $SIZE =~ ^[0-9]+[MG]$ ]] ||
		usage_error "--size=$SIZE: not a size; say as in 3G or 2500M"
	SIZE_BYTES=$(numfmt --from=iec "$SIZE")
	[[ $SIZE_BYTES -ge $((1 << 30)) ]] ||
		usage_error "--size=$SIZE: too small; 1G is the least, 3G leaves room"
}

debian_make()
{
	local key

	# shellcheck disable=SC2206  # one word a package is meant
	PACKAGES=($DEBIAN_PACKAGES "${PACKAGES[@]}")
	STEP="asking apt for ${#PACKAGES[@]} packages"
	resolve '?essential' "${PACKAGES[@]}" >"$WORK/uris"
	STEP=
	key=$({ echo "$SUITE $SIZE"; cat "$WORK/uris"; } | cache_key)
	cache_get "$key" debian_disk
	beside "$OUT" f
	step "copying" cp --reflink=auto -- "$ENTRY/disk.qcow2" "$TEMP"
	mv -T -- "$TEMP" "$OUT"
	say "made $OUT, $(du -shL -- "$OUT" | cut -f1)"
}

# debian_disk ENTRY
debian_disk()
{
	local root=$WORK/root

	step "installing ${#PACKAGES[@]} packages with what they need (minutes)" \
		debian_install "$root"
	step "making it an image" debian_generalize "$root"
	step "making the file system" debian_root "$root" "$WORK/root.ext4"
	step "making the boot loaders" debian_boot "$root"
	step "putting the disk together" debian_assemble "$WORK/disk.raw"
	step "packing" qemu-img convert -q -f raw -O qcow2 \
		"$WORK/disk.raw" "$1/disk.qcow2"
	rm -rf -- "$root" "$WORK"/*.{ext4,raw}
}

# ---- the system

debian_install()
{
	local opts=() line include

	printf '%s\n' "$SOURCES" >"$WORK/sources.list"
	while read -r line; do
		opts+=(--aptopt="$line")
	done < <(apt-config "${APT[@]}" dump Acquire::http::Proxy Acquire::https::Proxy |
			grep Proxy)
	printf -v include '%s,' "${PACKAGES[@]}"
	# Our files are there before the packages, so the one initramfs made is
	# the one that stays.
	mmdebstrap --mode=root --variant=apt --include="${include%,}" \
		"${opts[@]}" \
		--dpkgopt=force-unsafe-io \
		--dpkgopt="$MKIMAGE_D/debian/dpkg.cfg" \
		--essential-hook="cp -r '$MKIMAGE_D/debian/root/.' \"\$1\"" \
		"$SUITE" "$1" "$WORK/sources.list"
}

# What differs from one machine to the next goes; what a first boot does not
# need does not start.
debian_generalize()
{
	rm -f -- "$1"/etc/ssh/ssh_host_* "$1"/etc/{hostname,resolv.conf} \
		"$1"/etc/apt/apt.conf.d/99mmdebstrap \
		"$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap \
		"$1"/var/lib/dbus/machine-id "$1"/var/lib/systemd/random-seed
	: >"$1/etc/machine-id"
	ln -s ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"
	echo localhost >"$1/etc/hostname"
	rm -rf -- "$1"/var/lib/apt/lists/* "$1"/var/cache/{apt,debconf}/*-old \
		"$1"/var/cache/apt/*.bin "$1"/var/log/{apt,*.log} "$1"/tmp/* "$1"/boot/grub
	chroot "$1" passwd -l root
	chroot "$1" systemctl disable apt-daily.timer apt-daily-upgrade.timer \
		dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
		fstrim.timer
	chroot "$1" systemctl enable systemd-networkd.service
	mkdir -p "$1/boot/efi" "$1/boot/grub"
	cp -- "$MKIMAGE_D/debian/grub.cfg" "$1/boot/grub/grub.cfg"
	echo 'LANG=C.UTF-8' >"$1/etc/default/locale"
	debian_vet "$1"
	# nothing to bring up to date at the first boot; newer than /usr
	touch "$1/etc/.updated" "$1/var/.updated"
}

# It must be what it says it is.
debian_vet()
{
	local found

	[[ -e $1/vmlinuz && -e $1/initrd.img ]] ||
		{ echo "no kernel or no initramfs"; return 1; }
	found=$(find "$1" -xdev \( -name 'vmstep*' -o -name 'ssh_host_*' \
			-o -path '*/etc/machine-id' -size +0 \) -print
		grep -vE '^[^:]*:[!*]' "$1/etc/shadow" || true)
	[[ -z $found ]] || { echo "should not be there: $found"; return 1; }
}

# ---- the disk

debian_root()
{
	local blocks=$(((SIZE_BYTES / 512 - ROOT_START - 2048) / 8))

	mke2fs -q -t ext4 -b 4096 -L "$ROOT_LABEL" -d "$1" \
		-O ^orphan_file,^metadata_csum_seed \
		-E lazy_itable_init=0,lazy_journal_init=0 \
		"$2" "$blocks"
}

# debian_boot ROOT: core.raw for BIOS, esp.raw for UEFI
debian_boot()
{
	local modules='part_gpt ext2 normal configfile linux search_label echo test serial terminal reboot halt ls'

	cp -- "$MKIMAGE_D/debian/grub-early.cfg" "$1/tmp/early.cfg"
	# shellcheck disable=SC2086  # one word a module is meant
	{
		chroot "$1" grub-mkimage -O i386-pc -p /boot/grub -c /tmp/early.cfg \
			-o /tmp/core.img biosdisk $modules
		chroot "$1" grub-mkimage -O x86_64-efi -p /boot/grub -c /tmp/early.cfg \
			-o /tmp/BOOTX64.EFI efi_gop $modules
	}
	mv -- "$1/tmp/core.img" "$WORK/core.raw"
	cp -- "$1/usr/lib/grub/i386-pc/boot.img" "$WORK/boot.raw"
	# LBA of the core image in the boot sector (8 bytes at 0x5c), and of the
	# rest of the core image in the block list that ends its first sector
	debian_poke "$WORK/boot.raw" $((0x5c)) "$BIOS_START"
	debian_poke "$WORK/core.raw" $((512 - 12)) $((BIOS_START + 1))

	truncate -s $(((ROOT_START - ESP_START) * 512)) "$WORK/esp.raw"
	mformat -i "$WORK/esp.raw" -v EFI ::
	mmd -i "$WORK/esp.raw" ::/EFI ::/EFI/BOOT
	mcopy -i "$WORK/esp.raw" "$1/tmp/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
	rm -f -- "$1"/tmp/{early.cfg,BOOTX64.EFI}
}

# debian_poke FILE OFFSET NUMBER: four bytes, the low one first
debian_poke()
{
	local bytes

	printf -v bytes '\\x%02x' $(($3 & 255)) $(($3 >> 8 & 255)) \
		$(($3 >> 16 & 255)) $(($3 >> 24 & 255))
	# shellcheck disable=SC2059  # the format is the bytes
	printf "$bytes" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

debian_assemble()
{
	truncate -s "$SIZE_BYTES" "$1"
	sfdisk -q "$1" <<-EOF
	label: gpt
	start=$BIOS_START, size=$((ESP_START - BIOS_START)), type=21686148-6449-6E6F-744E-656564454649
	start=$ESP_START, size=$((ROOT_START - ESP_START)), type=uefi
	start=$ROOT_START, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
	EOF
	# code only: the protective MBR's table begins at 446
	dd if="$WORK/boot.raw" of="$1" bs=1 count=440 conv=notrunc status=none
	debian_place core.raw "$BIOS_START" "$1"
	debian_place esp.raw "$ESP_START" "$1"
	debian_place root.ext4 "$ROOT_START" "$1"
}

debian_place()
{
	dd if="$WORK/$1" of="$3" bs=1M oflag=seek_bytes seek=$(($2 * 512)) \
		conv=notrunc,sparse status=none
}
