#!/bin/bash
# The tutorials of doc/tutorials/, each followed step by step as it stands, by an
# ordinary user on a cluster with the images that they name.
. "$(dirname "$0")/vm.sh"

need gcc
[[ -e $images/debian.qcow2 ]] ||
	skip_all "$images/debian.qcow2 is not there: contrib/mkimage debian (contrib/check does)"
vm_cluster 2

# As a user has it: the home directory, Slurm's commands, and what is installed.
follow()
{
	(cd "$tmp/home" && "$top/tests/tutorial" "$1" \
		"$top/contrib/minicluster" --name "vm-$$" run -u "$test_user" \
		env "C_INCLUDE_PATH=$build/inst/include" \
		"LIBRARY_PATH=$build/inst/lib" bash)
}

for file in "$top"/doc/tutorials/*.md; do
	follow "$file" >"$tmp/out" 2>"$tmp/err"
	is "${file##*/} can be followed to its end" $? 0
	diag "$(cat "$tmp/out" "$tmp/err")"
done
clean "nothing stays"
done_testing
