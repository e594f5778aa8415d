#!/bin/bash
# Calls that fail, once each, where that has shown a fault; all of them, with
# tests/inject alone, take hours.
exec "$(dirname "$0")/inject" stepd-helper/test_event:op_event_new \
	stepd-helper/test_seed:text_of
