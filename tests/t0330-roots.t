#!/bin/bash
# Root file systems: a SquashFS, by a directory and by an archive, and a
# directory. They boot with the tiny bundle's kernel and initial RAM disk, and
# are made from its own files.
. "$(dirname "$0")/vm.sh"

need mksquashfs cpio
roots=("kernel = $tiny/vmlinux" "initrd = $tiny/initramfs")
vm_cluster 2
conf "${roots[@]}"
cd "$tmp/home" || exit 1

# ---- a tree that is no tiny: without agent, modules and an init of ours ----

mkdir tree run
(cd tree && cpio --quiet -idm <"$tiny/initramfs") || skip_all "no tree"
rm -rf tree/{init,sbin/vmstep-*,sbin/init,etc/rc,etc/inittab,usr/lib/modules}
echo 'ID=a-root' >tree/etc/os-release
echo 'root:x:0:0:the tree:/home/root:/bin/sh' >tree/etc/passwd
mkdir -p tree/home/root tree/srv
echo mine >tree/srv/mine
echo theirs >tree/srv/theirs
chown -R "$test_user" .
chown 77:88 tree/srv/theirs
chmod 4755 tree/srv/theirs
sums() { (cd tree && find . -type f -exec sha256sum {} + | sort | sha256sum); }
before=$(sums)
# what a guest says of its root
look='. /etc/os-release; echo "$(id -un) $ID $HOME $(stat -c %u:%g:%a /srv/mine /srv/theirs | xargs)"
	echo new >/srv/new && cat /srv/new
	modprobe dummy && ip link show dummy0 >/dev/null && echo modules
	df / | tail -n 1 | tr -s " " | cut -d" " -f1
	df -m / | tail -n 1 | tr -s " " | cut -d" " -f2
	cat /proc/1/cmdline | tr "\0" " "; vmop info >/dev/null && echo vmop'

# ---- SquashFS ----

ok "mkimage makes one from a directory of the caller's" \
	as_user vm "$top/contrib/mkimage" root "$PWD/tree" "$PWD/dir.sqsh"
tar -C tree -czf tree.tar.gz .
ok "... and from an archive" "$top/contrib/mkimage" root tree.tar.gz tar.sqsh
mkdir -p empty/lib
nok "... and not from what is no root" "$top/contrib/mkimage" root empty empty.sqsh
is "... of which nothing stays" "$(echo .e* empty.*)" '.e* empty.*'
chown "$test_user" ./*.sqsh
image=$(sha256sum dir.sqsh)
vrun -N2 -n2 --vm-image='./dir.sqsh;./tar.sqsh,overlay=300M' --vm-mem=400M \
	--vm-rundir="$PWD/run" sh -c "echo \$SLURM_PROCID: \$(${look//$'\n'/;})" >out
is "two boot, one with its overlay on a disk: 0" $? 0
diag "$(cat "$tmp/err")"
like "the directory's: the image's own root, the files' owners, writable, modules" \
	"$(sort out)" "0: root a-root /home/root 0:0:644 77:88:4755 new modules root "
like "... written to memory, and our init reaps" "$(grep ^0 out)" \
	'root 2[0-9][0-9] /run/vmstep/busybox sh /run/vmstep/init vmop'
like "the archive's owners are as they were, and the disk has its size" "$(grep ^1 out)" \
	'1: root a-root /home/root [1-9][0-9]*:[0-9]*:644 77:88:4755 new modules root 2[89][0-9] '
is "... the image is as it was" "$(sha256sum dir.sqsh)" "$image"

# ---- a directory ----

vrun -N1 -n2 --vm-image=./tree,ctl=c --vm-mem=400M --vm-rundir="$PWD/run" \
	sh -c "$look; echo never >>/srv/mine" >out
is "a directory boots in two: 0" $? 0
diag "$(cat "$tmp/err")"
is "... what is the caller's is root's, others' is theirs" \
	"$(grep -c '^root a-root /home/root 0:0:644 77:88:4755$' out)" 2
is "... the directory is as it was" "$(sums)" "$before"
like "... with ctl=c its SquashFS stays" "$(cd run && echo *)" '^tree\.[0-9a-f]{16}\.sqsh$'
inode=$(stat -c %i run/*)
vrun -n1 --vm-image=./tree,ctl=c --vm-mem=400M --vm-rundir="$PWD/run" true
is "... and serves again" "$? $(stat -c %i run/*)" "0 $inode"
rm run/*
printf '#!/bin/sh\necho "own init, $$"; exec sleep 1000\n' >tree/srv/init
chmod 755 tree/srv/init
vrun -n1 --vm-image=./tree --vm-mem=400M --vm-rundir="$PWD/run" \
	--vm-append=init=/srv/init --vm-console="$PWD/console" \
	sh -c 'for i in $(seq 100); do
		is=$(tr "\0" " " </proc/1/cmdline)
		case $is in sleep*) break ;; esac # it may be about to become that
		sleep 0.1
	done; echo "$is"' >out
is "an init of the image's own is process 1, beside the agent" "$? $(<out)" "0 sleep 1000 "
like "... and started as such" "$(<console)" 'own init, 1'
is "... without ctl=c nothing stays" "$(ls -A run)" ""
chmod 0 tree/srv/theirs
vrun -n1 --vm-image=./tree --vm-rundir="$PWD/run" hostname >out
is "a file that cannot be read: 125" $? 125
like "... and is named" "$(cat "$tmp/err")" 'srv/theirs'
conf
vrun -n1 --vm-image=./dir.sqsh hostname >out
is "where the site has no kernel for it: 125" $? 125
like "... and says what to do" "$(cat "$tmp/err")" 'dir.sqsh is a root file system, and the site has no kernel for these'
clean "nothing is left"
done_testing
