#!/bin/sh
# New systems whose bento is missing, does not run, or is of another time: what the old bento refuses, and what it brings back.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
configure '.switch_seconds = 20 | .commit_seconds = 8 | .margin_seconds = 3'

start_fleet
remember
deploy 'bento = false;'
settles "no bento" refused LOCKOUT good
expect "no bento: nothing was tried" log_has_times 'begin action=test' 1

# Its preflight check works, so that only the dead man's switch is left.
deploy 'bento = "broken";'
settles "a bento that does not start" rolled-back DEADMAN good
expect "a bento that does not start: the old one is back" runs_from bento-apply bento-0.1.0/bin

deploy 'bento = "future"; mode = "cut-net";'
settles "a later bento that cuts the network" rolled-back FORMAT good
expect "a later bento that cuts the network: the old one is back" runs_from bento-apply bento-0.1.0/bin

deploy 'bento = "future"; bentoTag = "2.0";'
settles "a later bento that is good" up-to-date '' new
expect "a later bento that is good: it runs" runs_from bento-apply bento-2.0/bin
finish
