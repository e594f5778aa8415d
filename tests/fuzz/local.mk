# Fuzz targets for whatever parses foreign bytes: ./configure --enable-fuzz
# CC=clang. Run one as in tests/fuzz/fuzz_mux tests/fuzz/corpus/mux.
EXTRA_DIST += %D%/corpus

if FUZZ
noinst_PROGRAMS += \
	%D%/fuzz_answer \
	%D%/fuzz_api \
	%D%/fuzz_copyhead \
	%D%/fuzz_dhcp \
	%D%/fuzz_dns \
	%D%/fuzz_groups \
	%D%/fuzz_image \
	%D%/fuzz_link \
	%D%/fuzz_mem \
	%D%/fuzz_mux \
	%D%/fuzz_netstats \
	%D%/fuzz_ophead \
	%D%/fuzz_opvalue \
	%D%/fuzz_ops \
	%D%/fuzz_qga \
	%D%/fuzz_relay \
	%D%/fuzz_rpc \
	%D%/fuzz_saved \
	%D%/fuzz_segment \
	%D%/fuzz_stream \
	%D%/fuzz_tar \
	%D%/fuzz_userdata \
	%D%/fuzz_vhost
fuzz_ldflags = -fsanitize=fuzzer
fuzz_cflags = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS) \
	-I$(srcdir)/pmix-net -I$(srcdir)/guest-agent -I$(srcdir)/stepd-helper
fuzz_mesh_node = %D%/mesh_node.c %D%/mesh_node.h
fuzz_net = pmix-net/libnet.la lib/libprog.la lib/libcore.la $(CRYPTO_LIBS)

%C%_fuzz_answer_CFLAGS = $(fuzz_cflags)
%C%_fuzz_answer_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_answer_LDADD = $(fuzz_net)
%C%_fuzz_api_CFLAGS = $(fuzz_cflags)
%C%_fuzz_api_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_api_LDADD = $(helper_libs)
%C%_fuzz_copyhead_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/cli
%C%_fuzz_copyhead_CFLAGS = $(fuzz_cflags)
%C%_fuzz_copyhead_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_copyhead_LDADD = $(cli_libs)
%C%_fuzz_dhcp_CFLAGS = $(fuzz_cflags)
%C%_fuzz_dhcp_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_dhcp_LDADD = $(fuzz_net)
%C%_fuzz_dns_CFLAGS = $(fuzz_cflags)
%C%_fuzz_dns_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_dns_LDADD = $(fuzz_net)
%C%_fuzz_groups_CFLAGS = $(fuzz_cflags)
%C%_fuzz_groups_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_groups_LDADD = $(fuzz_net)
%C%_fuzz_image_CFLAGS = $(fuzz_cflags)
%C%_fuzz_image_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_image_LDADD = $(helper_libs)
%C%_fuzz_link_SOURCES = %D%/fuzz_link.c $(fuzz_mesh_node)
%C%_fuzz_link_CFLAGS = $(fuzz_cflags)
%C%_fuzz_link_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_link_LDADD = $(fuzz_net)
%C%_fuzz_mem_CFLAGS = $(fuzz_cflags)
%C%_fuzz_mem_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_mem_LDADD = $(helper_libs)
%C%_fuzz_mux_CFLAGS = $(fuzz_cflags)
%C%_fuzz_mux_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_mux_LDADD = lib/libprog.la lib/libcore.la
%C%_fuzz_netstats_CFLAGS = $(fuzz_cflags)
%C%_fuzz_netstats_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_netstats_LDADD = $(helper_libs)
%C%_fuzz_ophead_CFLAGS = $(fuzz_cflags)
%C%_fuzz_ophead_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_ophead_LDADD = $(agent_libs) $(JANSSON_LIBS) $(CRYPTO_LIBS)
%C%_fuzz_opvalue_CFLAGS = $(fuzz_cflags)
%C%_fuzz_opvalue_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_opvalue_LDADD = $(helper_libs)
%C%_fuzz_ops_CFLAGS = $(fuzz_cflags)
%C%_fuzz_ops_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_ops_LDADD = $(helper_libs)
%C%_fuzz_qga_CFLAGS = $(fuzz_cflags)
%C%_fuzz_qga_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_qga_LDADD = $(helper_libs)
%C%_fuzz_relay_CFLAGS = $(fuzz_cflags)
%C%_fuzz_relay_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_relay_LDADD = $(fuzz_net)
%C%_fuzz_rpc_CFLAGS = $(fuzz_cflags)
%C%_fuzz_rpc_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_rpc_LDADD = $(agent_libs) $(JANSSON_LIBS) $(CRYPTO_LIBS)
%C%_fuzz_segment_CFLAGS = $(fuzz_cflags)
%C%_fuzz_segment_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_segment_LDADD = $(fuzz_net)
%C%_fuzz_stream_CFLAGS = $(fuzz_cflags)
%C%_fuzz_stream_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_stream_LDADD = $(fuzz_net)
%C%_fuzz_saved_CFLAGS = $(fuzz_cflags)
%C%_fuzz_saved_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_saved_LDADD = $(helper_libs)
%C%_fuzz_userdata_CFLAGS = $(fuzz_cflags)
%C%_fuzz_userdata_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_userdata_LDADD = $(helper_libs)
%C%_fuzz_tar_CFLAGS = $(fuzz_cflags)
%C%_fuzz_tar_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_tar_LDADD = lib/libfiles.la lib/libprog.la lib/libcore.la $(CRYPTO_LIBS)
if HAVE_UCX
noinst_PROGRAMS += %D%/fuzz_ucx
%C%_fuzz_ucx_SOURCES = %D%/fuzz_ucx.c $(fuzz_mesh_node)
%C%_fuzz_ucx_CFLAGS = $(fuzz_cflags)
%C%_fuzz_ucx_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_ucx_LDADD = $(fuzz_net)
else
EXTRA_DIST += %D%/fuzz_ucx.c
endif
%C%_fuzz_vhost_CFLAGS = $(fuzz_cflags)
%C%_fuzz_vhost_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_vhost_LDADD = $(fuzz_net)
else
EXTRA_DIST += \
	%D%/fuzz_answer.c %D%/fuzz_api.c %D%/fuzz_copyhead.c \
	%D%/fuzz_dhcp.c %D%/fuzz_dns.c \
	%D%/fuzz_groups.c %D%/fuzz_image.c %D%/fuzz_link.c %D%/fuzz_mem.c \
	%D%/fuzz_mux.c \
	%D%/fuzz_netstats.c %D%/fuzz_ophead.c %D%/fuzz_opvalue.c \
	%D%/fuzz_ops.c %D%/fuzz_qga.c \
	%D%/fuzz_relay.c %D%/fuzz_rpc.c \
	%D%/fuzz_saved.c %D%/fuzz_segment.c %D%/fuzz_stream.c %D%/fuzz_tar.c %D%/fuzz_userdata.c \
	%D%/fuzz_ucx.c %D%/fuzz_vhost.c \
	%D%/mesh_node.c %D%/mesh_node.h
endif
