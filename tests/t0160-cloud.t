#!/bin/bash
# An unmodified vendor-like cloud image. Four guests on two nodes, in one boot,
# which is slow: three through our cloud-init seed, with ssh by name; the fourth
# by a seed of the user's own, which leaves its address to Debian's DHCP client.
# Names come from the step's DNS, and MPI runs over ssh between all of them. One
# more has no network, and is logged in to by vmstep ssh; it is a raw disk that
# UEFI boots, has the machine id of another, and a cloud-init directory of the
# user's. Task 2's disk is a chain of three overlays.
. "$(dirname "$0")/vm.sh"

image=$images/debian.qcow2
[[ -e $image ]] || skip_all "$image is not there: contrib/mkimage debian"
need genisoimage ssh ssh-keygen debugfs sfdisk
vm_cluster 2
before=$(sha256sum <"$image")

# ---- a seed of the user's own for rank 3: DHCP, a key, the agent last ----

seed=$tmp/seed
mkdir "$seed"
ssh-keygen -q -t ed25519 -N '' -C test -f "$tmp/key"
cp "$libexec/vmstep-agent" "$seed"
echo "instance-id: own" >"$seed/meta-data"
cat >"$seed/network-config" <<-END
	version: 2
	ethernets:
	  any:
	    match: {name: "e*"}
	    dhcp4: true
	    accept-ra: false
	    dhcp4-overrides: {use-domains: true}
END
cat >"$seed/user-data" <<-END
	#cloud-config
	disable_root: false
	users:
	  - name: root
	    ssh_authorized_keys: ["$(cat "$tmp/key.pub")"]
	runcmd:
	  - - sh
	    - -c
	    - |
	      {
	        ip -4 -o addr show dynamic
	        cat /run/systemd/netif/leases/*
	        resolvectl dns
	        for name in vm0 vm1.step.example; do
	          echo "\$name is \$(resolvectl -4 --legend=no query \$name | head -n 1)"
	        done
	      } >/root/report.new 2>&1
	      mv /root/report.new /root/report
	      mkdir /run/vmstep /run/seed
	      mount -t tmpfs vmstep /run/vmstep
	      mount -t iso9660 -o ro LABEL=cidata /run/seed
	      cp /run/seed/vmstep-agent /run/vmstep/
	      systemd-run --collect --unit=vmstep-agent /run/vmstep/vmstep-agent
END
genisoimage -quiet -V cidata -r -J -o "$tmp/home/seed.img" "$seed"
chmod 644 "$tmp/home/seed.img"

# ---- the disks: a chain, and a raw one that has booted before ----

for i in 1 2 3; do
	below=chain$((i - 1)).qcow2
	((i > 1)) || below=$image
	qemu-img create -q -f qcow2 -F qcow2 -b "$below" "$tmp/home/chain$i.qcow2"
done
qemu-img convert -f qcow2 -O raw "$image" "$tmp/home/raw.img"
start=$(sfdisk -J "$tmp/home/raw.img" | jq '.partitiontable.partitions[-1].start')
old_id=0123456789abcdef0123456789abcdef
echo $old_id >"$tmp/machine-id"
PATH=$PATH:/sbin:/usr/sbin debugfs -w -f - "$tmp/home/raw.img?offset=$((start * 512))" >"$tmp/debugfs" 2>&1 <<-END
	rm /etc/machine-id
	write $tmp/machine-id /etc/machine-id
	sif /etc/machine-id mtime @1577836800
END
chmod 644 "$tmp"/home/{chain?.qcow2,raw.img}

# ---- a directory of the user's ----

ok "vmstep image seed makes a directory for cloud-init" \
	vsh "HOME=$tmp/home $build/inst/bin/vmstep image seed $tmp/home/own"
cat >"$tmp/home/own/user-data" <<-'END'
	## template: jinja
	#cloud-config
	bootcmd:
	  - echo "bootcmd of rank {{ ds.meta_data.vmstep_rank }}" >/run/own
	write_files:
	  - path: /root/written
	    content: "by write_files of {{ v1.instance_id }}"
	users:
	  - default
	  - {name: ann, gecos: "the user's own"}
END
echo 'echo from the seed' >"$tmp/home/own/script.sh"
raw_before=$(sha256sum <"$tmp/home/raw.img")

# ---- what rank 0 does ----

cat >"$tmp/home/ring.c" <<'END'
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define N 1000000 /* bytes to each, in the all-to-all */

static void die(const char *what)
{
	fprintf(stderr, "%s is wrong\n", what);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

/* A number goes round, and each adds its own. */
static void ring(int me, int n)
{
	int next = (me + 1) % n, before = (me + n - 1) % n, sum = 0;

	if (me == 0)
		MPI_Send(&sum, 1, MPI_INT, next, 0, MPI_COMM_WORLD);
	MPI_Recv(&sum, 1, MPI_INT, before, 0, MPI_COMM_WORLD,
		 MPI_STATUS_IGNORE);
	sum += me;
	if (me)
		MPI_Send(&sum, 1, MPI_INT, next, 0, MPI_COMM_WORLD);
	else if (sum != n * (n - 1) / 2)
		die("the ring's sum");
}

static void all_to_all(int me, int n)
{
	unsigned char *out = malloc((size_t)n * N), *in = malloc((size_t)n * N);

	for (int to = 0; to < n; to++)
		for (int i = 0; i < N; i++)
			out[to * N + i] = (unsigned char)(me * 37 + to * 11 + i);
	MPI_Alltoall(out, N, MPI_BYTE, in, N, MPI_BYTE, MPI_COMM_WORLD);
	for (int from = 0; from < n; from++)
		for (int i = 0; i < N; i++)
			if (in[from * N + i] !=
			    (unsigned char)(from * 37 + me * 11 + i))
				die("a byte of the all-to-all");
}

int main(int argc, char **argv)
{
	char name[MPI_MAX_PROCESSOR_NAME];
	int me, n, len;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &me);
	MPI_Comm_size(MPI_COMM_WORLD, &n);
	MPI_Get_processor_name(name, &len);
	ring(me, n);
	all_to_all(me, n);
	printf("rank %d of %d on %s: right\n", me, n, name);
	MPI_Finalize();
	return 0;
}
END
# It begins when its own agent answers: what it compiles is ready when others are.
cat >"$tmp/script" <<END
set -e
main()
{
cd /root
cat >key <<'KEY'
$(cat "$tmp/key")
KEY
chmod 600 key
cat >.ssh/config <<'CONFIG'
Host *
BatchMode yes
Host vm3
IdentityFile /root/key
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
CONFIG
cat >ring.c <<'C'
$(cat "$tmp/home/ring.c")
C
echo "os \$(hostname) \$(grep ^ID= /etc/os-release)"
for i in \$(seq 60); do getent -s dns hosts vm2 && break; sleep 1; done |
	sed 's/^/by DNS: /'
mpicc -O1 -o ring ring.c
for i in 1 2 3; do
	until ssh vm\$i true 2>/dev/null; do sleep 1; done
	ssh vm\$i 'cat >ring && chmod 755 ring' <ring
done
for i in 1 2; do
	ssh vm\$i 'echo "os \$(hostname) \$(grep ^ID= /etc/os-release)"
		echo "\$(hostname) by ssh to \$(ssh -o BatchMode=yes vm0 hostname)"'
done
until ssh vm3 cat report >report 2>/dev/null; do sleep 1; done # its cloud-init is slower
sed 's/^/report: /' report
mpirun --allow-run-as-root --host vm0,vm1,vm2,vm3 -np 4 /root/ring
}
main </dev/null # ssh reads on
END

# One more boots beside them, without a network.
(cd "$tmp/home" && as_user vm srun -J alone -n1 --vm-image=raw.img --vm-net=none \
	--vm-firmware=uefi --vm-cloud-init=own --vm-mem=800M --vm-boot-timeout=900 \
	sh -c 'systemctl show -P Result systemd-networkd-wait-online
		{ ls /sys/firmware; cat /etc/machine-id /sys/class/dmi/id/product_uuid
		cloud-init status --wait; cat /run/own /root/written; id ann
		mount -t iso9660 -o ro LABEL=cidata /mnt && sh /mnt/script.sh; } 2>&1 | sed "s/^/says: /"
		exec sleep 10000') \
	>"$tmp/alone" 2>"$tmp/alone.err" &
alone=$!
vrun -N2 -n4 --vm-wait=agent --vm-run=head --vm-mem=800M --vm-boot-timeout=900 \
	--vm-domain=step.example \
	--vm-image='0-1,3:debian' --vm-image=2:chain3.qcow2 --vm-image=3:seed.img,fmt=raw --vm-cloud-init=3:none \
	--vm-console='console-%t' bash -s <"$tmp/script" >"$tmp/out"
status=$?
is "four guests on two nodes: status 0" $status 0
((status == 0)) || diag "$(cat "$tmp/err" "$tmp/out")"
is "guests show the image's system" "$(grep -c '^os vm[012] ID=debian$' "$tmp/out")" 3
is "guests ssh to each other by name, unasked" \
	"$(grep -c '^vm[12] by ssh to vm0$' "$tmp/out")" 2
is "MPI runs in them: a ring and an all-to-all are right on each" \
	"$(grep -c '^rank [0-3] of 4 on .*: right$' "$tmp/out")" 4
diag "$(grep -v '^rank' "$tmp/out")"
like "a static guest knows the step's name server" "$(cat "$tmp/out")" \
	'by DNS: 10\.0\.0\.3 +vm2\.step\.example'
report=$(sed -n 's/^report: //p' "$tmp/out")
like "the distribution's own DHCP client got the rank's address" "$report" \
	'inet 10\.0\.0\.4/8 .*dynamic'
like "... with its name" "$report" 'HOSTNAME=vm3'
like "... domain" "$report" 'DOMAINNAME=step\.example'
like "... and the name server" "$report" 'DNS=10\.255\.255\.254'
like "names are resolved by it" "$report" 'vm0 is vm0: 10\.0\.0\.1'
like "... with the domain, too" "$report" 'vm1\.step\.example is vm1\.step\.example: 10\.0\.0\.2'

ok "--vm-net=none: a guest boots" wait_for 600 test -s "$tmp/alone"
is "... and does not wait for a network in vain" "$(head -n 1 "$tmp/alone")" success
said() { grep -q '^says: from the seed' "$tmp/alone"; }
ok "... a raw disk, with a cloud-init directory of the user's" wait_for 600 said
diag "$(cat "$tmp/alone.err")"
says=$(sed -n 's/^says: //p' "$tmp/alone")
like "UEFI has booted it" "$says" '(^|[[:space:]])efi[[:space:]]'
uuid=$(grep -E '^[0-9a-f]{8}-' <<<"$says")
is "its machine id is its UUID, and not the image's" \
	"$(grep -E '^[0-9a-f]{32}$' <<<"$says")" "${uuid//-/}"
like "the user's bootcmd ran, as a template" "$says" 'bootcmd of rank 0'
like "so did write_files, with our own" "$says" 'by write_files of own-[0-9.]+-0'
like "... and users" "$says" 'uid=[0-9]+\(ann\)'
is "the raw disk is as it was" "$(sha256sum <"$tmp/home/raw.img")" "$raw_before"
job=$(as_user vm squeue -h -n alone -o %i)
# From the login host; there is no other way to this guest.
log_in() { vsh "$build/inst/bin/vmstep -j $job ssh $*" 2>"$tmp/ssh.err"; }
is "vmstep ssh: a command, as root" "$(log_in "'id -un; uname -n'" | xargs)" "root vm0"
diag "$(cat "$tmp/ssh.err")"
is "... its host key is known, and is not learnt" \
	"$(grep -ciE 'authenticity|permanently added' "$tmp/ssh.err")" 0
head -c 300000 /dev/urandom >"$tmp/data"
is "... as the image's own user, bytes are as they are" \
	"$(log_in --user=debian "'id -un >&2; cat'" <"$tmp/data" | sha256sum)" \
	"$(sha256sum <"$tmp/data")"
like "... it is that" "$(cat "$tmp/ssh.err")" debian
log_in "'exit 7'"
is "... its status is the command's" $? 7
as_user vm scancel "$job"
wait "$alone"
is "the image file is as it was" "$(sha256sum <"$image")" "$before"
clean "nothing stays"
done_testing
