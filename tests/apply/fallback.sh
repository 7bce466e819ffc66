#!/bin/sh
# Whoever cuts the network must not be able to force a downgrade: a release that forbids going back stays, unreached, and alarms.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

start_fleet
remember
publish 'hold = "test";' --no-fallback
need "the switch waits" wait_for 20 "the switch" holds test
lab_cut router
let_go
stays() {
    journal_has 'status queued state=stays code=CONNECTIVITY'
}
expect "cut off: it stays, and says so" wait_for 30 "the end of the window" stays
expect "cut off: the new system runs" not runs_good
expect "cut off: the profile is the old system's until it is reached" [ "$(profile_of router)" = "$good" ]
expect "cut off: no dead man's switch waits any more" not lab_exec router sh -c 'systemctl list-timers --all | grep -q bento-deadman'

# What does not help is replaced by what does.
lab_restore router
expect "the cable is back: committed" in_time 30 up-to-date
settles "the cable is back" up-to-date '' new
case " $(reported) " in
*' stays '*) seen=0 ;;
*) seen=1 ;;
esac
expect "the admin saw that it stayed" [ "$seen" = 0 ]

# The promise holds for later releases, and no further back than it says.
remember
deploy 'mode = "cut-net";'
settles "a later release that cuts the network" rolled-back CONNECTIVITY good
finish
