pkglibexec_PROGRAMS += %D%/vmstep-net

# All but main(), so that tests link it, too.
noinst_LTLIBRARIES += %D%/libnet.la
%C%_libnet_la_SOURCES = \
	%D%/answer.c %D%/answer.h %D%/answer_impl.h \
	%D%/answer_neigh.c %D%/answer_service.c \
	%D%/auth.c %D%/auth.h \
	%D%/batches.h \
	%D%/buf.c %D%/buf.h \
	%D%/capture.c %D%/capture.h \
	%D%/census.c %D%/census.h \
	%D%/checksum.c %D%/checksum.h \
	%D%/confine.c %D%/confine.h \
	%D%/ctl.c %D%/ctl.h \
	%D%/dhcp.c %D%/dhcp.h \
	%D%/dns.c %D%/dns.h \
	%D%/flow.c %D%/flow.h \
	%D%/fwd.c %D%/fwd.h \
	%D%/gcm.c %D%/gcm.h \
	%D%/groups.c %D%/groups.h \
	%D%/guest_mem.c %D%/guest_mem.h \
	%D%/headers.h \
	%D%/inet.c %D%/inet.h \
	%D%/lanes.c %D%/lanes.h \
	%D%/learn.c %D%/learn.h \
	%D%/link.h %D%/link_wire.h \
	%D%/link_kind.c %D%/link_kind.h \
	%D%/lock.h \
	%D%/link_tcp.c %D%/link_tcp.h %D%/link_ucx.h \
	%D%/link_tcp_conn.c %D%/link_tcp_conn.h \
	%D%/mcast.c %D%/mcast.h \
	%D%/mesh.c %D%/mesh.h \
	%D%/names.c %D%/names.h \
	%D%/node.c %D%/node.h \
	%D%/offload.c %D%/offload.h \
	%D%/options.c %D%/options.h \
	%D%/outq.c %D%/outq.h \
	%D%/packet.c %D%/packet.h \
	%D%/port.c %D%/port.h \
	%D%/port_dgram.c %D%/port_dgram.h \
	%D%/port_stream.c %D%/port_stream.h \
	%D%/port_vhost.c %D%/port_vhost.h \
	%D%/ports.c %D%/ports.h \
	%D%/record.c %D%/record.h \
	%D%/relay.c %D%/relay.h \
	%D%/tally.c %D%/tally.h \
	%D%/roll.c %D%/roll.h \
	%D%/round.c %D%/round.h \
	%D%/snoop.c %D%/snoop.h \
	%D%/spin.c %D%/spin.h \
	%D%/seal.c %D%/seal.h \
	%D%/segment.c %D%/segment.h \
	%D%/states.c %D%/states.h \
	%D%/stats.c %D%/stats.h \
	%D%/table.c %D%/table.h \
	%D%/traffic.c %D%/traffic.h \
	%D%/tcp_socket.c %D%/tcp_socket.h \
	%D%/vhost.c %D%/vhost.h %D%/vhost_wire.h \
	%D%/virtqueue.c %D%/virtqueue.h \
	%D%/workers.c %D%/workers.h
%C%_libnet_la_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) -pthread

# Loaded when it is wanted, never linked: see ucx_lib.h.
ucx_sources = %D%/link_ucx.c %D%/ucx_lib.c %D%/ucx_lib.h %D%/ucx_worker.c \
	%D%/ucx_worker.h
if HAVE_UCX
%C%_libnet_la_SOURCES += $(ucx_sources)
%C%_libnet_la_CFLAGS += $(UCX_CFLAGS)
else
EXTRA_DIST += $(ucx_sources)
endif

if HAVE_IPSEC_MB
%C%_libnet_la_SOURCES += %D%/gcm_ipsec_mb.c
%C%_libnet_la_LIBADD = $(IPSEC_MB_LIBS)
else
EXTRA_DIST += %D%/gcm_ipsec_mb.c
endif

%C%_vmstep_net_SOURCES = %D%/vmstep-net.c
%C%_vmstep_net_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) -pthread
%C%_vmstep_net_LDADD = %D%/libnet.la lib/libprog.la lib/libcore.la \
	$(CRYPTO_LIBS)

EXTRA_DIST += \
	%D%/test_clock.h %D%/test_frame.h %D%/test_group.h %D%/test_gso.h \
	%D%/test_port.h %D%/test_proxy.h %D%/test_step.h

# QEMU's and a guest's side of a vhost-user port, and a helper's of the rest,
# for tests and benchmarks.
check_LTLIBRARIES += %D%/libdriver.la
%C%_libdriver_la_SOURCES = \
	%D%/test_dring.c %D%/test_dring.h \
	%D%/test_driver.c %D%/test_driver.h %D%/test_driver_impl.h \
	%D%/test_driver_frames.c %D%/test_driver_start.c \
	%D%/test_frontend.c %D%/test_frontend.h \
	%D%/test_helper.c %D%/test_helper.h

if HAVE_CMOCKA
LONG_TESTS += %D%/test_net %D%/test_net_sealed %D%/test_net_workers
UNIT_TESTS += \
	%D%/test_answer \
	%D%/test_answer_service \
	%D%/test_auth \
	%D%/test_capture \
	%D%/test_census \
	%D%/test_confine \
	%D%/test_checksum \
	%D%/test_dgram \
	%D%/test_dhcp \
	%D%/test_dns \
	%D%/test_dpdk \
	%D%/test_fwd \
	%D%/test_gcm \
	%D%/test_groups \
	%D%/test_mcast \
	%D%/test_names \
	%D%/test_net_mcast \
	%D%/test_offload \
	%D%/test_options \
	%D%/test_outq \
	%D%/test_record \
	%D%/test_tally \
	%D%/test_relay \
	%D%/test_roll \
	%D%/test_seal \
	%D%/test_segment \
	%D%/test_segment_kernel \
	%D%/test_snoop \
	%D%/test_stream \
	%D%/test_table \
	%D%/test_tcp_socket \
	%D%/test_traffic \
	%D%/test_vhost \
	%D%/test_virtqueue \
	%D%/test_workers
net_test_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
net_test_ldadd = %D%/libnet.la lib/libprog.la lib/libcore.la \
	$(CRYPTO_LIBS) $(CMOCKA_LIBS)
%C%_test_answer_CFLAGS = $(net_test_cflags)
%C%_test_answer_LDADD = $(net_test_ldadd)
%C%_test_answer_service_CFLAGS = $(net_test_cflags)
%C%_test_answer_service_LDADD = $(net_test_ldadd)
%C%_test_auth_CFLAGS = $(net_test_cflags)
%C%_test_auth_LDADD = $(net_test_ldadd)
%C%_test_capture_CFLAGS = $(net_test_cflags)
%C%_test_capture_LDADD = $(net_test_ldadd)
%C%_test_census_CFLAGS = $(net_test_cflags)
%C%_test_census_LDADD = $(net_test_ldadd)
%C%_test_confine_CFLAGS = $(net_test_cflags)
%C%_test_confine_LDADD = $(net_test_ldadd)
%C%_test_dgram_CFLAGS = $(net_test_cflags)
%C%_test_dgram_LDADD = $(net_test_ldadd)
%C%_test_checksum_CFLAGS = $(net_test_cflags)
%C%_test_checksum_LDADD = $(net_test_ldadd)
%C%_test_dhcp_CFLAGS = $(net_test_cflags)
%C%_test_dhcp_LDADD = $(net_test_ldadd)
%C%_test_dns_CFLAGS = $(net_test_cflags)
%C%_test_dns_LDADD = $(net_test_ldadd)
%C%_test_fwd_CFLAGS = $(net_test_cflags)
%C%_test_fwd_LDADD = $(net_test_ldadd)
%C%_test_gcm_CFLAGS = $(net_test_cflags)
%C%_test_gcm_LDADD = $(net_test_ldadd)
%C%_test_groups_CFLAGS = $(net_test_cflags)
%C%_test_groups_LDADD = $(net_test_ldadd)
%C%_test_mcast_CFLAGS = $(net_test_cflags)
%C%_test_mcast_LDADD = $(net_test_ldadd)
%C%_test_offload_CFLAGS = $(net_test_cflags)
%C%_test_offload_LDADD = $(net_test_ldadd)
%C%_test_names_CFLAGS = $(net_test_cflags)
%C%_test_names_LDADD = $(net_test_ldadd)
%C%_test_options_CFLAGS = $(net_test_cflags)
%C%_test_options_LDADD = $(net_test_ldadd)
%C%_test_outq_CFLAGS = $(net_test_cflags)
%C%_test_outq_LDADD = $(net_test_ldadd)
%C%_test_record_CFLAGS = $(net_test_cflags)
%C%_test_record_LDADD = $(net_test_ldadd)
%C%_test_tally_CFLAGS = $(net_test_cflags)
%C%_test_tally_LDADD = $(net_test_ldadd)
%C%_test_relay_CFLAGS = $(net_test_cflags)
%C%_test_relay_LDADD = $(net_test_ldadd)
%C%_test_roll_CFLAGS = $(net_test_cflags)
%C%_test_roll_LDADD = $(net_test_ldadd)
%C%_test_seal_CFLAGS = $(net_test_cflags)
%C%_test_seal_LDADD = $(net_test_ldadd)
%C%_test_segment_CFLAGS = $(net_test_cflags)
%C%_test_segment_LDADD = $(net_test_ldadd)
%C%_test_segment_kernel_CFLAGS = $(net_test_cflags)
%C%_test_segment_kernel_LDADD = $(net_test_ldadd)
%C%_test_snoop_CFLAGS = $(net_test_cflags)
%C%_test_snoop_LDADD = $(net_test_ldadd)
%C%_test_stream_CFLAGS = $(net_test_cflags)
%C%_test_stream_LDADD = $(net_test_ldadd)
%C%_test_table_CFLAGS = $(net_test_cflags)
%C%_test_table_LDADD = $(net_test_ldadd)
%C%_test_tcp_socket_CFLAGS = $(net_test_cflags)
%C%_test_tcp_socket_LDADD = $(net_test_ldadd)
%C%_test_traffic_CFLAGS = $(net_test_cflags)
%C%_test_traffic_LDADD = $(net_test_ldadd)
%C%_test_vhost_CFLAGS = $(net_test_cflags)
%C%_test_vhost_LDADD = %D%/libdriver.la $(net_test_ldadd)
%C%_test_virtqueue_CFLAGS = $(net_test_cflags)
%C%_test_virtqueue_LDADD = $(net_test_ldadd)

# Starts real ones.
%C%_test_net_sealed_SOURCES = $(%C%_test_net_SOURCES)
%C%_test_net_sealed_CPPFLAGS = $(%C%_test_net_CPPFLAGS) -DNET_KIND=1
%C%_test_net_sealed_CFLAGS = $(net_test_cflags)
%C%_test_net_sealed_LDADD = %D%/libdriver.la $(net_test_ldadd)
%C%_test_net_workers_SOURCES = $(%C%_test_net_SOURCES)
%C%_test_net_workers_CPPFLAGS = $(%C%_test_net_CPPFLAGS) -DSTEP_WORKERS=3
%C%_test_net_workers_CFLAGS = $(net_test_cflags)
%C%_test_net_workers_LDADD = %D%/libdriver.la $(net_test_ldadd)
%C%_test_workers_SOURCES = %D%/test_workers.c \
	%D%/test_step.c %D%/test_step.h
%C%_test_workers_CPPFLAGS = $(AM_CPPFLAGS) \
	-DVMSTEP_NET='"$(abs_builddir)/%D%/vmstep-net"'
%C%_test_workers_CFLAGS = $(net_test_cflags)
%C%_test_workers_LDADD = %D%/libdriver.la $(net_test_ldadd)

%C%_test_net_SOURCES = %D%/test_net.c %D%/test_proxy.c %D%/test_proxy.h \
	%D%/test_step.c %D%/test_step.h
%C%_test_net_CPPFLAGS = $(AM_CPPFLAGS) \
	-DVMSTEP_NET='"$(abs_builddir)/%D%/vmstep-net"'
%C%_test_net_CFLAGS = $(net_test_cflags)
if HAVE_UCX
LONG_TESTS += %D%/test_net_ucx
UNIT_TESTS += %D%/test_ucx
%C%_test_net_ucx_SOURCES = $(%C%_test_net_SOURCES)
%C%_test_net_ucx_CPPFLAGS = $(%C%_test_net_CPPFLAGS) -DNET_KIND=2
%C%_test_net_ucx_CFLAGS = $(net_test_cflags)
%C%_test_net_ucx_LDADD = %D%/libdriver.la $(net_test_ldadd)
%C%_test_ucx_SOURCES = %D%/test_ucx.c %D%/test_step.c %D%/test_step.h
%C%_test_ucx_CPPFLAGS = $(%C%_test_net_CPPFLAGS)
%C%_test_ucx_CFLAGS = $(net_test_cflags) $(UCX_CFLAGS)
%C%_test_ucx_LDADD = %D%/libdriver.la $(net_test_ldadd)
else
EXTRA_DIST += %D%/test_ucx.c
endif
%C%_test_net_LDADD = %D%/libdriver.la $(net_test_ldadd)
%C%_test_dpdk_SOURCES = %D%/test_dpdk.c %D%/test_step.c %D%/test_step.h
%C%_test_dpdk_CPPFLAGS = $(%C%_test_net_CPPFLAGS)
%C%_test_dpdk_CFLAGS = $(net_test_cflags)
%C%_test_dpdk_LDADD = %D%/libdriver.la $(net_test_ldadd)
%C%_test_net_mcast_SOURCES = %D%/test_net_mcast.c %D%/test_step.c \
	%D%/test_step.h
%C%_test_net_mcast_CPPFLAGS = $(%C%_test_net_CPPFLAGS)
%C%_test_net_mcast_CFLAGS = $(net_test_cflags)
%C%_test_net_mcast_LDADD = %D%/libdriver.la $(net_test_ldadd)
endif
