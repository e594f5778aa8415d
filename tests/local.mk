# The tables of lib/, for t0001-manpages.t to compare the manual pages with.
check_PROGRAMS += %D%/print-tables
%C%_print_tables_SOURCES = %D%/print-tables.c
%C%_print_tables_LDADD = lib/libcore.la
EXTRA_DIST += %D%/t0001-manpages.t %D%/t0240-python.t

EXTRA_DIST += %D%/unit # runs the unit tests for prove

include tests/fake-slurm/local.mk
include tests/fuzz/local.mk
include tests/bench/local.mk

EXTRA_DIST += %D%/lib.sh %D%/vm.sh %D%/media.sh \
	%D%/t0010-minicluster.t %D%/t0020-mkimage.t %D%/t0100-run.t \
	%D%/t0110-ends.t %D%/t0120-jobs.t %D%/t0130-refusals.t \
	%D%/t0140-cpus.t %D%/t0150-user.t %D%/t0160-cloud.t \
	%D%/t0170-cgroup.t %D%/t0180-ports.t \
	%D%/t0182-multicast.t %D%/mcast.c \
	%D%/t0183-guests.t %D%/t0185-restart.t %D%/t0186-links.t \
	%D%/t0187-kernels.t %D%/t0190-capture.t %D%/t0195-stats.t \
	%D%/t0200-ops.t %D%/t0205-params.t %D%/t0206-waits.t \
	%D%/t0210-cp.t %D%/t0220-attach.t \
	%D%/t0230-kernels.t %D%/t0235-suspend.t %D%/t0250-vmop.t \
	%D%/t0260-qga.t %D%/t0310-images.t %D%/t0320-data.t \
	%D%/t0330-roots.t %D%/t0335-install.t \
	%D%/t0340-machine.t %D%/t0342-sockets.t %D%/t0345-options.t \
	%D%/t0350-fam.t %D%/fam.c \
	%D%/t0600-package.t \
	%D%/t0900-fuzz.t \
	%D%/t0351-mem.t %D%/t0360-save.t %D%/t0365-snapshot.t %D%/mem.c \
	%D%/t0500-tutorials.t %D%/tutorial %D%/faults %D%/soak \
	%D%/inject %D%/t0910-inject.t
# Preloaded into unit tests by tests/inject.
check_LTLIBRARIES += %D%/faulty_libc.la
%C%_faulty_libc_la_SOURCES = %D%/faulty_libc.c
%C%_faulty_libc_la_LDFLAGS = -module -avoid-version -shared -rpath $(abs_builddir)
