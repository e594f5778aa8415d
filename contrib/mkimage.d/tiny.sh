# shellcheck shell=bash disable=SC2034 # some are read by common.sh
# tiny.sh - a bundle of kernel, initramfs and vm.conf, with our agent in it
#
# All but the agent is the base, and is cached; the agent is a second archive
# behind it (the kernel reads one after the other), so that a new agent costs a
# copy.
#
# How it boots fast (QEMU 7.2, TCG, -smp 1 -m 256, q35; QEMU's start to agent's
# start, medians of seven, the alternatives taken in turn at random):
#   bzImage, plain command line                     2.34 s
#   vmlinux instead: no decompressor to translate   2.05 s
#   and cryptomgr.notests                           1.73 s
# The vmlinux is entered by PVH, as QEMU has done for -kernel since 4.0, with
# KVM too; it wants SeaBIOS, which is what direct boot has here.  Compressing
# the initramfs: lz4 -0.03..+0.01 s, gzip +0.17 s, zstd +0.11 s, so none.
# Measured and within the noise, hence left out: mitigations=off,
# init_on_alloc=0, tsc=reliable, apparmor=0, i8042.noaux, 8250.nr_uarts=1,
# rcupdate.rcu_expedited=1; machine pc is 0.14 s slower than q35.
# no_timer_check costs nothing and spares a guest on a busy host the panic
# "IO-APIC + timer doesn't work".  quiet still shows errors; panic=-1 resets at
# once, which ends a QEMU run with -no-reboot.
TINY_APPEND='console=ttyS0 quiet panic=-1 no_timer_check cryptomgr.notests'

# The memory a guest needs beside the initramfs, in MiB, of which there are two
# copies for a while: one of 15 MiB boots on one vCPU with 96M and not with
# 88M, on eight not with 96M but with 112M, on sixteen with 128M.
TINY_MEM_MIN=98

# Loaded at boot, in this order; the port to the host first.
TINY_MODULES_BOOT='virtio_pci virtio_console virtio_net virtio_blk virtio-rng'
# There for modprobe and mount, as far as the kernel has them.
TINY_MODULES_MORE='squashfs overlay isofs vfat nls_cp437 nls_ascii ext4
	crc32c_generic loop fuse virtiofs 9p 9pnet_virtio virtio_balloon
	virtio_scsi sd_mod sr_mod ahci dummy veth tun bridge macvlan 8021q'

# For these only the program and the libraries that it loads.
TINY_TOOLS='iperf3'

tiny_check()
{
	need apt-get=apt dpkg-deb=dpkg cpio=cpio
	[[ $OUT = *.vm ]] ||
		usage_error "$OUT: a bundle's name ends in .vm; say $OUT.vm"
	[[ ! -e $OUT || -f $OUT/vm.conf ]] ||
		usage_error "$OUT: is there and is no bundle; remove it first"
	AGENT=${AGENT:-$(tiny_find_agent)}
	tiny_check_agent
}

tiny_find_agent()
{
	local top path

	top=$(dirname "$MKIMAGE")
	for path in "$top"/../{,build/main/}guest-agent/vmstep-agent "$top/vmstep-agent" \
		    "$top"/../{libexec,lib,share}/vmstep/vmstep-agent \
		    /usr/{local/,}{libexec,lib}/vmstep/vmstep-agent; do
		[[ ! -f $path ]] || { echo "$path"; return; }
	done
}

tiny_check_agent()
{
	[[ -n $AGENT ]] ||
		usage_error "--agent: vmstep-agent is neither built here nor installed; run make, or name it"
	[[ -f $AGENT && -r $AGENT ]] ||
		usage_error "--agent=$AGENT: no such file; name a static vmstep-agent"
	[[ $(od -An -tx1 -N4 -- "$AGENT") = ' 7f 45 4c 46' ]] ||
		usage_error "--agent=$AGENT: no ELF program; name a static vmstep-agent"
	! head -c 4096 -- "$AGENT" | grep -aq /ld-linux ||
		usage_error "--agent=$AGENT: needs shared libraries; link it with -static"
}

tiny_make()
{
	local key sum

	tiny_resolve
	sum=$(sha256sum <"$AGENT" | cut -d' ' -f1)
	key=$({ echo "$KERNEL_PACKAGE ${PACKAGES[*]}"; cat "$WORK"/uris.*; } | cache_key)
	cache_get "$key" tiny_base
	step "adding the agent" tiny_bundle "$sum"
	say "made $OUT, $(du -shL -- "$OUT" | cut -f1)"
}

tiny_resolve()
{
	STEP="asking apt for $KERNEL_PACKAGE, iperf3 ${PACKAGES[*]}"
	resolve "$KERNEL_PACKAGE" |
		grep -E "^'[^']*' linux-(image|modules|binary)-" >"$WORK/uris.kernel"
	# shellcheck disable=SC2086  # one word a package is meant
	resolve busybox-static netbase $TINY_TOOLS |
		grep -vE "^'[^']*' lib[^ ]*-perl_" |
		grep -E "^'[^']*' (lib|zlib|busybox-static_|netbase_|(${TINY_TOOLS// /|})_)" \
			>"$WORK/uris.tools"
	: >"$WORK/uris.packages"
	[[ ${#PACKAGES[@]} -eq 0 ]] ||
		resolve "${PACKAGES[@]}" | # less what only a package's set-up runs
		grep -vE "^'[^']*' (adduser|cdebconf|debconf|dpkg|init-system-helpers|passwd|sensible-utils|usrmerge|ucf)_" \
			>"$WORK/uris.packages"
	STEP=
}

# ---- the base: kernel, and an initramfs of everything but the agent

tiny_base()
{
	local root=$WORK/root stage=$WORK/stage

	step "downloading packages" tiny_fetch
	step "unpacking the kernel" tiny_kernel "$1" "$stage/kernel"
	step "unpacking programs" tiny_stage "$stage/tools"
	step "laying out the root directory" tiny_root "$root"
	step "adding kernel modules" tiny_modules "$stage/kernel" "$root"
	step "adding programs" tiny_programs "$stage/tools" "$root"
	step "packing" tiny_pack "$root" "$1/initramfs"
	rm -rf -- "$root" "$stage" "$WORK/debs"
}

tiny_fetch()
{
	local set

	for set in kernel tools packages; do
		mkdir -p "$WORK/debs/$set"
		[[ ! -s $WORK/uris.$set ]] ||
			fetch "$WORK/debs/$set" <"$WORK/uris.$set"
	done
}

# tiny_kernel ENTRY STAGE
tiny_kernel()
{
	local deb image

	mkdir -p "$2"
	for deb in "$WORK"/debs/kernel/*.deb; do
		unpack "$deb" "$2"
	done
	[[ -e $2/lib || ! -d $2/usr/lib ]] || ln -s usr/lib "$2/lib"
	image=$(echo "$2"/boot/vmlinuz-*)
	[[ -f $image ]] || { echo "not one kernel: $image"; return 1; }
	KERNEL_RELEASE=${image##*/vmlinuz-}
	if grep -qx CONFIG_PVH=y "$2/boot/config-$KERNEL_RELEASE"; then
		tiny_vmlinux "$image" "$1/vmlinux"
	else
		cp -- "$image" "$1/vmlinux"
	fi
	cp -- "$image" "$1/vmlinuz"
	echo "$KERNEL_RELEASE" >"$1/release"
}

# tiny_vmlinux BZIMAGE OUT: the ELF file inside.  Where it lies is in the setup
# header (Documentation/x86/boot.rst); its last four bytes are the size unpacked.
tiny_vmlinux()
{
	local setup_sects offset length magic size

	setup_sects=$(od -An -tu1 -j $((0x1f1)) -N1 "$1")
	offset=$(od -An -tu4 -j $((0x248)) -N4 "$1")
	length=$(od -An -tu4 -j $((0x24c)) -N4 "$1")
	offset=$(((setup_sects + 1) * 512 + offset))
	size=$(od -An -tu4 -j $((offset + length - 4)) -N4 "$1")
	magic=$(od -An -tx1 -j "$offset" -N4 "$1")

	dd if="$1" bs=64K iflag=skip_bytes,count_bytes \
		skip="$offset" count=$((length - 4)) status=none |
	case $magic in
	' 02 21 4c 18') lz4 -dc ;;
	' 28 b5 2f fd') zstd -dc ;;
	' fd 37 7a 58') xz -dc --single-stream ;;
	' 1f 8b 08'*)	gzip -dc ;;
	*) echo "$1: compressed in a way unknown here:$magic" >&2; false ;;
	esac >"$2"

	[[ $(stat -c %s "$2") -eq $size && $(od -An -tx1 -N4 "$2") = ' 7f 45 4c 46' ]]
}

# tiny_stage STAGE: the packages of which the root gets a part
tiny_stage()
{
	local deb

	mkdir -p "$1"/usr/{bin,sbin,lib,lib64}
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$1"
	for deb in "$WORK"/debs/tools/*.deb; do
		unpack "$deb" "$1"
	done
	BUSYBOX=$1/bin/busybox
}

tiny_root()
{
	mkdir -p "$1"/usr/{bin,sbin,lib/modules,lib64,share} \
		"$1"/{dev,etc,home,input,mnt,output,proc,root,run,sys,tmp,var/log,var/tmp}
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$1"
	ln -s ../run "$1/var/run"
	ln -s sbin/init "$1/init"
	mkdir -p "$1"/usr/share/dev/{pts,shm}
	ln -s /proc/self/fd "$1/usr/share/dev/fd"
	ln -s fd/0 "$1/usr/share/dev/stdin"
	ln -s fd/1 "$1/usr/share/dev/stdout"
	ln -s fd/2 "$1/usr/share/dev/stderr"
	cp -r -- "$MKIMAGE_D"/tiny/etc/. "$1/etc"
	ln -s /proc/self/mounts "$1/etc/mtab"
	chmod 755 "$1/etc/rc"
	install -m 755 -- "$MKIMAGE_D"/tiny/sbin/* "$1/sbin"
	chmod 600 "$1/etc/shadow"
	chmod 700 "$1/root"
	chmod 1777 "$1/tmp" "$1/var/tmp"
}

# tiny_modules STAGE ROOT
tiny_modules()
{
	local from=$1/lib/modules/$KERNEL_RELEASE to=$2/lib/modules/$KERNEL_RELEASE
	local name boot=

	"$BUSYBOX" depmod -b "$1" "$KERNEL_RELEASE"
	for name in $TINY_MODULES_BOOT $TINY_MODULES_MORE; do
		tiny_module "$from" "$to" "$name"
	done
	for name in $TINY_MODULES_BOOT; do
		if [[ -n $(tiny_module_files "$from" "$name") ]]; then
			boot+="$name "
		else
			tiny_module_builtin "$from" "$name" # or we stop here
		fi
	done
	cp -- "$from/modules.builtin" "$to"
	"$BUSYBOX" depmod -b "$2" "$KERNEL_RELEASE"
	echo "$boot" >"$2/etc/modules"
}

# tiny_module FROM TO NAME: it and what it needs, if it is there
tiny_module()
{
	local file

	for file in $(tiny_module_files "$1" "$3"); do
		install -D -m 644 -- "$1/$file" "$2/$file"
	done
}

tiny_module_files()
{
	sed -n "s:^\(kernel/[^ ]*/${2//[-_]/[-_]}\.ko[.a-z]*\)\:\(.*\):\1\2:p" \
		"$1/modules.dep"
}

tiny_module_builtin()
{
	grep -q "/${2//[-_]/[-_]}\.ko$" "$1/modules.builtin"
}

# tiny_programs STAGE ROOT
tiny_programs()
{
	local deb applet

	for deb in "$WORK"/debs/packages/*.deb; do
		[[ ! -f $deb ]] || unpack "$deb" "$2"
	done
	cp -n -- "$1"/etc/{services,protocols} "$2/etc"
	tiny_tools "$1" "$2"

	cp -- "$BUSYBOX" "$2/bin/busybox"
	while read -r applet; do
		[[ -e $2/$applet || -L $2/$applet ]] ||
			ln -s /bin/busybox "$2/$applet"
	done < <("$BUSYBOX" --list-full)
}

# The image's own loader, not this machine's, tells which libraries a tool loads.
# The C library itself asks for libgcc_s.so.1, to end a thread.
tiny_tools()
{
	local lib=usr/lib/x86_64-linux-gnu loader=ld-linux-x86-64.so.2 tool path

	mkdir -p "$2/$lib"
	cp -L -- "$1/$lib/$loader" "$1/$lib/libgcc_s.so.1" "$2/$lib"
	ln -sf "/$lib/$loader" "$2/usr/lib64/$loader"
	for tool in $TINY_TOOLS; do
		cp -- "$1/usr/bin/$tool" "$2/usr/bin"
		"$1/$lib/$loader" --library-path "$1/$lib" \
			--list "$1/usr/bin/$tool" >"$WORK/needed"
		if grep 'not found' "$WORK/needed"; then
			return 1
		fi
		while read -r path; do
			cp -L -- "$path" "$2/$lib"
		done < <(grep -o " $1/$lib/[^ ]*" "$WORK/needed")
	done
}

# tiny_pack ROOT OUT: the same bytes for the same files, whoever packs them
tiny_pack()
{
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . -mindepth 1 | sort |
		cpio -o -H newc -R 0:0 --reproducible --quiet) >"$2"
}

# ---- the bundle: the base, the agent behind it, and vm.conf

tiny_bundle()
{
	local root=$WORK/agent

	beside "$OUT" d
	mkdir -p "$root/usr/sbin"
	install -m 755 -- "$AGENT" "$root/usr/sbin/vmstep-agent"
	mkdir -p "$root/usr/bin"
	ln -sf ../sbin/vmstep-agent "$root/usr/bin/vmop"
	tiny_pack "$root" "$WORK/agent.cpio"
	# as it was, for media that a boot loader reads
	cp --reflink=auto -- "$ENTRY"/vmlinu[xz] "$TEMP"
	cat -- "$ENTRY/initramfs" "$WORK/agent.cpio" >"$TEMP/initramfs"
	tiny_conf "$(<"$ENTRY/release")" "$1" "$(stat -c %s "$TEMP/initramfs")" \
		>"$TEMP/vm.conf"
	tiny_replace "$TEMP" "$OUT"
}

# tiny_conf RELEASE AGENT_SUM INITRAMFS_SIZE
tiny_conf()
{
	cat <<-EOF
	# a bundle for vmstep, by mkimage tiny
	# Linux $1; vmstep-agent, sha256 $2
	kernel = vmlinux
	initrd = initramfs
	append = $TINY_APPEND
	mem_min = $((TINY_MEM_MIN + 2 * (($3 + (1 << 20) - 1) >> 20)))M
	EOF
}

# tiny_replace NEW OUT: a directory cannot be renamed over a full one
tiny_replace()
{
	local new=$1

	if [[ -e $2 ]]; then
		beside "$2" d
		mv -T -- "$2" "$TEMP"
	fi
	mv -T -- "$new" "$2"
}
