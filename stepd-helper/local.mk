# vmstep-helper: one a task; builds QEMU's arguments and owns the QEMU child.
pkglibexec_PROGRAMS += %D%/vmstep-helper

# All but main(), so that tests link it, too.
noinst_LTLIBRARIES += %D%/libhelper.la
%C%_libhelper_la_SOURCES = \
	%D%/accel.c %D%/accel.h \
	%D%/api.c %D%/api.h \
	%D%/api_net.c %D%/api_net.h \
	%D%/args.c %D%/args.h \
	%D%/chain.c %D%/chain.h \
	%D%/child.c %D%/child.h \
	%D%/command.c %D%/command.h \
	%D%/copyfile.c %D%/copyfile.h \
	%D%/console.c %D%/console.h \
	%D%/data.c %D%/data.h \
	%D%/data_item.c %D%/data_item.h \
	%D%/disk.c %D%/disk.h \
	%D%/fam.c %D%/fam.h \
	%D%/feed.c %D%/feed.h \
	%D%/diskcopy.c %D%/diskcopy.h \
	%D%/firmware.c %D%/firmware.h \
	%D%/foreign.c %D%/foreign.h \
	%D%/forward.c %D%/forward.h \
	%D%/guest.c %D%/guest.h \
	%D%/hold.c %D%/hold.h \
	%D%/hosts.c %D%/hosts.h \
	%D%/hugepages.c %D%/hugepages.h \
	%D%/image.c %D%/image.h \
	%D%/incoming.c %D%/incoming.h \
	%D%/isofile.c %D%/isofile.h \
	%D%/keep.c %D%/keep.h \
	%D%/layout.c %D%/layout.h \
	%D%/made.c %D%/made.h \
	%D%/machine.c %D%/machine.h \
	%D%/memdir.c %D%/memdir.h \
	%D%/memhome.c %D%/memhome.h %D%/memhome_impl.h \
	%D%/memhome_visit.c \
	%D%/memkeep.c %D%/memkeep.h \
	%D%/memlink.c %D%/memlink.h \
	%D%/memname.c %D%/memname.h \
	%D%/net.c %D%/net.h \
	%D%/netjson.c %D%/netjson.h \
	%D%/netproc.c %D%/netproc.h \
	%D%/oom.c %D%/oom.h \
	%D%/oplink.c %D%/oplink.h \
	%D%/op_agent.c %D%/op_agent.h \
	%D%/op_capture.c %D%/op_capture.h \
	%D%/op_console.c %D%/op_console.h \
	%D%/op_event.c %D%/op_event.h \
	%D%/op_code.c %D%/op_code.h \
	%D%/op_file.c %D%/op_file.h \
	%D%/op_io.c %D%/op_io.h \
	%D%/op_kernel.c %D%/op_kernel.h \
	%D%/op_mem.c %D%/op_mem.h %D%/op_mem_impl.h \
	%D%/op_mem_data.c %D%/op_mem_word.c \
	%D%/op_msg.c %D%/op_msg.h \
	%D%/op_plain.c %D%/op_plain.h \
	%D%/op_proc.c %D%/op_proc.h \
	%D%/op_qga.c %D%/op_qga.h \
	%D%/op_save.c %D%/op_save.h \
	%D%/op_snapshot.c %D%/op_snapshot.h \
	%D%/op_session.c %D%/op_session.h \
	%D%/op_ssh.c %D%/op_ssh.h \
	%D%/op_store.c %D%/op_store.h \
	%D%/op_sync.c %D%/op_sync.h \
	%D%/op_vm.c %D%/op_vm.h \
	%D%/op_world.c %D%/op_world.h \
	%D%/opcall.c %D%/opcall.h \
	%D%/ops.c %D%/ops.h \
	%D%/outbox.c %D%/outbox.h \
	%D%/outfile.c %D%/outfile.h \
	%D%/parent.c %D%/parent.h \
	%D%/pcapfile.c %D%/pcapfile.h \
	%D%/peers.c %D%/peers.h %D%/peers_impl.h \
	%D%/peers_answer.c \
	%D%/peers_route.c \
	%D%/pin.c %D%/pin.h \
	%D%/plan.c %D%/plan.h \
	%D%/plan_data.c %D%/plan_data.h \
	%D%/plan_disk.c %D%/plan_disk.h \
	%D%/plan_install.c %D%/plan_install.h \
	%D%/plan_root.c %D%/plan_root.h \
	%D%/port.c %D%/port.h \
	%D%/procs.c %D%/procs.h %D%/procs_impl.h \
	%D%/procs_qga.c \
	%D%/pump.c %D%/pump.h \
	%D%/qcow2.c %D%/qcow2.h \
	%D%/qemu.c %D%/qemu.h \
	%D%/qemu_disk.c %D%/qemu_disk.h \
	%D%/qemu_find.c %D%/qemu_find.h \
	%D%/qemu_sandbox.c %D%/qemu_sandbox.h \
	%D%/qga.c %D%/qga.h \
	%D%/qga_exec.c %D%/qga_exec.h \
	%D%/qga_file.c %D%/qga_file.h \
	%D%/qga_line.c %D%/qga_line.h \
	%D%/qga_net.c %D%/qga_net.h \
	%D%/qmp.c %D%/qmp.h \
	%D%/queue.c %D%/queue.h \
	%D%/rootfs.c %D%/rootfs.h \
	%D%/restore.c %D%/restore.h \
	%D%/save.c %D%/save.h \
	%D%/savedir.c %D%/savedir.h \
	%D%/statefile.c %D%/statefile.h \
	%D%/vmstate.c %D%/vmstate.h \
	%D%/seed.c %D%/seed.h \
	%D%/seed_user.c %D%/seed_user.h \
	%D%/service.c %D%/service.h \
	%D%/session.c %D%/session.h %D%/session_impl.h \
	%D%/session_run.c \
	%D%/shape.c %D%/shape.h \
	%D%/share.c %D%/share.h \
	%D%/signs.c %D%/signs.h \
	%D%/spec.c %D%/spec.h \
	%D%/sshkey.c %D%/sshkey.h \
	%D%/start_error.c %D%/start_error.h \
	%D%/start_params.c %D%/start_params.h \
	%D%/stream.c %D%/stream.h \
	%D%/subscription.c %D%/subscription.h \
	%D%/summary.c %D%/summary.h \
	%D%/task.c %D%/task.h \
	%D%/together.c %D%/together.h \
	%D%/userdata.c %D%/userdata.h \
	%D%/usernet.c %D%/usernet.h \
	%D%/vfio.c %D%/vfio.h \
	%D%/vm.c %D%/vm.h %D%/vm_impl.h \
	%D%/vm_end.c \
	%D%/vm_signal.c \
	%D%/window.c %D%/window.h \
	%D%/wireup.c %D%/wireup.h \
	%D%/work.c %D%/work.h
%C%_libhelper_la_CFLAGS = $(AM_CFLAGS) -pthread $(PMIX_CFLAGS) \
	$(JANSSON_CFLAGS) $(HWLOC_CFLAGS) $(CRYPTO_CFLAGS) $(ARCHIVE_CFLAGS) \
	$(YAML_CFLAGS)
helper_libs = %D%/libhelper.la lib/libfiles.la lib/librpc.la lib/libprog.la \
	lib/libcore.la $(PMIX_LIBS) \
	$(JANSSON_LIBS) $(HWLOC_LIBS) $(CRYPTO_LIBS) $(ARCHIVE_LIBS) $(YAML_LIBS) \
	-lpthread

%C%_vmstep_helper_SOURCES = %D%/vmstep-helper.c
%C%_vmstep_helper_LDADD = $(helper_libs)

if HAVE_CMOCKA
UNIT_TESTS += \
	%D%/test_api \
	%D%/test_child \
	%D%/test_event \
	%D%/test_console \
	%D%/test_ctl \
	%D%/test_data \
	%D%/test_diskcopy \
	%D%/test_firmware \
	%D%/test_fam \
	%D%/test_guest \
	%D%/test_image \
	%D%/test_kernel \
	%D%/test_mem \
	%D%/test_memdir \
	%D%/test_net \
	%D%/test_netjson \
	%D%/test_oom \
	%D%/test_oplink \
	%D%/test_oplink_sealed \
	%D%/test_ops \
	%D%/test_outfile \
	%D%/test_parent \
	%D%/test_peers \
	%D%/test_peers_answer \
	%D%/test_pcapfile \
	%D%/test_port \
	%D%/test_qemu \
	%D%/test_qemu_sandbox \
	%D%/test_qga \
	%D%/test_qga_guest \
	%D%/test_qmp \
	%D%/test_rootfs \
	%D%/test_seed \
	%D%/test_session \
	%D%/test_shape \
	%D%/test_save \
	%D%/test_share \
	%D%/test_spec \
	%D%/test_sshkey \
	%D%/test_op_io \
	%D%/test_summary \
	%D%/test_wireup \
	%D%/test_start_error \
	%D%/test_statefile \
	%D%/test_start_params \
	%D%/test_together \
	%D%/test_usernet \
	%D%/test_vfio
%C%_test_api_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_api_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_netjson_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_netjson_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_child_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_child_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_console_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_console_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_event_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_event_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_firmware_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_firmware_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_guest_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_guest_LDADD = $(helper_libs) $(CMOCKA_LIBS)
# With the agent of this build.
%C%_test_kernel_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_kernel_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_fam_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_fam_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_ctl_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_ctl_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_data_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_data_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_diskcopy_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_diskcopy_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_image_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_image_LDADD = $(helper_libs) $(CMOCKA_LIBS)
# With the vmstep-net of this build.
%C%_test_mem_SOURCES = %D%/test_mem.c %D%/test_helpers.c \
	%D%/test_helpers.h pmix-net/test_step.c pmix-net/test_step.h
%C%_test_mem_CPPFLAGS = $(%C%_test_oplink_CPPFLAGS)
%C%_test_mem_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_mem_LDADD = pmix-net/libdriver.la $(helper_libs) $(CMOCKA_LIBS)
%C%_test_memdir_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_memdir_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_net_SOURCES = %D%/test_net.c %D%/netproc.c
%C%_test_net_CPPFLAGS = $(AM_CPPFLAGS) \
	-DNET_PROGRAM='"$(abs_builddir)/pmix-net/vmstep-net"'
%C%_test_net_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_net_LDADD = $(helper_libs) $(CMOCKA_LIBS)
# With a step of real vmstep-net processes.
%C%_test_oplink_SOURCES = %D%/test_oplink.c pmix-net/test_step.c \
	pmix-net/test_step.h
%C%_test_oplink_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/pmix-net \
	-DVMSTEP_NET='"$(abs_builddir)/pmix-net/vmstep-net"'
%C%_test_oplink_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_oplink_LDADD = pmix-net/libdriver.la $(helper_libs) $(CMOCKA_LIBS)
%C%_test_oplink_sealed_SOURCES = $(%C%_test_oplink_SOURCES)
%C%_test_oplink_sealed_CPPFLAGS = $(%C%_test_oplink_CPPFLAGS) -DENCRYPTED=1
%C%_test_oplink_sealed_CFLAGS = $(%C%_test_oplink_CFLAGS)
%C%_test_oplink_sealed_LDADD = $(%C%_test_oplink_LDADD)
%C%_test_outfile_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_outfile_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_parent_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_parent_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_peers_SOURCES = %D%/test_peers.c %D%/test_helpers.c \
	%D%/test_helpers.h pmix-net/test_step.c pmix-net/test_step.h
%C%_test_peers_CPPFLAGS = $(%C%_test_oplink_CPPFLAGS)
%C%_test_peers_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_peers_LDADD = pmix-net/libdriver.la $(helper_libs) $(CMOCKA_LIBS)
%C%_test_peers_answer_SOURCES = %D%/test_peers_answer.c %D%/test_helpers.c \
	%D%/test_helpers.h pmix-net/test_step.c pmix-net/test_step.h
%C%_test_peers_answer_CPPFLAGS = $(%C%_test_oplink_CPPFLAGS)
%C%_test_peers_answer_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_peers_answer_LDADD = pmix-net/libdriver.la $(helper_libs) \
	$(CMOCKA_LIBS)
%C%_test_pcapfile_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_pcapfile_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_ops_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_ops_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_port_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_port_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_qemu_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_qemu_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_qemu_sandbox_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) \
	$(JANSSON_CFLAGS)
%C%_test_qemu_sandbox_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_qga_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_qga_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_qga_guest_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_qga_guest_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_qmp_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_qmp_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_rootfs_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_rootfs_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_seed_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS) \
	$(ARCHIVE_CFLAGS)
%C%_test_seed_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_session_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_session_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_usernet_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_usernet_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_oom_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_oom_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_vfio_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_vfio_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_shape_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_shape_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_statefile_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_statefile_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_save_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_save_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_share_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_share_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_spec_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_spec_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_wireup_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_wireup_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_op_io_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_op_io_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_summary_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_summary_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_sshkey_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_sshkey_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_start_params_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) \
	$(JANSSON_CFLAGS)
%C%_test_start_params_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_together_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_together_LDADD = $(helper_libs) $(CMOCKA_LIBS)
%C%_test_start_error_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
%C%_test_start_error_LDADD = $(helper_libs) $(CMOCKA_LIBS)
endif
