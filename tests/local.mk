# The tables of lib/, for t0001-manpages.t to compare the manual pages with.
check_PROGRAMS += %D%/print-tables
%C%_print_tables_SOURCES = %D%/print-tables.c
%C%_print_tables_LDADD = lib/libcore.la
EXTRA_DIST += %D%/t0001-manpages.t

EXTRA_DIST += %D%/unit # runs the unit tests for prove

include tests/fake-slurm/local.mk
