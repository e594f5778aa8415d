# The plugin: it lives in srun, sbatch, salloc, slurmd and slurmstepd, so it
# has nothing but libc under it and exports only what Slurm looks for.
plugin_LTLIBRARIES = %D%/vmstep.la

%C%_vmstep_la_SOURCES = \
	%D%/vmstep.c %D%/plugin.h \
	%D%/cmdline.c %D%/cmdline.h \
	%D%/submit.c \
	%D%/slots.c %D%/slots.h \
	%D%/stepd.c \
	%D%/sweep.c
%C%_vmstep_la_CFLAGS = $(AM_CFLAGS) $(SLURM_CFLAGS)
%C%_vmstep_la_LIBADD = lib/libcore.la
%C%_vmstep_la_LDFLAGS = -module -avoid-version -shared \
	-export-symbols-regex '^(plugin_|slurm_spank_)'

if HAVE_CMOCKA
UNIT_TESTS += %D%/test_cmdline %D%/test_submit \
	%D%/test_stepd %D%/test_sweep
spank_test_libs = tests/fake-slurm/libcluster.la lib/libcore.la $(CMOCKA_LIBS)
spank_test_cppflags = $(AM_CPPFLAGS) -I$(srcdir)/tests/fake-slurm \
	-DPLUGIN='"$(abs_builddir)/%D%/.libs/vmstep.so"'
%C%_test_cmdline_SOURCES = %D%/test_cmdline.c %D%/cmdline.c
%C%_test_cmdline_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_cmdline_LDADD = lib/libcore.la $(CMOCKA_LIBS)
%C%_test_submit_CPPFLAGS = $(spank_test_cppflags)
%C%_test_submit_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(SLURM_CFLAGS)
%C%_test_submit_LDADD = $(spank_test_libs)
%C%_test_stepd_CPPFLAGS = $(spank_test_cppflags)
%C%_test_stepd_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(SLURM_CFLAGS)
%C%_test_stepd_LDADD = $(spank_test_libs)
%C%_test_sweep_CPPFLAGS = $(spank_test_cppflags)
%C%_test_sweep_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(SLURM_CFLAGS)
%C%_test_sweep_LDADD = $(spank_test_libs)
endif
EXTRA_DIST += %D%/test_plugin.h
