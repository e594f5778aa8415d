EXTRA_DIST += %D%/quickstart %D%/check %D%/lib.sh %D%/minicluster \
	%D%/virtiofsd %D%/mkimage %D%/mkimage.d .ci/run .shellcheckrc

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
