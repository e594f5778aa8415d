#!/bin/bash
# The package in a fresh Debian: it is installed, one line has Slurm load it,
# what vmstep check says, README's first step by an ordinary user, an upgrade,
# and the removal, which leaves Slurm as it was.
#
# The package is that of contrib/check in $VMSTEP_BUILD/../packages, or DEB's,
# which SUITE says was built on another Debian ("trixie").

. "$(dirname "$0")/lib.sh"

build=${VMSTEP_BUILD-$top/build/main}
images=${VMSTEP_IMAGES-$top/build/images}

# ---- outside: all of it happens in a root that is thrown away ----

if [[ ${1-} != within ]]; then
	((EUID == 0)) || skip_all "a fresh root needs root"
	need mmdebstrap unshare
	deb=${DEB-$(find "$build/../packages" -name 'vmstep_*.deb' 2>/dev/null | sort | tail -1)}
	[[ -e $deb ]] || skip_all "there is no package: make deb (contrib/check does)"
	[[ -e $images/tiny.vm/vm.conf ]] ||
		skip_all "$images/tiny.vm is not there: contrib/mkimage tiny"
	cd "$tmp" || exit 1
	suite=(--suite "${SUITE-bookworm}")
	"$top/contrib/fresh" "${suite[@]}" --with "$tmp" sh -c "touch $tmp/runs; exec sleep 1000" &
	fresh=$!
	wait_for 300 test -e runs
	kill -TERM "$fresh"
	wait "$fresh"
	ended=$?
	"$top/contrib/fresh" "${suite[@]}" --with "$(dirname "$deb")" --with "$images" \
		bash "$top/tests/t0600-package.t" within "$deb" "$images" "$ended"
	exit
fi
deb=$2 images=$3 ended=$4

# ---- within ----

# Files that are there, but for logs, dpkg's own, and what Python, man-db and
# ld.so keep for themselves.
files()
{
	find / -xdev \( -path /proc -o -path /tmp -o -path /run -o -path /home \
		-o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/log \
		-o -path /var/cache -o -path "$top" -o -path "$images" \
		-o -path "$(dirname "$deb")" \) -prune -o -print | sort
}
dpkg_quiet() { DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends "$@"; }
user() { mc fresh run -u "$test_user" "$@"; }

is "a signal ends contrib/fresh, and what runs in it" "$ended" 143
useradd -m "$test_user"
chmod 755 "$tmp"
cd "/home/$test_user" || exit 1
files >"$tmp/before"
ok "it is installed, by what the fresh root has" dpkg_quiet install -y "$deb"
is "it is as it came: dpkg --verify" "$(dpkg --verify vmstep 2>&1)" ""
((tap_failed == 0)) || done_testing
slurm=$(dpkg-query -W -f '${Version}' slurm-wlm-basic-plugins)
like "it depends on the release of Slurm that is there, and on no other" \
	"$(dpkg-query -W -f '${Depends}' vmstep)" \
	"slurm-wlm-basic-plugins \(>= ${slurm%%.*}\.[0-9]+\), slurm-wlm-basic-plugins \(<< ${slurm%%.*}\.[0-9]+~\)"
nok "Slurm's configuration is not touched" grep -rqs vmstep /etc/slurm

line=/usr/share/doc/vmstep/examples/plugstack.conf
ok "the example is one line" test "$(grep -c '^[^#]' "$line")" = 1
cp "$line" /etc/slurm/plugstack.conf.d/vmstep.conf
cp -r "$images/tiny.vm" /usr/share/vmstep/images/
at_exit mc fresh down
ok "a cluster comes up" mc fresh up 2 --plugstack /etc/slurm/plugstack.conf.d/vmstep.conf

out=$(user srun -N2 --ntasks-per-node=1 --label vmstep check --full 2>&1)
is "vmstep check --full on both nodes: nothing fails" $? 0
like "... each has booted a VM" "$out" "0: ok +full .*1: ok +full|1: ok +full .*0: ok +full"
[[ $out != *failed\ \ * && $out == *full* ]] || diag "$out"
is "README's first step, as an ordinary user" \
	"$(user srun -N2 -n4 --vm-image=tiny sh -c 'echo "$(hostname): $(uname -s)"' 2>/dev/null |
		sort | tr '\n' ' ')" \
	"vm0: Linux vm1: Linux vm2: Linux vm3: Linux "
# In a fresh root, since nothing that a job needs may be in /tmp then. A job that
# Slurm 22.05 cannot make these directories for, a plain one as well, is revoked.
at_exit mc private down
ok "a cluster whose jobs have a /tmp of their own comes up" \
	mc private up 1 --private-tmp --plugstack /etc/slurm/plugstack.conf.d/vmstep.conf
cat >in-private <<'END'
echo "has $(srun ls /tmp /dev/shm | grep -c of-the-node)"
srun --vm-image=tiny --vm-fam=64M sh -c 'hostname; ls /sys/bus/pci/devices/*/resource2 | wc -l'
srun --vm-image=tiny --vm-image=disk.raw,ctl=c sh -c 'echo x >/dev/vda && kill -9 $$'
echo "status $?"
srun --vm-image=tiny sleep 1000 &
vmstep -j "$SLURM_JOB_ID.3" wait
vmstep -j "$SLURM_JOB_ID.3" exec hostname
vmstep -j "$SLURM_JOB_ID.3" poweroff
END
truncate -s 1M disk.raw
touch /tmp/of-the-node /dev/shm/of-the-node
begun() { mc private run -u "$test_user" salloc -Q -n1 sh ./in-private >"$tmp/said" 2>"$tmp/err"; }
begun_or_failed() { begun || ! grep -q revoked "$tmp/err"; }
ok "a job begins there" wait_for 200 begun_or_failed
is "it does not see the node's /tmp; steps of VMs, windows of memory, copies of an image, ops work" \
	"$(xargs <"$tmp/said")" "has 0 vm0 1 status 137 vm0"
rubbish() { find /tmp /dev/shm /run/vmstep -mindepth 1 -user "$test_user" 2>/dev/null; }
ok "nothing stays" wait_for 20 test -z "$(rubbish)"
mc private down

ok "the manual is there" test -e /usr/share/man/man7/vmstep.7.gz

echo 'default_net_mtu = 1500' >>/etc/vmstep/vmstep.conf
ok "it is upgraded" dpkg_quiet install -y --reinstall "$deb"
like "... and vmstep.conf stays the site's" "$(user vmstep config)" \
	"default_net_mtu +1500 +/etc/vmstep/vmstep.conf:[0-9]+"

mkdir -p /run/vmstep # as a step makes it
like "a removal tells of the line that is left" \
	"$(dpkg_quiet purge -y vmstep 2>&1)" "still has a line for vmstep.so"
is "Slurm goes on without it" "$(user srun -N1 hostname 2>/dev/null)" n1
rm /etc/slurm/plugstack.conf.d/vmstep.conf
mc fresh down
rm -rf /usr/share/vmstep/images/tiny.vm
rmdir -p /usr/share/vmstep/images 2>/dev/null
files >"$tmp/after"
is "nothing is left" "$(diff "$tmp/before" "$tmp/after")" ""
nok "nor in /run" test -e /run/vmstep

done_testing
