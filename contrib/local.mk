EXTRA_DIST += %D%/quickstart %D%/check %D%/lib.sh %D%/minicluster \
	%D%/mkimage %D%/mkimage.d .ci/run .shellcheckrc
