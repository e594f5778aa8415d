# libvmfam: for programs of guests, static as these have to be.
lib_LIBRARIES = %D%/libvmfam.a
include_HEADERS = %D%/vmfam.h
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = %D%/vmfam.pc

%C%_libvmfam_a_SOURCES = \
	%D%/vmfam.c %D%/vmfam.h %D%/vmfam_impl.h \
	%D%/vmfam_data.c \
	%D%/vmfam_host.c \
	%D%/vmfam_names.h \
	%D%/vmfam_slot.c \
	lib/errmsg.c lib/errmsg.h \
	lib/memword.c lib/memword.h \
	lib/param.c lib/param.h
%C%_libvmfam_a_CPPFLAGS = $(AM_CPPFLAGS) \
	-include $(srcdir)/%D%/vmfam_names.h
%C%_libvmfam_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)

if HAVE_CMOCKA
UNIT_TESTS += %D%/test_vmfam
# Against a step of helpers and real vmstep-nets.
%C%_test_vmfam_SOURCES = %D%/test_vmfam.c stepd-helper/test_helpers.c \
	stepd-helper/test_helpers.h pmix-net/test_step.c pmix-net/test_step.h
%C%_test_vmfam_CPPFLAGS = $(stepd_helper_test_oplink_CPPFLAGS) \
	-I$(top_srcdir)/stepd-helper
%C%_test_vmfam_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
%C%_test_vmfam_LDADD = %D%/libvmfam.a pmix-net/libdriver.la $(helper_libs) \
	$(CMOCKA_LIBS)
endif
