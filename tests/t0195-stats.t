#!/bin/bash
# vmstep stats: what a step's network carries, from its nodes and the login
# host.
. "$(dirname "$0")/vm.sh"

need jq python3
vm_cluster 2
vmstep=$build/inst/bin/vmstep
other=vmtest2
id $other &>/dev/null || useradd -m $other

stats() { vsh "$vmstep $*" 2>"$tmp/stats.err"; }
on_node() # NODE ARG...: as the user, on a node of the step
{
	local node=$1
	shift
	(cd "$tmp/home" && mc vm node "$node" setpriv --reuid=$test_user \
		--regid=$test_user --init-groups env PATH="${path-$PATH}" "$vmstep" "$@") \
		2>"$tmp/stats.err"
}
# What JSON FILE says of bytes from RANK to RANK.
sent()
{
	jq "[.nodes[].ports[] | select(.rank == $2) | .to[] | select(.[0] == $3)
		| .[2]] | add" "$1"
}
within() { (($1 >= $2 && $1 <= $3)); }

# ---- a transfer of known size ----

size=2097152
talk="case \$SLURM_PROCID in
0) mkdir /web; head -c $size /dev/zero >/web/file; busybox httpd -h /web ;;
2) until busybox wget -q -O /dev/null http://vm0/file; do sleep 0.3; done; echo sent ;;
esac
sleep 1000"
bg vrun -N2 -n3 --vm-image=tiny sh -c "$talk" >"$tmp/out"
step=$!
ok "a step sends $size bytes from task 0 to task 2" wait_for 180 grep -q sent "$tmp/out"

stats -j 1.0 --json stats >ctl.json
is "vmstep stats --json from the login host: status 0" $? 0
diag "$(cat "$tmp/stats.err")"
is "... it knows the step" "$(jq -c '[.step, .tasks, .node_count, .complete]' ctl.json)" '["1.0",3,2,true]'
bytes=$(sent ctl.json 0 2)
diag "0 to 2: $bytes bytes"
ok "... and what went from 0 to 2: the transfer and its headers" \
	within "$bytes" $size $((size * 110 / 100))
ok "... the way back carried acknowledgements only" \
	within "$(sent ctl.json 2 0)" 100 $((size / 10))
is "... nobody sent anything to task 1 but what every guest does" \
	"$(sent ctl.json 2 1)" null
is "... tasks are in order" "$(jq -c '[.nodes[].ports[].rank]' ctl.json)" '[0,1,2]'
# nodes are not asked at the same moment, and guests say a word now and then
taken() { jq -c "[.nodes[0].links[0].out.frames, .nodes[1].links[0].in.frames]" "$1"; }
as_taken()
{
	stats -j 1.0 --json stats >again.json
	jq -e '.nodes[0].links[0].out.frames as $n | $n > 0 and $n == .nodes[1].links[0].in.frames' again.json
}
ok "... what the link to n2 took is what came out of it" wait_for 60 as_taken
diag "$(taken again.json)"
is "... each batch is in one bucket of each kind" \
	"$(jq -c '[.nodes[] | (.ports[], .links[]).batches | .in, .out
		| (.frames | add) == (.bytes | add)] | unique' ctl.json)" '[true]'
is "... every guest has rings with an event index" \
	"$(jq -c '[.nodes[].ports[].rings[] | .size > 0 and .event_index and
		.available <= .size] | unique' ctl.json)" '[true]'
ok "... kicks are counted" test "$(jq '[.nodes[].ports[].rings[].kicks] | add' ctl.json)" -gt 0

on_node n1 -j 1.0 --json stats >n1.json
is "the same from a node of it: status 0" $? 0
diag "$(cat "$tmp/stats.err")"
same_matrix()
{
	stats -j 1.0 --json stats >again.json
	on_node n1 -j 1.0 --json stats >n1.json
	[[ $(sent n1.json 0 2) == "$(sent again.json 0 2)" && $(sent n1.json 0 2) -ge $bytes ]]
}
ok "... and the same matrix" wait_for 60 same_matrix

stats -j 1 -r 0 stats >text
is "as text, of one task, where the job has one VM step: status 0" $? 0
like "... a line for it" "$(cat text)" $'\n     0 n1 +[0-9]+ +2\.[0-9]*M '
is "... and none for others" "$(grep -c '^     2 n2' text)" 0
is "... in 80 columns" "$(grep -cE '.{81}' text)" 0
like "... links" "$(cat text)" 'n1 n2 up'
stats -j 1.0 stats --verbose >text
like "--verbose adds batches" "$(cat text)" 'frames from a guest +1\+:'
like "... and rings" "$(cat text)" 'transmit +256'
is "... in 80 columns" "$(grep -cE '.{81}' text)" 0

stats -j 1.0 stats --matrix=m.svg
is "--matrix: status 0" $? 0
is "... is XML with a cell for each pair, for all and others" "$(python3 -c '
import xml.etree.ElementTree as e, sys
t = e.parse(sys.argv[1])
print(len([r for r in t.iter("{http://www.w3.org/2000/svg}rect")
	if len(r) and " to " in r[0].text]))' "$tmp/home/m.svg")" $((3 * 5))
like "... which say who and how much" "$(cat "$tmp/home/m.svg")" \
	'0 on n1 to 2 on n2: 2\.[0-9]+MB'
stats -j 1.0 stats --matrix=/nowhere/m.svg
is "a file that cannot be made: status 1" $? 1
like "... and why" "$(cat "$tmp/stats.err")" '--matrix=/nowhere/m.svg: No such file'

# ---- again and again ----

cat_watch() { grep -c '"step":"1.0"' watch.json; }
two_lines() { (($(cat_watch) >= 2)); }
bg as_user vm "$vmstep" -j 1.0 --json stats --watch >watch.json 2>watch.err
watch=$!
ok "--watch --json prints a line each second" wait_for 60 two_lines
kill -INT $watch
wait $watch
is "... until SIGINT: status 0" $? 0
is "... and says nothing of that" "$(cat watch.err)" ""
is "... with both nodes in each" "$(jq -c '.complete' watch.json | sort -u)" true
has_steps() { [[ $(vsh 'squeue -hs -o %i' | grep -c "$1") == "$2" ]]; }
ok "... and srun's step is gone" wait_for 60 has_steps '^1\.' 1

kills=5 good=0
for ((i = 0; i < kills; i++)); do
	mc vm node n1 sh -c 'kill -9 $(pgrep -o -f "[v]mstep-net .*--node=n1")'
	stats -j 1.0 --json stats >kill.json && [[ $(jq .complete kill.json) == true ]] &&
		((good++))
done
is "it answers while vmstep-net is killed and started again" $good $kills
diag "$(cat "$tmp/stats.err")"
ok "... whose counters begin anew" test "$(sent kill.json 0 2)" != "$bytes"

# ---- what is not there ----

stats -j 1.7 stats
is "a step that is not there: status 3" $? 3
stats -j 99 stats
status=$?
ok "a job that is not there: status 1 or 3" within $status 1 3
ok "... with words" test -s "$tmp/stats.err"
stats stats
is "no job: status 3" $? 3
like "... and the cure" "$(cat "$tmp/stats.err")" 'say -j JOB'
stats -j nonsense stats
is "no job's number: status 2" $? 2
stats teleport
is "a command that there is not: status 2" $? 2
like "... and says so" "$(cat "$tmp/stats.err")" "unknown command 'teleport'"
(cd "$tmp/home" && mc vm run -u $other "$vmstep" -j 1.0 stats) >text 2>"$tmp/stats.err"
is "another user's: status 1" $? 1
like "... Slurm refuses" "$(cat "$tmp/stats.err")" 'ermission denied'
is "... and nothing is shown" "$(cat text)" ""
vsh "scancel 1"
wait $step
clean "nothing stays"

# ---- at a step's end ----

size=300000
web="case \$SLURM_PROCID in
0) mkdir /web; head -c $size /dev/zero >/web/file; busybox httpd -h /web ;;
2) until busybox wget -q -O /dev/null http://vm0/file; do sleep 0.3; done ;;
esac"
vrun -N2 -n3 --vm-image=tiny --vm-verbose --vm-stats=end-%j.%s-%t-%N.json sh -c "$web"
is "a step with --vm-stats: status 0" $? 0
end=$(cd "$tmp/home" && echo end-*)
is "... one file, whose name is rank 0's" "$end" "$(cd "$tmp/home" && echo end-*.0-0-n1.json)"
is "... of all nodes" "$(jq -c '[.tasks, .node_count, .complete, (.nodes | length)]' \
	"$tmp/home/$end")" '[3,2,true,2]'
ok "... of this moment" within "$(jq .ended "$tmp/home/$end")" $(($(date +%s) - 60)) \
	"$(date +%s)"
ok "... with what went from 0 to 2" \
	within "$(sent "$tmp/home/$end" 0 2)" $size $((size * 115 / 100))
is "--vm-verbose says it once" "$(grep -c "the step's network: 3 tasks, 2 nodes" "$tmp/err")" 1
like "... with drops" "$(cat "$tmp/err")" '[0-9]+ frames dropped'
vrun -n1 --vm-image=tiny --vm-stats=/nowhere/x true
is "a file that cannot be made: status 125" $? 125
like "... before anything runs" "$(cat "$tmp/err")" '--vm-stats=/nowhere/x: No such file'
vrun -n1 --vm-image=tiny --vm-stats=/dev/full true
is "a full disk does not change the status" $? 0
like "... but is told" "$(cat "$tmp/err")" '--vm-stats=/dev/full: No space'
vrun -N2 -n2 --vm-image=tiny --vm-stats=failed.json sh -c 'exit $((SLURM_PROCID * 0 + 3))'
is "a step that fails keeps its status" $? 3
ok "... and has its file" jq -e .tasks "$tmp/home/failed.json"
vrun -N1 -n2 --vm-image=tiny --vm-log=/dev/stderr true
is "--vm-log=/dev/stderr: status 0" $? 0
like "... has the helpers' log" "$(cat "$tmp/err")" '[0-9.]+ vmstep: vm\[1\]@n1: '
like "... and vmstep-net's" "$(cat "$tmp/err")" '[0-9.]+ vmstep: net@n1: '
conf 'default_stats = site.json'
vrun -n1 --vm-image=tiny true
is "default_stats of vmstep.conf: status 0" $? 0
is "... has its file" "$(jq -c '[.tasks, .complete]' "$tmp/home/site.json")" '[1,true]'
conf
clean "nothing stays"

# ---- a job with two VM steps, and one that is on one node ----

cat >"$tmp/home/job.sh" <<END
#!/bin/bash
srun -N2 -n2 --overlap --vm-image=tiny sh -c 'echo started; sleep 1000' >two.0 &
until grep -q started two.0; do sleep 0.2; done
$vmstep stats >inside.text 2>inside.err; echo \$? >inside.status
srun -N1 -n1 -w n1 --overlap --vm-image=tiny sh -c 'echo started; sleep 1000' >two.1 &
until grep -q started two.1; do sleep 0.2; done
$vmstep stats >inside2.text 2>inside2.err; echo \$? >inside2.status
srun -N1 -n1 --overlap --vm-image=none true
wait
END
job=$(vsh 'sbatch --parsable -N2 -n2 --mem=1G job.sh')
ok "a job asks for its own step's statistics, then has two" \
	wait_for 300 test -s "$tmp/home/inside2.status"
is "inside the job, its one VM step needs no -j: status 0" "$(cat "$tmp/home/inside.status")" 0
like "... the whole step" "$(cat "$tmp/home/inside.text")" "step $job.0: 2 tasks on 2 nodes"
is "with two, nothing is done: status 3" "$(cat "$tmp/home/inside2.status")" 3
second=$(grep -E '^[0-9]' "$tmp/home/inside2.err" | grep -vx "$job.0")
like "... they are listed" "$(grep -E '^[0-9]' "$tmp/home/inside2.err" | sort | xargs)" \
	"^$job\.0 $job\.[0-9]+\$"
is "... and nothing is shown" "$(cat "$tmp/home/inside2.text")" ""

path=/nowhere on_node n1 -j "$second" stats >text
is "a step of one node is asked there without srun: status 0" $? 0
like "... and is all there" "$(cat text)" "step $second: 1 tasks on 1 node"

: >watch.json
bg as_user vm "$vmstep" -j "$job.0" --json stats --watch >watch.json 2>watch.err
watch=$!
some_lines() { (($(wc -l <watch.json) >= 1)); }
wait_for 60 some_lines
vsh "scancel $job.0"
wait $watch
is "--watch ends with its step: status 0" $? 0
vsh "scancel $job"
clean "nothing stays"
done_testing
