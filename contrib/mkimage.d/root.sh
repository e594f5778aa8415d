# shellcheck shell=bash disable=SC2034 # some are read by common.sh
# root.sh - a SquashFS from a directory or a tar archive, for --vm-image
#
# Owners, modes and links of an archive are kept whoever calls; of a directory
# what belongs to the caller becomes root's, as it would be in a tree that was
# unpacked without root.  mkimage.d/root.sh and stepd-helper/rootfs.c agree.

root_check()
{
	need mksquashfs=squashfs-tools
	[[ -n $FROM ]] || usage_error "root: of what? give a directory or an archive, then the output"
	[[ -r $FROM ]] || usage_error "$FROM: no such directory or archive that we can read"
	[[ -d $FROM || -f $FROM ]] ||
		usage_error "$FROM: neither a directory nor an archive"
	[[ $OUT = *.sqsh ]] || OUT=$OUT.sqsh
	[[ ! -d $OUT ]] || usage_error "$OUT: is a directory; name a file"
}

root_make()
{
	beside "$OUT" f
	step "packing $FROM" root_pack "$TEMP"
	mv -T -- "$TEMP" "$OUT"
	say "made $OUT, $(du -shL -- "$OUT" | cut -f1)"
}

# root_pack OUT
root_pack()
{
	local opts=(-noappend -no-progress -quiet -exit-on-error -comp zstd)

	if [[ -d $FROM ]]; then
		mksquashfs "$FROM" "$1" "${opts[@]}" \
			-action "guid(0,0)@uid($EUID)"
	else
		root_plain_tar | mksquashfs - "$1" "${opts[@]}" -tar
	fi
	root_vet "$1"
}

root_plain_tar()
{
	case $(od -An -tx1 -N6 -- "$FROM") in
	' 1f 8b'*)		gzip -dc -- "$FROM" ;;
	' 28 b5 2f fd'*)	zstd -dc -- "$FROM" ;;
	' fd 37 7a 58 5a 00')	xz -dc -- "$FROM" ;;
	' 42 5a 68'*)		bzip2 -dc -- "$FROM" ;;
	*)			cat -- "$FROM" ;;
	esac
}

# It must be what a machine can boot.
root_vet()
{
	unsquashfs -l -d '' "$1" bin usr/bin sbin | grep -q / ||
		{ echo "$FROM has no bin directory: no root file system"; return 1; }
}
