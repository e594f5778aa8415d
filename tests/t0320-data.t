#!/bin/bash
# Data of the node in guests: SquashFS and directories to read, results,
# mounts by 9p and by virtiofs, scratch disks, the caller as a user.
. "$(dirname "$0")/vm.sh"

need mksquashfs
[[ -e $images/generic.vm/vm.conf ]] ||
	skip_all "$images/generic.vm is not there: contrib/mkimage tiny --kernel-package linux-image-amd64 (contrib/check does)"
vm_cluster 1
cd "$tmp/home" || exit 1
conf 'virtiofsd = none' "data_path = $tmp/site"

# 10,000 files and their sums; a directory to read, one to share, and others'.
mkdir "$tmp/site" tree params share secret
for d in {0..99}; do
	mkdir "tree/$d"
	for f in {0..99}; do echo "$d $f $RANDOM" >"tree/$d/$f"; done
done
(cd tree && find . -type f -not -name SUMS -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >"$tmp/SUMS")
mv "$tmp/SUMS" tree/SUMS
mksquashfs tree "$tmp/site/genome.sqsh" -no-progress -quiet >"$tmp/mksquashfs" 2>&1
rm -rf tree
echo 42 >params/answer
ln -s /etc/hostname params/link
echo secret >secret/file
echo old >share/old
chown -R "$test_user" .
chmod 755 params
# What is on the host beside results: names, kinds, owners, modes, times, bytes.
state()
{
	find . -path ./out\* -prune -o -path ./share -prune -o -printf '%p %y %u %m %T@ %s\n' |
		grep -v '^\. ' | LC_ALL=C sort
	sha256sum "$tmp/site/genome.sqsh" params/answer secret/file
}
before=$(state)
uid=$(id -u "$test_user")

# ---- a guest that can mount neither virtiofs nor 9p ----

# both LABEL TEXT NAME: each of the two tasks has said so
both() { is "$3" "$(grep -cxF -- "$1 $2" out)" 2; }

# shellcheck disable=SC2016
vrun -n2 --vm-image=tiny --vm-verbose --vm-user=me --vm-input=genome --vm-input=params \
	--vm-output=out-%t --vm-scratch=64M --vm-scratch=8M --vm-linger=none sh -c '
	cd /input/genome; echo sums $(sha256sum -c SUMS 2>/dev/null | grep -c ": OK$")
	for d in genome params; do
		touch /input/$d/new 2>/dev/null && echo wrote; done
	echo who $(id -un) $(id -u) $HOME
	echo dir $(cat /input/params/answer) $(readlink /input/params/link)
	for d in /scratch /scratch1; do echo mine >$d/file && echo $d $(cat $d/file); done
	mkdir /output/sub; echo $SLURM_PROCID >/output/sub/rank
	echo x >/output/run; chmod 750 /output/run; ln -s /etc/passwd /output/link
	exit $((SLURM_PROCID * 7))' >out
is "one of two tasks fails: its status" $? 7
diag "$(cat "$tmp/err" out)"
both sums 10000 "... both have read 10,000 files of a SquashFS, with right sums"
both dir "42 /etc/hostname" "... and a directory"
nok "... and cannot write there" grep -q wrote out
both who "$test_user $uid $(getent passwd "$test_user" | cut -d: -f6)" \
	"... as the caller, who is made in the guest"
both /scratch mine "... the scratch disk is mounted"
both /scratch1 mine "... and the second"
for i in 0 1; do
	is "... results of task $i are there, the user's" \
		"$(cd "out-$i" && find . -mindepth 1 -printf '%p %y %u %m %l ' | tr ' ' '\n' | LC_ALL=C sort | tr '\n' ' '; cat sub/rank)" \
		"$(printf '%s\n' ./link l "$test_user" 777 /etc/passwd ./run f "$test_user" 750 '' \
			./sub d "$test_user" 755 '' ./sub/rank f "$test_user" 644 '' | LC_ALL=C sort | tr '\n' ' ')$i"
done
is "... nothing else has changed on the host" "$(state)" "$before"
like "... it is said how each goes" "$(cat "$tmp/err")" \
	'/input/genome has .*genome.sqsh by disk.*/input/params: .*has no 9p; it is copied'

refused()
{
	vrun "${@:3}" >out
	is "$1: 125" $? 125
	like "... and says why" "$(cat "$tmp/err")" "$2"
}
refused "a directory to write to, where the guest can mount none" \
	"--vm-mounts: /m: the guest's kernel has no 9p; take a kernel that has it" \
	-n1 --vm-image=tiny --vm-mounts="$PWD/share:/m" true

bg vrun -n1 --vm-image=tiny --vm-output=out-cut sh -c 'echo some >/output/part; echo up; exec sleep 1000' >out
step=$!
ok "a command writes and waits" wait_for 120 grep -q up out
as_user vm scancel --signal=TERM 3 2>/dev/null || as_user vm scancel --signal=TERM "$(as_user vm squeue -h -o %A | head -n 1)"
wait "$step"
is "... ended by SIGTERM, as by a time limit: 143" $? 143
is "... what it wrote is there" "$(cat out-cut/part)" some

# The other guest's results are fetched when the command has ended.
vrun -n2 --vm-run=head --vm-image=tiny --vm-output=out-head-%t sh -c '
	echo mine >/output/file; exit 5'
is "--vm-run=head: status 5" $? 5
is "... results of the command" "$(cat out-head-0/file)" mine
is "... and those of a VM that served it" "$(find out-head-1 -printf "%p ")" "out-head-1 "

# ---- by 9p and by virtiofs ----

user_home=$(getent passwd "$test_user" | cut -d: -f6)
# shellcheck disable=SC2016
view='cat /input/answer; pwd; cat old; grep -cE " (/w|/r|/input|/output|$1) $0 " /proc/mounts
	echo new >made; mkdir dir; chown 7:7 made dir; chmod 640 made
	ln -s ../secret/file link; cat link ../secret/file 2>/dev/null
	mknod dev c 1 3 2>/dev/null && cat dev && echo device
	touch /r/no 2>/dev/null && echo wrote; ls /r; echo out >/output/result; echo end'

# shared KIND IMAGE [ARG...]: the step runs in the directory that it shares
shared()
{
	rm -rf share/{made,dir,link,dev} out-{dir,said}
	(cd share && as_user vm srun -n1 --vm-image="$2" --vm-verbose --vm-mount-home \
		--vm-mounts="$PWD:/w,../params:/r:ro" --vm-input=../params \
		--vm-output=../out-dir "${@:3}" sh -c "$view" "$1" "$user_home" 2>"$tmp/err" >../out-said)
	is "directories by $1: 0" $? 0
	diag "$(cat "$tmp/err")"
	is "... the guest sees what is there, from the working directory on, and nothing beside it" \
		"$(cat out-said)" "$(printf '%s\n' 42 /w old 5 answer link end)"
	is "... what its root made is the user's, and no device" \
		"$(cd share && stat -c '%n %U %A' -- *)" \
		"$(printf '%s\n' "dir $test_user drwxr-xr-x" "link $test_user lrwxrwxrwx" \
			"made $test_user -rw-r-----" "old $test_user -rw-r--r--")"
	is "... so are the results" "$(stat -c %U out-dir/result) $(cat out-dir/result)" "$test_user out"
	like "... it is said" "$(cat "$tmp/err")" "/w has $PWD/share by $1"
	is "... nothing else has changed" "$(state)" "$before"
}

shared 9p generic
virtiofsd=/usr/libexec/virtiofsd # of Debian 13 and later
[[ -x $virtiofsd ]] || virtiofsd=$images/virtiofsd/virtiofsd
if [[ -x $virtiofsd ]]; then
	conf "virtiofsd = $virtiofsd"
	shared virtiofs tiny
	bg vrun -n1 --vm-net=none --vm-image=tiny --vm-mounts="$PWD/share:/w" sh -c 'echo up; exec sleep 1000' >out
	step=$!
	ok "a guest without a network has a directory by virtiofs" wait_for 120 grep -q up out
	like "... vmstep ps says so" "$(vsh "$build/inst/bin/vmstep -j \$(squeue -h -o %A).0 ps")" "/w is $PWD/share by virtiofs"
	for op in 'net.link {"up":false}' 'net.capture {"io":"events"}' 'world.hosts {}'; do
		like "... ${op%% *} is refused" \
			"$(vsh "$build/inst/bin/vmstep -j \$(squeue -h -o %A).0 op ${op%% *} '${op#* }'" 2>&1)" \
			'--vm-net=none: no (network|addresses)'
	done
	for pid in $(mc vm node n1 pgrep -x vmstep-helper); do mc vm node n1 kill -9 "$pid"; done
	wait "$step"
	is "... its helper is killed: 137" $? 137
	clean "... and virtiofsd is gone with it"
else
	skip "directories by virtiofs" "$virtiofsd is not there (contrib/check gets it)"
fi

# ---- what the site says ----

conf 'virtiofsd = none' "data_path = $tmp/site" "allow_mounts = $PWD/params"
refused "a directory that the site does not give" \
	"--vm-mounts: $PWD/secret: the site gives guests files of $PWD/params only \(allow_mounts\)" \
	-n1 --vm-image=tiny --vm-mounts=params/../secret:/m:ro true
refused "data that is nowhere" "--vm-input=nosuch: no such data on n1, neither .* in $tmp/site" \
	-n1 --vm-image=tiny --vm-input=nosuch true
clean "nothing is left"
done_testing
