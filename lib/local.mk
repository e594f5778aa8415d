# What two or more parts need, one subject a module. libcore has nothing but
# libc under it and may go into the plugin; libprog is for programs.
# librpc brings jansson, libfiles libcrypto; what links them chooses: shared, or
# static.
noinst_LTLIBRARIES += %D%/libcore.la %D%/libprog.la %D%/librpc.la \
	%D%/libfiles.la

%C%_libcore_la_SOURCES = \
	%D%/addr.c %D%/addr.h \
	%D%/allow.c %D%/allow.h \
	%D%/cleanup.h \
	%D%/desc.c %D%/desc.h \
	%D%/errmsg.c %D%/errmsg.h \
	%D%/filelock.c %D%/filelock.h \
	%D%/famspec.c %D%/famspec.h \
	%D%/configfile.c %D%/configfile.h \
	%D%/group.c %D%/group.h \
	%D%/imagespec.c %D%/imagespec.h \
	%D%/memstream.c %D%/memstream.h \
	%D%/mountspec.c %D%/mountspec.h \
	%D%/opcat.c %D%/opcat.h \
	%D%/option.c %D%/option.h \
	%D%/plain.c %D%/plain.h \
	%D%/publish.c %D%/publish.h \
	%D%/rankset.c %D%/rankset.h \
	%D%/relpath.c %D%/relpath.h \
	%D%/site.c %D%/site.h \
	%D%/value.c %D%/value.h \
	%D%/writeall.c %D%/writeall.h

%C%_libprog_la_SOURCES = \
	%D%/counters.c %D%/counters.h \
	%D%/crc32c.c %D%/crc32c.h \
	%D%/log.c %D%/log.h \
	%D%/loop.c %D%/loop.h \
	%D%/frame.c %D%/frame.h \
	%D%/mux.c %D%/mux.h %D%/mux_impl.h \
	%D%/mux_chan.c %D%/mux_port.c \
	%D%/local_address.c %D%/local_address.h \
	%D%/localsock.c %D%/localsock.h \
	%D%/memwire.c %D%/memwire.h \
	%D%/memword.c %D%/memword.h \
	%D%/netctl.h \
	%D%/netmsg.c %D%/netmsg.h \
	%D%/opmsg.c %D%/opmsg.h \
	%D%/opq.c %D%/opq.h \
	%D%/netstats.c %D%/netstats.h \
	%D%/sendfds.c %D%/sendfds.h \
	%D%/rdma.c %D%/rdma.h \
	%D%/sandbox.c %D%/sandbox.h \
	%D%/sigbus.c %D%/sigbus.h \
	%D%/tty.c %D%/tty.h \
	%D%/usage.c %D%/usage.h

%C%_libprog_la_CFLAGS = $(AM_CFLAGS) -pthread

%C%_librpc_la_SOURCES = %D%/param.c %D%/param.h %D%/rpc.c %D%/rpc.h
%C%_librpc_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)

# Files and trees as streams: what blocks, for processes that do nothing else.
%C%_libfiles_la_SOURCES = \
	%D%/digest.c %D%/digest.h \
	%D%/filedata.c %D%/filedata.h \
	%D%/flow.c %D%/flow.h \
	%D%/newfile.c %D%/newfile.h \
	%D%/tar.c %D%/tar.h \
	%D%/tree.h %D%/tree_receive.c %D%/tree_send.c
%C%_libfiles_la_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)

if HAVE_CMOCKA
UNIT_TESTS += \
	%D%/test_addr \
	%D%/test_allow \
	%D%/test_desc \
	%D%/test_famspec \
	%D%/test_files \
	%D%/test_configfile \
	%D%/test_imagespec \
	%D%/test_memstream \
	%D%/test_mountspec \
	%D%/test_log \
	%D%/test_loop \
	%D%/test_mux \
	%D%/test_netstats \
	%D%/test_opq \
	%D%/test_option \
	%D%/test_plain \
	%D%/test_publish \
	%D%/test_rankset \
	%D%/test_sandbox \
	%D%/test_sigbus \
	%D%/test_site \
	%D%/test_usage \
	%D%/test_value
%C%_test_famspec_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_famspec_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_files_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(CRYPTO_CFLAGS)
%C%_test_files_LDADD = %D%/libfiles.la %D%/libprog.la %D%/libcore.la \
	$(CRYPTO_LIBS) $(CMOCKA_LIBS)
%C%_test_configfile_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_configfile_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_memstream_SOURCES = %D%/test_memstream.c %D%/test_sanitized.h
%C%_test_memstream_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_memstream_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_mountspec_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_mountspec_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_imagespec_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_imagespec_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_rankset_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_rankset_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_log_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_log_LDADD = %D%/libprog.la %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_loop_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_loop_LDADD = %D%/libprog.la %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_mux_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_mux_LDADD = %D%/libprog.la %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_netstats_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_netstats_LDADD = %D%/libprog.la %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_allow_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_allow_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_addr_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_addr_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_desc_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_desc_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_opq_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_opq_LDADD = %D%/libprog.la %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_option_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_option_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_publish_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_publish_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_plain_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_plain_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_sandbox_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_sandbox_LDADD = %D%/libprog.la %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_sigbus_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
%C%_test_sigbus_LDADD = %D%/libprog.la %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_site_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_site_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_usage_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_usage_LDADD = %D%/libprog.la %D%/libcore.la $(CMOCKA_LIBS)
%C%_test_value_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_value_LDADD = %D%/libcore.la $(CMOCKA_LIBS)
endif
