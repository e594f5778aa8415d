# A Slurm that is not there: programs that load the plugin as Slurm's would,
# and the tests' way to run them (cluster.h). The tests themselves are beside
# what they test, in spank/.
if HAVE_CMOCKA
check_PROGRAMS += %D%/fake-slurm
%C%_fake_slurm_SOURCES = \
	%D%/fake-slurm.c \
	%D%/host.c %D%/host.h \
	%D%/node.c \
	%D%/orders.c %D%/orders.h \
	%D%/programs.h \
	%D%/report.c %D%/report.h \
	%D%/submitting.c
%C%_fake_slurm_CFLAGS = $(AM_CFLAGS) $(SLURM_CFLAGS)
%C%_fake_slurm_LDADD = lib/libcore.la
# Plugins look up spank_*() in the program that loads them.
%C%_fake_slurm_LDFLAGS = -export-dynamic

check_LTLIBRARIES += %D%/libcluster.la
%C%_libcluster_la_SOURCES = %D%/cluster.c %D%/cluster.h
%C%_libcluster_la_CPPFLAGS = $(AM_CPPFLAGS) \
	-DFAKE_SLURM='"$(abs_builddir)/%D%/fake-slurm"' \
	-DPLUGIN='"$(abs_builddir)/spank/.libs/vmstep.so"'
%C%_libcluster_la_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
endif
