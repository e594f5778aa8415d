EXTRA_DIST += %D%/coverage %D%/coverage.h %D%/uncovered %D%/uncovered.txt \
	%D%/analyze %D%/analyze.h %D%/analyze.suppressions \
	%D%/cppcheck.h %D%/cppcheck.suppressions
EXTRA_DIST += %D%/quickstart %D%/check %D%/fresh %D%/lib.sh %D%/minicluster \
	%D%/virtiofsd %D%/mkpackage %D%/vmstep.spec .ci/run .shellcheckrc

# Where Debian's Python looks, if the prefix is its own; vmstep connect does so
# anyway.
vmsteppathdir = $(prefix)/lib/python3/dist-packages
vmsteppydir = $(vmsteppathdir)/vmstep
dist_vmsteppy_DATA = \
	%D%/python/vmstep/__init__.py \
	%D%/python/vmstep/aio.py \
	%D%/python/vmstep/calls.py \
	%D%/python/vmstep/connect.py \
	%D%/python/vmstep/errors.py \
	%D%/python/vmstep/events.py \
	%D%/python/vmstep/files.py \
	%D%/python/vmstep/payload.py \
	%D%/python/vmstep/penvm.py \
	%D%/python/vmstep/process.py \
	%D%/python/vmstep/py.typed \
	%D%/python/vmstep/session.py \
	%D%/python/vmstep/step.py \
	%D%/python/vmstep/streams.py \
	%D%/python/vmstep/values.py \
	%D%/python/vmstep/where.py \
	%D%/python/vmstep/wire.py \
	%D%/python/vmstep/workers.py \
	%D%/python/vmstep/world.py \
	%D%/python/vmstep/yamlread.py
EXTRA_DIST += %D%/python/tests/check %D%/python/tests/fake.py \
	%D%/python/tests/test_parts.py %D%/python/tests/test_step.py
if HAVE_PYTHON
SCRIPT_TESTS += $(srcdir)/%D%/python/tests/check
endif

dist_bin_SCRIPTS = %D%/xmlrpc/vmstep-xmlrpc

# bash looks for a command's own file there.
completiondir = $(datadir)/bash-completion/completions
dist_completion_DATA = %D%/completion/vmstep

# It makes images where vmstep is installed, too: DATADIR/vmstep/contrib/mkimage.
mkimagedir = $(datadir)/vmstep
nobase_dist_mkimage_SCRIPTS = \
	%D%/mkimage \
	%D%/mkimage.d/tiny/etc/rc \
	%D%/mkimage.d/tiny/sbin/vmstep-init \
	%D%/mkimage.d/tiny/sbin/vmstep-root
nobase_dist_mkimage_DATA = \
	%D%/mkimage.d/common.sh \
	%D%/mkimage.d/debian.sh \
	%D%/mkimage.d/debian/dpkg.cfg \
	%D%/mkimage.d/debian/grub-early.cfg \
	%D%/mkimage.d/debian/grub.cfg \
	%D%/mkimage.d/debian/root/etc/cloud/cloud.cfg.d/90_image.cfg \
	%D%/mkimage.d/debian/root/etc/fstab \
	%D%/mkimage.d/debian/root/etc/initramfs-tools/conf.d/disk \
	%D%/mkimage.d/debian/root/usr/share/initramfs-tools/modules.d/disk \
	%D%/mkimage.d/root.sh \
	%D%/mkimage.d/tiny.sh \
	%D%/mkimage.d/tiny/etc/fstab \
	%D%/mkimage.d/tiny/etc/group \
	%D%/mkimage.d/tiny/etc/hosts \
	%D%/mkimage.d/tiny/etc/inittab \
	%D%/mkimage.d/tiny/etc/nsswitch.conf \
	%D%/mkimage.d/tiny/etc/os-release \
	%D%/mkimage.d/tiny/etc/passwd \
	%D%/mkimage.d/tiny/etc/shadow \
	%D%/mkimage.d/tiny/etc/shells

# For dpkg-buildpackage and rpmbuild, which find them in the tarball.
EXTRA_DIST += debian/README.Debian debian/changelog debian/control \
	debian/copyright debian/rules debian/source/format debian/vmstep.dirs \
	debian/vmstep.docs debian/vmstep.lintian-overrides debian/vmstep.postrm \
	debian/vmstep.prerm

# Of the tarball alone, into packages/.
.PHONY: deb rpm
deb rpm: dist
	$(srcdir)/%D%/mkpackage $@ $(PACKAGE)-$(VERSION).tar.xz packages
