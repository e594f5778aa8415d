#!/bin/bash
# An unmodified vendor-like cloud image: through cloud-init, and ssh by name.
. "$(dirname "$0")/vm.sh"

image=$images/debian.qcow2
[[ -e $image ]] || skip_all "$image is not there: contrib/mkimage debian"
vm_cluster 2

before=$(sha256sum <"$image")
out=$(vrun -N2 -n2 --vm-image=debian --vm-boot-timeout=600 cat /etc/os-release | sort | uniq -c)
is "both guests show the image's system" \
	"$(grep -c '2 ID=debian' <<<"$out")" 1
diag "$(cat "$tmp/err")"

# The command runs while the guest still boots; sshd comes up meanwhile.
out=$(vrun -N2 -n2 --vm-image=debian.qcow2 --vm-boot-timeout=600 sh -c '
	peer=vm$((1 - SLURM_PROCID)) i=0
	until [ $i -ge 120 ] || (exec 3<>/dev/tcp/$peer/22) 2>/dev/null ||
		timeout 2 bash -c "exec 3<>/dev/tcp/$peer/22" 2>/dev/null; do
		i=$((i + 1)); sleep 1
	done
	ssh -o BatchMode=yes $peer hostname' | sort | tr '\n' ' ')
is "two guests ssh to each other by name, unasked" "$out" "vm0 vm1 "
diag "$(cat "$tmp/err")"
out=$(vrun -n1 --vm-image=debian --vm-net=none --vm-boot-timeout=600 \
	systemctl show -P Result systemd-networkd-wait-online)
is "--vm-net=none: the boot does not wait for a network in vain" "$out" success
is "the image file is as it was" "$(sha256sum <"$image")" "$before"
clean "nothing stays"
done_testing
