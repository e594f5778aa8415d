# How fast vmstep-net is: net.c says how to run it. It is built by `make
# check`, so that it keeps building, and run by hand.
check_PROGRAMS += %D%/net
%C%_net_SOURCES = \
	%D%/net.c %D%/bench.h \
	%D%/frames.c %D%/frames.h \
	%D%/guest.c %D%/guest.h \
	%D%/guests.c %D%/guests.h \
	%D%/idle.c %D%/iperf3.c %D%/latency.h %D%/link.c %D%/local.c \
	%D%/netns.c %D%/netns.h \
	%D%/nodes.c %D%/nodes.h \
	%D%/quiet.c %D%/quiet.h \
	%D%/report.c %D%/report.h \
	%D%/verify.c \
	%D%/yardstick.c %D%/yardstick.h %D%/yardstick_tcp.c
%C%_net_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/pmix-net \
	-DVMSTEP_NET='"$(abs_builddir)/pmix-net/vmstep-net"'
%C%_net_CFLAGS = $(AM_CFLAGS) -pthread
%C%_net_LDADD = pmix-net/libdriver.la lib/libprog.la lib/libcore.la
EXTRA_DIST += %D%/startup
