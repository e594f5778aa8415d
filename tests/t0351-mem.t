#!/bin/bash
# Fabric-attached memory across nodes: guests of two nodes add to one counter and
# put and get by vmfam.h; vmop and the user's command ask for the same.
. "$(dirname "$0")/vm.sh"

need gcc pkg-config
fam_flags()
{
	PKG_CONFIG_PATH=$build/inst/lib/pkgconfig pkg-config --static "$@" vmfam
}
# shellcheck disable=SC2046
gcc -static -s -O2 -Wall -o "$tmp/mem" "$top/tests/mem.c" \
	$(fam_flags --cflags --libs)
is "a static program is made with what is installed" $? 0 ||
	done_testing # guests would wait for it
sed -n '/^\.EX/,/^\.EE/{/^\.E/d;s/\\e/\\/g;s/\\-/-/g;p}' "$top/doc/vmfam.3" \
	>"$tmp/sums.c"
# shellcheck disable=SC2046
gcc -static -s -O2 -Wall -Wextra -Werror -o "$tmp/sums" "$tmp/sums.c" \
	$(fam_flags --cflags --libs)
is "... and so is the example of vmfam(3)" $? 0
is "the library has no names but its own" \
	"$(nm -g --defined-only "$build/inst/lib/libvmfam.a" |
		awk 'NF == 3 && $3 !~ /^vmfam_/')" ""
vm_cluster 2
vms() { vsh "$build/inst/bin/vmstep -j 1 $*"; }

# In one step. The guests stay until they are told.
mkfifo "$tmp/in"
vrun -N2 --ntasks-per-node=2 --vm-image=tiny --vm-fam=64M --label --input=all \
	sh -c "head -c $(stat -c %s "$tmp/mem") >/tmp/mem; chmod 755 /tmp/mem
	/tmp/mem all \$SLURM_PROCID 4 2500000; read -r go" \
	<"$tmp/in" >"$tmp/out" &
step=$!
exec 9>"$tmp/in"
cat "$tmp/mem" >&9
all_say() { (($(grep -c "$1" "$tmp/out") == 4)); }
ok "four guests on two nodes add, put and get" \
	wait_for 400 all_say 'data'
diag "$(cat "$tmp/out" "$tmp/err")"
is "... and lose no update of 10 million" \
	"$(sed -n 's/^[0-3]: sum \([0-9]*\) .*/\1/p' "$tmp/out" | xargs)" \
	"10000000 10000000 10000000 10000000"
is "... the counter being on the node of two of them" \
	"$(sed -n 's/^\([0-3]\): sum.* here$/\1/p' "$tmp/out" | sort | xargs)" \
	"0 1"
is "... what one has put all others find, mapped or got" \
	"$(sed -n 's/^[0-3]: data //p' "$tmp/out" | sort | uniq -c | xargs)" \
	"2 got, 0 wrong 2 mapped, 0 wrong"

# The same by the user, and by a script in a guest.
place='"region":"words","item":"words","offset":512'
like "the user sees the regions" "$(vms -r 2 op mem.region.list)" '"words"'
like "... and puts from one node" \
	"$(vms "-r 3 op mem.put '{$place,\"data\":\"from the user\"}'")" \
	'"bytes": *13'
for rank in 0 2; do
	like "... what a guest of each gets by vmop" \
		"$(vms "-r $rank exec vmop call mem.get '{$place,\"size\":13}'")" \
		'"from the user"'
done
vms "cp $tmp/sums 1,3:/tmp/sums" >/dev/null
is "the example adds, in guests of both nodes" \
	"$(vms "-r 1,3 exec /tmp/sums" | grep -o '[0-9]*$' | sort -n | tail -1)" \
	2000000
echo >&9
exec 9>&-
wait "$step"
is "the step succeeds" $? 0
diag "$(cat "$tmp/err")"
clean "nothing stays"
done_testing
