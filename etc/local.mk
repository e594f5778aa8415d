EXTRA_DIST += %D%/vmstep.conf %D%/plugstack.conf.d/vmstep.conf
