# contrib/lib.sh - what quickstart, check and analyze share
# shellcheck shell=bash disable=SC2034,SC2154

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '== %s\n' "$*"; }

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

need_root()
{
	[[ $EUID == 0 ]] ||
		die "must be run as root: it installs packages and makes namespaces"
}

# Packages, by what they are for. Debian 12's names.
packages_build=(
	gcc make autoconf automake libtool pkg-config libc6-dev git
	ca-certificates libslurm-dev libpmix-dev libjansson-dev libxxhash-dev libhwloc-dev
	libssl-dev libarchive-dev libyaml-dev libcmocka-dev libucx-dev
	libipsec-mb-dev
)
packages_run=(
	slurmctld slurmd slurm-client munge libpmix-dev iproute2 util-linux perl
	procps psmisc qemu-system-x86 qemu-utils seabios openssh-client
	squashfs-tools ovmf hwloc-nox
)
packages_tiny=(busybox-static cpio lz4 zstd xz-utils kmod iperf3)
packages_debian=(mmdebstrap e2fsprogs mtools fdisk)
packages_package=(build-essential debhelper dh-python)
packages_check=(
	"${packages_package[@]}"
	clang clang-format codespell curl libclang-rt-14-dev llvm shellcheck perl jq socat man-db
	groff python3 mypy pyflakes3 genisoimage xorriso isolinux
	syslinux-common file bsdutils tshark dpdk-dev
)
packages_analyze=(bear clang clang-tidy cppcheck gcc jq libclang-rt-14-dev)
# for check --suite, in a root of another release
packages_suite=(mount python3 jq socat file bsdutils virtiofsd)

# Install what is missing of the packages named. Services that they bring are
# not started: we need their programs only.
install_packages()
{
	local missing=() p policy=/usr/sbin/policy-rc.d
	for p in "$@"; do
		[[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) == ii* ]] ||
			missing+=("$p")
	done
	((${#missing[@]})) || return 0
	need_root
	say "installing ${#missing[@]} packages"
	export DEBIAN_FRONTEND=noninteractive
	if [[ ! -e $policy ]]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
		# shellcheck disable=SC2064
		trap "rm -f $policy" RETURN EXIT
	fi
	apt_get update
	apt_get install -y --no-install-recommends "${missing[@]}"
	rm -f $policy
}

apt_get()
{
	local log
	log=$(mktemp)
	if ! apt-get -q "$@" </dev/null >"$log" 2>&1; then
		tail -20 "$log" >&2
		rm -f "$log"
		die "apt-get $1 failed"
	fi
	rm -f "$log"
}

# Can others read below this directory? Tests and jobs run as ordinary users.
is_reachable()
{
	local dir=$1
	while [[ $dir != / ]]; do
		[[ $(stat -c %A "$dir") == *[xt] ]] || return 1
		dir=$(dirname "$dir")
	done
}

# Where the build goes: build/ in the tree, or, if ordinary users cannot reach
# the tree (a checkout in /root), a directory of this tree's own in /var/tmp.
build_dir()
{
	if [[ -n ${VMSTEP_BUILD-} ]]; then
		printf '%s\n' "$VMSTEP_BUILD"
	elif is_reachable "$top"; then
		printf '%s\n' "$top/build"
	else
		printf '/var/tmp/vmstep-build.%s\n' \
			"$(printf %s "$top" | cksum | cut -d' ' -f1)"
	fi
}

# Files of the project: git's, or all of a tarball's.
sources()
{
	if git -C "$top" rev-parse --is-inside-work-tree &>/dev/null; then
		git -C "$top" ls-files -- "$@"
	else
		local pattern
		for pattern; do
			find "$top" -type f -name "$pattern" -not -path "$top/build/*" -printf '%P\n'
		done
	fi
}

# build NAME [CONFIGURE-ARG...]: configure and make in $build/NAME, once
# configured with those arguments again only when they change. Quiet unless
# it fails. LOGS are kept there.
build()
{
	configured "$@"
	logged "$build/$1/build.log" make -j"$(nproc)" -C "$build/$1"
}

configured()
{
	local dir=$build/$1 log
	shift
	log=$dir/build.log
	mkdir -p "$dir"
	[[ -e $top/configure && $top/configure -nt $top/configure.ac ]] ||
		logged "$log" "$top/autogen.sh"
	if [[ ! -e $dir/Makefile || $(cat "$dir/args" 2>/dev/null) != "$*" ]]; then
		(cd "$dir" && logged "$log" "$top/configure" "$@")
		printf '%s' "$*" >"$dir/args"
		(cd "$dir" && logged "$log" make clean)
	fi
}

# Run with its output in a file, shown only when it fails.
logged()
{
	local log=$1
	shift
	if ! "$@" >"$log" 2>&1 </dev/null; then
		tail -40 "$log" >&2
		die "failed: $*"
	fi
}

# For the system tests, with the agent of $build/NAME.
tiny_images() # NAME
{
	local agent=$build/$1/inst/libexec/vmstep/vmstep-agent
	mkdir -p "$build/images"
	"$top/contrib/mkimage" tiny "$build/images/tiny.vm" --agent "$agent"
	"$top/contrib/mkimage" tiny "$build/images/generic.vm" \
		--kernel-package linux-image-amd64 --agent "$agent"
}

images() # NAME
{
	tiny_images "$1"
	"$top/contrib/mkimage" debian "$build/images/debian.qcow2"
	"$top/contrib/virtiofsd" "$build/images/virtiofsd"
}
