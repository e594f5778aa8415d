# Section files are plain man macros: nothing is generated.
dist_man_MANS += \
	%D%/vmop.1 \
	%D%/vmfam.3 \
	%D%/vmstep.1 \
	%D%/vmstep.7 \
	%D%/vmstep-api.7 \
	%D%/vmstep-python.3 \
	%D%/vmstep-xmlrpc.1 \
	%D%/vmstep-options.7 \
	%D%/vmstep-penvm.7 \
	%D%/vmstep.conf.5 \
	%D%/vmstep-bundle.5 \
	%D%/vmstep-kernel.5 \
	%D%/vmstep-helper.8 \
	%D%/vmstep-net.8 \
	%D%/vmstep-agent.8

# minicluster and mkimage are run from the tree, so their pages stay here, too.
EXTRA_DIST += \
	%D%/tutorials/cloud-init.md %D%/tutorials/data.md \
	%D%/tutorials/fam.md %D%/tutorials/first-vm.md \
	%D%/tutorials/foreign-os.md %D%/tutorials/mpi.md \
	%D%/tutorials/prepared-image.md %D%/tutorials/pvm.md \
	%D%/tutorials/save.md %D%/tutorials/ssh.md \
	README.md HACKING.md LICENSE \
	%D%/minicluster.1 %D%/mkimage.1 \
	%D%/ADMIN.md %D%/ARCHITECTURE.md %D%/FAULTS.md %D%/SECURITY.md \
	%D%/description.md %D%/agent-port.md %D%/net.md
