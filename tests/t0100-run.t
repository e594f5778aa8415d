#!/bin/bash
# A command in virtual machines behaves as a command on nodes: output, input,
# status, signals' numbers, terminal.
. "$(dirname "$0")/vm.sh"
bind=cores

vm_cluster 2

out=$(vrun -N2 -n4 --vm-image=tiny hostname | sort | tr '\n' ' ')
is "srun -N2 -n4 prints each guest's host name once" "$out" "vm0 vm1 vm2 vm3 "
diag "$(cat "$tmp/err")"
clean "nothing stays after it"

out=$(vrun -N2 -n2 --label --vm-image=tiny hostname | sort | tr '\n' ' ')
is "--label labels guests' output" "$out" "0: vm0 1: vm1 "

vrun -N2 -n2 -o out-%t -e err-%t --vm-image=tiny \
	sh -c 'echo o $(hostname); echo e >&2'
is "-o out-%t has standard output apart" \
	"$(cat "$tmp/home/out-0" "$tmp/home/out-1" | tr '\n' ' ')" "o vm0 o vm1 "
like "-e err-%t has standard error apart" "$(cat "$tmp/home/err-1")" "(^|[^a-z])e$"
nok "and nothing else mixes" grep -q '^e' "$tmp/home/out-1"

vmstep=$build/inst/bin/vmstep
vrun -N1 -n1 "$vmstep" check --full >"$tmp/check"
is "vmstep check --full on a node finds nothing that fails" $? 0
[[ $(<"$tmp/check") != *failed\ \ * ]] || diag "$(<"$tmp/check")" "$(<"$tmp/err")"
like "... it loads the plugin" "$(<"$tmp/check")" \
	"ok +plugin +srun loads $plugin, version "
like "... PMIx is there" "$(<"$tmp/check")" "ok +pmix +.*/mpi_pmix.so"
like "... QEMU has what VMs need" "$(<"$tmp/check")" "ok +qemu +.*, version "
like "... the UEFI of package ovmf is found" "$(<"$tmp/check")" "ok +firmware +/"
like "... and a step of one VM works" "$(<"$tmp/check")" \
	"ok +full +a step of one VM, image tiny: Linux [1-9].* s from srun"
like "on the login host it is not asked for a node's" \
	"$(vsh "$vmstep check" 2>&1)" "this host is no node .* 0 failed"
like "vmstep config knows file and line" "$(vsh "$vmstep config")" \
	"image_path +$images +$tmp/vmstep.conf:2"
like "... and how that was found" "$(vsh "$vmstep config" | head -1)" \
	"^$tmp/vmstep.conf \\(.*plugstack.conf:1\\)$"

is "standard input reaches the guest" \
	"$(echo hi | vrun -n1 --vm-image=tiny cat)" hi

head -c 20000000 /dev/urandom >"$tmp/home/big"
sum=$(sha256sum <"$tmp/home/big" | cut -d' ' -f1)
is "20 MB of standard input arrive whole" \
	"$(vrun -n1 --vm-image=tiny sha256sum <"$tmp/home/big" | cut -d' ' -f1)" \
	"$sum"
is "20 MB through both, in and out" \
	"$(vrun -n1 --vm-image=tiny cat <"$tmp/home/big" | sha256sum | cut -d' ' -f1)" \
	"$sum"

is "standard output alone" \
	"$(vrun -n1 --vm-image=tiny sh -c 'echo o; echo e >&2')" o
like "standard error alone" "$(grep -v '^vmstep: ' "$tmp/err")" "^e$"

status() { vrun -n1 --vm-image=tiny "$@" >/dev/null; echo $?; }
is "exit 7 is status 7" "$(status sh -c 'exit 7')" 7
is "death by SIGSEGV is 139" "$(status sh -c 'kill -SEGV $$')" 139
is "an unknown command is 127" "$(status no-such-command)" 127
like "and says so" "$(cat "$tmp/err")" "vm\[0\]@n1: .*no-such-command: command not found; it is looked up in the guest"
is "a script of the host's is 127" "$(status ./job.sh)" 127
like "and says why" "$(cat "$tmp/err")" "where the host's directories are not"
is "a file that cannot be run is 126" "$(status /etc/passwd)" 126
is "true is 0" "$(status true)" 0

is "arguments arrive as they are" \
	"$(vrun -n1 --vm-image=tiny printf '%s|' 'a b' '' "it's" $'tab\there' '*')" \
	"a b||it's|$(printf 'tab\there')|*|"
is "the guest has rank and size, not the host's PATH" \
	"$(vrun -N2 -n2 --vm-image=tiny sh -c 'echo $SLURM_PROCID/$SLURM_NPROCS $PATH' |
		sort | tail -1)" \
	"1/2 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
is "--vm-env names more" \
	"$(cd "$tmp/home" && as_user vm env A=1 B=2 srun -n1 --vm-image=tiny \
		--vm-env=A sh -c 'echo $A-$B' 2>/dev/null)" "1-"
is "--export=NAME does too" \
	"$(cd "$tmp/home" && as_user vm env A=1 B=2 srun -n1 --export=B \
		--vm-image=tiny sh -c 'echo $A-$B' 2>/dev/null)" "-2"
is "what looks like srun's options behind the command is the command's" \
	"$(cd "$tmp/home" && as_user vm env A=1 srun -N2 --vm-image=tiny \
		sh -c 'echo ${A-unset} $*' sh --export=A --vm-image=none --multi-prog \
		2>/dev/null | sort -u)" \
	"unset --export=A --vm-image=none --multi-prog"
is "--vm-workdir" "$(vrun -n1 --vm-image=tiny --vm-workdir=/etc pwd)" /etc
is "home is the default" "$(vrun -n1 --vm-image=tiny pwd)" /root
is "... which the guest lacks: 126" "$(status --vm-workdir=/nonexistent true)" 126
like "and names the option" "$(cat "$tmp/err")" "error: --vm-workdir: directory /nonexistent"
is "--vm-user" "$(vrun -n1 --vm-image=tiny --vm-user=nobody whoami)" nobody

out=$(cd "$tmp/home" && script -qec "stty rows 31 cols 97
	$top/contrib/minicluster --name vm-$$ run -u $test_user \
	srun --pty -n1 --vm-image=tiny sh -c 'tty; stty size; exit 3'" /dev/null </dev/null)
like "--pty is a terminal" "$out" "/dev/pts/"
like "of the right size" "$out" "31 97"
cat >"$tmp/grow.py" <<'END'
import fcntl, os, pty, struct, sys, termios

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
said = b""
while b"started" not in said:
    said += os.read(terminal, 4096)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 34, 0, 0))
while True:
    try:
        said += os.read(terminal, 4096)
    except OSError:  # the other end is closed
        break
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
out=$(cd "$tmp/home" && timeout 200 python3 "$tmp/grow.py" \
	"$top/contrib/minicluster" --name "vm-$$" run -u "$test_user" \
	srun --pty -n1 --vm-image=tiny sh -c \
	'echo started; until [ "$(stty size)" = "12 34" ]; do sleep 0.1; done; exit 4')
is "... which changes in the guest, too" $? 4

is "--vm-run=head runs once" \
	"$(vrun -N2 -n4 --vm-run=head --vm-image=tiny \
		sh -c 'ping -c1 -W30 vm3 >/dev/null && hostname')" vm0
vrun -N2 -n2 --vm-image=tiny sh -c '
	ping -c1 -W30 vm$((1 - SLURM_PROCID)) >/dev/null || exit 9
	if [ $SLURM_PROCID = 0 ]; then sleep 2; ping -c1 -W30 vm1 >/dev/null; fi'
is "two that ping each other and end at different times both succeed" $? 0
out=$(cd "$tmp/home" && as_user vm prlimit --nofile=24:4096 srun -N2 -n2 \
	--propagate=ALL --vm-image=tiny hostname 2>"$tmp/err")
is "a shell's limit of 24 open files, which Slurm takes along, is enough" \
	"$(sort <<<"$out" | tr '\n' ' ')" "vm0 vm1 "
clean "nothing stays after all that"

done_testing
