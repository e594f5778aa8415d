#!/bin/bash
# The machine that a guest sees, the ways in and out of it, and options from a
# file: one step of two tasks for most of it.
. "$(dirname "$0")/vm.sh"
bind=cores

python=/usr/bin/python3 # not one of root's own
need "$python"
vm_cluster 1 --cgroup --cpus real --mem 6000
conf "allow_outbound = yes" "allow_publish = 1024-65535" "allow_qemu_args = yes" \
	"mem_reserve = auto"
on_node() { mc vm node n1 "$@"; }
vmstep() { (cd "$tmp/home" && as_user vm "$build/inst/bin/vmstep" --config="$tmp/vmstep.conf" "$@"); }

# ---- a step with all of it ----

cat >"$tmp/home/job.conf" <<END
# what all have
image = tiny
outbound = user
display = vnc
qemu = $(command -v qemu-system-x86_64)

[groups]
head = 0
rest = 1-

[@head]
tftp-is-for = all
END
vrun -n2 --vm-config=job.conf true
is "a bad line in the file: status 255" $? 255
like "... and which it is" "$(cat "$tmp/err")" \
	'job.conf:12: tftp-is-for: there is no option --vm-tftp-is-for'
sed -i '/^tftp-is-for/d' "$tmp/home/job.conf"
cat >>"$tmp/home/job.conf" <<END
publish = 80=8080
[@rest]
publish = 80,7/udp
END

mkdir -p "$tmp/served"
echo "from the node" >"$tmp/served/file"
chmod -R a+rX "$tmp/served"
bg on_node "$python" -m http.server 8099 --bind 127.0.0.1 --directory "$tmp/served" >/dev/null 2>&1
serves() { [[ $(on_node ss -Hltn 'sport = :8099') ]]; }
ok "a server on the node" wait_for 60 serves

# shellcheck disable=SC2016 # the guests' shells expand it
(cd "$tmp/home" && exec "$top/contrib/minicluster" --name "vm-$$" run \
	-u "$test_user" srun -n2 -c1 --mem=512M --label --vm-config=job.conf \
	--vm-tftp="$tmp/served" sh -c '
	echo "guest $SLURM_PROCID" >/tmp/index.html
	httpd -h /tmp
	wget -q -O - http://vmhost:8099/file | sed "s/^/http: /"
	tftp -g -r file -l /tmp/got vmhost && sed "s/^/tftp: /" /tmp/got
	ping -c 1 -q vm0 >/dev/null && ping -c 1 -q vm1 >/dev/null && echo both reached
	sed "s/^/resolv: /" /etc/resolv.conf
	echo started; sleep 300' >"$tmp/out" 2>"$tmp/err") &
step=$!
both() { [[ $(grep -c started "$tmp/out") == 2 ]]; }
ok "a step of a file's options runs" wait_for 240 both
job=$(vsh 'squeue -h -o %i')
has() { is "$1" "$(grep -c "$2" "$tmp/out")" "$3"; }
has "each guest reaches a server on its node, as vmhost" 'http: from the node' 2
has "... and the node's files by TFTP" 'tftp: from the node' 2
has "... and the step's guests by their names" 'both reached' 2
has "... which the step's name server has, before the node's" \
	'resolv: nameserver \(10.255.255.254\|192.168.127.3\)' 4

# get PORT: what the node's 127.0.0.1 has there
get()
{
	on_node "$python" -c 'import sys, urllib.request as u
print(u.urlopen("http://127.0.0.1:%s/" % sys.argv[1], timeout=20).read().decode().strip())' "$1"
}
vmstep -j "$job" ps >"$tmp/ps"
like "vmstep ps says what is published" "$(cat "$tmp/ps")" '80/tcp is 127.0.0.1:8080 on n1'
any=$(sed -n 's,.* 80/tcp is 127.0.0.1:\([0-9]*\) on n1,\1,p' "$tmp/ps" | grep -vx 8080)
is "... at no other address" \
	"$(mc vm node n1 ss -Hltn | awk '{ print $4 }' | grep -E ":(8080|$any)\$" | sort -u | xargs)" \
	"$(printf '127.0.0.1:%s\n' 8080 "$any" | sort -u | xargs)"
is "a named port leads into its guest" "$(get 8080)" "guest 0"
is "... and a free one into the other" "$(get "$any")" "guest 1"
like "... the task says so, too" "$(cat "$tmp/err")" "vm\[1\]@n1: port 80/tcp is 127.0.0.1:$any on n1"
like "... one for UDP" "$(cat "$tmp/err")" 'vm\[1\]@n1: port 7/udp is 127.0.0.1:[0-9]+ on n1'

is "vmstep -r @GROUP is for the group's tasks" \
	"$(vmstep -j "$job" -r @rest exec hostname)" "vm1"
vmstep -j "$job" -r @nosuch exec hostname >/dev/null 2>"$tmp/err2"
is "... one that is not there: status 2" $? 2

like "vmstep display says where it is" "$(vmstep -j "$job" -r 1 display)" \
	"^n1:$runtime/[0-9]+/$job.0/vnc.1\$"
is "... and leads there from elsewhere" \
	"$(printf 'RFB 003.008\n' | vmstep -j "$job" -r 1 display --stdio | head -c 12)" \
	"RFB 003.008"
like "vmstep topo has both VMs where they run" "$(vmstep -j "$job" topo)" \
	'^n1:.*PU L#0 .P#0..*vm\[0\] vm0: virtual CPU 0.*PU L#1 .P#1..*vm\[1\] vm1: virtual CPU 0'
vmstep -j "$job" topo --svg="$tmp/home/%N.svg"
like "... also as SVG" "$(cat "$tmp/home/n1.svg")" '^<.xml.*<svg.*vm\[1\] vm1: virtual CPU 0.*</svg>'
vmstep -j "$job" -r 1 op vm.screendump "{\"path\": \"$tmp/home/screen\"}" >/dev/null
like "a picture of it goes into a file" "$(head -c 2 "$tmp/home/screen")" P6
vmstep -j "$job" -r 1 op vm.screendump "{\"path\": \"$tmp/none/screen\"}" 2>"$tmp/err2"
like "... or it is said why not" "$(<"$tmp/err2")" "path=$tmp/none/screen: No such file"
bg vmstep -j "$job" -r 1 display --socket="$tmp/home/vnc" 2>/dev/null
viewer=$!
ok "... or by a socket for viewers" wait_for 60 test -S "$tmp/home/vnc"
is "... which speaks VNC" "$(as_user vm "$python" -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(sys.argv[1])
print(s.recv(12).decode().strip())' "$tmp/home/vnc")" "RFB 003.008"
kill "$viewer"

vsh "scancel $job"
wait "$step"
clean "nothing stays of it"

# ---- CPUs and memory ----

shape='awk -F": *" "/^physical id/ { p[\$2] } /^core id/ { c[\$2] } /^processor/ { n++ }
	END { print length(p), length(c), n }" /proc/cpuinfo'
want=$(lscpu -p=SOCKET,CORE,CPU | awk -F, '!/^#/ { s[$1]; c[$1 "," $2]; n++ }
	END { print length(s), length(c), n }')
is "the guest's sockets, cores and threads are the task's" \
	"$(vrun -n1 -c"$(nproc)" --mem=512M --vm-image=tiny sh -c "$shape")" "$want"
is "... one of a task that is not pinned" \
	"$(vrun -n1 -c2 --mem=512M --vm-bind=none --vm-image=tiny sh -c "$shape")" "1 2 2"
is "--vm-bind=numa runs, too" \
	"$(vrun -n1 -c2 --mem=512M --vm-bind=numa --vm-image=tiny nproc)" 2
vrun -n1 --mem=2G --vm-image=tiny --vm-hugepages=1G true
is "huge pages that the node lacks: status 125" $? 125
like "... and what it has" "$(cat "$tmp/err")" \
	'--vm-hugepages=1G: the VM needs 1 pages, n1 has 0 free: ask for less'

# shellcheck disable=SC2016
fill='free=$(awk "/^MemAvailable/ { print int(\$2 / 1024) }" /proc/meminfo)
	mount -o remount,size=100% /dev/shm
	dd if=/dev/zero of=/dev/shm/x bs=1M count=$((free - 12)) 2>/dev/null && echo used'
for mib in 256 1024 4096; do
	is "a step of $mib MiB: its guest may use all of its memory" \
		"$(vrun -n1 --mem="$mib" --vm-image=tiny sh -c "$fill")" used
done
conf "mem_reserve = 8M"
nok "with too little kept back for QEMU it is killed" \
	vrun -n1 --mem=256 --vm-image=tiny sh -c "$fill"
like "... which is told of" "$(cat "$tmp/err")" \
	'the memory limit of 256M was hit, and the kernel killed QEMU: its guest had 248M, the site keeps 8M back'
clean "nothing stays of them"
done_testing
