#!/bin/bash
# vmstep cp: files and directories into guests, out of them and between them,
# from a login host and from a node; and what is left where it breaks off.
. "$(dirname "$0")/vm.sh"

need jq
vm_cluster 2
vmstep=$build/inst/bin/vmstep

# From the login host, in the user's directory.
vms() { vsh "$vmstep -j 1.0 $*" 2>"$tmp/vms.err"; }
on_node() # NODE CMD...: as the user
{
	local node=$1
	shift
	(cd "$tmp/home" && mc vm node "$node" setpriv --reuid="$test_user" \
		--regid="$test_user" --init-groups env PATH="$PATH" "$@")
}
say_err() { diag "$(cat "$tmp/vms.err")"; }
# What the guests' sha256sum says of FILE, once if they agree.
sums() { vms -r "$1" exec sha256sum "$2" | sed 's/^[0-9]*: //' | cut -c1-64 | sort -u; }
sum() { sha256sum <"$tmp/home/$1" | cut -c1-64; }

bg vrun -N2 -n4 -m block --vm-image=tiny sh -c 'echo up; sleep 10000' >"$tmp/out"
step=$!
all_up() { (($(grep -c up "$tmp/out") == 4)); }
ok "a step of four guests on two nodes" wait_for 240 all_up

cd "$tmp/home" || exit 1
as_user vm mkdir -p tree/sub
as_user vm bash -c 'head -c 20000000 /dev/urandom >big; echo small >small
	echo one >tree/one; chmod 751 tree/one; ln -s ../one tree/sub/link
	ln tree/one tree/again; touch -d @1000000000 tree/one; chmod 2755 tree/sub
	head -c 300000 /dev/urandom >tree/sub/data; : >"tree/a name"
	truncate -s 300M holes; echo end >>holes'

# ---- files ----

# Bytes that the nodes have got by their own interfaces.
got() { for n in n1 n2; do mc vm node $n cat /sys/class/net/eth0/statistics/rx_bytes; done; }
mapfile -t before < <(got)
vms cp big 0-3:/tmp/big
is "a file into four guests on two nodes: status 0" $? 0
say_err
mapfile -t after < <(got)
is "... all have the same" "$(sums 0-3 /tmp/big)" "$(sum big)"
for i in 0 1; do
	n=$((after[i] - before[i]))
	ok "... the link to node n$((i + 1)) has carried it once" \
		test $n -ge 20000000 -a $n -lt 30000000
	diag "$n bytes"
done
vms cp 3:/tmp/big back
is "... and out of one again: status 0" $? 0
say_err
ok "... it is the same" cmp big back

vms cp tree/one 1:/tmp/
is "a directory of the guest takes it, with mode and time" \
	"$(vms -r 1 exec stat -c "'%a %Y'" /tmp/one)" "751 1000000000"
vms cp 1:/tmp/one got
is "... out again, too" "$(stat -c '%a %Y' got)" "751 1000000000"
vms cp 0-2:/proc/sys/kernel/hostname host-%t
is "several guests' files go to paths of their own" \
	"$(cat host-0 host-1 host-2 | paste -sd,)" vm0,vm1,vm2
vms cp 0:/tmp/big 1,3:/tmp/copy
is "from guest to guests: status 0" $? 0
say_err
is "... it is the same" "$(sums 1,3 /tmp/copy)" "$(sum big)"
vms cp holes 2:/tmp/holes
is "a file with holes: status 0" $? 0
say_err
is "... has them in the guest" \
	"$(vms -r 2 exec sh -c "'stat -c %s /tmp/holes; test \$(du -k /tmp/holes | cut -f1) -lt 1000 && echo holes'" | paste -sd,)" \
	"$((300 * 1048576 + 4)),holes"
vms cp 2:/tmp/holes holes2
ok "... and back" test "$(stat -c %s holes2)" = $((300 * 1048576 + 4)) -a \
	"$(du -k holes2 | cut -f1)" -lt 1000

is "standard input and output" \
	"$(vsh "echo through | $vmstep -j 1.0 cp - 2:/tmp/in && $vmstep -j 1.0 cp 2:/tmp/in -")" through

# ---- trees ----

vms cp tree 0,3:/tmp
is "a directory into guests: status 0" $? 0
say_err
vms cp 3:/tmp/tree out
is "... and out again: status 0" $? 0
say_err
list() { (cd "$1" && find . -printf '%p %y %m %l %n ' -type f -printf '%T@ ' -printf '\n' | LC_ALL=C sort); }
is "... names, kinds, modes, links and times are the same" "$(list out)" \
	"$(list tree | sed 's/ 2755 / 755 /')"
ok "... what is in them, too" diff -r --no-dereference tree out
is "... as an archive on standard output" \
	"$(vsh "$vmstep -j 1.0 cp 0:/tmp/tree - | tar -t" | sort | head -n 2 | paste -sd,)" "./,./a name"

# ---- from a node ----

on_node n1 "$vmstep" -j 1.0 cp small 0-3:/tmp/small
is "from a node of the step" "$(vms -r 0-3 exec cat /tmp/small | cut -c4- | sort -u)" small

# ---- what does not go ----

vms cp small 0,2:/nowhere/x
is "no such directory: status 1" $? 1
like "... each guest says it" "$(sort "$tmp/vms.err" | paste -sd' ')" 'vm.0.*nowhere.*No such file.*vm.2.*nowhere'
vms cp 0:/nowhere x
is "no such file: status 1" $? 1
like "... which" "$(cat "$tmp/vms.err")" '/nowhere.*No such file'
ok "... nothing is made of it" test ! -e x
vms cp small 3,9:/tmp/s9
is "a task that is not there: status 1" $? 1
is "... the other has it" "$(vms -r 3 exec cat /tmp/s9)" small
vms cp 9:/etc/passwd x
like "... nor to copy from" "$?:$(cat "$tmp/vms.err")" '^1:.*no such task'
vms -r 2-9999999 op task.echo >none
is "ranks that the step has not: status 1" $? 1
is "... one error for all of them" "$(cat "$tmp/vms.err")" \
	"vmstep: error: vm[4-9999999]: the step has 4 tasks, ranks 0 to 3"
is "... the others do it" "$(cut -d: -f1 none | paste -sd,)" 2,3
vms cp small other
is "no guest at all: status 2" $? 2
vms cp 0-1:/etc/passwd x
like "several guests' files to one path: refused" "$?:$(cat "$tmp/vms.err")" '^2:.*%t'

left() { vms -r "$1" exec sh -c "'ls -A $2 | paste -sd,'"; }
vms -r 1 exec sh -c "'mkdir /tmp/full && mount -t tmpfs -o size=4m none /tmp/full'"
vms cp big 1,2:/tmp/full/big
is "a full file system: status 1" $? 1
like "... named" "$(cat "$tmp/vms.err")" 'vm.1.*No space left'
is "... no file is left" "$(left 1 /tmp/full)" ""
vms cp --json small 1-2:/tmp/full/small >json
is "--json: who has it, and who not" \
	"$(jq -c '[.done, .results["1"].result.bytes, .results["2"].error.data.name]' json)" \
	'[false,6,"E_NOENT"]'

# ---- killed in the middle ----

vms -r 0-3 exec mkdir /tmp/cut
mkfifo "$tmp/home/slow"
chown "$test_user" "$tmp/home/slow"
bg vsh "exec $vmstep -j 1.0 cp - 0-3:/tmp/cut/file <slow" 2>"$tmp/cut.err"
cut=$!
exec 7>"$tmp/home/slow"
head -c 1000000 /dev/zero >&7
writing() { (($(vms -r 0-3 exec sh -c "'ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c /tmp/cut/'" | grep -vc ': 0$') == 4)); }
ok "a copy to four guests stands in the middle" wait_for 60 writing
kill -9 "$(pgrep -o -u "$test_user" -f "^$vmstep -j 1.0 cp - 0-3:/tmp/cut/file")"
exec 7>&-
wait $cut
writers() { vms -r 0-3 exec sh -c "'ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c /tmp/cut/'" | grep -vc ': 0$'; }
over() { (($(writers) == 0)); }
ok "killed, it ends in all of them" wait_for 60 over
is "... and leaves nothing" "$(left 0-3 /tmp/cut | cut -c4- | sort -u)" ""
vms cp small 0-3:/tmp/cut/file
is "... the next one works" $? 0

vms poweroff
wait $step
clean "nothing is left of it"
done_testing
