#!/bin/sh
# The way to the broker is lost: because of the new system, or because somebody pulled the cable.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
configure '.return_seconds = 15'

start_fleet
remember
deploy 'mode = "cut-net";'
settles "a system that cuts the network" rolled-back CONNECTIVITY good
deploy 'mode = "blackhole";'
settles "a system that drops everything" rolled-back CONNECTIVITY good

# The switch waits, the cable is pulled, the switch goes on: the old system is not reached either.
publish 'hold = "test";'
need "the switch waits" wait_for 20 "the switch" holds test
lab_cut router
let_go
old_is_back() {
    log_has 'no_check=1' && journal_has 'state from=RETURNING to=WAITING'
}
expect "no cable: the old system is brought back, and is not reached" wait_for 30 "the way back" old_is_back
expect "no cable: the old system runs" runs_good
expect "no cable: and is profile and boot entry" consistent router
lab_restore router
expect "the cable is back: tried again" wait_for 40 "up-to-date" up_to_date router
settles "the cable is back" up-to-date '' new
expect "and the admin learns why it took so long" was_reported 'rolled-back inconclusive building'
finish
