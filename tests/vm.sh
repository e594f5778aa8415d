# tests/vm.sh - what the tests of VM steps share, on top of lib.sh
#
# They use what `make install` put into $VMSTEP_BUILD/inst and the images in
# $VMSTEP_IMAGES (contrib/check makes both). Functions:
#
#	vm_cluster NODES [ARG...]  a minicluster "vm" with the plugin; ARGs go to
#	                           minicluster up
#	vrun ARG...                srun ARG... on it as the ordinary user; its
#	                           stderr goes to $tmp/err, its status is kept
#	vsh TEXT                   a shell script of that user on the login host
#	leftovers [CLUSTER]        prints what a step left on "vm", or on another:
#	                           processes of ours, files, sockets; nothing when
#	                           clean
#	clean NAME [CLUSTER]       a check that nothing is left, within 60 s
#	clocks_right               do the clocks of vms' guests agree with ours,
#	                           within 2 s?
#	conf LINE...               (re)write vmstep.conf with these lines added,
#	                           and those of $VMSTEP_CONF ("net_workers = 2");
#	                           guests run where CPUs are free, with bind=cores
#	                           set before where their tasks are
# shellcheck shell=bash disable=SC2034,SC2154

# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build=${VMSTEP_BUILD-$top/build/main}
images=${VMSTEP_IMAGES-$top/build/images}
libexec=$build/inst/libexec/vmstep
plugin=$build/inst/lib/vmstep/vmstep.so
# shellcheck disable=SC2034
tiny=$images/tiny.vm
runtime=/run/vmstep
site_lines=${VMSTEP_CONF-}
# All nodes are this machine: bound, the guests of each would share its first CPU.
bind=none
export -n VMSTEP_BUILD VMSTEP_IMAGES VMSTEP_CONF # srun would take one for VMSTEP_IMAGE

[[ -e $plugin ]] ||
	skip_all "$plugin is not there: build and install first (contrib/check does)"
[[ -e $tiny/vm.conf ]] ||
	skip_all "$tiny is not there: contrib/mkimage tiny (contrib/check does)"

conf()
{
	printf '%s\n' "runtime_dir = $runtime" "image_path = $images" \
		"mem_reserve = 160M" "default_bind = $bind" ${site_lines:+"$site_lines"} "$@" >"$tmp/vmstep.conf"
}

vm_cluster()
{
	need_cluster
	need qemu-system-x86_64 qemu-img
	conf
	printf 'optional %s config=%s\n' "$plugin" "$tmp/vmstep.conf" \
		>"$tmp/plugstack.conf"
	cluster_up vm "$1" --plugstack "$tmp/plugstack.conf" "${@:2}" ||
		skip_all "no cluster"
	mkdir -p "$tmp/home"
	chown "$test_user" "$tmp/home"
}

# The working directory of jobs is one the user can write.
vrun() { (cd "$tmp/home" && as_user vm srun "$@" 2>"$tmp/err"); }
vsh() { (cd "$tmp/home" && as_user vm bash -c "$1"); }

# Seen from inside the cluster's PID namespace, so only its own.
ours()
{
	mc "${1-vm}" node ctl ps -eo pid,args --no-headers 2>/dev/null |
		grep -E 'qemu-system|vmstep-|qemu-img|virtiofsd'
}

leftovers()
{
	local n cluster=${1-vm}
	mc "$cluster" node ctl true || echo "the cluster cannot be looked at"
	ours "$cluster"
	for n in $(mc "$cluster" node ctl sinfo -h -o %N -N); do
		mc "$cluster" node "$n" find "$runtime" -mindepth 1 2>/dev/null |
			sed "s/^/$n: /"
	done
	find /tmp /dev/shm -maxdepth 1 -user "$test_user" -name 'vmstep*'
}

is_clean() { [[ -z $(leftovers "$@") ]]; }

# vms is the test's own. What it shows of a guest's clock was so at any time
# while it ran, which may take longer than 2 s.
clocks_right()
{
	local from=$(($(date +%s) - 2)) there n=0
	for there in $(vms exec date +%s | cut -d: -f2); do
		((there >= from && there <= $(date +%s) + 2)) || return 1
		n=$((n + 1))
	done
	((n))
}

clean()
{
	if wait_for 60 is_clean "${@:2}"; then
		pass "$1"
	else
		fail "$1" "$(leftovers "${@:2}")"
	fi
}
