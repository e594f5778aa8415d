#!/bin/sh
# Make configure from configure.ac (a tarball of `make dist` has it already).
exec autoreconf -i "$(dirname "$0")"
