#!/bin/bash
# The tutorials of doc/tutorials/, each followed step by step as it stands, by an
# ordinary user on a cluster with the images that they name:
#
#	t0500-tutorials.t [NAME...]	all of them, or doc/tutorials/NAME.md
limit_s=2400
. "$(dirname "$0")/vm.sh"
. "$top/tests/media.sh"

media_needs
need curl gcc ssh ssh-keygen mksquashfs mformat
generic=$images/generic.vm
[[ -e $images/debian.qcow2 ]] ||
	skip_all "$images/debian.qcow2 is not there: contrib/mkimage debian (contrib/check does)"
[[ -e $generic/vmlinuz ]] ||
	skip_all "$generic is not there, or is of an older mkimage: contrib/mkimage tiny --kernel-package linux-image-amd64 (contrib/check does)"
vm_cluster 2
conf "allow_publish = 2200-2299"

# As a user has it: the home directory, Slurm's commands and ours, and in
# pvm.md's place of a distribution's media some that install in seconds.
mkdir "$tmp/bin"
printf '#!/bin/sh\nexec %s --config=%s "$@"\n' "$build/inst/bin/vmstep" "$tmp/vmstep.conf" >"$tmp/bin/vmstep"
chmod 755 "$tmp/bin/vmstep"
media_make "$generic" "$tmp/home/install.iso"
follow()
{
	mkdir "$tmp/home/$1"
	ln "$tmp/home/install.iso" "$tmp/home/$1"
	chown -R "$test_user" "$tmp/home/$1"
	(cd "$tmp/home/$1" && "$top/tests/tutorial" "$top/doc/tutorials/$1.md" \
		"$top/contrib/minicluster" --name "vm-$$" run -u "$test_user" \
		env HOME="$tmp/home" PATH="$tmp/bin:$PATH" \
		"C_INCLUDE_PATH=$build/inst/include" \
		"LIBRARY_PATH=$build/inst/lib" bash)
}

(($#)) || set -- "$top"/doc/tutorials/*.md
for name; do
	name=$(basename "$name" .md)
	start=$SECONDS
	follow "$name" >"$tmp/out" 2>"$tmp/err"
	is "$name.md can be followed to its end" $? 0
	diag "$(cat "$tmp/out" "$tmp/err")" "$((SECONDS - start)) s"
done
clean "nothing stays"
done_testing
