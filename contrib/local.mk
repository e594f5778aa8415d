EXTRA_DIST += %D%/quickstart %D%/check %D%/lib.sh %D%/minicluster \
	%D%/mkimage %D%/mkimage.d .ci/run .shellcheckrc

# bash looks for a command's own file there.
completiondir = $(datadir)/bash-completion/completions
dist_completion_DATA = %D%/completion/vmstep
