#!/bin/bash
# Guests of nodes with several sockets see them: hwloc takes the node for one
# that it is not. Its CPUs are not there, so nothing is pinned.
. "$(dirname "$0")/vm.sh"

vm_cluster 1 --cpus 8
bind=cores
conf

# Sockets, cores of each, CPUs. TCG shows threads of a core as cores.
shape='awk -F": *" "/^physical id/ { p[\$2] } /^core id/ { c[\$2] } /^processor/ { n++ }
	END { print length(p), length(c), n }" /proc/cpuinfo'
on_node_like() # TOPOLOGY ARG...
{
	vrun -n1 -c8 --mem=512M --export="ALL,HWLOC_SYNTHETIC=$1" --vm-image=tiny "${@:2}"
}
is "four sockets of two cores" "$(on_node_like 'pack:4 core:2 pu:1' sh -c "$shape")" "4 2 8"
is "two of four" "$(on_node_like 'pack:2 core:4 pu:1' sh -c "$shape")" "2 4 8"
like "threads of a core are told to QEMU" \
	"$(on_node_like 'pack:4 core:1 pu:2' --vm-dry-run true)" "sockets=4,cores=1,threads=2"
clean "nothing stays"
done_testing
