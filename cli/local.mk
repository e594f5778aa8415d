# vmstep: the user's command on login and compute nodes.
bin_PROGRAMS += %D%/vmstep

# All but main(), so that tests link it, too.
noinst_LTLIBRARIES += %D%/libcli.la
%C%_libcli_la_SOURCES = \
	%D%/ask.c %D%/ask.h \
	%D%/begin.c %D%/begin.h \
	%D%/between.c %D%/between.h \
	%D%/call.c %D%/call.h %D%/call_where.c \
	%D%/check.c %D%/check.h %D%/check_impl.h \
	%D%/check_full.c %D%/check_node.c \
	%D%/check_qemu.c %D%/check_slurm.c \
	%D%/command.c %D%/command.h \
	%D%/conn.c %D%/conn.h \
	%D%/console.c %D%/console.h \
	%D%/console_here.c %D%/console_here.h \
	%D%/connect.c %D%/connect.h \
	%D%/copyhead.c %D%/copyhead.h \
	%D%/copyhere.c %D%/copyhere.h \
	%D%/copylocal.c %D%/copylocal.h \
	%D%/copyprogress.c %D%/copyprogress.h \
	%D%/cp.c %D%/cp.h \
	%D%/display.c %D%/display.h \
	%D%/elsewhere.c %D%/elsewhere.h \
	%D%/escape.c %D%/escape.h \
	%D%/events.c %D%/events.h \
	%D%/events_here.c %D%/events_here.h \
	%D%/exec.c %D%/exec.h \
	%D%/exec_here.c %D%/exec_here.h \
	%D%/figures.c %D%/figures.h \
	%D%/gather.c %D%/gather.h \
	%D%/here.c %D%/here.h \
	%D%/hosts.c %D%/hosts.h \
	%D%/image.c %D%/image.h \
	%D%/image_info.c %D%/image_info.h \
	%D%/image_seed.c %D%/image_seed.h \
	%D%/kernel.c %D%/kernel.h \
	%D%/matrix.c %D%/matrix.h \
	%D%/netlog.c %D%/netlog.h \
	%D%/ops.c %D%/ops.h \
	%D%/place.c %D%/place.h \
	%D%/plugstack.c %D%/plugstack.h \
	%D%/relay.c %D%/relay.h \
	%D%/capture.c %D%/capture.h \
	%D%/save.c %D%/save.h \
	%D%/snapshot.c %D%/snapshot.h \
	%D%/settings.c %D%/settings.h \
	%D%/showconfig.c %D%/showconfig.h \
	%D%/slurmconf.c %D%/slurmconf.h \
	%D%/slurm.c %D%/slurm.h \
	%D%/source.c %D%/source.h \
	%D%/splice.c %D%/splice.h \
	%D%/srun.c %D%/srun.h \
	%D%/ssh.c %D%/ssh.h \
	%D%/stats.c %D%/stats.h \
	%D%/stats_text.c %D%/stats_text.h \
	%D%/step.c %D%/step.h \
	%D%/top.c %D%/top.h \
	%D%/top_here.c %D%/top_here.h \
	%D%/top_text.c %D%/top_text.h \
	%D%/topo.c %D%/topo.h \
	%D%/topo_here.c %D%/topo_here.h
# where contrib/python is installed
%C%_libcli_la_CPPFLAGS = $(AM_CPPFLAGS) -DPYTHON_DIR='"$(vmsteppathdir)"' \
	-DPLUGINDIR='"$(plugindir)"' $(SLURM_CFLAGS) \
	-I$(srcdir)/stepd-helper
%C%_libcli_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS) \
	$(HWLOC_CFLAGS)
# of the helper: what knows images
cli_libs = %D%/libcli.la stepd-helper/libhelper.la lib/librpc.la lib/libfiles.la lib/libprog.la \
	lib/libcore.la $(JANSSON_LIBS) $(HWLOC_LIBS) $(CRYPTO_LIBS) -lm

%C%_vmstep_SOURCES = %D%/vmstep.c
%C%_vmstep_LDADD = $(cli_libs)

if HAVE_CMOCKA
UNIT_TESTS += \
	%D%/test_check \
	%D%/test_command \
	%D%/test_copy \
	%D%/test_topo \
	%D%/test_copyhere \
	%D%/test_stats
# With the helper's ops, and the agent of this build.
%C%_test_copyhere_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/stepd-helper
%C%_test_copyhere_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS) \
	$(CRYPTO_CFLAGS) $(PMIX_CFLAGS) $(HWLOC_CFLAGS)
%C%_test_copyhere_LDADD = %D%/libcli.la stepd-helper/libhelper.la $(cli_libs) \
	$(helper_libs) $(CMOCKA_LIBS)
%C%_test_copy_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS) \
	$(CRYPTO_CFLAGS)
%C%_test_copy_LDADD = $(cli_libs) $(CMOCKA_LIBS)
%C%_test_check_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/stepd-helper $(SLURM_CFLAGS)
%C%_test_check_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_check_LDADD = $(cli_libs) $(CMOCKA_LIBS)
%C%_test_command_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_command_LDADD = $(cli_libs) $(CMOCKA_LIBS)
%C%_test_topo_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS) \
	$(HWLOC_CFLAGS)
%C%_test_topo_LDADD = $(cli_libs) $(CMOCKA_LIBS)
%C%_test_stats_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_stats_LDADD = $(cli_libs) $(CMOCKA_LIBS)
endif
