# vmstep-agent is linked statically: it has to run in any Linux guest. All but
# its main() is in libagent, for the tests.
pkglibexec_PROGRAMS += %D%/vmstep-agent
noinst_LTLIBRARIES += %D%/libagent.la

%C%_libagent_la_SOURCES = \
	%D%/agent.h \
	%D%/account.c %D%/account.h \
	%D%/command.c %D%/command.h \
	%D%/fam.c %D%/fam.h \
	%D%/file.c %D%/file.h \
	%D%/filecopy.c %D%/filecopy.h \
	%D%/filelist.c %D%/filelist.h \
	%D%/fileremove.c %D%/fileremove.h \
	%D%/fsmount.c %D%/fsmount.h \
	%D%/hostsfile.c %D%/hostsfile.h \
	%D%/job.c %D%/job.h \
	%D%/kernel.c %D%/kernel.h \
	%D%/kernelset.c \
	%D%/netconf.c %D%/netconf.h \
	%D%/netlink.c %D%/netlink.h \
	%D%/ophead.c %D%/ophead.h \
	%D%/opsock.c %D%/opsock.h \
	%D%/port.c %D%/port.h \
	%D%/power.c %D%/power.h \
	%D%/proc.c %D%/proc.h \
	%D%/procio.c %D%/procio.h \
	%D%/resolvconf.c %D%/resolvconf.h \
	%D%/session.c %D%/session.h \
	%D%/spawn.c %D%/spawn.h \
	%D%/start.c %D%/start.h \
	%D%/sysinfo.c %D%/sysinfo.h \
	%D%/useradd.c %D%/useradd.h \
	%D%/vmop.c %D%/vmop.h %D%/vmop_impl.h \
	%D%/vmop_msg.c
%C%_libagent_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS)
agent_libs = %D%/libagent.la lib/librpc.la lib/libfiles.la lib/libprog.la \
	lib/libcore.la

%C%_vmstep_agent_SOURCES = %D%/vmstep-agent.c
%C%_vmstep_agent_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
%C%_vmstep_agent_LDADD = $(agent_libs)
if SANITIZE
%C%_vmstep_agent_LDADD += $(JANSSON_LIBS) $(CRYPTO_LIBS)
else
%C%_vmstep_agent_LDADD += $(JANSSON_STATIC_LIBS) $(CRYPTO_STATIC_LIBS)
%C%_vmstep_agent_LDFLAGS = -all-static
endif

# test_agent, test_file and test_kernel run the real agent, over a unix socket and without a
# VM.
if HAVE_CMOCKA
UNIT_TESTS += \
	%D%/test_account \
	%D%/test_agent \
	%D%/test_fam \
	%D%/test_file \
	%D%/test_hostsfile \
	%D%/test_kernel \
	%D%/test_resolvconf \
	%D%/test_rpc \
	%D%/test_useradd \
	%D%/test_vmop
AGENT_TEST_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
AGENT_TEST_LIBS = $(agent_libs) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(CMOCKA_LIBS)
%C%_test_account_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_account_LDADD = $(AGENT_TEST_LIBS)
%C%_test_agent_SOURCES = %D%/test_agent.c %D%/test_host.c %D%/test_host.h
%C%_test_agent_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_agent_LDADD = $(AGENT_TEST_LIBS)
%C%_test_fam_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_fam_LDADD = $(AGENT_TEST_LIBS)
%C%_test_file_SOURCES = %D%/test_file.c %D%/test_host.c %D%/test_host.h
%C%_test_file_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_file_LDADD = $(AGENT_TEST_LIBS)
%C%_test_kernel_SOURCES = %D%/test_kernel.c %D%/test_host.c %D%/test_host.h
%C%_test_kernel_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_kernel_LDADD = $(AGENT_TEST_LIBS)
%C%_test_resolvconf_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_resolvconf_LDADD = $(AGENT_TEST_LIBS)
%C%_test_hostsfile_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_hostsfile_LDADD = $(AGENT_TEST_LIBS)
%C%_test_useradd_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_useradd_LDADD = $(AGENT_TEST_LIBS)
%C%_test_vmop_CPPFLAGS = $(AM_CPPFLAGS) \
	-DVMSTEP_AGENT='"$(abs_builddir)/%D%/vmstep-agent"'
%C%_test_vmop_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_vmop_LDADD = $(AGENT_TEST_LIBS)
%C%_test_rpc_CFLAGS = $(AGENT_TEST_CFLAGS)
%C%_test_rpc_LDADD = $(AGENT_TEST_LIBS)
endif
