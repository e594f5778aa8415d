# How fast vmstep-net is, and what it costs: net.c and scale.c say how to run
# them. They are built by `make check`, so that they keep building, and run by
# hand.
check_LTLIBRARIES += %D%/libbench.la
%C%_libbench_la_SOURCES = \
	%D%/bench.c %D%/bench.h \
	%D%/crowd.c %D%/crowd.h \
	%D%/frames.c %D%/frames.h \
	%D%/guest.c %D%/guest.h \
	%D%/couple.c %D%/couple.h \
	%D%/idle.c %D%/latency.h \
	%D%/netlog.c %D%/netlog.h \
	%D%/netns.c %D%/netns.h \
	%D%/nodes.c %D%/nodes.h \
	%D%/proc.c %D%/proc.h \
	%D%/report.c %D%/report.h
%C%_libbench_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/pmix-net
bench_libs = %D%/libbench.la pmix-net/libdriver.la lib/libprog.la \
	lib/libcore.la
bench_cppflags = $(AM_CPPFLAGS) -I$(srcdir)/pmix-net \
	-DVMSTEP_NET='"$(abs_builddir)/pmix-net/vmstep-net"'

check_PROGRAMS += %D%/net
%C%_net_SOURCES = \
	%D%/net.c \
	%D%/flood.c %D%/iperf3.c %D%/link.c %D%/local.c %D%/paused.c \
	%D%/quiet.c %D%/quiet.h \
	%D%/verify.c \
	%D%/yardstick.c %D%/yardstick.h %D%/yardstick_tcp.c
%C%_net_CPPFLAGS = $(bench_cppflags)
%C%_net_CFLAGS = $(AM_CFLAGS) -pthread
%C%_net_LDADD = $(bench_libs)

check_PROGRAMS += %D%/scale
%C%_scale_SOURCES = \
	%D%/scale.c %D%/scale.h \
	%D%/boot.c %D%/boot.h \
	%D%/model.c %D%/model.h \
	%D%/scale_boot.c %D%/scale_model.c %D%/scale_step.c
%C%_scale_CPPFLAGS = $(bench_cppflags) \
	-DBENCH_BOOT='"$(abs_srcdir)/%D%/boot.pcap"'
%C%_scale_LDADD = pmix-net/libnet.la $(bench_libs) $(CRYPTO_LIBS) -lm

# What tests/bench/guests needs.
check_PROGRAMS += %D%/ports
%C%_ports_SOURCES = %D%/ports.c
%C%_ports_CPPFLAGS = $(bench_cppflags)
%C%_ports_LDADD = $(bench_libs)

# What tests/bench/ops needs, in guests, too.
check_PROGRAMS += %D%/portio
%C%_portio_SOURCES = %D%/portio.c
%C%_portio_LDADD =
if !SANITIZE
%C%_portio_LDFLAGS = -all-static
endif

EXTRA_DIST += %D%/cp %D%/disks %D%/guests %D%/mem %D%/ops %D%/ops.py %D%/startup %D%/boot.pcap %D%/boot.sh
